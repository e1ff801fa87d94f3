package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Member is one part of a [Group].
type Member struct {
	// Name is unique in the group. Errors and logs use it.
	Name string

	// Run serves until ctx ends, and returns when everything that it started has ended. It calls ready once it
	// serves; further calls do nothing. A return before ctx ended is a failure, which stops the group, also
	// when the error is nil. After ctx ended, nil and an error that wraps ctx.Err() are both a clean end; joined
	// with anything else it is a failure.
	Run func(ctx context.Context, ready func()) error

	// Drain, if any, is called when the group begins to drain, beside Run and beside the other members: the place
	// to send GOAWAY or to ask viewers to reconnect elsewhere. Its context ends with the drain delay. The member
	// has ended when Drain has returned too. It is not called when the group was stopped before all were ready.
	Drain func(ctx context.Context)

	// StopTimeout bounds the wait for this member; 0 leaves only the bound of the group.
	StopTimeout time.Duration
}

// MemberError says which member failed.
type MemberError struct {
	Name string
	Err  error
}

func (e *MemberError) Error() string { return fmt.Sprintf("member %s: %v", e.Name, e.Err) }

// Unwrap returns Err.
func (e *MemberError) Unwrap() error { return e.Err }

var (
	// ErrEnded is the failure of a member whose Run returned nil although nobody had stopped it.
	ErrEnded = errors.New("lifecycle: ended by itself")

	// ErrNotReady is the failure of a member that did not become ready within Config.StartTimeout.
	ErrNotReady = errors.New("lifecycle: not ready in time")
)

// PanicError is the failure of a member that panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// Unwrap returns the value of the panic if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// running is a member that was started. The group's goroutine owns it; its own goroutines close the channels.
type running struct {
	Member
	ctx    context.Context
	cancel context.CancelFunc
	ready  chan struct{}

	startErr error // ErrNotReady, or nil

	ended  chan struct{} // closed when Run has returned
	runErr error         // readable once ended is closed
	early  bool          // Run returned before ctx ended; readable once ended is closed

	drained  chan struct{} // closed when Drain has returned, nil when it was not called
	drainErr error         // readable once drained is closed
}

// start runs m in a goroutine of its own and sends it to died when Run returns; died has room for it.
func (g *Group) start(ctx context.Context, m Member) *running {
	r := &running{Member: m, ready: make(chan struct{}), ended: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(ctx)
	ready := sync.OnceFunc(func() { close(r.ready) })
	go func() {
		// Deferred, since runtime.Goexit skips everything else.
		defer func() {
			r.early = r.ctx.Err() == nil
			close(r.ended)
			g.died <- r
		}()
		contain(&r.runErr, func() error { return r.passed(g, ctx, ready) })
	}()
	return r
}

func (r *running) drain(ctx context.Context) {
	if r.Drain == nil || isClosed(r.ended) {
		return
	}
	r.drained = make(chan struct{})
	go func() {
		defer close(r.drained)
		contain(&r.drainErr, func() error { r.Drain(ctx); return nil })
	}()
}

// waitInTurn waits for the member until its own bound is reached or ctx ends.
func (r *running) waitInTurn(ctx context.Context) bool {
	if r.StopTimeout > 0 {
		bounded, cancel := context.WithTimeout(ctx, r.StopTimeout)
		defer cancel()
		ctx = bounded
	}
	return r.wait(ctx.Done())
}

// wait waits until the member has ended or late is closed, and reports whether it has ended.
func (r *running) wait(late <-chan struct{}) bool {
	select {
	case <-r.ended:
	case <-late:
	}
	if r.drained != nil {
		select {
		case <-r.drained:
		case <-late:
		}
	}
	return r.hasEnded()
}

func (r *running) hasEnded() bool {
	return isClosed(r.ended) && (r.drained == nil || isClosed(r.drained))
}

// failure returns what has gone wrong with the member so far, or nil.
func (r *running) failure() error {
	var runErr, drainErr error
	if isClosed(r.ended) {
		runErr = r.runErr
		switch {
		case r.early && runErr == nil:
			runErr = ErrEnded
		case !r.early && isCanceled(runErr):
			runErr = nil
		}
	}
	if r.drained != nil && isClosed(r.drained) {
		drainErr = r.drainErr
	}
	if err := errors.Join(r.startErr, runErr, drainErr); err != nil {
		return &MemberError{Name: r.Name, Err: err}
	}
	return nil
}

// isCanceled reports whether err says that the context was canceled, and nothing beside it.
func isCanceled(err error) bool {
	switch e := err.(type) {
	case *PanicError:
		return false
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(part error) bool { return !isCanceled(part) })
	case interface{ Unwrap() error }:
		return isCanceled(e.Unwrap())
	}
	return errors.Is(err, context.Canceled) // a leaf may have an Is of its own, like those of package net
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// contain stores what f returned, or a [PanicError] if f panicked or called runtime.Goexit, so that one member
// does not take down the others in the middle of their work.
func contain(result *error, f func() error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		value := recover()
		if value == nil {
			value = "runtime.Goexit was called"
		}
		*result = &PanicError{Value: value, Stack: debug.Stack()}
	}()
	*result = f()
	returned = true
}
