package main

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/go-kratos/aegis/circuitbreaker/sre"
	"github.com/sony/gobreaker/v2"
	gozero "github.com/zeromicro/go-zero/core/breaker"

	aegis "github.com/go-kratos/aegis/circuitbreaker"

	"github.com/dougong-io/dougong/kit/breaker"
)

// calls is a sequence of keys that is being asked for. What is timed reads it the same way everywhere.
type calls struct {
	keys []upstream
	seq  []uint16
	at   int
}

func (c *calls) next() *upstream {
	c.at = (c.at + 1) & sequenceMask
	return &c.keys[c.seq[c.at]]
}

// Slices must be long beside the 100 ms after which a circuit brings its window up to date: the first call of a slice
// to a key always does so, since others had their turns.
const (
	longSlices  = 12
	shortSlices = 4
)

// byKey compares calls to 10,000 keys with a bare lookup of the key and one atomic addition.
//
// In a plain loop a processor begins the next lookup while this one waits for memory, the more so the less is done
// between them: that measures how well a loop of lookups overlaps, and no service looks up one key after the other. So
// in the pair that is judged the next key depends on what this call has read from its entry. The plain loop is printed.
func (b *bench) byKey() error {
	if err := sameLayout(); err != nil {
		return err
	}
	keys := newKeys(manyKeys)
	table := newLookup(keys)
	group, every := newGroup(breaker.DefaultPolicy(), keys), newGroup(eachCounted(), keys)
	counters, locked := syncMapOf(keys, func() *atomic.Int64 { return new(atomic.Int64) }), newLockedMap(keys)
	registries := newRegistries(keys)
	for i, access := range accesses {
		c := calls{keys: asked(keys), seq: sequence(access.draw(rand.New(rand.NewPCG(1, uint64(i)))))}
		bare := &contest{name: "the same map and one atomic addition, one after another", slices: longSlices, run: c.addOneAfterAnother(table)}
		ours := &contest{name: "kit/breaker by key, one after another", slices: longSlices, run: c.succeedOneAfterAnother(group)}
		bareOverlapping := &contest{name: "the same map and one atomic addition", slices: longSlices, run: func(n int) {
			for range n {
				table.find(*c.next()).count.Add(1)
			}
		}}
		oursOverlapping := &contest{name: "kit/breaker by key", slices: longSlices, run: c.succeed(group)}
		contests := []*contest{bare, ours, bareOverlapping, oursOverlapping,
			{name: "kit/breaker by key, each call counted", slices: longSlices, run: c.succeed(every)},
			{name: "sync.Map and one atomic addition", run: func(n int) {
				for range n {
					v, _ := counters.Load(*c.next())
					v.(*atomic.Int64).Add(1)
				}
			}},
			{name: "map under a sync.RWMutex and one atomic addition", run: func(n int) {
				for range n {
					locked.find(*c.next()).Add(1)
				}
			}},
		}
		others := registries.contests(&c)
		contests = append(contests, others...)
		for _, o := range contests {
			o.slices = max(o.slices, shortSlices)
		}
		b.compare("a call that is allowed and succeeds, 10,000 keys, "+access.name, contests...)
		b.ceiling("by key, "+access.name+", against the bare lookup", ratio(ours, bare), 1.3, "×")
		b.note("in a loop whose calls overlap", ratio(oursOverlapping, bareOverlapping), "×")
		if i == 0 {
			for _, bar := range peerBars { // judged by handle
				b.note("against a sync.Map of "+bar.library, cheapest(others, registryLibraries, bar.library, oursOverlapping), "×")
			}
		}
	}
	return nil
}

func (c *calls) succeed(g *breaker.Group[upstream]) func(n int) {
	return func(n int) {
		for range n {
			p, err := g.Allow(*c.next())
			if err != nil {
				passed(err)
			}
			p.Done(breaker.Success)
		}
	}
}

