//go:build linux

package workers

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dougong-io/dougong/services/inference/supervisor"
)

// ends is an observer.
type ends struct {
	supervisor.Observer
	started atomic.Int64
	of      [supervisor.Ends]atomic.Int64
}

func (e *ends) Started(float64)               { e.started.Add(1) }
func (e *ends) Ended(end supervisor.End)      { e.of[end].Add(1) }
func (*ends) Ready(int)                       {}
func (*ends) Memory(int, int64, int64, int64) {}
func (*ends) Sent(int, int, float64)          {}
func (*ends) Retried()                        {}
func (*ends) Quarantined()                    {}
func (*ends) Refused()                        {}

// startPool runs the real worker in a pool of this process.
func startPool(t *testing.T, cfg supervisor.Config, model []byte, golden supervisor.GoldenRow) (*supervisor.Pool, *ends) {
	t.Helper()
	seen := new(ends)
	env := []string{"ORT_LIBRARY=" + library(t), "HOME=" + t.TempDir(), "MALLOC_ARENA_MAX=1", "MALLOC_MMAP_THRESHOLD_=65536", "MALLOC_TRIM_THRESHOLD_=131072"}
	pool, err := supervisor.New(cfg, supervisor.Command{Path: build(t, t.TempDir()), Env: env}, supervisor.Model{
		Name: "made", Version: "1", Format: "onnx", Bytes: model, Features: 2, Outputs: 1, Golden: []supervisor.GoldenRow{golden}, Tolerance: 1e-3,
	}, supervisor.Deps{Observer: seen})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for end := time.Now().Add(patience); len(pool.Status().Workers) < cfg.Workers; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no workers: %+v", pool.Status())
		}
	}
	return pool, seen
}

// TestCallersOfASlowGraphAreReleased: the graph computes for seconds in one operator, its callers wait a tenth of one. They are
// held against timers of the same length that run beside them.
func TestCallersOfASlowGraphAreReleased(t *testing.T) {
	needsTime(t)
	calls, callers := 400, 20
	if long() {
		calls = 5000
	}
	cfg := supervisor.DefaultConfig()
	cfg.HangAfter, cfg.Threads = 300*time.Millisecond, 1
	pool, seen := startPool(t, cfg, slowModel(), supervisor.GoldenRow{Input: []float64{1, 1}, Output: []float64{1}})
	var mu sync.Mutex
	var late, control []time.Duration
	var left atomic.Int64
	left.Store(int64(calls))
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				wait := 50*time.Millisecond + rand.N(100*time.Millisecond)
				at := time.Now().Add(wait)
				var own time.Duration
				var beside sync.WaitGroup
				beside.Go(func() {
					ctx, cancel := context.WithDeadline(context.Background(), at)
					defer cancel()
					<-ctx.Done()
					own = time.Since(at)
				})
				ctx, cancel := context.WithDeadline(context.Background(), at)
				err := pool.Predict(ctx, make([]float64, 1), []float64{3500, rand.Float64()})
				took := time.Since(at)
				cancel()
				beside.Wait()
				if err == nil {
					t.Error("it was answered: the graph is not slow")
				}
				mu.Lock()
				late, control = append(late, took), append(control, own)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(late)
	slices.Sort(control)
	q := func(of []time.Duration, q float64) time.Duration { return of[min(len(of)-1, int(q*float64(len(of))))] }
	t.Logf("%d callers released after their deadlines: p50 %v, p99.9 %v, most %v; timers beside them: p50 %v, p99.9 %v, most %v; %d workers were replaced as they hung",
		len(late), q(late, 0.5), q(late, 0.999), late[len(late)-1], q(control, 0.5), q(control, 0.999), control[len(control)-1], seen.of[supervisor.EndHung].Load())
	if seen.of[supervisor.EndHung].Load() == 0 {
		t.Error("no worker was replaced")
	}
	if over := q(late, 0.999) - q(control, 0.999); long() && over > 5*time.Millisecond {
		t.Errorf("99.9 %% are released within %v of what a timer does", over)
	}
	if most := late[len(late)-1]; most > 2*time.Second {
		t.Errorf("a caller was released %v late", most)
	}
}

