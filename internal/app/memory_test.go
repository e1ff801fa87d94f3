package app

import (
	"context"
	"log/slog"
	"math"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

func TestCgroupMemoryLimit(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for name, c := range map[string]struct {
		tree fstest.MapFS
		want int64
		ok   bool
	}{
		"no cgroup": {fstest.MapFS{}, math.MaxInt64, false},
		"v2": {fstest.MapFS{
			"proc/self/cgroup":                  file("0::/kube/pod\n"),
			"sys/fs/cgroup/kube/pod/memory.max": file("1073741824\n"),
		}, 1 << 30, true},
		"v2, the parent's limit is smaller": {fstest.MapFS{
			"proc/self/cgroup":                  file("0::/kube/pod\n"),
			"sys/fs/cgroup/kube/pod/memory.max": file("1073741824\n"),
			"sys/fs/cgroup/kube/memory.max":     file("536870912\n"),
		}, 512 << 20, true},
		"v2, seen from inside a container": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("268435456\n"),
		}, 256 << 20, true},
		"v2, no limit": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("max\n"),
		}, math.MaxInt64, false},
		"v1": {fstest.MapFS{
			"proc/self/cgroup": file("5:cpu,cpuacct:/a\n3:memory:/a\n"),
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": file("104857600\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   file("9223372036854771712\n"),
		}, 100 << 20, true},
		"garbage": {fstest.MapFS{"proc/self/cgroup": file("\x00:::\nx")}, math.MaxInt64, false},
	} {
		if got, ok := cgroupMemoryLimit(c.tree); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: got %d, %v; want %d, %v", name, got, ok, c.want, c.ok)
		}
	}
}

// TestMemoryGuard drives the guard through pressure and back. It changes settings of the process and
// expects all of them back.
func TestMemoryGuard(t *testing.T) {
	limitBefore, gcBefore := debug.SetMemoryLimit(math.MaxInt64), debug.SetGCPercent(100)
	defer func() { debug.SetMemoryLimit(limitBefore); debug.SetGCPercent(gcBefore) }()
	gogc := func() int {
		percent := debug.SetGCPercent(100)
		debug.SetGCPercent(percent)
		return percent
	}
	synctest.Test(t, func(t *testing.T) {
		var used atomic.Uint64
		guard := newMemoryGuard(DefaultMemoryConfig(), slog.New(slog.DiscardHandler))
		guard.used = used.Load
		guard.chosen, guard.gogc = false, false
		var live atomic.Uint64
		live.Store(1 << 30)
		guard.live = live.Load
		var allocated atomic.Uint64
		var released atomic.Int64
		guard.rest = rest{after: 10 * time.Second, allocated: allocated.Load, spare: func() (uint64, uint64) { return restSpare, 0 }, release: func() { released.Add(1) }}
		guard.root = fstest.MapFS{
			"proc/self/cgroup":         {Data: []byte("0::/\n")},
			"sys/fs/cgroup/memory.max": {Data: []byte("107374182400\n")}, // 100 GiB: far from this test's own use
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- guard.Run(ctx, func() {}) }()
		synctest.Wait()
		if got, want := debug.SetMemoryLimit(-1), int64(107374182400/100*90); got != want {
			t.Errorf("limit %d, want %d", got, want)
		}
		for _, step := range []struct {
			used uint64
			want int
		}{
			{10 << 30, 100}, {75 << 30, 30}, {65 << 30, 30}, {60 << 30, 100}, {80 << 30, 30},
		} {
			used.Store(step.used)
			time.Sleep(time.Second)
			synctest.Wait()
			if got := gogc(); got != step.want {
				t.Errorf("at %d GiB: GOGC %d, want %d", step.used>>30, got, step.want)
			}
		}
		used.Store(1 << 30)
		for _, step := range []struct {
			live uint64
			want int
		}{
			{100 << 20, 100}, {12 << 20, 200}, {4 << 20, 600}, {0, 2400}, {30 << 20, 100},
		} {
			live.Store(step.live)
			time.Sleep(time.Second)
			synctest.Wait()
			if got := gogc(); got != step.want {
				t.Errorf("with %d MiB alive: GOGC %d, want %d", step.live>>20, got, step.want)
			}
		}
		if got := released.Load(); got != 1 {
			t.Errorf("memory given back %d times in 10 s of rest, want once", got)
		}
		allocated.Store(1 << 40)
		time.Sleep(restEvery*10*time.Second + time.Second)
		synctest.Wait()
		if got := released.Load(); got != 2 {
			t.Errorf("memory given back %d times, want again after the second rest", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if got := gogc(); got != 100 {
		t.Errorf("GOGC %d after the guard ended", got)
	}
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("limit %d after the guard ended", got)
	}
}
