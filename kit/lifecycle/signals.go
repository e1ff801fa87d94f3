package lifecycle

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// together is within what time signals are one order. Whoever signals a process and its group, as timeout(1) does,
// reaches it twice at once, and so does systemd with SendSIGHUP; nobody presses Ctrl-C twice as fast.
const together = 100 * time.Millisecond

// exitCode ends the process at the second signal: 128 plus the number of SIGINT, as a shell reports it.
const exitCode = 130

// SignalError is the cause of a context that a signal ended.
type SignalError struct {
	Signal os.Signal
}

func (e *SignalError) Error() string { return fmt.Sprintf("received signal: %v", e.Signal) }

// Signals returns a context that ends with the first SIGTERM, SIGINT or SIGHUP (a terminal that closes; unless it
// is ignored, as under nohup), with a [SignalError] as its context.Cause. The second signal calls exit(130), for the
// person who will not wait; nil means os.Exit. Signals that come within 100 ms of the first are the same one, which has
// come by two ways; further ones after the second do nothing.
//
// stop gives the signals back to their default handling, ends the context and waits for the goroutine that
// listened; it may be called more than once, and not from within exit.
func Signals(parent context.Context, exit func(code int)) (ctx context.Context, stop func()) {
	if exit == nil {
		exit = os.Exit
	}
	// Two places, since a third signal has nothing to say.
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

// onSignals is Signals for what comes in a channel.
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
					cancel(&SignalError{Signal: s})
					first = time.Now() // what has come while everybody was told is not the second
				case time.Since(first) >= together && !exited:
					exited = true
					exit(exitCode)
				}
			}
		}
	}()

	var once sync.Once
	return ctx, func() {
		once.Do(func() {
			close(quit)
			cancel(nil)
		})
		<-ended
	}
}
