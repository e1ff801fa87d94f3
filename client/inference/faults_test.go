package inferenceclient

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

func TestEachPointStrikes(t *testing.T) {
	faulttest.Trip(t, map[string]func(t *testing.T, set *fault.Set){
		"inferenceclient.attempt": func(t *testing.T, set *fault.Set) {
			cfg := calm()
			cfg.Hedge.After = time.Second
			c, stubs := withStubs(t, cfg, []Option{WithFaults(set)}, succeeding, succeeding)
			for _, f := range []struct {
				rule     fault.Rule
				want     error
				attempts int
			}{
				{fault.Rule{Error: &fault.Failure{}}, ErrUnavailable, 3},
				{fault.Rule{Error: &fault.Failure{HTTPStatus: 400}}, ErrInvalid, 1},
				{fault.Rule{Error: &fault.Failure{HTTPStatus: 503}}, ErrOverloaded, 3},
				{fault.Rule{Error: &fault.Failure{GRPCStatus: "NOT_FOUND"}}, ErrNotFound, 1},
				{fault.Rule{Panic: &fault.Panicking{}}, ErrUnavailable, 3},
			} {
				f.rule.Point = "inferenceclient.attempt"
				faulttest.Put(t, set, f.rule)
				_, err := c.Infer(t.Context(), request())
				if failed, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, f.want) || !errors.Is(err, fault.ErrInjected) || failed.Attempts != f.attempts {
					t.Errorf("%+v: %v", f.rule, err)
				}
			}
			faulttest.Put(t, set, fault.Rule{Point: "inferenceclient.attempt", Count: 1, Error: &fault.Failure{}})
			if r, err := c.Infer(t.Context(), request()); err != nil || r.Attempts != 2 {
				t.Error(r, err)
			}
			if n := stubs[0].n.Load() + stubs[1].n.Load(); n != 1 {
				t.Errorf("%d attempts came through", n)
			}
		},
	})
}

func TestAttemptThatAFaultHoldsEndsWithTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := faulttest.New(t)
		defer set.Close()
		faulttest.Put(t, set, fault.Rule{Point: "inferenceclient.attempt", Hang: &fault.Hang{}})
		c, _ := withStubs(t, calm(), []Option{WithFaults(set)}, succeeding)
		begun := time.Now()
		if _, err := c.Infer(t.Context(), request()); !errors.Is(err, ErrDeadline) || time.Since(begun) != DefaultConfig().Timeout {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}
