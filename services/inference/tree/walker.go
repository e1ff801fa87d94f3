package tree

// walks is the number of paths that a walker follows at a time. One path waits for a load at each
// step; eight keep the processor busy.
const walks = 8

// walker follows each row from the roots to the leaves: for ensembles that are too large to look at
// every node. Its steps are free of branches: siblings are neighbours, so that the comparison is
// added to the index, and a leaf leads back to itself until the longest of the eight paths ends.
type walker[L leaf] struct {
	nodes   []walkerNode
	roots   []uint32
	values  []L      // by node: what a leaf adds
	outputs []uint32 // by tree
}

// walkerNode leads to next if the row's rank is at most position, else to the node after next.
type walkerNode struct {
	column   uint32
	position uint32
	next     uint32
}

// endless is a position that no rank is greater than.
const endless = ^uint32(0)

// newWalker lays out the trees of a valid ensemble, level by level.
func newWalker[L leaf](e *Ensemble, splits [][]split) *walker[L] {
	w := &walker[L]{}
	for t := range e.Trees {
		nodes := e.Trees[t].Nodes
		root := uint32(len(w.nodes))
		w.roots = append(w.roots, root)
		w.outputs = append(w.outputs, uint32(e.Trees[t].Output))
		next := root + 1 // reachable lists siblings side by side, in the order of their parents
		for at, i := range reachable(nodes) {
			n := &nodes[i]
			if n.Split == Leaf {
				w.nodes = append(w.nodes, walkerNode{position: endless, next: root + uint32(at)})
				w.values = append(w.values, L(n.Value))
				continue
			}
			s := splits[t][i]
			w.nodes = append(w.nodes, walkerNode{column: s.column, position: s.position, next: next})
			w.values = append(w.values, 0)
			next += 2
		}
	}
	return w
}

// walk takes eight paths from at to their leaves. The ranks of path i begin at ranks[rows[i]].
func (w *walker[L]) walk(at, rows *[walks]uint32, ranks []uint32) {
	nodes := w.nodes
	for moved := uint32(1); moved != 0; {
		moved = 0
		for i := range at {
			n := &nodes[at[i]]
			next := n.next + above(ranks[rows[i]+n.column], n.position)
			moved |= next ^ at[i]
			at[i] = next
		}
	}
}

// above is 1 if the rank is greater than the position, else 0.
func above(rank, position uint32) uint32 {
	return uint32((int64(position) - int64(rank)) >> 63 & 1)
}

// scoreRow adds a row's leaves to margins, eight trees at a time.
func (w *walker[L]) scoreRow(margins []L, ranks []uint32) {
	var at, rows [walks]uint32
	for first := 0; first < len(w.roots); first += walks {
		n := copy(at[:], w.roots[first:])
		w.walk(&at, &rows, ranks)
		for i, leaf := range at[:n] {
			margins[w.outputs[first+i]] += w.values[leaf]
		}
	}
}

// scoreRows adds the leaves of eight rows to their margins, tree by tree. The ranks and the margins
// of a row follow those of the row before.
func (w *walker[L]) scoreRows(margins []L, outputs int, ranks []uint32, columns int) {
	var at, rows [walks]uint32
	for i := range rows {
		rows[i] = uint32(i * columns)
	}
	for t, root := range w.roots {
		for i := range at {
			at[i] = root
		}
		w.walk(&at, &rows, ranks)
		for i, leaf := range at {
			margins[i*outputs+int(w.outputs[t])] += w.values[leaf]
		}
	}
}
