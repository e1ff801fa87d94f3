package main

import (
	"context"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/pingcap/failpoint"
	gofail "go.etcd.io/gofail/runtime"
)

var benched = fault.Def{Name: "bench.call", Doc: "What is measured.", Attrs: []string{"tenant", "model"}, Effects: fault.Call}

// faults measures what a fault point costs a call that it does not strike. The peers are what gofail and failpoint
// compile into a call; both are meant for test builds, and know no attributes.
func (b *bench) faults() error {
	bare := &contest{name: "no point", run: func(n int) {
		for i := range n {
			sink(i)
		}
	}}
	// Each has a set of its own, so that no point is on that should be off.
	off := newPoint()
	missed := newPoint(fault.Rule{Where: map[string]string{"tenant": "acme"}, Error: &fault.Failure{}})
	pattern := newPoint(fault.Rule{Where: map[string]string{"tenant": "globex", "model": "loan-*"}, Error: &fault.Failure{}})
	struck := newPoint(fault.Rule{Error: &fault.Failure{}})
	var none *fault.Point
	gofailPoint := gofail.NewFailpoint("bench.call")
	contests := []*contest{
		bare,
		pointContest("kit/fault, off", off),
		pointContest("kit/fault, no set at all", none),
		{name: "gofail, off", run: func(n int) {
			for i := range n {
				if _, err := gofailPoint.Acquire(); err == nil {
					panic("bench/kit: struck")
				}
				sink(i)
			}
		}},
		{name: "failpoint, off", run: func(n int) {
			for i := range n {
				if _, err := failpoint.Eval("bench/call"); err == nil {
					panic("bench/kit: struck")
				}
				sink(i)
			}
		}},
		pointContest("kit/fault, a rule for another tenant", missed),
		pointContest("kit/fault, a rule that asks for two attributes", pattern),
		{name: "kit/fault, a rule that strikes", run: func(n int) {
			for i := range n {
				if err := struck.Hit(ctx, fault.Attr{Key: "tenant", Value: "globex"}, fault.Attr{Key: "model", Value: "card-1"}); err == nil {
					panic("bench/kit: not struck")
				}
				sink(i)
			}
		}},
	}
	b.compare("a call past a fault point", contests...)
	cost := func(c *contest) float64 { return median(c.ns) - median(bare.ns) }
	b.ceiling("a point that is off", cost(contests[1]), 2, " CPU-ns")
	b.ceiling("allocations of a point that is off", contests[1].allocs, 0.001, "")
	b.ceiling("a rule that does not match", cost(contests[5]), 40, " CPU-ns")
	b.ceiling("a rule that does not match, two attributes", cost(contests[6]), 40, " CPU-ns")
	b.ceiling("allocations of a rule that does not match", contests[6].allocs, 0.001, "")
	return nil
}

var ctx = context.Background()

func newPoint(rules ...fault.Rule) *fault.Point {
	set := must(fault.New(fault.DefaultConfig()))
	for _, r := range rules {
		r.ID, r.Point, r.For = "r", "bench.*", time.Hour
		passed(set.Put(fault.Admin, r))
	}
	return set.Point(benched)
}

func pointContest(name string, p *fault.Point) *contest {
	return &contest{name: name, run: func(n int) {
		for i := range n {
			if p.On() {
				passed(p.Hit(ctx, fault.Attr{Key: "tenant", Value: "globex"}, fault.Attr{Key: "model", Value: "card-1"}))
			}
			sink(i)
		}
	}}
}

// sink keeps a loop from being optimised away.
//
//go:noinline
func sink(int) {}
