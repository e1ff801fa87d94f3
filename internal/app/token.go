package app

import (
	"errors"
	"fmt"

	"github.com/dougong-io/dougong/internal/auth"
)

// TokenRequest says what a new bearer token is for.
type TokenRequest struct {
	File         string // to which its hash is added
	Name, Tenant string
	Roles        []string
}

// CreateToken makes a token, adds its hash to the file and returns it: it is stored nowhere.
func CreateToken(r TokenRequest) (token string, err error) {
	roles := make([]auth.Role, len(r.Roles))
	var faults []error
	for i, name := range r.Roles {
		role, err := auth.ParseRole(name)
		roles[i], faults = role, append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return "", err
	}
	token, entry, err := auth.Create(r.Name, r.Tenant, roles...)
	if err != nil {
		return "", err
	}
	if err := auth.AppendTo(r.File, entry); err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	return token, nil
}
