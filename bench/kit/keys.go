package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// upstream is a key as a search service has it.
type upstream struct{ query, host string }

const manyKeys = 10_000

// newKeys returns n keys, no two of which share memory.
func newKeys(n int) []upstream {
	queries := []string{"full-text", "suggest", "vector", "facets", "by-id"}
	keys := make([]upstream, n)
	for i := range keys {
		keys[i] = upstream{strings.Clone(queries[i%len(queries)]), fmt.Sprintf("search-%d.internal:9200", i)}
	}
	return keys
}

// asked returns the same keys in other memory: a service that is asked does not have the strings of its table.
func asked(keys []upstream) []upstream {
	again := make([]upstream, len(keys))
	for i, k := range keys {
		again[i] = upstream{strings.Clone(k.query), strings.Clone(k.host)}
	}
	return again
}

// A sequence says which key is asked for when. It is long, so that neither a cache nor a branch predictor knows it.
const (
	sequenceLength = 1 << 21
	sequenceMask   = sequenceLength - 1
)

var accesses = []struct {
	name string
	draw func(r *rand.Rand) func() uint16
}{
	{"hot: one key of them", func(*rand.Rand) func() uint16 { return func() uint16 { return 4711 } }},
	{"Zipf, s = 1.1", func(r *rand.Rand) func() uint16 {
		z, place := rand.NewZipf(r, 1.1, 1, manyKeys-1), r.Perm(manyKeys)
		return func() uint16 { return uint16(place[z.Uint64()]) }
	}},
	{"uniform", func(r *rand.Rand) func() uint16 { return func() uint16 { return uint16(r.IntN(manyKeys)) } }},
}

func sequence(next func() uint16) []uint16 {
	s := make([]uint16, sequenceLength)
	for i := range s {
		s[i] = next()
	}
	return s
}
