package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Group starts members one after another and stops them in reverse order. It goes from Initializing to
// Ready, then through Draining to Stopped. When a member cannot start or ends by itself it goes to Failed
// and stays there while the others are stopped. This type is concurrency safe. A group runs once.
type Group struct {
	config  Config
	members []Member
	machine *Machine

	died     chan *running // each member whose Run has returned
	stop     chan struct{} // closed by the first Stop or StopNow
	stopNow  chan struct{} // closed by the first StopNow
	ended    chan struct{} // closed when Run, or a Stop before Run, is through
	result   error         // readable once ended is closed
	stopOnce sync.Once
	nowOnce  sync.Once

	// late is closed when the observers for which patience ran out last have returned; nil if it never did. It
	// belongs to the goroutine that moves the group: that of Run, or of a Stop before it.
	late <-chan struct{}

	mu      sync.Mutex
	claimed bool // by Run, or by a Stop before Run
	ran     bool // Run was called
}

// NewGroup returns a group that has started nothing yet. The error reports every fault of config and members.
func NewGroup(name string, config Config, members []Member, opts ...Option) (*Group, error) {
	faults := []error{config.Validate()}
	seen := make(map[string]bool)
	for i, m := range members {
		if m.Name == "" {
			faults = append(faults, fmt.Errorf("member %d: has no name", i))
		} else if seen[m.Name] {
			faults = append(faults, fmt.Errorf("member %d: the name %s is taken", i, m.Name))
		}
		seen[m.Name] = true
		if m.Run == nil {
			faults = append(faults, fmt.Errorf("member %d: has no Run", i))
		}
		if m.StopTimeout < 0 {
			faults = append(faults, fmt.Errorf("member %d: StopTimeout must be at least 0, is %v", i, m.StopTimeout))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("lifecycle: group %s: %w", name, err)
	}
	return &Group{
		config:  config,
		members: slices.Clone(members),
		machine: NewMachine(name, opts...),
		died:    make(chan *running, len(members)),
		stop:    make(chan struct{}),
		stopNow: make(chan struct{}),
		ended:   make(chan struct{}),
	}, nil
}

// State returns the state of the group with one atomic read. Readiness endpoints answer by its Serving.
func (g *Group) State() State { return g.machine.State() }

// Status returns the state of the group with its cause.
func (g *Group) Status() Status { return g.machine.Status() }

// Wait waits for a state of the group, like [Machine.Wait].
func (g *Group) Wait(ctx context.Context, want func(State) bool) (State, error) {
	return g.machine.Wait(ctx, want)
}

// StopError names the members that had not ended when the bound was reached, in the order in which they were
// stopped. Their goroutines may still run.
type StopError struct {
	Group string
	Names []string
}

func (e *StopError) Error() string {
	return fmt.Sprintf("lifecycle: group %s: did not stop in time: %s", e.Group, strings.Join(e.Names, ", "))
}

// ErrAlreadyRun is what Run returns when it is called again.
var ErrAlreadyRun = errors.New("lifecycle: a group runs once")

// ErrObserver is part of the result of a group whose observers had not returned at its end.
var ErrObserver = errors.New("lifecycle: an observer blocks")

// observerPatience bounds how long a transition of a group waits for its observers. One that never returns
// costs it once: later transitions find that someone is telling the observers already.
const observerPatience = time.Second

// Run starts the members in order, each when the one before it is ready. It then waits until ctx ends, Stop
// is called or a member ends by itself, and stops the group:
//
//  1. The state leaves the serving ones, and the Drain functions are called.
//  2. Everything goes on serving for Config.DrainDelay, or until StopNow.
//  3. The members' contexts end in reverse order; each is waited for before the next, bounded by its own
//     StopTimeout and by Config.StopTimeout for all. The last tenth of that is kept for members whose turn had
//     not come, so that one that hangs does not cost the others their time.
//
// A group that was not Ready yet skips steps 1 and 2, apart from the state. The end of ctx reaches members
// through step 3 only; its values reach them as they are.
//
// The error is nil after an ordered stop, and otherwise joins the [MemberError] of each member that failed,
// the [StopError], and [ErrObserver]. Run returns it when everything has ended, or is named.
func (g *Group) Run(ctx context.Context) error {
	g.mu.Lock()
	switch {
	case g.ran:
		g.mu.Unlock()
		return ErrAlreadyRun
	case g.claimed: // by a Stop
		g.ran = true
		g.mu.Unlock()
		<-g.ended
		return g.result
	}
	g.claimed, g.ran = true, true
	g.mu.Unlock()

	g.result = g.run(ctx)
	close(g.ended)
	return g.result
}

// Stop stops the group and waits for the end of Run, whose result it returns. It may be called at any time,
// from any number of goroutines; all get the same result. A group that is stopped before Run never starts.
// A member must not call it from Run, which would wait for itself.
func (g *Group) Stop() error {
	g.stopOnce.Do(func() { close(g.stop) })
	g.mu.Lock()
	first := !g.claimed
	g.claimed = true
	g.mu.Unlock()
	if first {
		g.moveTo(Draining, nil)
		g.moveTo(Stopped, nil)
		g.result = g.withObservers(nil)
		close(g.ended)
	}
	<-g.ended
	return g.result
}

// StopNow is a Stop that skips the drain delay, or what is left of it.
func (g *Group) StopNow() error {
	g.nowOnce.Do(func() { close(g.stopNow) })
	return g.Stop()
}

func (g *Group) run(ctx context.Context) error {
	memberCtx, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	started, state, cause := g.startAll(ctx, memberCtx)
	serving := state == Ready
	if serving {
		g.moveTo(Ready, nil)
		state, cause = g.await(ctx, nil, nil)
	}
	g.moveTo(state, cause)
	if serving {
		g.drain(memberCtx, started)
	}
	stopInReverse(memberCtx, g.config.StopTimeout, started)
	err := g.verdict(started)
	if state == Draining {
		g.moveTo(Stopped, err)
	}
	return g.withObservers(err)
}

// startAll starts the members in order and returns those that it started, also one that failed, with what
// await returned last.
func (g *Group) startAll(ctx, memberCtx context.Context) (started []*running, state State, cause error) {
	for _, m := range g.members {
		if ctx.Err() != nil {
			return started, Draining, context.Cause(ctx)
		}
		r := g.start(memberCtx, m)
		started = append(started, r)
		if state, cause = g.await(ctx, r, time.After(g.config.StartTimeout)); state != Ready {
			return started, state, cause
		}
	}
	return started, Ready, nil
}

// await waits for the reason to leave the present phase, and returns the state to go to with its cause: Ready
// when starting (which may be nil) is ready, Draining for an ordered stop, Failed when a member failed.
func (g *Group) await(ctx context.Context, starting *running, late <-chan time.Time) (State, error) {
	var ready <-chan struct{}
	if starting != nil {
		ready = starting.ready
	}
	select {
	case <-ready:
		return Ready, nil
	case <-late:
		starting.startErr = ErrNotReady
		return Failed, starting.failure()
	case r := <-g.died:
		if ctx.Err() == nil {
			return Failed, r.failure()
		}
	case <-g.stop:
	case <-ctx.Done():
	}
	return Draining, context.Cause(ctx) // nil after Stop
}

// drain lets everything serve on while load balancers learn that the group is no longer ready.
func (g *Group) drain(ctx context.Context, started []*running) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, r := range slices.Backward(started) {
		r.drain(ctx)
	}
	delay := time.NewTimer(g.config.DrainDelay)
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-g.stopNow:
	}
}

