package fallback

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

func TestEachPointStrikes(t *testing.T) {
	works := func(context.Context) (int, error) { return 1, nil }
	down := errors.New("down")
	fails := func(context.Context) (int, error) { return 0, down }
	open := func(t *testing.T, set *fault.Set) *Fallback[string, int] {
		f, err := New(DefaultConfig(), WithFaults[string, int](set), WithDefault(func(context.Context, string, error) (int, error) { return 2, nil }))
		if err != nil {
			t.Fatal(err)
		}
		if r, err := f.Do(t.Context(), "a", works); err != nil || r.Source != Primary {
			t.Fatal(r, err)
		}
		return f
	}
	panics := func(t *testing.T, set *fault.Set, point string, do func()) {
		t.Helper()
		faulttest.Put(t, set, fault.Rule{Point: point, Count: 1, Panic: &fault.Panicking{}})
		if !faulttest.Panics(t, do) {
			t.Error("no panic")
		}
	}
	faulttest.Trip(t, map[string]func(t *testing.T, set *fault.Set){
		"fallback.primary": func(t *testing.T, set *fault.Set) {
			f := open(t, set)
			faulttest.Put(t, set, fault.Rule{Point: "fallback.primary", Where: map[string]string{"key": "a"}, Error: &fault.Failure{Cause: "refused"}})
			if r, err := f.Do(t.Context(), "a", works); err != nil || r.Source != Cached || !errors.Is(r.Err, fault.ErrInjected) || !errors.Is(r.Err, syscall.ECONNREFUSED) {
				t.Error(r, err)
			}
			if r, err := f.Do(t.Context(), "b", works); err != nil || r.Source != Primary {
				t.Error(r, err)
			}
			panics(t, set, "fallback.primary", func() { _, _ = f.Do(t.Context(), "a", works) })
			if r, err := f.Do(t.Context(), "a", works); err != nil || r.Source != Primary {
				t.Error(r, err)
			}
		},
		"fallback.cache": func(t *testing.T, set *fault.Set) {
			f := open(t, set)
			faulttest.Put(t, set, fault.Rule{Point: "fallback.cache", Count: 1, Error: &fault.Failure{}})
			if r, err := f.Do(t.Context(), "a", fails); err != nil || r.Source != Default {
				t.Error(r, err)
			}
			panics(t, set, "fallback.cache", func() { _, _ = f.Do(t.Context(), "a", fails) })
			if r, err := f.Do(t.Context(), "a", fails); err != nil || r.Source != Cached {
				t.Error(r, err)
			}
		},
		"fallback.default": func(t *testing.T, set *fault.Set) {
			f := open(t, set)
			faulttest.Put(t, set, fault.Rule{Point: "fallback.default", Count: 1, Error: &fault.Failure{}})
			if r, err := f.Do(t.Context(), "b", fails); !errors.Is(err, fault.ErrInjected) || !errors.Is(err, down) {
				t.Error(r, err)
			}
			panics(t, set, "fallback.default", func() { _, _ = f.Do(t.Context(), "b", fails) })
			if r, err := f.Do(t.Context(), "b", fails); err != nil || r.Source != Default {
				t.Error(r, err)
			}
		},
	})
}

func TestPrimaryThatHangsLeavesTheReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := faulttest.New(t)
		f, err := New(DefaultConfig(), WithFaults[string, int](set))
		if err != nil {
			t.Fatal(err)
		}
		works := func(context.Context) (int, error) { return 1, nil }
		_, _ = f.Do(t.Context(), "a", works)
		faulttest.Put(t, set, fault.Rule{Point: "fallback.*", Hang: &fault.Hang{}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		// The cache hangs, too: to the end of the caller's time, and then answers all the same.
		r, err := f.Do(ctx, "a", works)
		if took := time.Since(began); err != nil || r.Source != Cached || took != time.Second {
			t.Error(r, err, took)
		}
		faulttest.Put(t, set, fault.Rule{Point: "fallback.primary", Hang: &fault.Hang{}})
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		r, err = f.Do(ctx, "a", works)
		if took := time.Since(began); err != nil || r.Source != Cached || took != time.Second-DefaultConfig().Reserve {
			t.Error(r, err, took)
		}
		faulttest.Clear(t, set)
	})
}
