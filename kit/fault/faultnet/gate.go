package faultnet

import (
	"context"
	"net"
	"os"
	"sync"
	"time"
)

// gate ends the waits in one direction of a connection at its deadline, also at one that is set meanwhile, and at
// Close.
type gate struct {
	mu       sync.Mutex
	deadline time.Time
	closed   bool
	waits    map[*wait]struct{}
}

// wait is the context of one call. It becomes one that ends only when somebody asks for its end: a call that no rule
// holds is not to pay for that.
type wait struct {
	gate  *gate
	once  sync.Once
	ctx   context.Context // nil: nobody asked. It does not change after once
	end   context.CancelCauseFunc
	timer *time.Timer // guarded by the lock of the gate
}

// enter returns a context that ends as the calls of this direction do. leave has to be called.
func (g *gate) enter() *wait { return &wait{gate: g} }

// leave ends it. Nobody asks after that.
func (w *wait) leave() {
	w.once.Do(func() {})
	if w.ctx == nil {
		return
	}
	w.gate.mu.Lock()
	delete(w.gate.waits, w)
	w.arm(time.Time{}, false)
	w.gate.mu.Unlock()
	w.end(nil)
}

func (w *wait) asked() context.Context {
	w.once.Do(func() {
		w.ctx, w.end = context.WithCancelCause(context.Background())
		g := w.gate
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.waits == nil {
			g.waits = map[*wait]struct{}{}
		}
		g.waits[w] = struct{}{}
		w.arm(g.deadline, g.closed)
	})
	if w.ctx == nil { // the call is over
		return context.Background()
	}
	return w.ctx
}

func (w *wait) Deadline() (time.Time, bool) { return time.Time{}, false } // it may yet change
func (w *wait) Done() <-chan struct{}       { return w.asked().Done() }
func (w *wait) Err() error                  { return w.asked().Err() }
func (w *wait) Value(key any) any           { return w.asked().Value(key) } // by which context.Cause asks, too

func (w *wait) arm(deadline time.Time, closed bool) {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	switch {
	case closed:
		w.end(net.ErrClosed)
	case !deadline.IsZero() && time.Until(deadline) <= 0:
		w.end(os.ErrDeadlineExceeded)
	case !deadline.IsZero():
		w.timer = time.AfterFunc(time.Until(deadline), func() { w.end(os.ErrDeadlineExceeded) })
	}
}

func (g *gate) set(deadline time.Time) {
	g.mu.Lock()
	g.deadline = deadline
	for w := range g.waits {
		w.arm(deadline, g.closed)
	}
	g.mu.Unlock()
}

// over is why nothing passes any more; nil if something does.
func (g *gate) over() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return net.ErrClosed
	case !g.deadline.IsZero() && time.Until(g.deadline) <= 0:
		return os.ErrDeadlineExceeded
	default:
		return nil
	}
}

func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	for w := range g.waits {
		w.arm(time.Time{}, true)
	}
	g.mu.Unlock()
}
