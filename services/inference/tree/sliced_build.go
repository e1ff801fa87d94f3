package tree

import "math"

// newSliced lays out the trees of a valid ensemble for slots of that many words; it answers nil if
// they do not fit.
func newSliced[K key, L leaf](e *Ensemble, columns []column[K], splits [][]split, words int) *sliced[L] {
	if len(e.Trees) > maxTrees {
		return nil
	}
	s := &sliced[L]{words: words}
	next := firstSlot * words
	for i := range columns {
		s.columns = append(s.columns, uint32(next))
		next += (len(columns[i].thresholds) + 1) * words
	}
	s.own = next
	s.slots = next
	for t := range e.Trees {
		b := circuitBuilder{nodes: e.Trees[t].Nodes, splits: splits[t], columns: s.columns, words: words, own: next}
		digits, ok := b.number()
		if !ok {
			return nil
		}
		planes := b.planes(0, digits)
		s.slots = max(s.slots, next+len(b.muxes)*words)
		if s.slots > maxSlotWords {
			return nil
		}
		tree := slicedTree{
			muxes: uint32(len(b.muxes)), leaf: uint32(len(s.values)),
			output: uint32(e.Trees[t].Output), digits: uint16(digits),
		}
		s.long = s.long || digits > 6
		for k := range digits {
			tree.planes[k] = uint16(planes[k])
			if planes[k] == anyDigit {
				tree.planes[k] = slotZero
			}
		}
		s.trees = append(s.trees, tree)
		s.muxes = append(s.muxes, b.muxes...)
		leaves := leafTable[L](e.Trees[t].Nodes, b.codes, digits)
		s.values = append(s.values, leaves...)
		if words == 2 && isNarrow[K]() {
			s.bytes = append(s.bytes, leafBytes(leaves))
		}
	}
	return s
}

// leafTable lists the leaves by number; a digit that a leaf leaves open may be either.
func leafTable[L leaf](nodes []Node, codes map[int32]code, digits int) []L {
	size := 1 << 6
	if digits > 6 {
		size = 1 << maxPlanes
	}
	table := make([]L, size)
	for i, c := range codes {
		for n := range table {
			if uint8(n)&c.fixed == c.digits {
				table[n] = L(nodes[i].Value)
			}
		}
	}
	return table
}

// leafBytes splits the first 64 leaves into their four bytes, if they are float32.
func leafBytes[L leaf](leaves []L) (bytes [4][64]byte) {
	for i, v := range leaves[:64] {
		for b := range bytes {
			bytes[b][i] = byte(math.Float32bits(float32(v)) >> (8 * b))
		}
	}
	return bytes
}

// code is the number of a leaf, of which only the fixed digits matter.
type code struct{ digits, fixed uint8 }

// anyDigit stands for the plane of a digit that is open in a whole subtree.
const anyDigit = -1

// circuitBuilder turns one tree into multiplexers.
type circuitBuilder struct {
	nodes   []Node
	splits  []split
	columns []uint32
	words   int
	own     int // slot of the first mux
	codes   map[int32]code
	muxes   []mux
}

// number gives every leaf its code and answers how many digits they have.
func (b *circuitBuilder) number() (digits int, ok bool) {
	if leafCounts(b.nodes)[0] > 1<<maxPlanes {
		return 0, false
	}
	top := b.boughAt(0)
	digits = min(top.height, 6)
	if top.leaves > 1<<6 {
		digits = min(top.height, maxPlanes)
	}
	b.codes = map[int32]code{}
	b.numberBough(top, digits, code{})
	return digits, true
}

// bough is a tree of which some leaves may have been cut off, together with the nodes that then had
// nothing left to decide.
type bough struct {
	node        int32
	left, right *bough // nil for a leaf
	leaves      int
	height      int
}

func (b *circuitBuilder) boughAt(i int32) *bough {
	if n := &b.nodes[i]; n.Split != Leaf {
		return join(i, b.boughAt(n.Left), b.boughAt(n.Right))
	}
	return &bough{node: i, leaves: 1}
}

// join makes a node of two boughs, either of which may have been cut off.
func join(node int32, left, right *bough) *bough {
	switch {
	case left == nil:
		return right
	case right == nil:
		return left
	}
	return &bough{node, left, right, left.leaves + right.leaves, 1 + max(left.height, right.height)}
}

// numberBough numbers leaves with the free lowest digits. It spends the highest of them on the top
// node's own decision, so that the digit's plane is the node's predicate and costs nothing, unless
// one side has too many leaves for the digits left; then some of these go over to the other side.
func (b *circuitBuilder) numberBough(g *bough, free int, c code) {
	if g.left == nil {
		b.codes[g.node] = c
		return
	}
	left, right, half := g.left, g.right, 1<<(free-1)
	switch {
	case left.leaves > half:
		moved := map[*bough]bool{}
		pick(left, left.leaves-half, moved)
		left, right = keep(left, moved, false), join(g.node, keep(left, moved, true), right)
	case right.leaves > half:
		moved := map[*bough]bool{}
		pick(right, right.leaves-half, moved)
		left, right = join(g.node, left, keep(right, moved, true)), keep(right, moved, false)
	}
	c.fixed |= uint8(half)
	b.numberBough(left, free-1, c)
	c.digits |= uint8(half)
	b.numberBough(right, free-1, c)
}

// pick marks whole subtrees of n leaves together, as few as it finds.
func pick(g *bough, n int, marked map[*bough]bool) {
	switch {
	case n == 0:
	case g.leaves == n:
		marked[g] = true
	case g.left.leaves >= n && (g.left.leaves <= g.right.leaves || g.right.leaves < n):
		pick(g.left, n, marked)
	case g.right.leaves >= n:
		pick(g.right, n, marked)
	default: // neither is enough
		marked[g.left] = true
		pick(g.right, n-g.left.leaves, marked)
	}
}

// keep answers what is left of a bough if only the marked subtrees stay, or only the others.
func keep(g *bough, marked map[*bough]bool, want bool) *bough {
	switch {
	case marked[g] && want:
		return g
	case marked[g]:
		return nil
	case g.left == nil && want:
		return nil
	case g.left == nil:
		return g
	}
	return join(g.node, keep(g.left, marked, want), keep(g.right, marked, want))
}

// planes emits the multiplexers of a subtree and answers the slot of each digit, or anyDigit.
func (b *circuitBuilder) planes(i int32, digits int) (planes [maxPlanes]int) {
	n := &b.nodes[i]
	if n.Split == Leaf {
		c := b.codes[i]
		for k := range digits {
			switch digit := uint8(1) << k; {
			case c.fixed&digit == 0:
				planes[k] = anyDigit
			case c.digits&digit == 0:
				planes[k] = slotZero * b.words
			default:
				planes[k] = slotOne * b.words
			}
		}
		return planes
	}
	left, right := b.planes(n.Left, digits), b.planes(n.Right, digits)
	on := int(b.columns[b.splits[i].column]) + int(b.splits[i].position+1)*b.words
	for k := range digits {
		planes[k] = b.mux(on, left[k], right[k])
	}
	return planes
}

// mux answers the slot that holds right where on is 1 and left elsewhere.
func (b *circuitBuilder) mux(on, left, right int) int {
	switch {
	case left == right || right == anyDigit:
		return left
	case left == anyDigit:
		return right
	case left == slotZero*b.words && right == slotOne*b.words:
		return on
	}
	b.muxes = append(b.muxes, mux{uint16(on), uint16(left), uint16(right)})
	return b.own + (len(b.muxes)-1)*b.words
}
