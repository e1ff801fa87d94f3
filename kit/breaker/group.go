package breaker

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/fault"
)

// core is what the circuits of a group share.
type core struct {
	clock     *clock.Clock
	stopwatch *clock.Clock  // times calls: exact, unless the clock was given
	rand      func() uint32 // nil in programs: Done then draws by its stack, and the rest takes rand.Uint32
	outcome   func(error) Outcome
	observer  Observer
	plan      atomic.Pointer[plan]
	allowing  *fault.Point
	ending    *fault.Point
}

// stopped is the time of the stopwatch, where a lock may be held: there no clock is read but our own. One that was given
// may pass a fault point.
func (k *core) stopped(now time.Duration) time.Duration {
	if k.stopwatch == k.clock {
		return now
	}
	return k.stopwatch.Now()
}

func (k *core) draw() uint32 {
	if k.rand != nil {
		return k.rand()
	}
	return rand.Uint32()
}

func (k *core) random() uint64 { return uint64(k.draw())<<32 | uint64(k.draw()) }

func (k *core) tell(events []event) {
	if k.observer == nil {
		return
	}
	for _, e := range events {
		e(k.observer)
	}
}

// Group is a set of circuits by key, which share a policy. This type is concurrency safe.
type Group[K comparable] struct {
	core
	most int
	name func(K) string

	table     atomic.Pointer[table[K]]
	overflown atomic.Uint64

	barren atomic.Int64 // until when nobody looks for a victim, because there was none

	mu      sync.Mutex // guards what follows, and what the table's slots become; taken before that of a circuit
	live    int
	hand    uint64 // the slot at which the next search for a victim begins
	evicted uint64
}

// DefaultKeys is how many keys a group has at most, unless WithKeys says otherwise.
const DefaultKeys = 10_000

// Option injects a collaborator, or a bound.
type Option[K comparable] func(*Group[K])

// WithKeys bounds the circuits of the group; each takes less than 2 KiB.
func WithKeys[K comparable](most int) Option[K] { return func(g *Group[K]) { g.most = most } }

// WithName says how a key is called in errors, in snapshots and before observers; fmt.Sprint by default.
func WithName[K comparable](name func(K) string) Option[K] {
	return func(g *Group[K]) { g.name = name }
}

// WithObserver has the group report what happens.
func WithObserver[K comparable](o Observer) Option[K] { return func(g *Group[K]) { g.observer = o } }

// WithOutcome replaces [OutcomeOf] for Do. f must not panic.
func WithOutcome[K comparable](f func(error) Outcome) Option[K] {
	return func(g *Group[K]) { g.outcome = f }
}

// WithClock replaces the coarse clock that each group has of its own, and the exact one by which it times calls for
// Policy.SlowAfter. Groups may share one.
func WithClock[K comparable](c *clock.Clock) Option[K] { return func(g *Group[K]) { g.clock = c } }

// WithRand replaces all that is random, so that a simulation can be replayed. f must be concurrency safe if the group is
// used so, and must not panic.
func WithRand[K comparable](f func() uint32) Option[K] { return func(g *Group[K]) { g.rand = f } }

// New returns a group without circuits: each comes with the first call of its key. It returns what is wrong with
// the policy.
func New[K comparable](p Policy, opts ...Option[K]) (*Group[K], error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("breaker: policy: %w", err)
	}
	g := &Group[K]{most: DefaultKeys, name: func(k K) string { return fmt.Sprint(k) }}
	for _, opt := range opts {
		opt(g)
	}
	if g.most < 1 {
		return nil, fmt.Errorf("breaker: a group needs room for at least 1 key, has %d", g.most)
	}
	if g.clock == nil {
		g.clock, g.stopwatch = clock.NewCoarse(clock.Resolution).Clock(), clock.Exact()
	} else {
		g.stopwatch = g.clock
	}
	g.plan.Store(newPlan(p))
	g.table.Store(newTable[K](maphash.MakeSeed(), 0))
	return g, nil
}

// Allow asks for one call to the key. A key that is new has a circuit from now on; when there is no room because
// no circuit can be evicted, the call passes without being counted.
func (g *Group[K]) Allow(key K) (p Permit, err error) {
	e := g.table.Load().find(key)
	if e == nil {
		return g.allowNew(key, Call{})
	}
	if e.used.Load() == 0 {
		e.used.Store(1)
	}
	if p.word = e.word.Load(); p.word&flagBits != 0 || g.faulty() {
		return e.AllowCall(Call{})
	}
	p.circuit = &e.Circuit
	return
}

// AllowCall is Allow for a call of which more is known: see [Circuit.AllowCall].
func (g *Group[K]) AllowCall(key K, call Call) (Permit, error) {
	e := g.table.Load().find(key)
	if e == nil {
		return g.allowNew(key, call)
	}
	if e.used.Load() == 0 {
		e.used.Store(1)
	}
	return e.AllowCall(call)
}

