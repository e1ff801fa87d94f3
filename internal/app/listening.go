package app

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// listening is the Run of a server, with the key of its configuration before its errors: a server knows its own keys,
// not where they stand. Of an address that cannot be had it names the whole key.
func listening(key string, run func(ctx context.Context, ready func()) error) func(ctx context.Context, ready func()) error {
	return func(ctx context.Context, ready func()) error {
		err := run(ctx, ready)
		if err == nil {
			return nil
		}
		if refused, ok := errors.AsType[*net.OpError](err); ok && refused.Op == "listen" {
			return fmt.Errorf("%s.listen: %w; choose another address", key, refused)
		}
		return fmt.Errorf("%s: %w", key, err)
	}
}
