//go:build cgo

package cguard

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/dougong-io/dougong/adapters/cguard/internal/native"
)

func mustPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
			t.Errorf("panic %q, want %q", got, want)
		}
	}()
	f()
}

func TestBufferIsZeroAlignedAndReadByC(t *testing.T) {
	heap := NewHeap()
	for _, n := range []int{0, 1, 63, 64, 4096, 1 << 20} {
		b, err := heap.Alloc(n)
		if err != nil {
			t.Fatal(err)
		}
		if b.Len() != n || len(b.Bytes()) != n || cap(b.Bytes()) != n {
			t.Errorf("asked for %d bytes, got %d", n, len(b.Bytes()))
		}
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(b.Bytes()))); at%Alignment != 0 {
			t.Errorf("%d bytes begin at %#x, no multiple of %d", n, at, Alignment)
		}
		if sum := native.Sum(b.Bytes()); sum != 0 {
			t.Errorf("%d fresh bytes add up to %d", n, sum)
		}
		for i := range b.Bytes() {
			b.Bytes()[i] = 2
		}
		if sum := native.Sum(b.Bytes()); sum != uint64(2*n) {
			t.Errorf("C sees a sum of %d in %d bytes of 2", sum, n)
		}
		b.Free()
	}
	if s := heap.Stats(); s.Bytes != 0 || s.Buffers != 0 || s.PeakBytes != 1<<20 {
		t.Errorf("%+v after all was freed", s)
	}
}

func TestSecondFreeAndUseAfterFreePanicBeforeC(t *testing.T) {
	heap := NewHeap()
	b, err := heap.Alloc(24)
	if err != nil {
		t.Fatal(err)
	}
	b.Free()
	mustPanic(t, "24 bytes is freed twice; it was allocated at", b.Free)
	mustPanic(t, "buffer_test.go", b.Free)
	mustPanic(t, "24 bytes is used after it was freed", func() { b.Bytes() })
	if s := heap.Stats(); s.Bytes != 0 || s.Buffers != 0 {
		t.Errorf("%+v: a second Free counted", s)
	}
}

func TestOfManyFreesOneIsTheFirst(t *testing.T) {
	heap := NewHeap()
	for range 200 {
		b, err := heap.Alloc(100)
		if err != nil {
			t.Fatal(err)
		}
		var freed atomic.Int32
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				defer func() { _ = recover() }()
				b.Free()
				freed.Add(1)
			})
		}
		all.Wait()
		if freed.Load() != 1 {
			t.Fatalf("%d frees went well", freed.Load())
		}
	}
	if s := heap.Stats(); s.Bytes != 0 || s.Buffers != 0 {
		t.Errorf("%+v after all was freed", s)
	}
}

func TestLimitAndSystemRefuse(t *testing.T) {
	heap := NewHeap(WithLimit(100))
	first, err := heap.Alloc(60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := heap.Alloc(41); !errors.Is(err, ErrExhausted) || !strings.Contains(err.Error(), "beside 60 would pass the limit of 100") {
		t.Errorf("beyond the limit: %v", err)
	}
	second, err := heap.Alloc(40)
	if err != nil {
		t.Errorf("up to the limit: %v", err)
	}
	first.Free()
	second.Free()
	for _, n := range []int{-1, 1 << 62, int(^uint(0) >> 1)} {
		if _, err := NewHeap().Alloc(n); !errors.Is(err, ErrExhausted) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if s := heap.Stats(); s.Bytes != 0 {
		t.Errorf("%+v: what was refused is counted", s)
	}
}

type forgotten chan string

func (f forgotten) Forgotten(bytes int, at string) { f <- fmt.Sprintf("%d bytes at %s", bytes, at) }

func TestForgottenBufferIsReportedAndNotFreed(t *testing.T) {
	reports := make(forgotten, 1)
	heap := NewHeap(WithObserver(reports))
	var view []byte
	func() {
		b, err := heap.Alloc(48)
		if err != nil {
			t.Fatal(err)
		}
		view = b.Bytes()
		view[47] = 7
	}()
	kept, err := heap.Alloc(16)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	if got := <-reports; !strings.Contains(got, "48 bytes at ") || !strings.Contains(got, "buffer_test.go:") {
		t.Errorf("reported: %s", got)
	}
	if view[47] != 7 {
		t.Error("the memory was freed, though C may still know it")
	}
	if s := heap.Stats(); s.ForgottenBuffers != 1 || s.ForgottenBytes != 48 || s.Buffers != 2 || s.Bytes != 64 {
		t.Errorf("%+v", s)
	}
	kept.Free()
	runtime.GC()
	runtime.GC()
	if s := heap.Stats(); s.ForgottenBuffers != 1 {
		t.Errorf("%+v: what was freed counts as forgotten", s)
	}
	native.Free(view) // or the address sanitiser reports it, rightly
}

func TestOwnerFreesAllItsBuffersOnce(t *testing.T) {
	heap := NewHeap()
	owner := heap.Owner()
	var buffers []*Buffer
	for n := range 10 {
		b, err := owner.Alloc(n)
		if err != nil {
			t.Fatal(err)
		}
		buffers = append(buffers, b)
	}
	owner.Free()
	for _, b := range buffers {
		mustPanic(t, "used after it was freed", func() { b.Bytes() })
	}
	mustPanic(t, "an owner is freed twice", owner.Free)
	if _, err := owner.Alloc(1); err == nil {
		t.Error("an owner that ended allocates")
	}
	if s := heap.Stats(); s.Buffers != 0 || s.Bytes != 0 {
		t.Errorf("%+v", s)
	}
}

func BenchmarkAllocFree(b *testing.B) {
	heap := NewHeap()
	b.ReportAllocs()
	for b.Loop() {
		buffer, err := heap.Alloc(256)
		if err != nil {
			b.Fatal(err)
		}
		buffer.Free()
	}
}
