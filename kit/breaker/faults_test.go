package breaker

import (
	"context"
	"errors"
	"sync"
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
			if !faulttest.Panics(t, func() { _ = call() }) {
				t.Error("no panic")
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

func TestDoHangsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := faulttest.New(t)
		g, c, _ := faultyGroup(t, set)
		faulttest.Put(t, set, fault.Rule{Point: "breaker.allow", Hang: &fault.Hang{}})
		for _, do := range []func(ctx context.Context) error{
			func(ctx context.Context) error { return c.Do(ctx, works) },
			func(ctx context.Context) error { return g.Do(ctx, "a", works) },
			func(ctx context.Context) error { return g.Do(ctx, "new", works) },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			if err := do(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrRejected) || time.Since(began) != time.Second {
				t.Error(err, time.Since(began))
			}
			cancel()
		}
		faulttest.Clear(t, set)
	})
}

// TestStormOfFaultsLeavesTheCircuitWorking has many callers run into panics, errors, lost results and delays at both
// points: when the storm is over the circuit recovers.
func TestStormOfFaultsLeavesTheCircuitWorking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := faulttest.New(t)
		g, err := New[int](DefaultPolicy(), WithFaults[int](set), WithKeys[int](4))
		if err != nil {
			t.Fatal(err)
		}
		at := func(id string, p float64, r fault.Rule) {
			r.ID, r.Point, r.Probability = id, "breaker.*", &p
			faulttest.Put(t, set, r)
		}
		at("delays", 0.2, fault.Rule{Delay: &fault.Delay{Max: 3 * time.Millisecond}})
		at("drops", 0.2, fault.Rule{Drop: &fault.Drop{}})
		at("panics", 0.2, fault.Rule{Panic: &fault.Panicking{}})
		at("errors", 0.2, fault.Rule{Error: &fault.Failure{}})
		var callers sync.WaitGroup
		for i := range 8 {
			callers.Go(func() {
				for n := range 500 {
					faulttest.Panics(t, func() { _ = g.Do(t.Context(), (i+n)%6, works) })
					time.Sleep(50 * time.Millisecond)
				}
			})
		}
		callers.Wait()
		if hits := faulttest.Hits(set, "breaker.done"); hits < 100 {
			t.Error(hits)
		}
		faulttest.Clear(t, set)
		for range 100_000 {
			_ = g.Do(t.Context(), 1, works)
			time.Sleep(10 * time.Millisecond)
		}
		if c, err := g.Circuit(1); err != nil || c.Snapshot().State != Closed {
			t.Error(c, err)
		}
	})
}
