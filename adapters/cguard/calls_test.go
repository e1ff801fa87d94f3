//go:build cgo

package cguard

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/adapters/cguard/internal/native"
)

func newCalls(t testing.TB, cfg Config, options ...CallsOption) *Calls {
	t.Helper()
	calls, err := NewCalls(cfg, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := calls.Close(ctx); err != nil {
			t.Error(err)
		}
		if s := calls.Stats(); s.Running != 0 || s.Overrunning != 0 || s.Waiting != 0 {
			t.Errorf("%+v after Close", s)
		}
	})
	return calls
}

func TestCallReturnsWhatCReturned(t *testing.T) {
	heap, calls := NewHeap(), newCalls(t, DefaultConfig())
	owner := heap.Owner()
	in, err := owner.Alloc(1000)
	if err != nil {
		t.Fatal(err)
	}
	in.Bytes()[999] = 5
	sum, err := Call(t.Context(), calls, owner, func() (uint64, error) { return native.Sum(in.Bytes()), nil })
	if sum != 5 || err != nil {
		t.Errorf("sum %d, %v", sum, err)
	}
	if s := heap.Stats(); s.Bytes != 0 {
		t.Errorf("the call has ended and holds %+v", s)
	}
	mustPanic(t, "handed to a second call", func() {
		_, _ = Call(t.Context(), calls, owner, func() (int, error) { return 0, nil })
	})
	mustPanic(t, "freed twice", owner.Free)
	broken := errors.New("broken")
	if _, err := Call(t.Context(), calls, nil, func() (int, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Errorf("the error of a call: %v", err)
	}
}

type overruns chan error

func (o overruns) Overran(by time.Duration, err error) {
	if by < 0 {
		err = errors.New("ended before its caller left")
	}
	o <- err
}

func TestCallerIsReleasedWhileCSleepsAndTheBuffersStay(t *testing.T) {
	const sleep = 300 * time.Millisecond
	ended := make(overruns, 1)
	heap, calls := NewHeap(), newCalls(t, DefaultConfig(), WithCallsObserver(ended))
	owner := heap.Owner()
	in, err := owner.Alloc(4096)
	if err != nil {
		t.Fatal(err)
	}
	in.Bytes()[0] = 1
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errors.New("the test's patience"))
	defer cancel()
	begun := time.Now()
	var sum uint64
	_, err = Call(ctx, calls, owner, func() (uint64, error) {
		sum = native.SumTwice(in.Bytes(), sleep)
		return sum, errors.New("for the observer")
	})
	if took := time.Since(begun); took >= sleep {
		t.Errorf("released after %v, when the call ended", took)
	}
	if !errors.Is(err, ErrReleased) || !strings.Contains(err.Error(), "the test's patience") {
		t.Errorf("released with %v", err)
	}
	if s, h := calls.Stats(), heap.Stats(); s.Running != 1 || s.Overrunning != 1 || s.Overran != 1 || h.Bytes != 4096 {
		t.Errorf("while C sleeps: %+v, %+v", s, h)
	}
	mustPanic(t, "handed to a call", owner.Free)
	if err := <-ended; err == nil || err.Error() != "for the observer" {
		t.Errorf("the observer heard of %v", err)
	}
	if sum != 2 {
		t.Errorf("C read %d from its buffer", sum)
	}
	if s, h := calls.Stats(), heap.Stats(); s.Running != 0 || s.Overrunning != 0 || s.Done != 0 || h.Bytes != 0 {
		t.Errorf("when C has ended: %+v, %+v", s, h)
	}
}

func TestThreadsAreBoundedAndTheRestRefusedOrWaits(t *testing.T) {
	const threads, queue = 6, 3
	calls := newCalls(t, Config{Threads: threads, Queue: queue})
	heap := NewHeap()
	before := countThreads(t)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var mu sync.Mutex
	got := map[error]int{}
	for range 100 {
		all.Go(func() {
			owner := heap.Owner()
			in, err := owner.Alloc(64)
			if err != nil {
				t.Error(err)
				return
			}
			_, err = Call(ctx, calls, owner, func() (uint64, error) { return native.SumTwice(in.Bytes(), time.Second), nil })
			mu.Lock()
			defer mu.Unlock()
			for _, kind := range []error{ErrBusy, ErrReleased, nil} {
				if errors.Is(err, kind) {
					got[kind]++
					return
				}
			}
			t.Error(err)
		})
	}
	for end := time.Now().Add(10 * time.Second); calls.Stats().Refused < 100-threads-queue && time.Now().Before(end); {
		runtime.Gosched()
	}
	// The runtime may start a thread or two of its own for what waits behind those in C.
	if more := countThreads(t) - before; more > threads+6 {
		t.Errorf("%d more threads for %d calls", more, threads)
	}
	if s := calls.Stats(); s.Running > threads || s.Waiting > queue {
		t.Errorf("%+v", s)
	}
	cancel()
	all.Wait()
	if got[ErrBusy] != 100-threads-queue {
		t.Errorf("%d were refused, %d released, %d served", got[ErrBusy], got[ErrReleased], got[nil])
	}
	if err := calls.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if s := heap.Stats(); s.Buffers != 0 {
		t.Errorf("%+v: what was refused is not freed", s)
	}
}

