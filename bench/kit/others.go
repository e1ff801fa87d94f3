package main

import (
	"context"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/failsafe-go/failsafe-go/bulkhead"
	failsafefallback "github.com/failsafe-go/failsafe-go/fallback"

	"github.com/dougong-io/dougong/kit/fallback"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/ramp"
)

// others measures the ways of kit's other packages that every call takes, for orientation: there are no bars.
func (b *bench) others() error {
	ctx := context.Background()
	full := must(ramp.New(ramp.DefaultConfig()))
	caller := ramp.Call{Hash: ramp.HashString("user-4711")}
	b.compare("kit/ramp", &contest{name: "Allow in Full, and Done", run: func(n int) {
		for range n {
			p, err := full.Allow(caller)
			if err != nil {
				passed(err)
			}
			p.Done(true)
		}
	}})

	f := must(fallback.New[upstream, int](fallback.DefaultConfig()))
	key := newKeys(1)[0]
	answer := func(context.Context) (int, error) { return 42, nil }
	executor := failsafe.With[int](failsafefallback.NewWithResult(7))
	call := func() (int, error) { return 42, nil }
	b.compare("a call that succeeds, with a fallback",
		&contest{name: "kit/fallback, which keeps the answer as the last good one", run: func(n int) {
			for range n {
				if _, err := f.Do(ctx, key, answer); err != nil {
					passed(err)
				}
			}
		}},
		&contest{name: "failsafe-go, executor with a constant fallback", run: func(n int) {
			for range n {
				if _, err := executor.Get(call); err != nil {
					passed(err)
				}
			}
		}})

	adaptive := limit.DefaultAdaptive()
	config := limit.DefaultConfig()
	fixed := must(limit.New(config))
	config.Adaptive = &adaptive
	finding := must(limit.New(config))
	take := func(l *limit.Limit) func(int) {
		return func(n int) {
			for range n {
				p, err := l.Acquire(ctx)
				if err != nil {
					passed(err)
				}
				p.Done()
			}
		}
	}
	theirs := adaptivelimiter.NewBuilder[any]().Build()
	wall := bulkhead.New[any](64)
	b.compare("a slot taken and given back",
		&contest{name: "kit/limit, Acquire and Done", run: take(fixed)},
		&contest{name: "kit/limit, adaptive", run: take(finding)},
		&contest{name: "kit/limit, Admit with a deadline, Start and Done", run: func(n int) {
			deadline := time.Now().Add(time.Hour)
			for range n {
				p, err := fixed.Admit(deadline)
				if err == nil {
					err = p.Start(ctx)
				}
				if err != nil {
					passed(err)
				}
				p.Done()
			}
		}},
		&contest{name: "failsafe-go, bulkhead, which has no queue", run: func(n int) {
			for range n {
				if !wall.TryAcquirePermit() {
					passed(bulkhead.ErrFull)
				}
				wall.ReleasePermit()
			}
		}},
		&contest{name: "failsafe-go, adaptivelimiter, AcquirePermit and Record", run: func(n int) {
			for range n {
				p, err := theirs.AcquirePermit(ctx)
				if err != nil {
					passed(err)
				}
				p.Record()
			}
		}})
	return nil
}
