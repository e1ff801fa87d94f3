//go:build cgo

package cguard

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"
)

/*
#include <stdlib.h>
#include <string.h>

static void *cguard_alloc(size_t n) {
	void *p = NULL;
	if (posix_memalign(&p, 64, n) != 0) return NULL;
	return memset(p, 0, n);
}
*/
import "C"

// Alignment of a buffer's first byte: a cache line, which is also enough for every vector instruction.
const Alignment = 64

const maxBytes = 1 << 40 // of a buffer: more is a length that was computed wrong

// ErrExhausted: the heap's limit, or the system's memory, does not allow the buffer.
var ErrExhausted = errors.New("out of native memory")

// Observer hears of buffers that nobody freed. It is called with no lock held, by a goroutine of the runtime: it must
// not block.
type Observer interface {
	// Forgotten: a buffer of so many bytes, allocated at that place, can be reached by nobody and was not freed. Its
	// memory stays allocated, because C may still know it.
	Forgotten(bytes int, allocatedAt string)
}

// Option sets up a Heap.
type Option func(*Heap)

// WithLimit bounds the bytes that are allocated at a time. 0, the default: as many as there are.
func WithLimit(bytes int64) Option { return func(h *Heap) { h.limit = bytes } }

// WithObserver has o hear of what is forgotten.
func WithObserver(o Observer) Option { return func(h *Heap) { h.observer = o } }

// Heap allocates memory of C and knows what is allocated. It may be used by many goroutines at a time.
type Heap struct {
	limit    int64
	observer Observer

	buffers, bytes, peak             atomic.Int64
	forgottenBuffers, forgottenBytes atomic.Int64
}

// NewHeap gives a heap without a limit, unless an option sets one.
func NewHeap(options ...Option) *Heap {
	h := &Heap{}
	for _, option := range options {
		option(h)
	}
	return h
}

// Stats of a Heap. What is forgotten is still allocated, and counts as such.
type Stats struct {
	Buffers, Bytes                   int64 // that are allocated
	PeakBytes                        int64 // the most that were allocated at a time
	ForgottenBuffers, ForgottenBytes int64 // that nobody can free any more
}

// Stats as they are. Figures that change meanwhile may be from either side of the change.
func (h *Heap) Stats() Stats {
	return Stats{
		Buffers: h.buffers.Load(), Bytes: h.bytes.Load(), PeakBytes: h.peak.Load(),
		ForgottenBuffers: h.forgottenBuffers.Load(), ForgottenBytes: h.forgottenBytes.Load(),
	}
}

// Alloc gives a buffer of n zero bytes, which the caller owns and must Free. The error is ErrExhausted.
func (h *Heap) Alloc(n int) (*Buffer, error) { return h.alloc(n, 3) }

func (h *Heap) alloc(n, skip int) (*Buffer, error) {
	if n < 0 || uint64(n) > maxBytes {
		return nil, fmt.Errorf("%w: a buffer of %d bytes", ErrExhausted, n)
	}
	size := max(n, 1)
	total := h.bytes.Add(int64(size))
	if h.limit > 0 && total > h.limit {
		h.bytes.Add(-int64(size))
		return nil, fmt.Errorf("%w: a buffer of %d bytes beside %d would pass the limit of %d", ErrExhausted, n, total-int64(size), h.limit)
	}
	p := C.cguard_alloc(C.size_t(size))
	if p == nil {
		h.bytes.Add(-int64(size))
		return nil, fmt.Errorf("%w: the system has no %d bytes", ErrExhausted, n)
	}
	h.buffers.Add(1)
	for peak := h.peak.Load(); total > peak && !h.peak.CompareAndSwap(peak, total); {
		peak = h.peak.Load()
	}
	mine := &block{heap: h, start: p, size: size}
	runtime.Callers(skip, mine.allocatedAt[:])
	b := &Buffer{block: mine, view: unsafe.Slice((*byte)(p), n)}
	runtime.AddCleanup(b, (*block).reportForgotten, mine)
	return b, nil
}
