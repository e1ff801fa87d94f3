package tree

// word is the number of rows that a uint64 holds a bit each of.
const word = 64

// What sliced can hold; beyond, the kernels for single rows are used for batches too.
const (
	maxSlotWords = 1 << 16 // since a mux names slots in 16 bits
	maxPlanes    = 8       // since numbers are bytes: 256 leaves a tree
	maxTrees     = 1 << 16 // since each has a table of at least 64 leaves
)

// sliced scores 64 rows at a time with bit-sliced logic. It joins two known ideas: comparisons of all
// rows as bit vectors (Ye et al., "RapidScorer", KDD 2018) and evaluation of a decision tree as a
// Boolean circuit on such vectors (Biham, "A Fast New DES Implementation in Software", 1997).
//
// A slot is a word with a bit for each row. For every threshold of every column one slot says which
// rows reach it; these are shared by all trees. A tree then computes the number of the leaf that each
// row ends in, a slot for each binary digit ("plane"), by multiplexers: a digit at a node is the digit
// at its right child for the rows that go right, and at its left child for the others. A complete
// tree takes a multiplexer a node, and one instruction on a word decides 64 rows. Only then are the
// planes turned into a leaf number a row, and the leaves added in the order of the trees.
type sliced[L leaf] struct {
	words   int      // in a slot: 1, or 2 for the kernel in assembly
	slots   int      // how many words they are together
	own     int      // the first of a tree's own
	columns []uint32 // by column: the slot that stands before the one of position 0
	muxes   []mux
	trees   []slicedTree
	long    bool          // some tree has numbers of more than 6 digits
	values  []L           // leaves by number, tree after tree
	bytes   [][4][64]byte // by tree, byte by byte the same, for the kernel in assembly and Float32
}

// The first slots are constants; those of the columns follow, then a tree's own.
const (
	slotZero = iota
	slotOne
	firstSlot
)

// mux computes the next slot of a tree: the bits of right where on is 1, those of left elsewhere.
// Here and in planes a slot is named by the index of its first word.
type mux struct{ on, left, right uint16 }

type slicedTree struct {
	muxes  uint32 // how many
	leaf   uint32 // where its leaves begin, 64 or 256 of them
	output uint32
	digits uint16            // planes in use, from the lowest
	planes [maxPlanes]uint16 // slotZero beyond
}

// slicedScratch is what a block is scored in.
type slicedScratch[K key, L leaf] struct {
	keys    [2 * word]K // of one column
	slots   []uint64
	margins []L // [output][row]
}

func newSlicedScratch[K key, L leaf](s *sliced[L], outputs int) *slicedScratch[K, L] {
	x := &slicedScratch[K, L]{slots: make([]uint64, s.slots), margins: make([]L, outputs*s.words*word)}
	for i := range s.words {
		x.slots[slotOne*s.words+i] = ^uint64(0)
	}
	return x
}

// rows is the number of rows in a block.
func (s *sliced[L]) rows() int { return s.words * word }

// score sets x.margins to the sums of a block of at most s.rows rows.
func (x *slicedScratch[K, L]) score(s *sliced[L], columns []column[K], base []L, rows []float64, features int) {
	for i := range columns {
		c := &columns[i]
		c.keys(x.keys[:s.rows()], rows, features)
		slots := x.slots[s.columns[i]:]
		if s.words == 2 && setColumnWide(slots, c.thresholds, &x.keys) {
			continue
		}
		for half := range s.words {
			setColumn(slots[half:], s.words, c.thresholds, (*[word]K)(x.keys[half*word:]))
		}
	}
	for o, b := range base {
		margins := x.margins[o*s.rows():][:s.rows()]
		for i := range margins {
			margins[i] = b
		}
	}
	if s.words == 2 {
		s.addTreesWide(x.margins, x.slots)
	} else {
		s.addTrees(x.margins, x.slots)
	}
}

// setColumn fills a column's slots from the keys of the rows: that of a position has the rows that
// reach its threshold. Slots are stride words apart.
func setColumn[K key](slots []uint64, stride int, thresholds []K, keys *[word]K) {
	slots = slots[:len(thresholds)*stride+1]
	if len(thresholds) == 1 {
		slots[stride] = reachedBy(thresholds[0], keys)
		return
	}
	for i := 0; i < len(slots); i += stride {
		slots[i] = 0
	}
	var ranks [word]uint32
	upperBounds(&ranks, thresholds, keys)
	for row, rank := range ranks {
		slots[int(rank)*stride] |= 1 << row
	}
	var above uint64
	for i := len(slots) - 1; i > 0; i -= stride {
		above |= slots[i]
		slots[i] = above
	}
}

// reachedBy has a bit for each key that is at least the threshold.
func reachedBy[K key](threshold K, keys *[word]K) (rows uint64) {
	for i, k := range keys {
		rows |= uint64(1&reached(threshold, k)) << i
	}
	return rows
}

// addTrees adds the leaves of a block of 64 rows, whose columns are set, to margins.
func (s *sliced[L]) addTrees(margins []L, slots []uint64) {
	muxes := s.muxes
	var numbers [word / 8]uint64 // a byte a row
	for i := range s.trees {
		t := &s.trees[i]
		runMuxes(slots, slots[s.own:][:t.muxes], muxes)
		muxes = muxes[t.muxes:]
		joinPlanes(&numbers, slots, t.planes[:t.digits])
		s.addLeaves((*[word]L)(margins[int(t.output)*word:]), t, &numbers)
	}
}

// addLeaves adds to each row's margin the leaf of that number.
func (s *sliced[L]) addLeaves(margins *[word]L, t *slicedTree, numbers *[word / 8]uint64) {
	if t.digits <= 6 {
		addLeaves64(margins, (*[64]L)(s.values[t.leaf:]), numbers)
	} else {
		addLeaves256(margins, (*[256]L)(s.values[t.leaf:]), numbers)
	}
}

// runMuxes computes the slots of a tree.
func runMuxes(slots, to []uint64, muxes []mux) {
	muxes = muxes[:len(to)]
	for i := range to {
		m := &muxes[i]
		left := slots[m.left]
		to[i] = left ^ (left^slots[m.right])&slots[m.on]
	}
}

// spread has bit i of its index at bit 8i.
var spread = func() (table [256]uint64) {
	for n := range table {
		for i := range 8 {
			table[n] |= uint64(n>>i&1) << (8 * i)
		}
	}
	return table
}()

// joinPlanes transposes planes of 64 digits into 64 numbers.
func joinPlanes(numbers *[word / 8]uint64, slots []uint64, planes []uint16) {
	*numbers = [word / 8]uint64{}
	for k, slot := range planes {
		p := slots[slot]
		for j := range numbers {
			numbers[j] |= spread[uint8(p>>(8*j))] << (k & 7)
		}
	}
}

func addLeaves64[L leaf](margins *[word]L, leaves *[64]L, numbers *[word / 8]uint64) {
	for j, n := range numbers {
		m := (*[8]L)(margins[8*j:])
		m[0] += leaves[n&63]
		m[1] += leaves[n>>8&63]
		m[2] += leaves[n>>16&63]
		m[3] += leaves[n>>24&63]
		m[4] += leaves[n>>32&63]
		m[5] += leaves[n>>40&63]
		m[6] += leaves[n>>48&63]
		m[7] += leaves[n>>56&63]
	}
}

func addLeaves256[L leaf](margins *[word]L, leaves *[256]L, numbers *[word / 8]uint64) {
	for j, n := range numbers {
		m := (*[8]L)(margins[8*j:])
		for i := range m {
			m[i] += leaves[uint8(n>>(8*i))]
		}
	}
}
