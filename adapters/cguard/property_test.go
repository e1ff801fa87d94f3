//go:build cgo

package cguard

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/adapters/cguard/internal/native"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0 draws one")

// Callers of all kinds, at once. When all have ended, nothing may be left; under the address sanitiser, nothing that C
// reads may have been freed before.
func TestRandomCallsLeaveNothing(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("replay with -args -seed=%d", *seed)
	heap, calls := NewHeap(WithLimit(1<<20)), newCalls(t, Config{Threads: 4, Queue: 4})
	var all sync.WaitGroup
	for worker := range 12 {
		rnd := rand.New(rand.NewPCG(*seed, uint64(worker)))
		all.Go(func() {
			for range 150 {
				randomCall(t, rnd, heap, calls)
			}
		})
	}
	all.Wait()
	if err := calls.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if s, h := calls.Stats(), heap.Stats(); s.Running+s.Overrunning+s.Waiting != 0 || h.Buffers != 0 || h.Bytes != 0 || s.Done == 0 || s.Overran == 0 {
		t.Errorf("left: %+v, %+v", s, h)
	}
}

func randomCall(t *testing.T, rnd *rand.Rand, heap *Heap, calls *Calls) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rnd.IntN(3000))*time.Microsecond)
	defer cancel()
	owner := heap.Owner()
	in, err := owner.Alloc(rnd.IntN(1 << 17))
	if err != nil {
		if !errors.Is(err, ErrExhausted) {
			t.Error(err)
		}
		owner.Free()
		return
	}
	if rnd.IntN(10) == 0 {
		owner.Free()
		return
	}
	first := byte(rnd.IntN(256))
	if in.Len() > 0 {
		in.Bytes()[0] = first
	}
	work, panics := time.Duration(rnd.IntN(2000))*time.Microsecond, rnd.IntN(20) == 0
	sum, err := Call(ctx, calls, owner, func() (uint64, error) {
		more, err := owner.Alloc(100)
		if err != nil {
			return 0, err
		}
		more.Bytes()[0] = 1
		sum := native.SumTwice(in.Bytes(), work) + native.Sum(more.Bytes())
		if panics {
			panic("as it should")
		}
		return sum, nil
	})
	var panicked *PanicError
	switch {
	case err == nil && in.Len() > 0 && sum != 2*uint64(first)+1:
		t.Errorf("C read %d, for %d", sum, first)
	case err == nil, errors.Is(err, ErrReleased), errors.Is(err, ErrBusy), errors.Is(err, ErrExhausted), panics && errors.As(err, &panicked):
	default:
		t.Error(err)
	}
}
