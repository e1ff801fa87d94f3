package breaker

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

func faultyGroup(t *testing.T, set *fault.Set) (*Group[string], *Circuit, *clock.Manual) {
	t.Helper()
	m := clock.NewManual()
	g, err := New[string](DefaultPolicy(), WithFaults[string](set), WithClock[string](m.Clock()))
	if err != nil {
		t.Fatal(err)
	}
	c, err := g.Circuit("a")
	if err != nil {
		t.Fatal(err)
	}
	return g, c, m
}

var works = func(context.Context) error { return nil }

func TestEachPointStrikes(t *testing.T) {
	faulttest.Trip(t, map[string]func(t *testing.T, set *fault.Set){
		"breaker.allow": func(t *testing.T, set *fault.Set) {
			g, c, _ := faultyGroup(t, set)
			ways := map[string]func() error{
				"group allow":      func() error { p, err := g.Allow("a"); p.Release(); return err },
				"group allow call": func() error { p, err := g.AllowCall("a", Call{}); p.Release(); return err },
				"group do":         func() error { return g.Do(t.Context(), "a", works) },
				"allow call":       func() error { p, err := c.AllowCall(Call{}); p.Release(); return err },
				"do":               func() error { return c.Do(t.Context(), works) },
				"a new key":        func() error { g.Forget("b"); p, err := g.Allow("b"); p.Release(); return err },
				"a new key's do":   func() error { g.Forget("b"); return g.Do(t.Context(), "b", works) },
			}
			rejected := uint64(0)
			for name, way := range ways {
				faulttest.Put(t, set, fault.Rule{Point: "breaker.allow", Where: map[string]string{"circuit": "*"}, Error: &fault.Failure{RetryAfter: 7 * time.Second}})
				err := way()
				if r, ok := errors.AsType[*RejectedError](err); !ok || r.Reason != ReasonOpen || r.RetryAfter() != 7*time.Second || !errors.Is(err, ErrRejected) || !errors.Is(err, fault.ErrInjected) {
					t.Error(name, err)
				}
				faulttest.Put(t, set, fault.Rule{Point: "breaker.allow", Panic: &fault.Panicking{}})
				if !faulttest.Panics(t, func() { _ = way() }) {
					t.Error(name, "does not panic")
				}
				faulttest.Clear(t, set)
				if err := way(); err != nil {
					t.Error(name, err)
				}
			}
			faulttest.Put(t, set, fault.Rule{Point: "breaker.allow", Where: map[string]string{"circuit": "b"}, Error: &fault.Failure{}})
			if err := g.Do(t.Context(), "a", works); err != nil {
				t.Error(err)
			}
			if rejected = c.Snapshot().Counts.Rejected; rejected != 5 {
				t.Error(rejected, "were counted")
			}
			faulttest.Put(t, set, fault.Rule{Point: "breaker.allow", Error: &fault.Failure{}})
			if p, err := c.Allow(); err != nil {
				t.Error("the short way has no point:", err)
			} else {
				p.Done(Success)
			}
		},
		"breaker.done": func(t *testing.T, set *fault.Set) {
			g, c, m := faultyGroup(t, set)
			call := func() error { return g.Do(t.Context(), "a", works) }
			faulttest.Put(t, set, fault.Rule{Point: "breaker.done", Drop: &fault.Drop{}})
			for range 100 {
				if err := call(); err != nil {
					t.Fatal(err)
				}
			}
			p, err := g.Allow("a")
			if err != nil {
				t.Fatal(err)
			}
			p.Release()
			if s := c.Snapshot(); s.Counts != (Counts{Ignored: 1}) {
				t.Errorf("lost results were counted, or one that was none was lost: %+v", s.Counts)
			}
			faulttest.Put(t, set, fault.Rule{Point: "breaker.done", Count: 1, Panic: &fault.Panicking{}})
			if p, err = g.Allow("a"); err != nil {
				t.Fatal(err)
			}
			p.Done(Success)
			if s := c.Snapshot(); s.Counts != (Counts{Ignored: 1, Failures: 1}) {
				t.Errorf("a panic where a result is given is a failure: %+v", s.Counts)
			}
			faulttest.Put(t, set, fault.Rule{Point: "breaker.done", Where: map[string]string{"circuit": "a"}, Error: &fault.Failure{}})
			for range 1000 {
				m.Advance(time.Millisecond)
				if call() != nil {
					break
				}
			}
			if s := c.Snapshot(); s.State != Open {
				t.Errorf("failures that were made open nothing: %+v", s)
			}
			// A probe whose result is lost keeps its place until its time is over, and not for longer.
			faulttest.Put(t, set, fault.Rule{Point: "breaker.done", Drop: &fault.Drop{}})
			m.Advance(time.Hour)
			probes := 0
			for call() == nil {
				probes++
			}
			if probes != DefaultPolicy().Probes {
				t.Error(probes, "probes")
			}
			faulttest.Clear(t, set)
			m.Advance(time.Hour)
			for range 10_000 {
				m.Advance(10 * time.Millisecond)
				_ = call()
			}
			if s := c.Snapshot(); s.State != Closed {
				t.Errorf("it does not recover: %+v", s)
			}
		},
	})
}

func TestHangsEndWithTheContextOfTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := faulttest.New(t)
		g, c, _ := faultyGroup(t, set)
		faulttest.Put(t, set, fault.Rule{Point: "breaker.allow", Hang: &fault.Hang{}})
		for name, call := range map[string]func(ctx context.Context) error{
			"do":               func(ctx context.Context) error { return c.Do(ctx, works) },
			"group do":         func(ctx context.Context) error { return g.Do(ctx, "a", works) },
			"a new key's do":   func(ctx context.Context) error { return g.Do(ctx, "new", works) },
			"allow call":       func(ctx context.Context) error { p, err := c.AllowCall(Call{Ctx: ctx}); p.Release(); return err },
			"group allow call": func(ctx context.Context) error { p, err := g.AllowCall("a", Call{Ctx: ctx}); p.Release(); return err },
			"a new key": func(ctx context.Context) error {
				p, err := g.AllowCall("newer", Call{Ctx: ctx})
				p.Release()
				return err
			},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrRejected) || time.Since(began) != time.Second {
				t.Error(name, err, time.Since(began))
			}
			cancel()
		}
		faulttest.Clear(t, set)
		if s := c.Snapshot(); s.Counts != (Counts{Ignored: 4}) {
			t.Errorf("who was held and went away was not counted: %+v", s.Counts)
		}
	})
}

// TestResultThatIsHeldIsCountedAsItWas: a context that ends while a fault holds the result of a call changes nothing
// about that.
func TestResultThatIsHeldIsCountedAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := faulttest.New(t)
		g, c, _ := faultyGroup(t, set)
		faulttest.Put(t, set, fault.Rule{Point: "breaker.done", Hang: &fault.Hang{}})
		for _, do := range []func(ctx context.Context) error{
			func(ctx context.Context) error { return c.Do(ctx, works) },
			func(ctx context.Context) error { return g.Do(ctx, "a", works) },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			if err := do(ctx); err != nil || time.Since(began) != time.Second {
				t.Error(err, time.Since(began))
			}
			cancel()
		}
		faulttest.Clear(t, set)
		if s := c.Snapshot(); s.Counts != (Counts{Successes: 2}) {
			t.Errorf("%+v", s.Counts)
		}
	})
}

// TestNoClockIsReadUnderALock: a clock that is skewed passes a fault point, which tells an observer.
func TestNoClockIsReadUnderALock(t *testing.T) {
	random := newRand(t)
	policy := DefaultPolicy()
	policy.SlowAfter = time.Second
	policy.Conditions[0].MinRequests = 1
	m := clock.NewManual()
	var g *Group[int]
	reads := 0
	read := func() time.Duration {
		if reads++; g == nil {
			return 0
		}
		if !g.mu.TryLock() {
			t.Fatal("the clock is read under the group's lock")
		}
		defer g.mu.Unlock()
		g.each(func(e *entry[int]) {
			if !e.mu.TryLock() {
				t.Fatal("the clock is read under a circuit's lock")
			}
			e.mu.Unlock()
		})
		return 0
	}
	group, err := New(policy, WithClock[int](clock.Skewed(m.Clock(), read)), WithKeys[int](4))
	if err != nil {
		t.Fatal(err)
	}
	g = group
	opened := uint64(0)
	for range 10_000 {
		m.Advance(time.Duration(random.Int64N(int64(50 * time.Millisecond))))
		key := random.IntN(6)
		switch random.IntN(400) {
		case 0:
			g.Forget(key)
		case 1:
			if err := g.SetPolicy(policy); err != nil {
				t.Fatal(err)
			}
		case 2:
			if e := g.table.Load().find(key); e != nil {
				e.Trip("test")
				opened += e.Snapshot().Opened
			}
		case 3:
			m.Advance(time.Minute)
			g.Snapshot()
		case 4: // as many as read the meter
			for range burst {
				allowAndEnd(g, 0, Success)
			}
		case 5: // no room for a new key
			g.each(func(e *entry[int]) { e.Trip("test") })
			for key := range 6 {
				allowAndEnd(g, key, Success)
			}
		default:
			allowAndEnd(g, key, Outcome(random.IntN(4)))
		}
	}
	if s := g.Snapshot(); reads < 10_000 || opened == 0 || s.Evicted == 0 || s.Overflown == 0 {
		t.Error(reads, opened, s.Evicted, s.Overflown)
	}
}

