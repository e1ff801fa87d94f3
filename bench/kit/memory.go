package main

import (
	"fmt"
	"runtime"

	"github.com/dougong-io/dougong/kit/breaker"
)

const mostBytes = 2 << 10 // a key

// memory measures what a key takes, and whether a churn of keys stays within the bound of a group.
func (b *bench) memory() error {
	const many, churned = 100_000, 1_000_000
	keys := newKeys(churned) // not counted: they are the caller's
	fmt.Printf("\nmemory\n")

	before := liveHeap()
	g := newGroup(breaker.DefaultPolicy(), keys[:many], breaker.WithKeys[upstream](many))
	perKey := float64(liveHeap()-before) / many
	b.ceiling(fmt.Sprintf("a key of %d, table included", g.Len()), perKey, mostBytes, " bytes")
	runtime.KeepAlive(g)
	g = nil

	before = liveHeap()
	g = newGroup(breaker.DefaultPolicy(), keys[:manyKeys])
	full, most := liveHeap()-before, int64(0)
	const step = 100_000
	churn := &contest{name: "a call to a key that is new, in a group that is full", n: step}
	for at := manyKeys; at+step <= churned; at += step {
		churn.run = func(n int) {
			for _, k := range keys[at : at+n] {
				p, err := g.Allow(k)
				if err != nil {
					passed(err)
				}
				p.Done(breaker.Success)
			}
		}
		churn.ns = append(churn.ns, float64(churn.measure())/step)
		most = max(most, liveHeap()-before)
	}
	s := g.Snapshot()
	fmt.Printf("      %s: %.0f CPU-ns, median of %d times %d; %d evicted, %d without a circuit\n", churn.name, median(churn.ns), len(churn.ns), step, s.Evicted, s.Overflown)
	fmt.Printf("      heap of the group when full %.1f MiB, at most %.1f MiB in the churn\n", float64(full)/(1<<20), float64(most)/(1<<20))
	b.ceiling("keys after the churn", float64(len(s.Circuits)), manyKeys, "")
	b.ceiling("a key in the churn, at most", float64(most)/manyKeys, mostBytes, " bytes")
	return nil
}

// liveHeap is what is left after a collection. The second one frees what the first one only found.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}
