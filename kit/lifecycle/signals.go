package lifecycle

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// exitCode ends the process at the second signal: 128 plus the number of SIGINT, as a shell reports it.
const exitCode = 130

// SignalError is the cause of a context that a signal ended.
type SignalError struct {
	Signal os.Signal
}

func (e *SignalError) Error() string { return fmt.Sprintf("received signal: %v", e.Signal) }

// Signals returns a context that ends with the first SIGTERM, SIGINT or SIGHUP (a terminal that closes; unless it
// is ignored, as under nohup), with a [SignalError] as its
// context.Cause. The second signal calls exit(130), for the person who will not wait; nil means os.Exit.
// Further ones do nothing.
//
// stop gives the signals back to their default handling, ends the context and waits for the goroutine that
// listened; it may be called more than once, and not from within exit.
func Signals(parent context.Context, exit func(code int)) (ctx context.Context, stop func()) {
	if exit == nil {
		exit = os.Exit
	}
	ctx, cancel := context.WithCancelCause(parent)
	// Two places, since a third signal has nothing to say.
	received := make(chan os.Signal, 2)
	signal.Notify(received, syscall.SIGTERM, syscall.SIGINT)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(received, syscall.SIGHUP)
	}

	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for count := 1; ; count++ {
			select {
			case <-quit:
				return
			case s := <-received:
				switch count {
				case 1:
					cancel(&SignalError{Signal: s})
				case 2:
					exit(exitCode)
				}
			}
		}
	}()

	var once sync.Once
	return ctx, func() {
		once.Do(func() {
			signal.Stop(received)
			close(quit)
			cancel(nil)
		})
		<-ended
	}
}