func (g *Group[K]) allowNew(key K, call Call) (p Permit, err error) {
	e := g.add(key)
	if e == nil {
		return
	}
	return e.AllowCall(call)
}

// ErrFull is returned by Circuit when a group has no room for a further key.
var ErrFull = errors.New("breaker: no room for another key: every circuit is open or has a handle")

// Circuit returns the handle of a key, which is found faster than by the key and is never evicted.
func (g *Group[K]) Circuit(key K) (*Circuit, error) {
	e, events := g.get(key, true)
	g.tell(events)
	if e == nil {
		return nil, fmt.Errorf("%w: %s", ErrFull, g.name(key))
	}
	return &e.Circuit, nil
}

// Forget removes the circuit of a key, open or not: of a host that is gone, a model that was unloaded. Through a
// handle of it calls pass uncounted from now on; the key's next call has a new circuit.
func (g *Group[K]) Forget(key K) {
	now := g.clock.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.table.Load()
	if e := t.find(key); e != nil {
		e.leave(now, true)
		t.remove(e)
		g.live--
		g.barren.Store(0)
	}
}

// Len is how many circuits there are.
func (g *Group[K]) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.live
}

// Policy is the one in force.
func (g *Group[K]) Policy() Policy { return g.plan.Load().Policy.own() }

// SetPolicy puts another policy in force, for circuits that there are and that come. Counts and states stay; a
// circuit that is open stays so for no longer than the new policy would have it.
func (g *Group[K]) SetPolicy(p Policy) error {
	if err := p.Validate(); err != nil {
		return fmt.Errorf("breaker: policy: %w", err)
	}
	made, now := newPlan(p), g.clock.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.plan.Store(made)
	g.each(func(e *entry[K]) { e.adopt(made, now) })
	return nil
}

// each calls f with every circuit. The lock is held.
func (g *Group[K]) each(f func(*entry[K])) {
	t := g.table.Load()
	for i := range t.slots {
		if e := t.slots[i].Load(); e != nil && e != t.gone {
			f(e)
		}
	}
}

func (g *Group[K]) add(key K) *entry[K] {
	var events []event
	var e *entry[K]
	if int64(g.clock.Now()) >= g.barren.Load() {
		e, events = g.get(key, false)
	}
	if e == nil {
		g.overflown.Add(1)
		events = append(events, Observer.Overflowed)
	}
	g.tell(events)
	return e
}

// get returns the circuit of a key, which it makes if need be, and if there can be room. The functions of others, and the
// clock, which may be one, run before the lock is taken.
func (g *Group[K]) get(key K, pin bool) (*entry[K], []event) {
	now := g.clock.Now()
	fresh := g.open(key, now)
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.table.Load()
	if e := t.find(key); e != nil {
		if pin {
			e.pinned.Store(true)
		}
		return e, nil
	}
	var events []event
	if g.live >= g.most {
		victim := g.evict(t, now)
		if victim == nil {
			return nil, nil
		}
		events = append(events, func(o Observer) { o.Evicted(victim.name) })
	}
	if t.full() {
		t = t.renewed(2 * (g.live + 1))
		g.table.Store(t)
	}
	fresh.adopt(g.plan.Load(), now) // it may have changed since
	fresh.pinned.Store(pin)
	t.put(fresh)
	g.live++
	return fresh, events
}

// open makes a circuit, closed as they begin.
func (g *Group[K]) open(key K, now time.Duration) *entry[K] {
	p := g.plan.Load()
	e := &entry[K]{key: key}
	e.rest = &rest{plan: p, name: g.name(key), since: now, folded: now, attempt: -1}
	e.window = window{width: p.width, turn: int64(now / p.width)}
	e.core, e.clock, e.hash = &g.core, g.clock, maphash.Comparable(g.table.Load().seed, key)
	e.keep.Store(all)
	e.used.Store(1)
	return e
}

// barrenFor is for how long nobody looks for a victim after a search through all circuits that found none.
const barrenFor = 100 * time.Millisecond

// evict removes a circuit that is closed, has no handle, and was not asked for since the last search came by, or
// returns nil. The lock is held. It is the clock algorithm: what is in use is passed over once, and each step of the
// hand is paid for by a call that used what it clears.
func (g *Group[K]) evict(t *table[K], now time.Duration) *entry[K] {
	for range 2 * len(t.slots) {
		e := t.slots[g.hand&t.mask].Load()
		g.hand++
		if e == nil || e == t.gone || e.pinned.Load() || e.state() != Closed {
			continue
		}
		if e.used.Swap(0) == 0 && e.leave(now, false) {
			t.remove(e)
			g.live--
			g.evicted++
			return e
		}
	}
	g.barren.Store(int64(after(now, barrenFor)))
	return nil
}

// leave ends a circuit, if it is closed or has to: its permits are late from now on.
func (c *Circuit) leave(now time.Duration, hasTo bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state() != Closed && !hasTo {
		return false
	}
	var none []event
	c.change(now, evicted, "evicted", &none)
	return true
}
