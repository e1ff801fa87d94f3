package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/clock"
)

// failEvery is the pattern: of four calls three fail.
const failEvery = 4

// failing measures a call that fails, in a circuit that looks hard at each failure and never opens: three of four calls
// fail, and 99 % would be too many. What is measured is the mixture; the share of the successes, as measured beside it
// in a circuit of the same policy, is taken off. The clock is moved on by a bucket between slices, so that all of the
// 60 buckets have calls.
func (b *bench) failing() error {
	policies := []struct {
		name   string
		policy breaker.Policy
	}{{"", breaker.DefaultPolicy()}, {", each call counted", eachCounted()}}
	var contests []*contest
	var circuits []*breaker.Circuit
	for _, p := range policies {
		p.policy.Conditions[0].Above = 0.99
		good, failing := newFilled(p.policy), newFilled(p.policy)
		circuits = append(circuits, good.circuit, failing.circuit)
		contests = append(contests,
			&contest{name: "kit/breaker, every call succeeds" + p.name, run: succeedBy(good.circuit), before: good.nextBucket},
			&contest{name: "kit/breaker, 3 of 4 fail" + p.name, run: failing.run, before: failing.nextBucket})
	}
	contests = append(contests, failingPeers()...)
	b.compare("calls of which three of four fail, in a circuit that does not open", contests...)
	for _, c := range circuits {
		if s := c.Snapshot(); s.State != breaker.Closed || s.Requests < 1000 {
			return fmt.Errorf("the circuit is %v and counted %.0f calls: that measured something else", s.State, s.Requests)
		}
	}
	for i, p := range policies {
		b.ceiling("a failing call alone"+p.name, failure(contests[2*i+1], contests[2*i]), 150, " CPU-ns")
	}
	return nil
}

// failure is the median of (mixture - share of successes × success) / share of failures.
func failure(mixture, success *contest) float64 {
	const good = 1.0 / failEvery
	alone := make([]float64, len(mixture.ns))
	for i := range alone {
		alone[i] = (mixture.ns[i] - good*success.ns[i]) / (1 - good)
	}
	return median(alone)
}

// filled is a circuit whose window is full.
type filled struct {
	clock   *clock.Manual
	circuit *breaker.Circuit
	calls   uint
}

func newFilled(p breaker.Policy) *filled {
	manual := clock.NewManual()
	g := must(breaker.New(p, breaker.WithClock[upstream](manual.Clock())))
	f := &filled{clock: manual, circuit: must(g.Circuit(upstream{"full-text", "search-1.internal:9200"}))}
	for range 2 * breaker.Buckets {
		f.nextBucket()
		f.run(10_000)
	}
	return f
}

func (f *filled) nextBucket() { f.clock.Advance(30 * time.Second / breaker.Buckets) }

func (f *filled) run(n int) {
	for range n {
		p, err := f.circuit.Allow()
		if err != nil {
			passed(err)
		}
		if f.calls++; f.calls%failEvery == 0 {
			p.Done(breaker.Success)
		} else {
			p.Done(breaker.Failure)
		}
	}
}

// failingPeers are those whose threshold can be set so that they do not open.
func failingPeers() []*contest {
	failure := errors.New("down")
	rolling := gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreakerSettings(true, 0.99))
	cb := newFailsafe(0.99)
	return []*contest{
		{name: "gobreaker, TwoStepCircuitBreaker, rolling window, 3 of 4 fail", run: func(n int) {
			for i := range n {
				done, err := rolling.Allow()
				if err != nil {
					passed(err)
				}
				if i%failEvery == 0 {
					done(nil)
				} else {
					done(failure)
				}
			}
		}},
		{name: "failsafe-go, TryAcquirePermit, 3 of 4 RecordFailure", run: func(n int) {
			for i := range n {
				if !cb.TryAcquirePermit() {
					passed(errors.New("open"))
				}
				if i%failEvery == 0 {
					cb.RecordSuccess()
				} else {
					cb.RecordFailure()
				}
			}
		}},
	}
}
