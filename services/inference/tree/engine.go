package tree

import (
	"math"
	"sync"
)

// engine holds the kernels of one ensemble.
type engine[K key, L leaf] struct {
	features  int
	outputs   int
	base      []L
	columns   []column[K]
	transform transform

	// One of the two scores single rows; the other is nil.
	quick  *quickScorer[L]
	walker *walker[L]
	// At least this many rows are scored together, by sliced, or by the walker if that is nil.
	blockFrom int
	sliced    *sliced[L]

	scratch sync.Pool // of *scratch[K, L]
}

// scratch is what a call needs; nothing in it outlives the call.
type scratch[K key, L leaf] struct {
	ranks   []uint32 // [row][column]
	margins []L      // [row][output]
	words   []uint64
	sliced  *slicedScratch[K, L]
}

func newEngine[K key, L leaf](e *Ensemble, k kernels) *engine[K, L] {
	columns, splits := columnsOf[K](e)
	g := &engine[K, L]{
		features:  len(e.Features),
		outputs:   e.Outputs,
		columns:   columns,
		transform: transformOf(e),
	}
	for _, b := range e.Base {
		g.base = append(g.base, L(b))
	}
	size := sizeOf(e, columns)
	k.chooseRow(&size)
	if k.row == quickKernel {
		g.quick = newQuickScorer[K, L](e, columns, splits)
		g.blockFrom = math.MaxInt
	} else {
		g.walker = newWalker[L](e, splits)
		g.blockFrom = walks
	}
	if k.words == 0 {
		k.words = 1
		if hasWide {
			k.words = 2
		}
	}
	if k.block != walkerKernel {
		g.slice(e, k, size, splits)
	}
	g.scratch.New = g.newScratch
	return g
}

// slice adds the kernel for blocks, if the trees fit and it is worth it.
func (g *engine[K, L]) slice(e *Ensemble, k kernels, size size, splits [][]split) {
	s := newSliced[K, L](e, g.columns, splits, k.words)
	if s == nil {
		return
	}
	size.muxes = len(s.muxes)
	size.wideLeaves = isNarrow[K]() && !s.long
	k.chooseBlock(&size)
	if k.block == slicedKernel {
		g.sliced = s
		g.blockFrom = k.blockFrom
	}
}

func (g *engine[K, L]) newScratch() any {
	s := &scratch[K, L]{ranks: make([]uint32, walks*len(g.columns)+1), margins: make([]L, walks*g.outputs)}
	if g.quick != nil {
		s.words = make([]uint64, len(g.quick.full))
	}
	if g.sliced != nil {
		s.sliced = newSlicedScratch[K](g.sliced, g.outputs)
	}
	return s
}

func (g *engine[K, L]) predict(dst, rows []float64) {
	s := g.scratch.Get().(*scratch[K, L])
	for left := len(dst) / g.outputs; left > 0; {
		n := 1
		switch {
		case left < g.blockFrom:
			g.scoreRow(s, dst, rows)
		case g.sliced != nil:
			n = min(left, g.sliced.rows())
			g.scoreBlock(s, dst[:n*g.outputs], rows[:n*g.features])
		default:
			n = walks
			g.walkRows(s, dst, rows)
		}
		dst, rows = dst[n*g.outputs:], rows[n*g.features:]
		left -= n
	}
	g.scratch.Put(s)
}

// scoreRow scores the first row.
func (g *engine[K, L]) scoreRow(s *scratch[K, L], dst, rows []float64) {
	g.rank(s.ranks, rows)
	margins := s.margins[:g.outputs]
	copy(margins, g.base)
	if g.quick != nil {
		g.quick.score(margins, s.ranks, s.words)
	} else {
		g.walker.scoreRow(margins, s.ranks)
	}
	g.answer(dst, margins, 1)
}

// rank finds the ranks of the first row, by column.
func (g *engine[K, L]) rank(ranks []uint32, row []float64) {
	ranks = ranks[:len(g.columns)]
	for i := range g.columns {
		c := &g.columns[i]
		ranks[i] = upperBound(c.thresholds, c.key(row[c.feature]))
	}
}

// walkRows scores the first eight rows.
func (g *engine[K, L]) walkRows(s *scratch[K, L], dst, rows []float64) {
	for i := range walks {
		g.rank(s.ranks[i*len(g.columns):], rows[i*g.features:])
		copy(s.margins[i*g.outputs:], g.base)
	}
	g.walker.scoreRows(s.margins, g.outputs, s.ranks, len(g.columns))
	for i := range walks {
		g.answer(dst[i*g.outputs:], s.margins[i*g.outputs:], 1)
	}
}

// scoreBlock scores as many rows as a block of sliced holds, or fewer.
func (g *engine[K, L]) scoreBlock(s *scratch[K, L], dst, rows []float64) {
	s.sliced.score(g.sliced, g.columns, g.base, rows, g.features)
	for i := range len(dst) / g.outputs {
		g.answer(dst[i*g.outputs:], s.sliced.margins[i:], g.sliced.rows())
	}
}

// answer turns one row's margins, stride apart, into its answer.
func (g *engine[K, L]) answer(dst []float64, margins []L, stride int) {
	dst = dst[:g.outputs]
	for o := range dst {
		dst[o] = float64(margins[o*stride])
	}
	g.transform.apply(dst)
}
