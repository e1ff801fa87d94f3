package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/go-kratos/aegis/circuitbreaker/sre"
	"github.com/sony/gobreaker/v2"
	gozero "github.com/zeromicro/go-zero/core/breaker"
)

// rejected compares calls that an open circuit refuses, and measures what a console costs. It has no bars.
func (b *bench) rejected() error {
	keys := newKeys(manyKeys)
	group := newGroup(staysOpen(), keys)
	key := asked(keys)[4711]
	circuit := must(group.Circuit(key))
	circuit.Trip("measured")
	contests := []*contest{
		{name: "kit/breaker by handle", run: func(n int) {
			for range n {
				_, err := circuit.Allow()
				refused(err != nil)
			}
		}},
		{name: "kit/breaker by key", run: func(n int) {
			for range n {
				_, err := group.Allow(key)
				refused(err != nil)
			}
		}},
	}
	b.compare("a call that an open circuit refuses", append(contests, rejectingPeers()...)...)

	snapshot := &contest{name: "Group.Snapshot", run: func(n int) {
		for range n {
			group.Snapshot()
		}
	}}
	b.takeTurns([]*contest{snapshot})
	fmt.Printf("\n      a snapshot of %d circuits: %.1f ms, %.0f CPU-ns a circuit\n", group.Len(), median(snapshot.ns)/1e6, median(snapshot.ns)/float64(group.Len()))
	return nil
}

// refused ends the bench when a call passed.
func refused(ok bool) {
	if !ok {
		panic("bench/kit: a call passed that must be refused")
	}
}

func rejectingPeers() []*contest {
	down := errors.New("down")
	settings := gobreakerSettings(true, 0.5)
	settings.Timeout = time.Hour
	two := gobreaker.NewTwoStepCircuitBreaker[struct{}](settings)
	for range 20 {
		done, err := two.Allow()
		passed(err)
		done(down)
	}
	open := circuitbreaker.NewBuilder[any]().WithDelay(time.Hour).Build()
	open.Open()
	executor := failsafe.With(open)
	call := func() error { return nil }
	zero, kratos := gozero.NewBreaker(), sre.NewBreaker()
	for range 1000 {
		if p, err := zero.Allow(); err == nil {
			p.Reject("down")
		}
		if kratos.Allow() == nil {
			kratos.MarkFailed()
		}
	}
	return []*contest{
		{name: "gobreaker, TwoStepCircuitBreaker", run: func(n int) {
			for range n {
				_, err := two.Allow()
				refused(err != nil)
			}
		}},
		{name: "failsafe-go, TryAcquirePermit", run: func(n int) {
			for range n {
				refused(!open.TryAcquirePermit())
			}
		}},
		{name: "failsafe-go, executor", run: func(n int) {
			for range n {
				refused(executor.Run(call) != nil)
			}
		}},
		{name: "go-zero, Allow, which lets some pass that then fail", run: func(n int) {
			for range n {
				if p, err := zero.Allow(); err == nil {
					p.Reject("down")
				}
			}
		}},
		{name: "aegis sre, Allow, which lets some pass that then fail", run: func(n int) {
			for range n {
				if kratos.Allow() == nil {
					kratos.MarkFailed()
				}
			}
		}},
	}
}
