package tree

import (
	"cmp"
	"math"
	"slices"
)

// newQuickScorer lays out the trees of a valid ensemble.
func newQuickScorer[K key, L leaf](e *Ensemble, columns []column[K], splits [][]split) *quickScorer[L] {
	q := &quickScorer[L]{simple: e.Outputs == 1}
	likely := likelyHigh(e, columns, splits)
	var nodes []quickNode
	for t := range e.Trees {
		b := quickTreeBuilder{
			nodes: e.Trees[t].Nodes, splits: splits[t], likelyHigh: likely, firstWord: len(q.full), out: nodes,
		}
		q.trees = append(q.trees, quickTree{
			word: uint32(len(q.full)), leaf: uint32(len(q.values)), output: uint32(e.Trees[t].Output),
		})
		b.place(0)
		for _, i := range b.order {
			q.values = append(q.values, L(e.Trees[t].Nodes[i].Value))
		}
		for left := len(b.order); left > 0; left -= 64 {
			q.full = append(q.full, rangeMask(0, min(left, 64)))
		}
		q.simple = q.simple && len(b.order) <= 64
		nodes = b.out
	}
	thresholds := make([]int, len(columns))
	for c := range columns {
		thresholds[c] = len(columns[c].thresholds)
	}
	q.layOut(nodes, thresholds)
	return q
}

// likelyHigh estimates, for each position of each column, whether more rows lie above it than below.
//
// A model file does not say how values are distributed, but trees split where the rows are: of the
// leaves below a node, those on the left tell of the rows below its threshold. One node says little,
// being deep in some corner, so 80 neighbours in the column are summed. A row of the loan model then
// takes 2,130 strikes; with the left child always in front it takes 3,140, and choosing with the
// rows at hand 1,900. A wrong guess costs time, not correctness.
func likelyHigh[K key](e *Ensemble, columns []column[K], splits [][]split) [][]bool {
	const neighbours = 40 // on each side
	type vote struct{ position, left, right uint32 }
	votes := make([][]vote, len(columns))
	for t := range e.Trees {
		nodes := e.Trees[t].Nodes
		counts := leafCounts(nodes)
		for _, i := range reachable(nodes) {
			if n := &nodes[i]; n.Split != Leaf {
				s := splits[t][i]
				votes[s.column] = append(votes[s.column], vote{s.position, counts[n.Left], counts[n.Right]})
			}
		}
	}
	likely := make([][]bool, len(columns))
	for c, list := range votes {
		likely[c] = make([]bool, len(columns[c].thresholds))
		slices.SortFunc(list, func(a, b vote) int { return cmp.Compare(a.position, b.position) })
		var left, right, from, to uint64
		for i, v := range list {
			for ; to < uint64(min(i+neighbours+1, len(list))); to++ {
				left += uint64(list[to].left)
				right += uint64(list[to].right)
			}
			for ; from+neighbours < uint64(i); from++ {
				left -= uint64(list[from].left)
				right -= uint64(list[from].right)
			}
			likely[c][v.position] = right > left
		}
	}
	return likely
}

// leafCounts counts the leaves of each node's subtree.
func leafCounts(nodes []Node) []uint32 {
	counts := make([]uint32, len(nodes))
	for _, i := range slices.Backward(reachable(nodes)) {
		if n := &nodes[i]; n.Split == Leaf {
			counts[i] = 1
		} else {
			counts[i] = counts[n.Left] + counts[n.Right]
		}
	}
	return counts
}

// quickNode is an inner node in the making, or the part of one that concerns one word.
type quickNode struct {
	split
	high bool // strikes if rank > position, else if rank <= position
	word uint16
	mask uint64
}

// quickTreeBuilder puts one tree's leaves in order and collects its inner nodes.
type quickTreeBuilder struct {
	nodes      []Node
	splits     []split
	likelyHigh [][]bool
	firstWord  int
	order      []int32 // leaves, front to back
	out        []quickNode
}

// place appends the subtree's leaves to order and its inner nodes to out.
func (b *quickTreeBuilder) place(i int32) {
	n := &b.nodes[i]
	if n.Split == Leaf {
		b.order = append(b.order, i)
		return
	}
	s := b.splits[i]
	front, back := n.Left, n.Right
	high := !b.likelyHigh[s.column][s.position]
	if !high {
		front, back = back, front
	}
	from := len(b.order)
	b.place(front)
	to := len(b.order)
	for at := from; at < to; at = (at/64 + 1) * 64 {
		word := at / 64
		b.out = append(b.out, quickNode{
			split: s,
			high:  high,
			word:  uint16(b.firstWord + word),
			mask:  ^rangeMask(at%64, min(to-word*64, 64)),
		})
	}
	b.place(back)
}

// rangeMask has the bits from ≤ i < to.
func rangeMask(from, to int) uint64 {
	return math.MaxUint64 >> (64 - (to - from)) << from
}

// layOut orders the strikes so that those of a rank are neighbours: for each column the nodes that
// strike high ranks, by falling position, then those that strike low ranks, by falling position.
// Above some point of the former and down to the same point of the latter, all strike.
func (q *quickScorer[L]) layOut(nodes []quickNode, thresholds []int) {
	byColumn := make([][]quickNode, len(thresholds))
	for _, n := range nodes {
		byColumn[n.column] = append(byColumn[n.column], n)
	}
	for c, list := range byColumn {
		slices.SortStableFunc(list, func(a, b quickNode) int {
			if a.high != b.high {
				if a.high {
					return -1
				}
				return 1
			}
			return cmp.Compare(b.position, a.position)
		})
		first := uint32(len(q.masks))
		high := 0
		for _, n := range list {
			q.where = append(q.where, n.word)
			q.masks = append(q.masks, n.mask)
			if n.high {
				high++
			}
		}
		q.columns = append(q.columns, uint32(len(q.spans)))
		for rank := range uint32(thresholds[c] + 1) {
			// In either list, falling, those below the rank begin at:
			below := func(n quickNode, rank uint32) int {
				if n.position >= rank {
					return -1
				}
				return 1
			}
			from, _ := slices.BinarySearchFunc(list[:high], rank, below)
			to, _ := slices.BinarySearchFunc(list[high:], rank, below)
			q.spans = append(q.spans, span{first + uint32(from), first + uint32(high+to)})
		}
	}
}
