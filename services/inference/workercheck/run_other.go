//go:build !unix

package workercheck

import (
	"context"
	"errors"
)

// Run needs a unix.
func Run(context.Context, Command, Model, func(Result)) ([]Result, error) {
	return nil, errors.New("workers need a unix")
}
