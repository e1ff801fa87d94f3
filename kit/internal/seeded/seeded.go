// Package seeded runs random tests so that a failure can be replayed. Only tests import it.
package seeded

import (
	"flag"
	"math/rand/v2"
	"testing"
)

var seedFlag = flag.Uint64("seed", 0, "replay a random test with this seed")

// Each runs test with count random seeds, or with that of the flag, and says how to replay a failure.
func Each(t *testing.T, count int, test func(t *testing.T, rnd *rand.Rand)) {
	t.Helper()
	for range count {
		seed := *seedFlag
		if seed == 0 {
			seed = rand.Uint64()
		}
		test(t, rand.New(rand.NewPCG(seed, 0)))
		if t.Failed() {
			t.Fatalf("replay with -run=%s -args -seed=%d", t.Name(), seed)
		}
	}
}
