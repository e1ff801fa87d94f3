package auth

import (
	"context"
	"fmt"
	"slices"
)

// A Role permits one kind of action. Roles do not imply each other.
type Role string

// The roles there are.
const (
	Read    Role = "read"    // look at states, profiles, invariants
	Write   Role = "write"   // change business data
	Fault   Role = "fault"   // inject faults
	Release Role = "release" // load, unload, promote and roll back versions
)

// Roles lists every role, in the order in which they are documented.
func Roles() []Role { return []Role{Read, Write, Fault, Release} }

// ParseRole returns the role of that name.
func ParseRole(name string) (Role, error) {
	if r := Role(name); slices.Contains(Roles(), r) {
		return r, nil
	}
	return "", fmt.Errorf("unknown role %q: use read, write, fault or release", name)
}

// Identity is who a token belongs to. It is shared between requests: read only.
type Identity struct {
	Name   string
	Tenant string
	Roles  []Role
}

// Has reports whether the identity holds the role. Nobody (nil) holds none.
func (i *Identity) Has(r Role) bool { return i != nil && slices.Contains(i.Roles, r) }

// Key is the context key of the *Identity. Servers that have a context type of
// their own answer it; everyone else uses [IdentityFrom].
type Key struct{}

// WithIdentity returns a context that carries who calls.
func WithIdentity(ctx context.Context, who *Identity) context.Context {
	return context.WithValue(ctx, Key{}, who)
}

// IdentityFrom returns who calls, nil when nobody proved who they are.
func IdentityFrom(ctx context.Context) *Identity {
	who, _ := ctx.Value(Key{}).(*Identity)
	return who
}
