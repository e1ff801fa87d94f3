//go:build cgo && asan

package cguard

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/dougong-io/dougong/adapters/cguard/internal/native"
)

// TestSanitizerWatches: that the other tests pass under the address sanitiser says something only if it finds what is
// wrong. Each fault is made in a process of its own, which must end with its report. A forgotten Buffer is not among
// them: the sanitiser takes it for reachable as long as Go's heap holds its address, and Heap reports it itself.
func TestSanitizerWatches(t *testing.T) {
	heap := NewHeap()
	faults := map[string]struct {
		report string
		make   func()
	}{
		"leak in C": {"LeakSanitizer: detected memory leaks", func() { native.Leak(1234) }},
		"use after free": {"heap-use-after-free", func() {
			b, err := heap.Alloc(1234)
			if err != nil {
				t.Fatal(err)
			}
			kept := b.Bytes() // against the rule
			b.Free()
			native.Sum(kept)
		}},
		"freed while C reads": {"heap-use-after-free", func() {
			b, err := heap.Alloc(1234)
			if err != nil {
				t.Fatal(err)
			}
			begun := make(chan struct{})
			go func() {
				kept := b.Bytes()
				close(begun)
				native.SumTwice(kept, 100*time.Millisecond)
			}()
			<-begun
			time.Sleep(20 * time.Millisecond) // C is in its sleep, or has yet to read
			b.Free()
			time.Sleep(time.Second)
		}},
		"beyond its end": {"heap-buffer-overflow", func() {
			b, err := heap.Alloc(1234)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Free()
			native.Sum(unsafe.Slice(unsafe.SliceData(b.Bytes()), 1300))
		}},
	}
	if name := os.Getenv("CGUARD_FAULT"); name != "" {
		faults[name].make()
		return
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.Command(os.Args[0], "-test.run=^TestSanitizerWatches$")
			child.Env = append(os.Environ(), "CGUARD_FAULT="+name)
			out, err := child.CombinedOutput()
			if err == nil || !strings.Contains(string(out), fault.report) {
				t.Errorf("not found: %v\n%s", err, out)
			}
		})
	}
}