func countThreads(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Skip("threads are counted in /proc, which is not here")
	}
	return len(tasks)
}

func TestWhoWaitsGetsTheThreadOfTheOneBefore(t *testing.T) {
	calls := newCalls(t, Config{Threads: 1, Queue: 1})
	in, out := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := Call(t.Context(), calls, nil, func() (int, error) { close(in); <-out; return 0, nil }); err != nil {
			t.Error(err)
		}
	})
	<-in
	all.Go(func() {
		if n, err := Call(t.Context(), calls, nil, func() (int, error) { return 2, nil }); n != 2 || err != nil {
			t.Errorf("who waited got %d, %v", n, err)
		}
	})
	for calls.Stats().Waiting == 0 {
		runtime.Gosched()
	}
	if _, err := Call(t.Context(), calls, nil, func() (int, error) { return 0, nil }); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: %v", err)
	}
	close(out)
	all.Wait()
}

func TestContextThatEndedBeginsNothing(t *testing.T) {
	heap, calls := NewHeap(), newCalls(t, DefaultConfig())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	owner := heap.Owner()
	if _, err := owner.Alloc(10); err != nil {
		t.Fatal(err)
	}
	_, err := Call(ctx, calls, owner, func() (int, error) { t.Error("it ran"); return 0, nil })
	if !errors.Is(err, ErrReleased) || !errors.Is(err, context.Canceled) || heap.Stats().Bytes != 0 {
		t.Errorf("%v, %+v", err, heap.Stats())
	}
}

func TestPanicAndGoexitAreErrorsAndFree(t *testing.T) {
	heap, calls := NewHeap(), newCalls(t, Config{Threads: 1})
	for _, f := range []func() (int, error){
		func() (int, error) { panic("oh") },
		func() (int, error) { runtime.Goexit(); return 0, nil },
	} {
		owner := heap.Owner()
		if _, err := owner.Alloc(10); err != nil {
			t.Fatal(err)
		}
		_, err := Call(t.Context(), calls, owner, f)
		var panicked *PanicError
		if errors.As(err, &panicked) && (panicked.Value != "oh" || !strings.Contains(string(panicked.Stack), "calls_test.go")) || err == nil {
			t.Errorf("%v", err)
		}
		if s := heap.Stats(); s.Bytes != 0 {
			t.Errorf("after %v: %+v", err, s)
		}
	}
}

func TestCloseSaysWhatIsStillInC(t *testing.T) {
	calls, err := NewCalls(Config{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	in, out := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		_, _ = Call(t.Context(), calls, nil, func() (int, error) { close(in); <-out; return 0, nil })
	})
	<-in
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := calls.Close(ctx); err == nil || !strings.Contains(err.Error(), "1 calls are still in C") {
		t.Errorf("%v", err)
	}
	close(out)
	all.Wait()
	if err := calls.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := Call(t.Context(), calls, nil, func() (int, error) { return 0, nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestConfigReportsEveryFault(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	_, err := NewCalls(Config{Queue: -1})
	if err == nil || !strings.Contains(err.Error(), "threads: 0") || !strings.Contains(err.Error(), "queue: -1") {
		t.Errorf("%v", err)
	}
}

func BenchmarkCall(b *testing.B) {
	calls := newCalls(b, DefaultConfig())
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	row := make([]byte, 256)
	b.Run("direct", func(b *testing.B) {
		for b.Loop() {
			native.Sum(row)
		}
	})
	b.Run("call", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Call(ctx, calls, nil, func() (uint64, error) { return native.Sum(row), nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}
