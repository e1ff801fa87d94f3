package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/dougong-io/dougong/kit/lifecycle"
)

// together is within what time two signals are one order. Whoever signals a process and its group, as timeout(1) does
// and a shell may, reaches it twice at once; nobody presses Ctrl-C twice as fast.
const together = 100 * time.Millisecond

// interrupts is lifecycle.Signals, but that a second signal so soon after the first is the same one: it must not
// cut short what the first has begun to undo.
func interrupts(parent context.Context, exit func(code int)) (ctx context.Context, stop func()) {
	received := make(chan os.Signal, 2)
	signal.Notify(received, syscall.SIGTERM, syscall.SIGINT)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(received, syscall.SIGHUP)
	}
	ctx, end := onSignals(parent, received, exit)
	return ctx, func() {
		signal.Stop(received)
		end()
	}
}

// onSignals ends its context at the first signal, and calls exit at the first that comes apart from it.
func onSignals(parent context.Context, received <-chan os.Signal, exit func(code int)) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var first time.Time
		exited := false
		for {
			select {
			case <-quit:
				return
			case s := <-received:
				switch {
				case first.IsZero():
					first = time.Now()
					cancel(&lifecycle.SignalError{Signal: s})
				case time.Since(first) >= together && !exited:
					exited = true
					exit(exitInterrupted)
				}
			}
		}
	}()
	return ctx, sync.OnceFunc(func() {
		close(quit)
		cancel(nil)
		<-ended
	})
}
