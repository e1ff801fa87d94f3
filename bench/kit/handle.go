package main

import (
	"math"

	"github.com/dougong-io/dougong/kit/breaker"
)

// handle compares one allowed call that succeeds, to one key.
func (b *bench) handle() error {
	keys := newKeys(manyKeys)
	key := asked(keys)[4711]
	sampled, every := newGroup(breaker.DefaultPolicy(), keys), newGroup(eachCounted(), keys)
	byHandle := &contest{name: "kit/breaker by handle", run: succeedBy(must(sampled.Circuit(key)))}
	byKey := &contest{name: "kit/breaker by key", run: succeedByKey(sampled, key)}
	byHandleEach := &contest{name: "kit/breaker by handle, each call counted", run: succeedBy(must(every.Circuit(key)))}
	byKeyEach := &contest{name: "kit/breaker by key, each call counted", run: succeedByKey(every, key)}
	others := peerContests()
	b.compare("a call that is allowed and succeeds, one key", append([]*contest{byHandle, byHandleEach, byKey, byKeyEach}, others...)...)

	b.ceiling("by handle", median(byHandle.ns), 15, " CPU-ns")
	b.ceiling("by handle, each call counted", median(byHandleEach.ns), 15, " CPU-ns")
	b.ceiling("allocations of all four", math.Floor(100*max(byHandle.allocs, byKey.allocs, byHandleEach.allocs, byKeyEach.allocs))/100, 0, "")
	var libraries []string
	for _, p := range peers {
		libraries = append(libraries, p.library)
	}
	for _, bar := range peerBars {
		b.floor("hot key by handle, against the cheapest way of "+bar.library, cheapest(others, libraries, bar.library, byHandle), bar.times, "×")
		b.note("by key, while the other looks up none", cheapest(others, libraries, bar.library, byKey), "×")
	}
	return nil
}

// peerBars are for the hot key: how many times as much as ours a call must cost with others.
var peerBars = []struct {
	library string
	times   float64
}{{"gobreaker", 5}, {"failsafe-go", 4}, {"go-zero", 12}, {"aegis", 12}}

// cheapest is how many times as much as ours the cheapest way of a library takes. libraries are those of the others.
func cheapest(others []*contest, libraries []string, library string, ours *contest) float64 {
	least := math.Inf(1)
	for i, of := range libraries {
		if of == library {
			least = min(least, ratio(others[i], ours))
		}
	}
	return least
}
