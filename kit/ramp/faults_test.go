package ramp

import (
	"errors"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
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
			faulttest.Put(t, set, fault.Rule{Point: "ramp.admit", Hang: &fault.Hang{}, For: 20 * time.Millisecond})
			began := time.Now()
			if _, err := r.Allow(Call{}); err != nil || time.Since(began) < 10*time.Millisecond {
				t.Error("it did not wait for the end of the rule:", err, time.Since(began))
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
