package ramp

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"

	"github.com/dougong-io/dougong/kit/internal/seeded"
)

func TestEachPointStrikes(t *testing.T) {
	faulttest.Trip(t, map[string]func(t *testing.T, set *fault.Set){
		"ramp.admit": func(t *testing.T, set *fault.Set) {
			r, err := New(DefaultConfig(), WithFaults(set))
			if err != nil {
				t.Fatal(err)
			}
			faulttest.Put(t, set, fault.Rule{Point: "ramp.admit", Where: map[string]string{"stage": "full", "marked": "false"}, Error: &fault.Failure{RetryAfter: 7 * time.Second}})
			_, err = r.Allow(Call{})
			if rejected, ok := errors.AsType[*RejectedError](err); !ok || rejected.RetryAfter != 7*time.Second || !errors.Is(err, ErrRejected) || !errors.Is(err, fault.ErrInjected) {
				t.Error(err)
			}
			if _, err := r.Allow(Call{Marked: true}); err != nil {
				t.Error(err)
			}
			faulttest.Put(t, set, fault.Rule{Point: "ramp.admit", Panic: &fault.Panicking{}})
			if !faulttest.Panics(t, func() { _, _ = r.Allow(Call{}) }) {
				t.Error("no panic")
			}
			faulttest.Clear(t, set)
			p, err := r.Allow(Call{})
			if err != nil {
				t.Fatal(err)
			}
			p.Done(true)
			if got := r.Status().Rejected; got != 1 {
				t.Error(got, "were counted")
			}
		},
	})
}

func TestHangEndsWithTheContextOfTheCallOrWithItsRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := faulttest.New(t)
		r, err := New(DefaultConfig(), WithFaults(set))
		if err != nil {
			t.Fatal(err)
		}
		hang := fault.Rule{Point: "ramp.admit", Hang: &fault.Hang{}, For: time.Minute}
		faulttest.Put(t, set, hang)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := r.Allow(Call{Ctx: ctx}); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrRejected) || time.Since(began) != time.Second {
			t.Error(err, time.Since(began))
		}
		faulttest.Put(t, set, hang)
		began = time.Now()
		if _, err := r.Allow(Call{}); err != nil || time.Since(began) != time.Minute {
			t.Error("it did not wait for the end of the rule:", err, time.Since(began))
		}
		if got := r.Status().Rejected; got != 0 {
			t.Error(got, "were counted as rejected")
		}
		faulttest.Clear(t, set)
	})
}

// TestNoClockIsReadUnderTheLock: a clock that is skewed passes a fault point, which tells an observer.
func TestNoClockIsReadUnderTheLock(t *testing.T) {
	seeded.Each(t, 3, func(t *testing.T, rnd *rand.Rand) {
		m := clock.NewManual()
		var r *Ramp
		read := func() time.Duration {
			if r != nil {
				if !r.mu.TryLock() {
					t.Fatal("the clock is read under the lock")
				}
				r.mu.Unlock()
			}
			return 0
		}
		made, err := New(simple(), WithClock(clock.Skewed(m.Clock(), read)))
		if err != nil {
			t.Fatal(err)
		}
		r = made
		seen := make(map[Stage]bool)
		for range 10_000 {
			m.Advance(time.Duration(rnd.Int64N(int64(time.Second))))
			seen[r.state.Load().stage] = true
			switch rnd.IntN(300) {
			case 0:
				r.Fall(errDown)
			case 1:
				if err := r.SetConfig(simple()); err != nil {
					t.Fatal(err)
				}
			case 2:
				r.Status()
			default:
				if p, err := r.Allow(Call{Marked: rnd.IntN(2) == 0}); err == nil {
					p.Done(rnd.IntN(20) != 0)
				}
			}
		}
		if len(seen) != 4 {
			t.Error(seen)
		}
	})
}
