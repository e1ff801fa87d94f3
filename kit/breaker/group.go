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
)

// core is what the circuits of a group share.
type core struct {
	clock    *clock.Clock
	rand     func() uint32 // nil: rand.Uint32, which is called faster than found
	observer Observer
	plan     atomic.Pointer[plan]
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

// WithClock replaces the coarse clock that each group has of its own; groups may share one.
func WithClock[K comparable](c *clock.Clock) Option[K] { return func(g *Group[K]) { g.clock = c } }

// WithRand replaces rand.Uint32, so that a simulation can be replayed. f must be concurrency safe if the group is
// used so.
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
		g.clock = clock.NewCoarse(clock.Resolution).Clock()
	}
	g.plan.Store(newPlan(p))
	g.table.Store(newTable[K](maphash.MakeSeed(), 0))
	return g, nil
}

// Allow asks for one call to the key. A key that is new has a circuit from now on; when there is no room because
// no circuit can be evicted, the call passes without being counted.
func (g *Group[K]) Allow(key K) (p Permit, err error) {
	if e := g.table.Load().find(key); e != nil {
		if p.word = e.word.Load(); p.word&flagBits == 0 {
			p.circuit = &e.Circuit
			return
		}
	}
	return g.AllowCall(key, Call{})
}

// AllowCall is Allow for a call of which more is known.
func (g *Group[K]) AllowCall(key K, call Call) (p Permit, err error) {
	e := g.table.Load().find(key)
	if e == nil {
		if e = g.add(key); e == nil {
			return
		}
	}
	return e.AllowCall(call)
}

// ErrFull is returned by Circuit when a group has no room for a further key.
var ErrFull = errors.New("breaker: no room for another key: every circuit is open or has a handle")

// Circuit returns the handle of a key, which is found faster than by the key and is never evicted.
func (g *Group[K]) Circuit(key K) (*Circuit, error) {
	g.mu.Lock()
	e, events := g.addLocked(key)
	if e != nil {
		e.pinned.Store(true)
	}
	g.mu.Unlock()
	g.tell(events)
	if e == nil {
		return nil, fmt.Errorf("%w: %s", ErrFull, g.name(key))
	}
	return &e.Circuit, nil
}

// Len is how many circuits there are.
func (g *Group[K]) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.live
}

// Policy is the one in force.
func (g *Group[K]) Policy() Policy { return g.plan.Load().Policy }

// SetPolicy puts another policy in force, for circuits that there are and that come. Counts and states stay; a
// circuit that is open stays so for no longer than the new policy would have it.
func (g *Group[K]) SetPolicy(p Policy) error {
	if err := p.Validate(); err != nil {
		return fmt.Errorf("breaker: policy: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	made, now := newPlan(p), g.clock.Now()
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
	g.mu.Lock()
	e, events := g.addLocked(key)
	g.mu.Unlock()
	if e == nil {
		g.overflown.Add(1)
		events = append(events, Observer.Overflowed)
	}
	g.tell(events)
	return e
}

// addLocked returns the circuit of a key, which it makes if need be, and if there can be room. The lock is held.
func (g *Group[K]) addLocked(key K) (*entry[K], []event) {
	t := g.table.Load()
	if e := t.find(key); e != nil {
		return e, nil
	}
	var events []event
	if g.live >= g.most {
		victim := g.evict(t)
		if victim == nil {
			return nil, nil
		}
		events = append(events, func(o Observer) { o.Evicted(victim.name) })
	}
	if t.full() {
		t = t.renewed(2 * (g.live + 1))
		g.table.Store(t)
	}
	e := g.open(t, key)
	t.put(e)
	g.live++
	return e, events
}

// open makes a circuit, closed as they begin.
func (g *Group[K]) open(t *table[K], key K) *entry[K] {
	p, now := g.plan.Load(), g.clock.Now()
	e := &entry[K]{key: key}
	e.core, e.clock, e.plan = &g.core, g.clock, p
	e.name, e.hash = g.name(key), maphash.Comparable(t.seed, key)
	e.window = window{width: p.width, turn: int64(now / p.width)}
	e.since, e.folded, e.attempt = now, now, -1
	e.keep.Store(all)
	e.due.Store(int64(now + p.refresh))
	if p.SlowAfter > 0 {
		e.word.Store(timed)
	}
	return e
}

// A victim is the one idle for longest among some; of an unlucky run of circuits that cannot go, many are tried.
const (
	candidates = 8
	mostTried  = 512
)

// evict removes a circuit that is closed and has no handle, or returns nil. The lock is held.
func (g *Group[K]) evict(t *table[K]) *entry[K] {
	var victim *entry[K]
	found := 0
	for range min(mostTried, len(t.slots)) {
		e := t.slots[g.hand&t.mask].Load()
		g.hand++
		if e == nil || e == t.gone || e.pinned.Load() || e.state() != Closed {
			continue
		}
		if victim == nil || e.due.Load() < victim.due.Load() {
			victim = e
		}
		if found++; found == candidates {
			break
		}
	}
	if victim == nil || !victim.leave(g.clock.Now()) {
		return nil
	}
	t.remove(victim)
	g.live--
	g.evicted++
	return victim
}

// leave ends a circuit that is closed: its permits are late from now on.
func (c *Circuit) leave(now time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state() != Closed {
		return false
	}
	var none []event
	c.change(now, evicted, "evicted", &none)
	return true
}
