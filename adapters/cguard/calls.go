//go:build cgo

package cguard

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrBusy: as many calls as may be are in C, and as many callers as may wait, wait.
	ErrBusy = errors.New("too many calls are in C")
	// ErrReleased: the caller's time was up, or it was cancelled, before the call ended. It wraps the context's cause too.
	ErrReleased = errors.New("released before the call in C ended")
	// ErrClosed: Close was called before.
	ErrClosed = errors.New("no more calls are taken")
)

var errGoexit = errors.New("cguard: the call ended its goroutine with runtime.Goexit")

// PanicError is a panic of a call, which its caller gets as an error: it was on another goroutine.
type PanicError struct {
	Value any
	Stack []byte // of the goroutine that panicked
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic in a call: %v", e.Value) }

// CallsObserver hears of calls that went on without their caller. It is called with no lock held, by the call's own
// goroutine.
type CallsObserver interface {
	// Overran: a call ended so long after its caller had left. Err is what it returned, which nobody else gets.
	Overran(by time.Duration, err error)
}

// CallsOption sets up Calls.
type CallsOption func(*Calls)

// WithCallsObserver has o hear of calls that overran.
func WithCallsObserver(o CallsObserver) CallsOption { return func(c *Calls) { c.observer = o } }

// Calls runs calls into C, a bounded number at a time.
type Calls struct {
	cfg      Config
	observer CallsObserver
	threads  chan struct{} // a place is taken by sending

	mu     sync.Mutex // guards closed, and that none begins to be counted once it is set
	closed bool
	out    sync.WaitGroup

	waiting, running, overrunning atomic.Int64
	done, overran, refused        atomic.Int64
}

// NewCalls refuses a configuration that Validate does.
func NewCalls(cfg Config, options ...CallsOption) (*Calls, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("cguard: %w", err)
	}
	c := &Calls{cfg: cfg, threads: make(chan struct{}, cfg.Threads)}
	for _, option := range options {
		option(c)
	}
	return c, nil
}

// CallsStats are what Calls did and does.
type CallsStats struct {
	Running     int64 // calls in C
	Overrunning int64 // of these: whose caller has left
	Waiting     int64 // callers that wait for a thread

	Done    int64 // calls that ended while their caller was there
	Overran int64 // calls whose caller left before they ended; those that still run are among them
	Refused int64 // callers that got no thread
}

// Stats as they are. Figures that change meanwhile may be from either side of the change.
func (c *Calls) Stats() CallsStats {
	return CallsStats{
		Running: c.running.Load(), Overrunning: c.overrunning.Load(), Waiting: c.waiting.Load(),
		Done: c.done.Load(), Overran: c.overran.Load(), Refused: c.refused.Load(),
	}
}

// Call runs f on a thread of its own and returns what it returns, or ErrReleased as soon as ctx ends. Then f goes on
// until it ends, and what it returns goes to the observer.
//
// Call takes owner over, whatever comes of it: its buffers are freed when f has ended, or at once if f never began. So
// f copies what it returns. Since f may outlive its caller, it uses the owner's buffers and what nobody else writes;
// what it needs of the caller is copied into a buffer before. Owner may be nil.
//
// Other errors: ErrBusy, ErrClosed, a *PanicError, and what f returned.
func Call[T any](ctx context.Context, c *Calls, owner *Owner, f func() (T, error)) (T, error) {
	var none T
	if owner != nil {
		owner.handOver()
	}
	if err := c.begin(ctx); err != nil {
		if owner != nil {
			owner.end()
		}
		return none, err
	}
	call := &call[T]{ended: make(chan struct{}), err: errGoexit}
	go func() {
		defer call.end(c, owner)
		call.value, call.err = protect(f)
	}()
	select {
	case <-call.ended:
		return call.value, call.err
	case <-ctx.Done():
	}
	call.left.Store(time.Now().UnixNano())
	c.overrunning.Add(1)
	if call.settled.Swap(true) { // it has ended in this moment
		c.overrunning.Add(-1)
		<-call.ended
		return call.value, call.err
	}
	c.overran.Add(1)
	return none, fmt.Errorf("%w: %w", ErrReleased, context.Cause(ctx))
}

// call is settled by the one of two that comes first: its end, or its caller's leaving.
type call[T any] struct {
	ended   chan struct{} // closed if the end came first
	settled atomic.Bool
	left    atomic.Int64 // when the caller left, in nanoseconds since 1970
	value   T
	err     error
}

// end runs in the call's goroutine, when f has returned, panicked or called runtime.Goexit.
func (call *call[T]) end(c *Calls, owner *Owner) {
	defer c.out.Done()
	if owner != nil {
		owner.end()
	}
	c.running.Add(-1)
	<-c.threads
	if !call.settled.Swap(true) {
		c.done.Add(1)
		close(call.ended)
		return
	}
	c.overrunning.Add(-1)
	if c.observer != nil {
		c.observer.Overran(time.Duration(time.Now().UnixNano()-call.left.Load()), call.err)
	}
}

func protect[T any](f func() (T, error)) (value T, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}

// begin takes a thread, and counts the call among those that Close waits for.
func (c *Calls) begin(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: it never began: %w", ErrReleased, context.Cause(ctx))
	}
	select {
	case c.threads <- struct{}{}:
	default:
		if c.waiting.Add(1) > int64(c.cfg.Queue) {
			c.waiting.Add(-1)
			c.refused.Add(1)
			return fmt.Errorf("%w: all %d threads are taken, by %d calls whose caller has left among others, and %d callers wait", ErrBusy, c.cfg.Threads, c.overrunning.Load(), c.cfg.Queue)
		}
		select {
		case c.threads <- struct{}{}:
			c.waiting.Add(-1)
		case <-ctx.Done():
			c.waiting.Add(-1)
			c.refused.Add(1)
			return fmt.Errorf("%w: it waited for one of %d threads: %w", ErrReleased, c.cfg.Threads, context.Cause(ctx))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		<-c.threads
		return ErrClosed
	}
	c.out.Add(1)
	c.running.Add(1)
	return nil
}

// Close takes no more calls, and waits until those that are in C have ended or ctx has. Then the error says how many
// are left; their threads and buffers are theirs until they end.
func (c *Calls) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	ended := make(chan struct{})
	go func() { // it ends with the last call, which Close cannot hurry
		c.out.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cguard: %d calls are still in C: %w", c.running.Load(), context.Cause(ctx))
	}
}
