package main

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/afex/hystrix-go/hystrix"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/go-kratos/aegis/circuitbreaker/sre"
	"github.com/sony/gobreaker/v2"
	"github.com/zeromicro/go-zero/core/breaker"

	aegis "github.com/go-kratos/aegis/circuitbreaker"
)

// The peers are configured as our default policy is, as far as they can be: more than half of at least 20 calls in 30 s
// open them for 5 s. go-zero has no configuration and aegis no threshold; both keep their defaults of 40 buckets in
// 10 s and 10 buckets in 3 s.

// gobreakerSettings are for a rolling window of 60 buckets, as ours has, or for gobreaker's usual window, which begins
// anew every 30 s.
func gobreakerSettings(rolling bool, above float64) gobreaker.Settings {
	s := gobreaker.Settings{
		MaxRequests: 1,
		Interval:    30 * time.Second,
		Timeout:     5 * time.Second,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.Requests >= 20 && float64(c.TotalFailures) > above*float64(c.Requests)
		},
	}
	if rolling {
		s.BucketPeriod = 500 * time.Millisecond
	}
	return s
}

func newFailsafe(above float64) circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(above, 20, 30*time.Second).
		WithDelay(5 * time.Second).WithSuccessThreshold(3).Build()
}

// peer is a way in which another library is used for a call that succeeds. make returns it with state of its own.
type peer struct {
	name    string
	library string
	make    func() func(n int)
}

var peers = []peer{
	{"gobreaker, TwoStepCircuitBreaker, rolling window", "gobreaker", func() func(int) { return twoStep(gobreakerSettings(true, 0.5)) }},
	{"gobreaker, TwoStepCircuitBreaker, window that begins anew", "gobreaker", func() func(int) { return twoStep(gobreakerSettings(false, 0.5)) }},
	{"gobreaker, Execute, window that begins anew", "gobreaker", func() func(int) {
		cb := gobreaker.NewCircuitBreaker[struct{}](gobreakerSettings(false, 0.5))
		call := func() (struct{}, error) { return struct{}{}, nil }
		return func(n int) {
			for range n {
				if _, err := cb.Execute(call); err != nil {
					passed(err)
				}
			}
		}
	}},
	{"failsafe-go, TryAcquirePermit and RecordSuccess", "failsafe-go", func() func(int) {
		cb := newFailsafe(0.5)
		return func(n int) {
			for range n {
				if !cb.TryAcquirePermit() {
					passed(circuitbreaker.ErrOpen)
				}
				cb.RecordSuccess()
			}
		}
	}},
	{"failsafe-go, executor", "failsafe-go executor", func() func(int) {
		executor := failsafe.With(newFailsafe(0.5))
		call := func() error { return nil }
		return func(n int) {
			for range n {
				if err := executor.Run(call); err != nil {
					passed(err)
				}
			}
		}
	}},
	{"go-zero, Allow and Accept", "go-zero", func() func(int) {
		cb := breaker.NewBreaker()
		return func(n int) {
			for range n {
				p, err := cb.Allow()
				if err != nil {
					passed(err)
				}
				p.Accept()
			}
		}
	}},
	{"go-zero, Do", "go-zero", func() func(int) {
		cb := breaker.NewBreaker()
		call := func() error { return nil }
		return func(n int) {
			for range n {
				if err := cb.Do(call); err != nil {
					passed(err)
				}
			}
		}
	}},
	{"aegis sre, Allow and MarkSuccess", "aegis", func() func(int) {
		return func(cb aegis.CircuitBreaker) func(int) {
			return func(n int) {
				for range n {
					if err := cb.Allow(); err != nil {
						passed(err)
					}
					cb.MarkSuccess()
				}
			}
		}(sre.NewBreaker())
	}},
	{"hystrix-go, Do", "hystrix-go", func() func(int) {
		name := fmt.Sprintf("command-%d", commands.Add(1))
		hystrix.ConfigureCommand(name, hystrix.CommandConfig{MaxConcurrentRequests: 100_000, Timeout: 60_000, ErrorPercentThreshold: 50})
		call := func() error { return nil }
		return func(n int) {
			for range n {
				if err := hystrix.Do(name, call, nil); err != nil {
					passed(err)
				}
			}
		}
	}},
}

var commands atomic.Int64 // of hystrix-go, which keeps them by name

func twoStep(s gobreaker.Settings) func(n int) {
	cb := gobreaker.NewTwoStepCircuitBreaker[struct{}](s)
	return func(n int) {
		for range n {
			done, err := cb.Allow()
			if err != nil {
				passed(err)
			}
			done(nil)
		}
	}
}

// peerContests returns a contestant for each way.
func peerContests() []*contest {
	var of []*contest
	for _, p := range peers {
		of = append(of, &contest{name: p.name, run: p.make()})
	}
	return of
}