func allowAndEnd(g *Group[int], key int, o Outcome) {
	if p, err := g.Allow(key); err == nil {
		p.Done(o)
	}
}

// TestStormOfFaultsLeavesTheCircuitWorking has many callers run into panics, errors, lost results, delays and hangs at
// both points, some of which only the end of the rule ends: when the storm is over the circuit recovers.
func TestStormOfFaultsLeavesTheCircuitWorking(t *testing.T) {
	random := newRand(t)
	synctest.Test(t, func(t *testing.T) { storm(t, random) })
}

func storm(t *testing.T, random *rand.Rand) {
	var mu sync.Mutex
	own := rand.New(rand.NewPCG(random.Uint64(), 0))
	locked := func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return own.Uint64()
	}
	set := faulttest.New(t, fault.WithRand(func() float64 { return float64(locked()>>11) / (1 << 53) }))
	g, err := New(DefaultPolicy(), WithFaults[int](set), WithKeys[int](4), WithRand[int](func() uint32 { return uint32(locked()) }))
	if err != nil {
		t.Fatal(err)
	}
	at := func(id, point string, p float64, r fault.Rule) {
		r.ID, r.Point, r.Probability = id, point, &p
		faulttest.Put(t, set, r)
	}
	at("delays", "breaker.*", 0.2, fault.Rule{Delay: &fault.Delay{Max: 3 * time.Millisecond}})
	at("drops", "breaker.*", 0.2, fault.Rule{Drop: &fault.Drop{}})
	at("panics", "breaker.*", 0.2, fault.Rule{Panic: &fault.Panicking{}})
	at("errors", "breaker.*", 0.2, fault.Rule{Error: &fault.Failure{}})
	over := make(chan struct{})
	var callers, janitor sync.WaitGroup
	janitor.Go(func() { // hangs begin and end all the time: Done knows no context
		for {
			at("hangs", "breaker.*", 0.1, fault.Rule{Hang: &fault.Hang{}})
			select {
			case <-over:
				return
			case <-time.After(200 * time.Millisecond):
			}
			if err := set.Remove(fault.Admin, "hangs"); err != nil {
				t.Error(err)
			}
		}
	})
	var passed, left atomic.Int64
	for i := range 8 {
		own := rand.New(rand.NewPCG(random.Uint64(), uint64(i)))
		callers.Go(func() {
			for range 500 {
				faulttest.Panics(t, func() {
					switch err := stormy(t, g, own); {
					case err == nil:
						passed.Add(1)
					case errors.Is(err, context.DeadlineExceeded):
						left.Add(1)
					case !errors.Is(err, ErrRejected):
						t.Error(err)
					}
				})
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	callers.Wait()
	close(over)
	janitor.Wait()
	if hits := faulttest.Hits(set, "breaker.done"); hits < 100 || passed.Load() < 100 || left.Load() < 10 {
		t.Error(hits, passed.Load(), left.Load())
	}
	faulttest.Clear(t, set)
	for range 100_000 {
		_ = g.Do(t.Context(), 1, works)
		time.Sleep(10 * time.Millisecond)
	}
	if c, err := g.Circuit(1); err != nil || c.Snapshot().State != Closed || c.probes != nil && len(c.probes.flying) != 0 {
		t.Error(c, err)
	}
}

// stormy makes one call.
func stormy(t *testing.T, g *Group[int], random *rand.Rand) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+random.IntN(100))*time.Millisecond)
	defer cancel()
	key := random.IntN(6)
	if random.IntN(2) == 0 {
		return g.Do(ctx, key, works)
	}
	p, err := g.AllowCall(key, Call{Ctx: ctx})
	if err != nil {
		return err
	}
	defer p.Release()
	if random.IntN(10) != 0 {
		p.Done(Outcome(random.IntN(4)))
	}
	return nil
}
