package pool

import (
	"fmt"
	"runtime"
)

// Buffers keeps byte buffers by size. It is safe for concurrent use.
//
// Sizes are four to each power of two: a buffer has at least what was asked for, and less than a quarter more (or
// the smallest size).
type Buffers struct {
	classes  classes
	greatest int // size of the greatest class
	ledger   *ledger
	free     []free // a class each
}

// NewBuffers returns a pool of buffers.
func NewBuffers(c BuffersConfig) (*Buffers, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("pool: %w", err)
	}
	b := &Buffers{classes: newClasses(c.MinSize, c.MaxSize)}
	b.greatest = b.classes.size(b.classes.count - 1)
	b.free = make([]free, b.classes.count)
	b.ledger = newLedger(c.MaxBytes, int64(b.greatest))
	return b, nil
}

// Get leases an empty buffer with room for n bytes; a negative n is 0. One that is larger than the greatest size is
// made, and dropped when it is released. What the memory holds beyond the buffer's length is not defined.
func (b *Buffers) Get(n int) Buffer {
	block, gen := b.get(n)
	return Buffer{block, gen}
}

func (b *Buffers) get(n int) (*block, uint64) {
	var found *block
	class := b.classes.above(n)
	if class < b.classes.count {
		found, _ = b.free[class].get().(*block)
		n = b.classes.size(class)
	}
	if found == nil {
		made := &block{data: make([]byte, 0, n), home: b, cell: b.ledger.open()}
		runtime.AddCleanup(made, b.ledger.close, made.cell)
		return made, made.cell.begin()
	}
	gen := found.cell.begin()
	found.cell.mustBeWhole(gen, found.guard.brokenBytes(found.data))
	return found, gen
}

// put takes back a block whose lease has ended. It goes to the class of what it is now.
func (b *Buffers) put(block *block) {
	block.data = block.data[:0]
	size := cap(block.data)
	class := b.classes.below(size)
	if class < 0 {
		size = b.greatest + 1 // as good as too large: nobody could get it
	}
	if b.ledger.keep(block.cell, int64(size)) {
		block.guard.sealBytes(block.data)
		b.free[class].put(block)
	}
}

// Snapshot tells how the pool fares. It takes time in proportion to the number of buffers that there are. A buffer
// that grows counts as a get and a put more.
func (b *Buffers) Snapshot() Stats { return b.ledger.snapshot() }

// Leaks lists the buffers that the garbage collector found and that were never released, as far as it has looked. It
// is empty without -tags dougong_pooldebug; [Stats.Leaked] counts them always.
func (b *Buffers) Leaks() []Leak { return b.ledger.leaks.list() }

// block is the memory of a buffer with what goes with it.
type block struct {
	data   []byte
	cell   *cell
	home   *Buffers
	writer writer
	guard  guard
}
