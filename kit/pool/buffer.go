package pool

import (
	"fmt"
	"io"
	"math"
)

// Buffer is a lease of a byte buffer. It may be copied; all copies are the same buffer and end together. It is for one
// goroutine at a time. All methods panic with a [MisuseError] once it is released.
type Buffer struct {
	block *block
	gen   uint64
}

// Bytes returns what the buffer holds. Its capacity is the buffer's: append to it, and hand the result to SetBytes.
// It is good until the next SetBytes, Grow, Write or Release.
func (b Buffer) Bytes() []byte { return b.held().data }

// SetBytes makes p what the buffer holds: usually what was appended to Bytes. If that no longer fitted, and p is other
// memory, it is the buffer's from now on, and goes with it into the pool: nobody else may use it.
func (b Buffer) SetBytes(p []byte) { b.held().data = p }

// Grow makes room for n more bytes, if there is less. It takes a larger buffer from the pool, copies what there is, and
// gives the smaller one back. More bytes than an int can count are a [MisuseError]; a negative n is 0.
func (b Buffer) Grow(n int) {
	if !b.held().fits(n) {
		b.grow(n).Release()
	}
}

func (b *block) fits(n int) bool { return n <= cap(b.data)-len(b.data) }

// grow makes room for n more bytes, and returns the memory that this leaves, which holds what it did.
func (b Buffer) grow(n int) (outgrown Buffer) {
	block := b.block
	if n > math.MaxInt-len(block.data) {
		b.misused(fmt.Sprintf("a buffer that holds %d bytes was asked for room for %d more", len(block.data), n))
	}
	// At least half as much again, so that a buffer that grows in small steps is not copied each time.
	other, gen := block.home.get(max(len(block.data)+n, cap(block.data)+cap(block.data)/2))
	block.swap(other)
	block.data = append(block.data, other.data...)
	return Buffer{other, gen}
}

// swap swaps the memory of two blocks that are out, and what of the pool's room goes with it.
func (b *block) swap(other *block) {
	b.data, other.data = other.data, b.data
	had := b.cell.bytes.Load()
	b.cell.bytes.Store(other.cell.bytes.Load())
	other.cell.bytes.Store(had)
}

// Write appends p, which may be some of what the buffer holds itself. It never fails.
func (b Buffer) Write(p []byte) (int, error) {
	block := b.held()
	if block.fits(len(p)) {
		block.data = append(block.data, p...)
		return len(p), nil
	}
	outgrown := b.grow(len(p))
	block.data = append(block.data, p...)
	outgrown.Release() // not before: p may be of it
	return len(p), nil
}

// Writer returns the buffer as an io.Writer without the allocation that turning a Buffer into one takes. It is the same
// for each lease of the same memory: unlike Write, it knows a lease that has ended only until the next one calls
// Writer (with -tags dougong_pooldebug, always).
func (b Buffer) Writer() io.Writer {
	block := b.held()
	if debugging {
		return &writer{b}
	}
	block.writer.buffer = b
	return &block.writer
}

// Release gives the buffer back. Of several calls all but one panic.
func (b Buffer) Release() {
	if b.block == nil || !b.block.cell.end(b.gen) {
		b.misused("a buffer was released twice")
	}
	b.block.home.put(b.block)
}

func (b Buffer) held() *block {
	if b.block == nil || !b.block.cell.live(b.gen) {
		b.misused("a buffer was used after it was released")
	}
	return b.block
}

func (b Buffer) misused(what string) {
	if b.block == nil {
		panic(&MisuseError{What: "a buffer that came from no pool was used"})
	}
	panic(b.block.cell.misuse(b.gen, what))
}

// writer is a Buffer at a fixed address.
type writer struct{ buffer Buffer }

// Write appends p.
func (w *writer) Write(p []byte) (int, error) { return w.buffer.Write(p) }
