//go:build cgo

package cguard

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"unsafe"
)

/*
#include <stdlib.h>
*/
import "C"

// Buffer is memory of C that has one owner. It may be used by one goroutine at a time, as a slice may.
type Buffer struct {
	block *block
	view  []byte
}

// block is what is left to know of a Buffer when nobody can reach it any more.
type block struct {
	heap        *Heap
	start       unsafe.Pointer
	size        int
	freed       atomic.Bool
	allocatedAt [4]uintptr
}

// Bytes is the memory itself, not a copy: keep no slice of it beyond Free. C may be given a pointer to its first byte
// until the call ends. It panics after Free.
func (b *Buffer) Bytes() []byte {
	if b.block.freed.Load() {
		panic(fmt.Sprintf("cguard: a buffer of %d bytes is used after it was freed; it was allocated at %s", len(b.view), b.block.site()))
	}
	return b.view
}

// Len is the length that was asked for, in bytes. It stays when the buffer is freed.
func (b *Buffer) Len() int { return len(b.view) }

// Free gives the memory back. It panics if that was done before.
func (b *Buffer) Free() {
	if !b.block.freed.CompareAndSwap(false, true) {
		panic(fmt.Sprintf("cguard: a buffer of %d bytes is freed twice; it was allocated at %s", len(b.view), b.block.site()))
	}
	b.block.heap.buffers.Add(-1)
	b.block.heap.bytes.Add(-int64(b.block.size))
	C.free(b.block.start)
}

// reportForgotten runs when the Buffer can be reached by nobody.
func (b *block) reportForgotten() {
	if b.freed.Load() {
		return
	}
	b.heap.forgottenBuffers.Add(1)
	b.heap.forgottenBytes.Add(int64(b.size))
	if b.heap.observer != nil {
		b.heap.observer.Forgotten(b.size, b.site())
	}
}

// site is the place outside of this package where the block was allocated.
func (b *block) site() string {
	frames := runtime.CallersFrames(b.allocatedAt[:])
	for {
		frame, more := frames.Next()
		if frame.Function == "" {
			return "an unknown place"
		}
		if !strings.Contains(frame.Function, "/cguard.(*") || !more {
			return fmt.Sprintf("%s:%d", frame.File, frame.Line)
		}
	}
}