// oneAfterAnother is the number of the next call. It waits for what was read from the entry of this one, a number
// whose highest bit is never set.
func oneAfterAnother(at int, read uint64) int { return at + 1 + int(read>>63) }

func (c *calls) addOneAfterAnother(t *lookup[upstream]) func(n int) {
	return func(n int) {
		for range n {
			c.at = oneAfterAnother(c.at, uint64(t.find(c.keys[c.seq[c.at&sequenceMask]]).count.Add(1)))
		}
	}
}

func (c *calls) succeedOneAfterAnother(g *breaker.Group[upstream]) func(n int) {
	return func(n int) {
		for range n {
			p, err := g.Allow(c.keys[c.seq[c.at&sequenceMask]])
			if err != nil {
				passed(err)
			}
			word := (*permit)(unsafe.Pointer(&p)).word
			p.Done(breaker.Success)
			c.at = oneAfterAnother(c.at, word)
		}
	}
}

// permit is how a breaker.Permit begins; word was read from the circuit.
type permit struct {
	circuit unsafe.Pointer
	word    uint64
}

func syncMapOf[V any](keys []upstream, value func() V) *sync.Map {
	m := new(sync.Map)
	for _, k := range keys {
		m.Store(k, value())
	}
	return m
}

type lockedMap struct {
	mu sync.RWMutex
	of map[upstream]*atomic.Int64
}

func newLockedMap(keys []upstream) *lockedMap {
	m := &lockedMap{of: make(map[upstream]*atomic.Int64)}
	for _, k := range keys {
		m.of[k] = new(atomic.Int64)
	}
	return m
}

func (m *lockedMap) find(key upstream) *atomic.Int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.of[key]
}

// registries are the peers by key: a sync.Map of breakers, since none has a registry that takes such keys.
type registries struct{ gobreaker, failsafe, gozero, aegis *sync.Map }

func newRegistries(keys []upstream) registries {
	return registries{
		gobreaker: syncMapOf(keys, func() *gobreaker.TwoStepCircuitBreaker[struct{}] {
			return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreakerSettings(true, 0.5))
		}),
		failsafe: syncMapOf(keys, func() circuitbreaker.CircuitBreaker[any] { return newFailsafe(0.5) }),
		gozero:   syncMapOf(keys, func() gozero.Breaker { return gozero.NewBreaker() }),
		aegis:    syncMapOf(keys, func() aegis.CircuitBreaker { return sre.NewBreaker() }),
	}
}

var registryLibraries = []string{"gobreaker", "failsafe-go", "go-zero", "aegis"} // of the contests

func (r registries) contests(c *calls) []*contest {
	return []*contest{
		{name: "sync.Map of gobreaker, TwoStepCircuitBreaker, rolling window", run: func(n int) {
			for range n {
				v, _ := r.gobreaker.Load(*c.next())
				done, err := v.(*gobreaker.TwoStepCircuitBreaker[struct{}]).Allow()
				if err != nil {
					passed(err)
				}
				done(nil)
			}
		}},
		{name: "sync.Map of failsafe-go, TryAcquirePermit and RecordSuccess", run: func(n int) {
			for range n {
				v, _ := r.failsafe.Load(*c.next())
				cb := v.(circuitbreaker.CircuitBreaker[any])
				if !cb.TryAcquirePermit() {
					passed(circuitbreaker.ErrOpen)
				}
				cb.RecordSuccess()
			}
		}},
		{name: "sync.Map of go-zero, Allow and Accept", run: func(n int) {
			for range n {
				v, _ := r.gozero.Load(*c.next())
				p, err := v.(gozero.Breaker).Allow()
				if err != nil {
					passed(err)
				}
				p.Accept()
			}
		}},
		{name: "sync.Map of aegis sre, Allow and MarkSuccess", run: func(n int) {
			for range n {
				v, _ := r.aegis.Load(*c.next())
				cb := v.(aegis.CircuitBreaker)
				if err := cb.Allow(); err != nil {
					passed(err)
				}
				cb.MarkSuccess()
			}
		}},
	}
}
