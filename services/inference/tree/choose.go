package tree

import (
	"math"
	"slices"
)

// kernel is a way to score rows. See the type of the same name for how each works.
type kernel uint8

const (
	chosen kernel = iota // by cost
	quickKernel
	walkerKernel
	slicedKernel
)

// kernels says which kernels score an ensemble.
type kernels struct {
	row       kernel // for a single row: quickKernel or walkerKernel
	block     kernel // for many rows: slicedKernel, or walkerKernel for what scores a single row
	words     int    // in a slot of slicedKernel: 1 for Go, 2 for assembly
	blockFrom int    // the fewest rows for which a block of slicedKernel is worth its fixed cost
}

// size is what the costs of the kernels depend on.
type size struct {
	columns    int
	thresholds int // distinct, of all columns
	trees      int
	nodes      int     // inner nodes
	strikes    int     // at most, of quickScorer: nodes, times the words of the larger subtree below each
	deepest    int     // depth of the deepest leaf
	depth      float64 // sum over the trees of the mean depth of their leaves
	muxes      int     // of sliced
	wideLeaves bool    // the kernel in assembly may also add the leaves
}

// The costs are nanoseconds on a Zen 3 core: counts of instructions scaled to what the loan models
// take, and checked on random ensembles of 4 to 1,000 leaves, 20 to 500 trees and 8 to 50 features.
// Only their ratios matter, and a wrong choice between neighbours costs little.

// quickCost is that of a row: the search in each column, about a third of the nodes struck, and a
// leaf from each tree.
func (s *size) quickCost() float64 {
	return 15*float64(s.columns) + 0.28*float64(s.strikes) + 1.3*float64(s.trees)
}

// walkerCost is that of a row: the search in each column, and a step for each level.
func (s *size) walkerCost() float64 {
	return 15*float64(s.columns) + 4*float64(s.trees) + 2*s.depth
}

// slicedCost is that of a block, however many rows are in it.
func (s *size) slicedCost(words int) float64 {
	switch {
	case words == 1:
		return 200*float64(s.columns) + float64(s.thresholds) + 1.9*float64(s.muxes) + 140*float64(s.trees)
	case s.wideLeaves:
		return 0.9*float64(s.muxes) + 4.2*float64(s.thresholds) + 38*float64(s.trees)
	default:
		return 400*float64(s.columns) + 2*float64(s.thresholds) + 0.9*float64(s.muxes) + 240*float64(s.trees)
	}
}

// Beyond these, quickScorer is not built whatever it would cost to use: a chain of n nodes takes n²/128 strikes,
// and laying a tree out goes one level of the stack deeper for each of its own.
const (
	maxStrikes    = 4 // for each node
	maxQuickDepth = 1000
)

// chooseRow settles the kernel for single rows.
func (k *kernels) chooseRow(s *size) {
	if k.row != chosen {
		return
	}
	k.row = quickKernel
	if s.walkerCost() < s.quickCost() || s.trees+s.nodes/word > math.MaxUint16 || s.strikes > maxStrikes*s.nodes || s.deepest > maxQuickDepth {
		k.row = walkerKernel
	}
}

// chooseBlock settles from how many rows on sliced, which fits, is used.
func (k *kernels) chooseBlock(s *size) {
	if k.block == slicedKernel || s.trees == 0 {
		return
	}
	row := s.quickCost()
	if k.row == walkerKernel {
		row = s.walkerCost()
	}
	k.blockFrom = int(math.Ceil(s.slicedCost(k.words) / row))
	if k.blockFrom <= k.words*word {
		k.block = slicedKernel
	}
}

// sizeOf measures an ensemble; what concerns sliced is left to the caller.
func sizeOf[K key](e *Ensemble, columns []column[K]) size {
	s := size{columns: len(columns), trees: len(e.Trees)}
	for i := range columns {
		s.thresholds += len(columns[i].thresholds)
	}
	for t := range e.Trees {
		nodes := e.Trees[t].Nodes
		order := reachable(nodes)
		depth := make([]int, len(nodes))
		sum := 0
		for _, i := range order {
			if n := &nodes[i]; n.Split == Leaf {
				sum += depth[i]
				s.deepest = max(s.deepest, depth[i])
			} else {
				s.nodes++
				depth[n.Left], depth[n.Right] = depth[i]+1, depth[i]+1
			}
		}
		leaves := depth // its use is over; children come after their parents in order
		for _, i := range slices.Backward(order) {
			n := &nodes[i]
			if n.Split == Leaf {
				leaves[i] = 1
				continue
			}
			leaves[i] = leaves[n.Left] + leaves[n.Right]
			s.strikes += (max(leaves[n.Left], leaves[n.Right]) + word - 1) / word
		}
		s.depth += float64(sum) / float64((len(order)+1)/2)
	}
	return s
}
