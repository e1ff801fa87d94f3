package effect

import (
	"math"
	"math/rand/v2"
	"slices"
)

// claims tests all measures together by turning signs. Which window of a pair had the fault was drawn by lot. If the
// fault does nothing, the lot alone has given the pair's differences their sign, all measures' the same one, and each
// of the 2ⁿ ways in which the lots could have fallen was as likely. So the share of ways that give a more extreme
// result than the one at hand is the chance of that result, whatever noise made the differences.
type claims struct {
	scores [][]float64 // of each measure: the changes of its pairs, as they count
}

// add takes the next measure.
func (c *claims) add(changes []float64) { c.scores = append(c.scores, scored(changes)) }

// outlier is how many times the median change a change may count for.
const outlier = 1.5

// scored bounds what one window that went wrong weighs, and makes measures of different units comparable: the sum of
// the squares is 1. It looks at sizes only, never at signs, or the test would not be exact.
func scored(changes []float64) []float64 {
	var sizes []float64
	for _, v := range changes {
		if v != 0 {
			sizes = append(sizes, math.Abs(v))
		}
	}
	scores := make([]float64, len(changes))
	if len(sizes) == 0 {
		return scores
	}
	most := outlier * median(sizes)
	for i, v := range changes {
		scores[i] = max(-1, min(v/most, 1)) // in units of most: the squares of changes near 1e-300 or 1e300 would not do
	}
	squares := 0.0
	for _, v := range scores {
		squares += v * v
	}
	if squares == 0 {
		return scores
	}
	for i := range scores {
		scores[i] /= math.Sqrt(squares)
	}
	return scores
}

const (
	allSignsUpTo = 13     // pairs; 4096 ways
	someSigns    = 10_000 // ways that are drawn when there are more
)

// adjusted returns for each measure the chance that any measure would have come out as extreme as this one, if the
// fault did nothing (Westfall and Young's step-down of the largest statistic).
func (c *claims) adjusted() []float64 {
	order := make([]int, len(c.scores))
	seen := make([]float64, len(c.scores))
	for i, scores := range c.scores {
		order[i], seen[i] = i, turned(scores, 0)
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case seen[a] > seen[b]:
			return -1
		case seen[a] < seen[b]:
			return 1
		}
		return 0
	})
	reached := make([]int, len(order)) // ways in which the largest of order[i:] is as extreme as order[i]
	ways := 0
	for signs := range c.signs {
		ways++
		largest := 0.0
		for i := len(order) - 1; i >= 0; i-- {
			largest = max(largest, turned(c.scores[order[i]], signs))
			if largest >= seen[order[i]]-1e-9 {
				reached[i]++
			}
		}
	}
	p := make([]float64, len(order))
	least := 0.0
	for i, measure := range order {
		least = max(least, float64(reached[i])/float64(ways))
		p[measure] = least
	}
	return p
}

// signs yields ways to turn signs, as a bit a pair. The first turns none. Turning all gives what turning none does, so
// that the last pair's sign may stay.
func (c *claims) signs(yield func(uint64) bool) {
	pairs := 0
	if len(c.scores) > 0 {
		pairs = len(c.scores[0])
	}
	if pairs <= allSignsUpTo {
		for signs := range uint64(1) << max(pairs-1, 0) {
			if !yield(signs) {
				return
			}
		}
		return
	}
	// The same pairs give the same verdict each time. Bits are used again beyond 64 pairs, which is more than any plan has.
	random := rand.New(rand.NewPCG(uint64(pairs), 1))
	for i := range someSigns {
		signs := random.Uint64()
		if i == 0 {
			signs = 0
		}
		if !yield(signs) {
			return
		}
	}
}

// turned is the statistic of a measure: how far its scores agree in sign, 0 to √n.
func turned(scores []float64, signs uint64) float64 {
	sum := 0.0
	for i, v := range scores {
		if signs>>(i%64)&1 == 1 {
			v = -v
		}
		sum += v
	}
	return math.Abs(sum)
}
