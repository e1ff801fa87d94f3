package httpserver

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/internal/auth"
)

// requestCtx is the context of one request. It differs from
// context.WithDeadline in its cost: the timer and the link to the parent come
// into being when somebody asks for Done (or derives a context, which asks).
// Handlers that only compute, or only look at Deadline, pay for neither.
//
// It may outlive the request, like any context, so it is never reused. One
// difference remains: context.Cause of a request that outran its deadline and
// whose handler has returned is Canceled, while Err stays DeadlineExceeded.
type requestCtx struct {
	parent     context.Context
	deadline   time.Time // zero: none, and then everything is the parent's
	trace      Trace
	tracestate string
	who        *auth.Identity

	done atomic.Value // of chan struct{}; set under mu

	mu     sync.Mutex
	err    error
	timer  *time.Timer
	unlink func() bool // from the parent
	after  map[*func()]struct{}
}

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (c *requestCtx) Deadline() (time.Time, bool) {
	if c.deadline.IsZero() {
		return c.parent.Deadline()
	}
	return c.deadline, true
}

func (c *requestCtx) Value(key any) any {
	switch key.(type) {
	case traceKey:
		return &c.trace
	case auth.Key:
		if c.who == nil {
			return c.parent.Value(key)
		}
		return c.who
	case tracestateKey:
		return c.tracestate
	}
	return c.parent.Value(key)
}

func (c *requestCtx) Done() <-chan struct{} {
	if c.deadline.IsZero() {
		return c.parent.Done()
	}
	if d, ok := c.done.Load().(chan struct{}); ok {
		return d
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok := c.done.Load().(chan struct{}); ok {
		return d
	}
	if c.err != nil {
		c.done.Store(closedChan)
		return closedChan
	}
	d := make(chan struct{})
	c.done.Store(d)
	c.timer = time.AfterFunc(time.Until(c.deadline), func() { c.cancel(context.DeadlineExceeded) })
	c.unlink = context.AfterFunc(c.parent, func() { c.cancel(c.parent.Err()) })
	return d
}

// Err is exact: it notices a deadline that has passed and a parent that has
// ended even while no timer runs.
func (c *requestCtx) Err() error {
	if c.deadline.IsZero() {
		return c.parent.Err()
	}
	c.mu.Lock()
	err := c.err
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if err := c.parent.Err(); err != nil {
		return c.cancel(err)
	}
	if !time.Now().Before(c.deadline) {
		return c.cancel(context.DeadlineExceeded)
	}
	return nil
}

// AfterFunc is what package context looks for when it derives a context from a
// type that it does not know. Without it each derived context would cost a
// goroutine.
func (c *requestCtx) AfterFunc(f func()) (stop func() bool) {
	if c.deadline.IsZero() {
		return context.AfterFunc(c.parent, f)
	}
	c.Done() // somebody waits: arm
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f() // the caller may hold a lock that f takes
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = make(map[*func()]struct{})
	}
	key := &f
	c.after[key] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waiting := c.after[key]
		delete(c.after, key)
		return waiting
	}
}

// cancel ends the context with err, unless it has ended, and returns with what
// it ended. It calls those who wait without holding the lock.
func (c *requestCtx) cancel(err error) error {
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	c.err = err
	if d, ok := c.done.Load().(chan struct{}); ok {
		close(d)
	}
	timer, unlink, after := c.timer, c.unlink, c.after
	c.timer, c.unlink, c.after = nil, nil, nil
	c.mu.Unlock()

	if timer != nil {
		timer.Stop()
	}
	if unlink != nil {
		unlink()
	}
	for f := range after {
		(*f)()
	}
	return err
}

// finish ends the context when the handler has returned. Without a deadline
// the server ends the parent a moment later.
func (c *requestCtx) finish() {
	if !c.deadline.IsZero() {
		c.cancel(context.Canceled)
	}
}
