package tree

import (
	"math"
	"math/bits"
)

// key is a value in a form that the kernels compare: an unsigned integer in the order of the floats,
// as wide as the ensemble's precision. Neighbouring floats are neighbouring integers, -0 and +0 are
// one, and room is left beyond both infinities:
//
//	0 … key(-Inf) … key(+Inf) … ^0
//
// So x <= t is x < key(t)+1, and a missing value is 0 or ^0, below or above every threshold: no
// kernel knows of precisions, of NaN or of which way a node defaults.
type key interface{ uint32 | uint64 }

// keyOf converts a value other than NaN, rounded first if K is for Float32.
func keyOf[K key](x float64) K {
	if isNarrow[K]() {
		bits := int32(math.Float32bits(float32(x)))
		if bits < 0 {
			bits = math.MinInt32 - bits
		}
		return K(uint32(bits) ^ 1<<31)
	}
	bits := int64(math.Float64bits(x))
	if bits < 0 {
		bits = math.MinInt64 - bits
	}
	return K(uint64(bits) ^ 1<<63)
}

// isNarrow says whether K is for Float32; it is a constant to the compiler.
func isNarrow[K key]() bool { return uint64(^K(0)) == math.MaxUint32 }

// upperBound counts the thresholds, ascending and at least one, that are at most k. It does not
// branch on them: a misprediction costs more than the search.
func upperBound[K key](thresholds []K, k K) uint32 {
	base, n := 0, len(thresholds)
	for n > 1 {
		half := n >> 1
		base += half & reached(thresholds[base+half-1], k)
		n -= half
	}
	return uint32(base + 1&reached(thresholds[base], k))
}

// upperBounds is upperBound for each of a block's keys. Going step by step through all of them keeps
// the processor busy where one search would wait for its loads.
func upperBounds[K key](ranks *[word]uint32, thresholds []K, keys *[word]K) {
	clear(ranks[:])
	n := len(thresholds)
	for n > 1 {
		half := n >> 1
		step := thresholds[half-1:]
		for i, k := range keys {
			ranks[i] += uint32(half & reached(step[ranks[i]], k))
		}
		n -= half
	}
	for i, k := range keys {
		ranks[i] += uint32(1 & reached(thresholds[ranks[i]], k))
	}
}

// reached is all ones if k is at least the threshold and 0 otherwise.
func reached[K key](threshold, k K) int {
	_, below := bits.Sub64(uint64(k), uint64(threshold), 0)
	return int(below) - 1
}
