package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Observer is told of every transition. The calls of one machine come one at a time and in the order of the
// transitions, with no lock held: an observer may call back into the machine.
//
// It must not block: To returns only when it has, and those added after it, and every later transition, wait to
// be told. A [Group] alone goes on when it has waited for 1 s, so that its members are stopped all the same; if
// the observer has not returned by the end, Run says so ([ErrObserver]). What writes to a pipe or a network needs
// a buffer that drops.
type Observer interface {
	Transition(name string, from, to State, cause error)
}

// Option injects a collaborator into a [Machine] or a [Group].
type Option func(*options)

type options struct {
	now       func() time.Time
	observers []Observer
	points    points
}

// WithObserver adds an observer. Observers are called in the order in which they were added.
func WithObserver(o Observer) Option {
	return func(opts *options) { opts.observers = append(opts.observers, o) }
}

// WithNow replaces time.Now as the source of [Status].Since.
func WithNow(now func() time.Time) Option {
	return func(opts *options) { opts.now = now }
}

// Status is what a machine says about itself.
type Status struct {
	Name  string
	State State
	Cause error     // why it came into this state; nil when nothing was said
	Since time.Time // when it came into this state
}

// Machine holds the state of one thing. This type is concurrency safe.
type Machine struct {
	name string
	opts options

	// current is the newest step. Steps form a list that grows at its end, so that a reader needs no lock,
	// and so that one who waits sees every state, also one that was left at once.
	current atomic.Pointer[step]

	mu         sync.Mutex // guards what follows, and every store to current
	untold     []*step    // steps that the observers have not been told of
	delivering bool       // one goroutine is telling the observers
}

type step struct {
	Status
	from  State
	left  chan struct{} // closed when next is set
	after *step
}

// NewMachine returns a machine in the state Initializing. The name is used in errors, observers and status.
func NewMachine(name string, opts ...Option) *Machine {
	m := &Machine{name: name, opts: options{now: time.Now}}
	for _, opt := range opts {
		opt(&m.opts)
	}
	m.current.Store(m.newStep(Initializing, Initializing, nil))
	return m
}

func (m *Machine) newStep(from, to State, cause error) *step {
	status := Status{Name: m.name, State: to, Cause: cause, Since: m.opts.now()}
	return &step{Status: status, from: from, left: make(chan struct{})}
}

// State returns the present state with one atomic read.
func (m *Machine) State() State { return m.current.Load().State }

// Status returns the present state together with its cause and its beginning, without a lock.
func (m *Machine) Status() Status { return m.current.Load().Status }

// To moves the machine to the state to, for the given cause (which may be nil). A transition that the table
// does not list, also one to the present state, is a [TransitionError] and changes nothing.
//
// To tells the observers before it returns, unless another goroutine, or an observer further up the stack,
// is telling them at that moment: then that one also tells of this transition, after those before it.
func (m *Machine) To(to State, cause error) error {
	if err := m.enter(to, cause); err != nil {
		return err
	}
	m.tellObservers()
	return nil
}

// enter is To without telling the observers.
func (m *Machine) enter(to State, cause error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	current := m.current.Load()
	if !current.State.allows(to) {
		return &TransitionError{Name: m.name, From: current.State, To: to}
	}
	entered := m.newStep(current.State, to, cause)
	m.current.Store(entered)
	current.after = entered
	close(current.left)
	if len(m.opts.observers) > 0 {
		m.untold = append(m.untold, entered)
	}
	return nil
}

// tellObservers empties the list of untold steps. At most one goroutine is past the first lines at a time,
// which is what keeps the calls in order.
func (m *Machine) tellObservers() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.delivering {
		return
	}
	m.delivering = true
	defer func() { m.delivering = false }() // also when an observer panics
	for len(m.untold) > 0 {
		told := m.untold[0]
		m.untold = m.untold[1:]
		m.tell(told)
	}
	m.untold = nil // so that what was told can be collected
}

// tell is called with the lock held and calls the observers without it.
func (m *Machine) tell(told *step) {
	m.mu.Unlock()
	defer m.mu.Lock()
	for _, o := range m.opts.observers {
		o.Transition(m.name, told.from, told.State, told.Cause)
	}
}

// ErrStopped is what Wait returns when the state that it waits for can no longer come.
var ErrStopped = errors.New("lifecycle: stopped, which has no way out")

// Wait returns the first state for which want is true, beginning with the present one. It sees every state,
// also one that the machine left at once. When ctx ends first, the error wraps ctx.Err(); once the machine
// is Stopped and Stopped is not wanted, the error is [ErrStopped]. want is called without a lock held.
func (m *Machine) Wait(ctx context.Context, want func(State) bool) (State, error) {
	at := m.current.Load()
	for !want(at.State) {
		if at.State == Stopped {
			return Stopped, fmt.Errorf("lifecycle: wait for %s: %w", m.name, ErrStopped)
		}
		select {
		case <-at.left:
			at = at.after
		case <-ctx.Done():
			return at.State, fmt.Errorf("lifecycle: wait for %s, which is %v: %w", m.name, at.State, ctx.Err())
		}
	}
	return at.State, nil
}
