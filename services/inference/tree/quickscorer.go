package tree

import "math/bits"

// leaf is the arithmetic of an ensemble's sums.
type leaf interface{ float32 | float64 }

// quickScorer scores one row at a time after Lucchese et al., "QuickScorer: a Fast Algorithm to Rank
// Documents with Additive Ensembles of Regression Trees" (SIGIR 2015).
//
// A tree is a bit mask of its leaves, in front-to-back order. A node that sends the row to its back
// child strikes the leaves of its front child; once all such nodes have struck, the first leaf left
// is the one the row ends in, in whatever order the nodes came. So the nodes are taken column by
// column in the order of their thresholds, where those that strike are neighbours and known from the
// row's rank alone, and no load depends on another.
//
// The paper always puts the left child in front. Here it is the child that rows are likelier to go
// to (see newQuickScorer), which saves a third of the strikes. A tree of more than 64 leaves takes
// several words.
type quickScorer[L leaf] struct {
	full    []uint64 // words before any strike
	columns []uint32 // by column: its first span
	spans   []span   // by column and rank: the strikes to make
	where   []uint16 // by strike: the word it takes leaves from
	masks   []uint64 // by strike: the leaves it does not take

	trees  []quickTree // in the order of summation
	values []L         // leaves, front to back, tree after tree
	simple bool        // one output, and no tree of more than one word
}

// span is a range of strikes.
type span struct{ from, to uint32 }

type quickTree struct {
	word   uint32 // its first word
	leaf   uint32 // its first leaf in values
	output uint32
}

// score adds a row's leaves to margins. ranks are the row's, by column; words is scratch.
func (q *quickScorer[L]) score(margins []L, ranks []uint32, words []uint64) {
	words = words[:len(q.full)]
	copy(words, q.full)
	for c, first := range q.columns {
		s := q.spans[first+ranks[c]]
		if s.from == s.to {
			continue // such as most columns of a one-hot encoding
		}
		strikeAll(words, q.where[s.from:s.to], q.masks[s.from:s.to])
	}
	if q.simple {
		margins[0] = q.sumSimple(margins[0], words)
		return
	}
	for i := range q.trees {
		t := &q.trees[i]
		w, first := t.word, t.leaf
		for words[w] == 0 {
			w++
			first += 64
		}
		margins[t.output] += q.values[first+uint32(bits.TrailingZeros64(words[w]))]
	}
}

// strikeAll is a function of its own so that its few variables stay in registers.
//
//go:noinline
func strikeAll(words []uint64, where []uint16, masks []uint64) {
	masks = masks[:len(where)]
	for i, w := range where {
		words[w] &= masks[i]
	}
}

// sumSimple adds the leaves of trees that are a word each to the one output.
func (q *quickScorer[L]) sumSimple(margin L, words []uint64) L {
	trees := q.trees[:len(words)]
	for i, w := range words {
		margin += q.values[trees[i].leaf+uint32(bits.TrailingZeros64(w))]
	}
	return margin
}