func stopInReverse(ctx context.Context, bound time.Duration, started []*running) {
	whole, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	turns, cancelTurns := context.WithTimeout(whole, turn(bound))
	defer cancelTurns()

	var cutShort []*running
	for _, r := range slices.Backward(started) {
		r.cancel()
		if !r.waitInTurn(turns) && turns.Err() != nil {
			cutShort = append(cutShort, r)
		}
	}
	for _, r := range cutShort {
		r.wait(whole.Done())
	}
}

// verdict joins the failures of the members, in the order in which they were started, and names those that
// have not ended.
func (g *Group) verdict(started []*running) error {
	// Names first: what ends after this line is named, so its failure cannot be missed by both.
	var names []string
	for _, r := range slices.Backward(started) {
		if !r.hasEnded() {
			names = append(names, r.Name)
		}
	}
	var failures []error
	for _, r := range started {
		failures = append(failures, r.failure())
	}
	if names != nil {
		failures = append(failures, &StopError{Group: g.machine.name, Names: names})
	}
	return errors.Join(failures...)
}

// moveTo makes a transition that the table lists: the machine is the group's own, and run and Stop make only
// such ones. It returns when the observers have been told, or patience ran out: one that blocks must not keep
// the members from being stopped. The machine keeps the order of what it tells late.
func (g *Group) moveTo(s State, cause error) {
	_ = g.machine.enter(s, cause)
	told := make(chan struct{})
	go func() {
		defer close(told)
		g.machine.tellObservers()
	}()
	select {
	case <-told:
	case <-time.After(observerPatience):
		g.late = told
	}
}

// withObservers adds to the result of the group that its observers have not returned.
func (g *Group) withObservers(err error) error {
	if g.late == nil || isClosed(g.late) {
		return err
	}
	return errors.Join(err, ErrObserver)
}