// usage is what processes hold.
type usage struct {
	bytes                float64 // resident, added up
	descriptors, threads int     // of the first
}

func measure(t *testing.T, pids ...int) (u usage, ok bool) {
	t.Helper()
	for i, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return u, false // it has just ended
		}
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			return u, false
		}
		for line := range strings.Lines(string(status)) {
			var n int
			if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &n); err == nil {
				u.bytes += float64(n) * 1024
			}
			if _, err := fmt.Sscanf(line, "Threads: %d", &n); err == nil && i == 0 {
				u.threads = n
			}
		}
		if i == 0 {
			u.descriptors = len(entries)
		}
	}
	return u, true
}

// TestReloadsLeaveNothingBehind replaces workers of a model of 10 MiB, one after the other.
func TestReloadsLeaveNothingBehind(t *testing.T) {
	needsTime(t)
	reloads := 60
	if long() {
		reloads = 1000
	}
	cfg := supervisor.DefaultConfig()
	cfg.MaxAge, cfg.Heartbeat, cfg.Threads = time.Millisecond, 5*time.Millisecond, 1
	pool, seen := startPool(t, cfg, largeModel(), supervisor.GoldenRow{Input: []float64{0, 0}, Output: []float64{0}})
	var x, y []float64
	var first, last usage
	begin := time.Now()
	for n := int64(0); n < int64(reloads); {
		if now := seen.of[supervisor.EndRecycled].Load(); now == n {
			time.Sleep(time.Millisecond)
			continue
		} else {
			n = now
		}
		if err := pool.Predict(t.Context(), make([]float64, 1), []float64{1, 2}); err != nil {
			t.Fatalf("during reload %d: %v", n, err)
		}
		pids := []int{os.Getpid()}
		for _, w := range pool.Status().Workers {
			pids = append(pids, w.PID)
		}
		u, ok := measure(t, pids...)
		if !ok || len(pids) != 1+cfg.Workers || n < int64(reloads/5) {
			continue
		}
		if len(x) == 0 {
			first = u
		}
		last = u
		x, y = append(x, float64(n)), append(y, u.bytes)
	}
	slope, margin := trend(x, y)
	t.Logf("%d reloads in %v; over the last %d the family's memory grows by %.0f ± %.0f bytes a reload (95 %%), from %.1f MiB; descriptors %d, then %d; threads %d, then %d",
		reloads, time.Since(begin).Round(time.Second), reloads-reloads/5, slope, margin, first.bytes/(1<<20), first.descriptors, last.descriptors, first.threads, last.threads)
	if long() && slope+margin > 1024 {
		t.Errorf("it may grow by %.0f bytes a reload", slope+margin)
	}
	if slope-margin > 100<<10 {
		t.Errorf("it grows by %.0f bytes a reload", slope)
	}
	if last.descriptors > first.descriptors+20 || last.threads > first.threads+10 {
		t.Error("descriptors or threads grow")
	}
	for end := range supervisor.Ends {
		if n := seen.of[end].Load(); n > 0 && end != supervisor.EndRecycled {
			t.Errorf("%d workers ended otherwise: %v", n, end)
		}
	}
}

// trend is the slope of a line through points by least squares, with its interval of 95 %.
func trend(x, y []float64) (slope, margin float64) {
	n := float64(len(x))
	var mx, my float64
	for i := range x {
		mx, my = mx+x[i]/n, my+y[i]/n
	}
	var sxx, sxy float64
	for i := range x {
		sxx += (x[i] - mx) * (x[i] - mx)
		sxy += (x[i] - mx) * (y[i] - my)
	}
	slope = sxy / sxx
	var rest float64
	for i := range x {
		d := y[i] - my - slope*(x[i]-mx)
		rest += d * d
	}
	return slope, 1.96 * math.Sqrt(rest/(n-2)/sxx)
}
