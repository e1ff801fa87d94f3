package limit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faultnet"
)

var (
	pointAdmit   = fault.Def{Name: "limit.admit", Doc: "A request asks to be admitted. An error refuses it as if the queue were full.", Attrs: []string{"tenant"}, Effects: fault.Call}
	pointAcquire = fault.Def{Name: "limit.acquire", Doc: "A request asks for a slot. An error refuses it as if the queue were full.", Attrs: []string{"tenant"}, Effects: fault.Call}
	pointAccept  = fault.Def{Name: "limit.accept", Doc: "A listener has accepted a connection. An error or a drop closes it.", Attrs: []string{"network", "local", "remote"}, Effects: fault.Bytes, Guarded: true}
	pointRead    = fault.Def{Name: "limit.read", Doc: "A server reads from a connection.", Attrs: []string{"network", "local", "remote"}, Effects: fault.Bytes, Guarded: true}
	pointWrite   = fault.Def{Name: "limit.write", Doc: "A server writes to a connection.", Attrs: []string{"network", "local", "remote"}, Effects: fault.Bytes, Guarded: true}
)

type points struct{ admit, acquire *fault.Point }

// WithFaults has the points limit.admit and limit.acquire of a set strike this limit, with no lock held. What is held
// has no slot meanwhile; its deadline or its context ends that.
func WithFaults(set *fault.Set) Option {
	return func(l *Limit) { l.points = points{admit: set.Point(pointAdmit), acquire: set.Point(pointAcquire)} }
}

// WithConnFaults has the points limit.accept, limit.read and limit.write of a set strike connections, beneath what
// judges how slow they are: a read that is held is a client that owes bytes. An error at limit.accept closes the
// connection and no more, unless its cause is temporary: to a server it would be the end of its listener, which no rule
// could take back. A panic at any of them is an error: servers do not recover there.
func WithConnFaults(set *fault.Set) ConnOption {
	return func(l *Listener) {
		p := faultnet.Points{Accept: set.Point(pointAccept), Read: set.Point(pointRead), Write: set.Point(pointWrite)}
		l.Listener = faultnet.Listener(l.Listener, p)
	}
}

// struck passes a point for a request that has no place, and returns why it gets none.
func (l *Limit) struck(ctx context.Context, p *fault.Point, r Request) error {
	ctx, cancel := l.until(ctx, l.due(r.Deadline))
	defer cancel()
	err := p.Hit(ctx, fault.Attr{Key: "tenant", Value: r.Tenant})
	if err == nil {
		return nil
	}
	l.mu.Lock()
	refused := l.because(ctx, err)
	l.mu.Unlock()
	return l.refused(refused, err)
}

// struckAtStart passes a point for a request that has arrived. After an error its place is given back.
func (p Permit) struckAtStart(ctx context.Context) error {
	l, s := p.limit, p.seat
	l.mu.Lock()
	tenant, due, current := s.tenant, s.due, s.serial == p.serial
	l.mu.Unlock()
	if !current {
		return errSpent
	}
	ctx, cancel := l.until(ctx, due)
	defer cancel()
	err := l.points.acquire.Hit(ctx, fault.Attr{Key: "tenant", Value: tenant})
	if err == nil {
		return nil
	}
	l.mu.Lock()
	if s.serial != p.serial || s.phase != arriving {
		l.mu.Unlock()
		return errSpent
	}
	refused := l.because(ctx, err)
	l.vacate(s)
	l.mu.Unlock()
	if _, ok := refused.(*RejectedError); !ok { // the caller went away
		return l.report(refused)
	}
	return l.refused(refused, err)
}

// until bounds ctx by when a request is due.
func (l *Limit) until(ctx context.Context, due time.Duration) (context.Context, context.CancelFunc) {
	if due == never {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, due-l.elapsed())
}

// because counts a request that a fault ended, or its context while a fault held it. The lock is held.
func (l *Limit) because(ctx context.Context, err error) error {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return l.abandon(ctx)
	}
	refused := l.reject(QueueFull)
	if e.RetryAfter > 0 {
		refused.(*RejectedError).RetryAfter = e.RetryAfter
	}
	return refused
}

// refused tells of a rejection, and returns it with what was injected, if anything was.
func (l *Limit) refused(refused, err error) error {
	if _, ok := refused.(*RejectedError); !ok {
		return refused
	}
	_ = l.report(refused)
	if errors.Is(err, fault.ErrInjected) {
		return fmt.Errorf("%w: %w", refused, err)
	}
	return refused
}
