package cli

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/lifecycle"
)

// A signal that comes twice at once, as timeout(1) sends it, is one; a later one is the second.
func TestSignalsTogetherAreOne(t *testing.T) {
	for name, c := range map[string]struct {
		after []time.Duration // one after the other
		exits int
	}{
		"one":                    {[]time.Duration{time.Second}, 0},
		"two at once":            {[]time.Duration{0, time.Millisecond}, 0},
		"three at once":          {[]time.Duration{0, time.Millisecond, 50 * time.Millisecond}, 0},
		"two":                    {[]time.Duration{0, 100 * time.Millisecond}, 1},
		"two at once, and later": {[]time.Duration{0, 0, time.Second}, 1},
		"many":                   {[]time.Duration{0, time.Second, time.Second, time.Second}, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			received := make(chan os.Signal)
			exits := 0
			ctx, stop := onSignals(t.Context(), received, func(code int) {
				exits++
				if code != exitInterrupted {
					t.Errorf("%s: exit code %d", name, code)
				}
			})
			for _, after := range c.after {
				time.Sleep(after)
				received <- syscall.SIGINT
			}
			synctest.Wait()
			var cause *lifecycle.SignalError
			if ctx.Err() == nil || !errors.As(context.Cause(ctx), &cause) || exits != c.exits {
				t.Errorf("%s: %v, %d exits, want %d", name, context.Cause(ctx), exits, c.exits)
			}
			stop()
			stop()
		})
	}
}
