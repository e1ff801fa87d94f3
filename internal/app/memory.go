package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

// MemoryConfig keeps the process below the limit at which its cgroup would kill it.
type MemoryConfig struct {
	HeapFloor       int64 `json:"heap_floor" unit:"bytes" doc:"Garbage that may always gather before it is collected: a process whose live heap is small would else collect all the time. GOGC wins if it is set. 0: Go's own rule."`
	LimitPercent    int   `json:"limit_percent" doc:"Share of the cgroup's memory limit that becomes Go's soft limit (GOMEMLIMIT, which wins if it is set). 0: none."`
	PressurePercent int   `json:"pressure_percent" doc:"Share of the soft limit above which the collector runs more often; it goes back 10 points below."`
	PressureGOGC    int   `json:"pressure_gogc" doc:"GOGC under pressure."`

	RestAfter time.Duration `json:"rest_after" doc:"How long there is next to no traffic before the memory that it left behind goes back to the system, as that of the start does. 0: never."`
}

// DefaultMemoryConfig leaves a tenth of the limit to what Go does not count.
func DefaultMemoryConfig() MemoryConfig {
	return MemoryConfig{HeapFloor: 24 << 20, LimitPercent: 90, PressurePercent: 80, PressureGOGC: 30, RestAfter: 10 * time.Second}
}

// Validate reports every fault at once.
func (c MemoryConfig) Validate() error {
	var faults []error
	if c.HeapFloor < 0 || c.HeapFloor > 1<<30 {
		faults = append(faults, fmt.Errorf("heap_floor: must be 0 to 1GiB, is %d bytes", c.HeapFloor))
	}
	if c.LimitPercent < 0 || c.LimitPercent > 100 {
		faults = append(faults, fmt.Errorf("limit_percent: must be 0 to 100, is %d", c.LimitPercent))
	}
	if c.PressurePercent < 11 || c.PressurePercent > 100 {
		faults = append(faults, fmt.Errorf("pressure_percent: must be 11 to 100, is %d", c.PressurePercent))
	}
	if c.PressureGOGC < 5 || c.PressureGOGC > 100 {
		faults = append(faults, fmt.Errorf("pressure_gogc: must be 5 to 100, is %d", c.PressureGOGC))
	}
	if c.RestAfter < 0 || c.RestAfter > time.Hour || c.RestAfter > 0 && c.RestAfter < time.Second {
		faults = append(faults, fmt.Errorf("rest_after: must be 0 or 1s to 1h, is %v", c.RestAfter))
	}
	return errors.Join(faults...)
}

// memoryGuard sets Go's soft memory limit from the cgroup, lowers GOGC while memory is short, and gives back what is
// not needed at rest.
type memoryGuard struct {
	cfg   MemoryConfig
	log   *slog.Logger
	root  fs.FS // the root file system
	tick  time.Duration
	used  func() uint64
	live  func() uint64
	limit int64 // the soft limit in force, math.MaxInt64 for none
	rest  rest

	chosen bool // the limit was set from outside, be it to off
	gogc   bool // GOGC was set from outside
}

func newMemoryGuard(cfg MemoryConfig, log *slog.Logger) *memoryGuard {
	_, chosen := os.LookupEnv("GOMEMLIMIT")
	_, gogc := os.LookupEnv("GOGC")
	return &memoryGuard{cfg: cfg, log: log, root: os.DirFS("/"), tick: time.Second, used: goMemory, live: liveHeap, rest: newRest(cfg.RestAfter), chosen: chosen, gogc: gogc}
}

// Run sets the limit, then watches until ctx ends and puts both settings back.
func (g *memoryGuard) Run(ctx context.Context, ready func()) error {
	before := debug.SetMemoryLimit(-1)
	g.limit = before
	if cgroup, ok := cgroupMemoryLimit(g.root); ok && g.cfg.LimitPercent > 0 && !g.chosen {
		g.limit = cgroup / 100 * int64(g.cfg.LimitPercent)
		debug.SetMemoryLimit(g.limit)
		defer debug.SetMemoryLimit(before)
		g.log.Info("memory limit set", "cgroup_bytes", cgroup, "limit_bytes", g.limit)
	}
	ready()
	g.watch(ctx)
	return nil
}

// watch keeps GOGC at what the heap and the pressure ask for, and looks whether the process is at rest.
func (g *memoryGuard) watch(ctx context.Context) {
	ticker := time.NewTicker(g.tick)
	defer ticker.Stop()
	normal := debug.SetGCPercent(100)
	debug.SetGCPercent(normal)
	defer debug.SetGCPercent(normal)
	high := uint64(g.limit) / 100 * uint64(g.cfg.PressurePercent)
	low := uint64(g.limit) / 100 * uint64(g.cfg.PressurePercent-10)
	pressed, inForce := false, normal
	for {
		switch used := g.used(); {
		case !pressed && used > high:
			pressed = true
			g.log.Warn("memory pressure: collecting more often", "used_bytes", used, "limit_bytes", g.limit, "gogc", g.cfg.PressureGOGC)
		case pressed && used < low:
			pressed = false
			g.log.Info("memory pressure over", "used_bytes", used)
		}
		want := g.cfg.PressureGOGC
		if !pressed {
			want = g.relaxed(normal)
		}
		if want != inForce {
			debug.SetGCPercent(want)
			inForce = want
		}
		g.rest.look(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// relaxed is the GOGC without pressure: the normal one, or what lets HeapFloor gather over the live heap, in steps
// so that it is not set anew for every small change.
func (g *memoryGuard) relaxed(normal int) int {
	if g.gogc || normal < 0 {
		return normal
	}
	live := max(g.live(), 1<<20)
	return max(normal, int(uint64(g.cfg.HeapFloor)*100/live)/50*50)
}

// liveHeap is what the last collection left.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// goMemory is what counts against Go's soft limit.
func goMemory() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}

// cgroupMemoryLimit finds the smallest limit on the way from the process's cgroup to the root, for
// cgroup v2 and v1. A container often sees its own cgroup as the root, so both places are tried.
func cgroupMemoryLimit(root fs.FS) (limit int64, ok bool) {
	data, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	limit = math.MaxInt64
	for line := range strings.Lines(string(data)) {
		// hierarchy:controllers:path; v2 has no controllers.
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		base, file := "", ""
		switch {
		case parts[1] == "":
			base, file = "sys/fs/cgroup", "memory.max"
		case strings.Contains(","+parts[1]+",", ",memory,"):
			base, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
			if n, err := readLimit(root, path.Join(base, dir, file)); err == nil {
				limit = min(limit, n)
			}
			if dir == "/" {
				break
			}
		}
	}
	// v1 says "no limit" with a number near the largest one.
	return limit, limit < 1<<60
}

func readLimit(root fs.FS, file string) (int64, error) {
	data, err := fs.ReadFile(root, file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
}
