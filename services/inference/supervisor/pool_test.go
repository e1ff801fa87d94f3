//go:build linux

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/services/inference/wire"
)

// running is a pool under test.
type running struct {
	*Pool
	t    *testing.T
	stop func()
	log  *lines
	seen *counts
}

type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// counts is an observer.
type counts struct {
	silent
	ends                          [Ends]atomic.Int64
	retried, quarantined, refused atomic.Int64
	started, most                 atomic.Int64
}

func (c *counts) Ended(e End)     { c.ends[e].Add(1) }
func (c *counts) Retried()        { c.retried.Add(1) }
func (c *counts) Quarantined()    { c.quarantined.Add(1) }
func (c *counts) Refused()        { c.refused.Add(1) }
func (c *counts) Started(float64) { c.started.Add(1) }
func (c *counts) Sent(calls, _ int, _ float64) {
	for {
		most := c.most.Load()
		if int64(calls) <= most || c.most.CompareAndSwap(most, int64(calls)) {
			return
		}
	}
}

func testConfig() Config {
	c := DefaultConfig()
	c.Lanes, c.HangAfter, c.Heartbeat, c.Silence, c.Probe = 2, 300*time.Millisecond, 50*time.Millisecond, 2*time.Second, 100*time.Millisecond
	c.Backoff, c.MaxBackoff, c.StartTimeout = 10*time.Millisecond, 100*time.Millisecond, 10*time.Second
	return c
}

var adder = Model{
	Name: "adder", Version: "1", Format: "sum", Bytes: []byte("a model"), Features: 2, Outputs: 1,
	Golden: []GoldenRow{{Input: []float64{1, 2}, Output: []float64{3}}}, Tolerance: 1e-6,
}

func newPool(t *testing.T, cfg Config, mode string, model Model, rules ...fault.Rule) *running {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return poolOf(t, cfg, Command{Path: program, Env: []string{"DOUGONG_TEST_WORKER=" + mode}}, model, rules...)
}

func poolOf(t *testing.T, cfg Config, command Command, model Model, rules ...fault.Rule) *running {
	t.Helper()
	ceiling := fault.DefaultConfig()
	ceiling.Ceiling.Lifetime = fault.Forever
	set, err := fault.New(ceiling)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	for _, rule := range rules {
		if err := set.Put(fault.Admin, rule); err != nil {
			t.Fatal(err)
		}
	}
	r := &running{t: t, log: new(lines), seen: new(counts)}
	r.Pool, err = New(cfg, command, model, Deps{Log: slog.New(slog.NewJSONHandler(r.log, nil)), Observer: r.seen, Faults: set})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the pool does not end")
		}
	})
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
	return r
}

func startPool(t *testing.T, cfg Config) *running {
	t.Helper()
	r := newPool(t, cfg, "adds", adder)
	r.workers(cfg.Workers)
	return r
}

// workers waits until so many serve.
func (r *running) workers(n int) {
	r.t.Helper()
	r.until(fmt.Sprintf("%d workers serve", n), func() bool { return len(r.Status().Workers) == n })
}

func (r *running) until(what string, holds func() bool) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(end) {
			r.t.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// cleared tells whether no call is suspected of anything.
func (r *running) cleared() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.alone) == 0 && r.alonefor == nil && r.suspects.known.Load() == 0
}

// add asks for one row.
func (r *running) add(ctx context.Context, a, b float64) (float64, error) {
	answer := make([]float64, 1)
	err := r.Predict(ctx, answer, []float64{a, b})
	return answer[0], err
}

func (r *running) adds(n int) {
	r.t.Helper()
	for i := range n {
		if got, err := r.add(r.t.Context(), float64(i), 1); err != nil || got != float64(i+1) {
			r.t.Fatalf("call %d: %v, %v", i, got, err)
		}
	}
}

func (r *running) pids() (pids []int) {
	for _, w := range r.Status().Workers {
		pids = append(pids, w.PID)
	}
	return pids
}

func TestRowsAreAnswered(t *testing.T) {
	r := startPool(t, testConfig())
	r.adds(100)
	rows, answers := make([]float64, 2*1000), make([]float64, 1000) // more than a batch
	for i := range rows {
		rows[i] = float64(i % 977)
	}
	if err := r.Predict(t.Context(), answers, rows); err != nil {
		t.Fatal(err)
	}
	for i, got := range answers {
		if want := rows[2*i] + rows[2*i+1]; got != want {
			t.Fatalf("row %d: %v, want %v", i, got, want)
		}
	}
	if err := r.Predict(t.Context(), answers[:1], rows[:3]); !errors.Is(err, ErrInput) {
		t.Errorf("a row and a half: %v", err)
	}
	if err := r.Predict(t.Context(), nil, nil); err != nil {
		t.Errorf("no rows: %v", err)
	}
}

func TestStopEndsTheWorkers(t *testing.T) {
	r := startPool(t, testConfig())
	pids := r.pids()
	r.stop()
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is there: %v", pid, err)
		}
	}
	if n := r.seen.ends[EndStopped].Load(); n != 2 {
		t.Errorf("%d were stopped", n)
	}
	if _, err := r.add(t.Context(), 1, 2); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after the stop: %v", err)
	}
}

func TestDeathCostsNoCall(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"SIGKILL": syscall.SIGKILL, "SIGSEGV": syscall.SIGSEGV, "SIGSTOP": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			r := startPool(t, testConfig())
			var stop atomic.Bool
			var answered atomic.Int64
			var callers sync.WaitGroup
			defer func() { stop.Store(true); callers.Wait() }()
			for range 8 {
				callers.Go(func() {
					for !stop.Load() {
						x := float64(rand.N(900))
						if signal != syscall.SIGSEGV && rand.N(500) == 0 { // a second such death of a call would be its own fault
							x = takesTime
						}
						ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
						if got, err := r.add(ctx, x, 1); err != nil || got != x+1 {
							t.Errorf("%v + 1: %v, %v", x, got, err)
						}
						cancel()
						answered.Add(1)
					}
				})
			}
			killed := 0
			for range 20 {
				r.workers(2)
				before := answered.Load()
				// Who was with the last one has been answered: four deaths in a row would be taken for its own fault.
				r.until("calls go on", func() bool { return answered.Load() > before+500 && r.cleared() })
				if pids := r.pids(); len(pids) > 0 && syscall.Kill(pids[rand.N(len(pids))], signal) == nil {
					killed++
				}
			}
			r.workers(2)
			stop.Store(true)
			callers.Wait()
			t.Logf("%d answers, %d workers killed, %d calls sent again", answered.Load(), killed, r.seen.retried.Load())
			if r.seen.retried.Load() == 0 {
				t.Error("no call was with a worker that died")
			}
			if n := r.seen.quarantined.Load(); n != 0 {
				t.Errorf("%d inputs were taken into quarantine", n)
			}
		})
	}
}

func TestInputThatKillsTwoWorkersIsQuarantined(t *testing.T) {
	for name, kind := range map[string]float64{"crash": crashes, "exit": exits, "another's": others, "garbled": garbles, "shape": misshapes, "name": misnames} {
		t.Run(name, func(t *testing.T) {
			r := startPool(t, testConfig())
			var callers sync.WaitGroup
			var stop atomic.Bool
			for range 6 { // who are with it when the workers die
				callers.Go(func() {
					for !stop.Load() {
						if got, err := r.add(t.Context(), 5, 6); err != nil || got != 11 {
							t.Errorf("another call: %v, %v", got, err)
							return
						}
					}
				})
			}
			_, err := r.add(t.Context(), kind, 77)
			quarantined, ok := errors.AsType[*QuarantinedError](err)
			if !ok {
				t.Fatalf("the input: %v", err)
			}
			dead := r.seen.started.Load()
			for range 10 {
				if _, err := r.add(t.Context(), kind, 77); !errors.Is(err, ErrQuarantined) {
					t.Errorf("once more: %v", err)
				}
			}
			r.workers(2)
			stop.Store(true)
			callers.Wait()
			if list := r.Quarantined(); len(list) != 1 || list[0].Reference != quarantined.Reference || list[0].Refused != 10 {
				t.Errorf("the list is %+v", list)
			}
			if n := r.seen.started.Load() - 2; n > dead && n != 2 {
				t.Errorf("%d workers had to be replaced", n)
			}
			if !r.Release(quarantined.Reference) || r.Release(quarantined.Reference) || r.Release("x") {
				t.Error("it cannot be released, or twice")
			}
		})
	}
}

func TestHungCallLetsItsCallerGo(t *testing.T) {
	cfg := testConfig()
	r := startPool(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := r.add(ctx, hangs, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the call: %v", err)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("after %v", d)
	}
	r.adds(10)
	r.until("the worker is replaced", func() bool { return r.seen.ends[EndHung].Load() == 1 && r.seen.started.Load() == 3 })
	// It is remembered: the next time it is alone, and then it is refused.
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := r.add(ctx, hangs, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the call again: %v", err)
	}
	r.until("it is in quarantine", func() bool { return len(r.Quarantined()) == 1 })
	if _, err := r.add(t.Context(), hangs, 0); !errors.Is(err, ErrQuarantined) {
		t.Errorf("the call a third time: %v", err)
	}
}

func TestCallerThatHangsUpIsLetGo(t *testing.T) {
	r := startPool(t, testConfig())
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	begin := time.Now()
	if _, err := r.add(ctx, takesLong, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("the call: %v", err)
	}
	if d := time.Since(begin); d > 900*time.Millisecond {
		t.Errorf("after %v", d)
	}
}

func TestWorkerThatObeysACancelIsKept(t *testing.T) {
	cfg := testConfig()
	cfg.HangAfter = 10 * time.Second
	r := startPool(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := r.add(ctx, obeys, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the call: %v", err)
	}
	r.until("its lane is free", func() bool {
		for _, w := range r.Status().Workers {
			if w.InFlight > 0 {
				return false
			}
		}
		return true
	})
	r.adds(20)
	if n := r.seen.started.Load(); n != 2 {
		t.Errorf("%d workers were started", n)
	}
}

func TestFailuresAreTheCalls(t *testing.T) {
	r := startPool(t, testConfig())
	if _, err := r.add(t.Context(), invalid, 0); !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "1009 is not a number") {
		t.Errorf("invalid: %v", err)
	}
	if _, err := r.add(t.Context(), breaks, 0); !errors.Is(err, wire.Failed) || !strings.Contains(err.Error(), "out of registers") {
		t.Errorf("failed: %v", err)
	}
	if n := r.seen.started.Load(); n != 2 {
		t.Errorf("%d workers were started", n)
	}
}

func TestSecondAnswerIsABreachAndCostsNoCall(t *testing.T) {
	cfg := testConfig()
	cfg.Workers, cfg.Lanes = 1, 1
	r := startPool(t, cfg)
	if got, err := r.add(t.Context(), twice, 1); err != nil || got != twice+1 {
		t.Logf("the call: %v, %v", got, err) // it may be the one that is found out
	}
	r.adds(10)
	if n := r.seen.ends[EndBreach].Load(); n < 1 {
		t.Errorf("%d breaches", n)
	}
}

func TestFloodIsABreachAndCostsNoOtherCall(t *testing.T) {
	r := startPool(t, testConfig())
	// What follows the answer at once is a breach of this very call.
	if got, err := r.add(t.Context(), floods, 1); err == nil && got != floods+1 || err != nil && !errors.Is(err, ErrQuarantined) {
		t.Errorf("the call: %v, %v", got, err)
	}
	r.until("it is found out", func() bool {
		r.adds(4)
		return r.seen.ends[EndBreach].Load() > 0
	})
}

func TestInputThatHasWorkersKilledFromOutsideIsGivenMoreTries(t *testing.T) {
	r := startPool(t, testConfig())
	var died atomic.Int64
	stop := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			for _, w := range r.Status().Workers {
				if w.InFlight > 0 && died.Load() < fatal/struck-1 && syscall.Kill(w.PID, syscall.SIGKILL) == nil {
					died.Add(1)
					for r.alive(w.PID) {
						time.Sleep(time.Millisecond)
					}
				}
			}
		}
	})
	if got, err := r.add(t.Context(), takesTime, 1); err != nil || got != takesTime+1 {
		t.Errorf("the call: %v, %v", got, err)
	}
	close(stop)
	killer.Wait()
	if n := died.Load(); n == 0 {
		t.Error("no worker was killed")
	}
	if n := r.suspects.known.Load(); n != 0 {
		t.Errorf("%d inputs are suspected still", n)
	}
}

// alive tells whether a worker of that process serves.
func (r *running) alive(pid int) bool { return slices.Contains(r.pids(), pid) }

func TestBatchesFormWhileWorkersAreBusy(t *testing.T) {
	cfg := testConfig()
	cfg.Workers, cfg.Lanes = 1, 1
	r := startPool(t, cfg)
	var callers sync.WaitGroup
	callers.Go(func() { r.add(t.Context(), takesTime, 0) })
	r.until("the worker is busy", func() bool { s := r.Status(); return len(s.Workers) == 1 && s.Workers[0].InFlight == 1 })
	for i := range 30 {
		callers.Go(func() {
			x := float64(i)
			if i == 7 {
				x = invalid // costs the others nothing
			}
			if got, err := r.add(t.Context(), x, 1); i != 7 && (err != nil || got != x+1) || i == 7 && !errors.Is(err, ErrInput) {
				t.Errorf("%v + 1: %v, %v", x, got, err)
			}
		})
	}
	callers.Wait()
	if n := r.seen.most.Load(); n < 10 {
		t.Errorf("at most %d calls went together", n)
	}
}

func TestDelayGathersABatch(t *testing.T) {
	cfg := testConfig()
	cfg.Workers, cfg.Lanes, cfg.Probe = 1, 1, time.Hour
	cfg.Batch = Batch{Rows: 4, Delay: 20 * time.Second} // the fourth ends it
	r := startPool(t, cfg)
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			if got, err := r.add(t.Context(), float64(i), 1); err != nil || got != float64(i+1) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	callers.Wait()
	if n := r.seen.most.Load(); n != 4 {
		t.Errorf("at most %d calls went together", n)
	}
}

func TestSilentWorkerIsReplaced(t *testing.T) {
	cfg := testConfig()
	cfg.Silence = 200 * time.Millisecond
	r := newPool(t, cfg, "deaf", adder)
	r.until("a worker was silent", func() bool { return r.seen.ends[EndSilent].Load() >= 2 })
}

func TestWorkerThatGrowsIsReplacedWithoutACall(t *testing.T) {
	cfg := testConfig()
	cfg.MaxMemory = 32 << 20
	r := startPool(t, cfg)
	r.add(t.Context(), grows, 0)
	r.until("it is replaced", func() bool {
		r.adds(1)
		return r.seen.ends[EndRecycled].Load() == 1
	})
	r.workers(2)
	if n := r.seen.retried.Load(); n != 0 {
		t.Errorf("%d calls were sent again", n)
	}
}

func TestOldWorkersAreReplacedWithoutACall(t *testing.T) {
	cfg := testConfig()
	cfg.MaxAge = 200 * time.Millisecond
	r := startPool(t, cfg)
	r.until("each was replaced", func() bool {
		r.adds(10)
		return r.seen.ends[EndRecycled].Load() >= 6
	})
	if n := r.seen.retried.Load(); n != 0 {
		t.Errorf("%d calls were sent again", n)
	}
}

func TestWorkerThatCannotStartSaysWhy(t *testing.T) {
	for mode, want := range map[string]string{
		"exits":   "no such device",
		"refuses": "opset 99 is not known",
		"future":  "speaks version 9",
		"garbage": "begins with",
		"wrong":   "golden rows are not reproduced",
		"wide":    "the shape [-1 3]",
		"silent":  "not ready within",
	} {
		t.Run(mode, func(t *testing.T) {
			cfg := testConfig()
			cfg.StartTimeout = 500 * time.Millisecond
			r := newPool(t, cfg, mode, adder)
			r.until("it is said", func() bool { return strings.Contains(r.log.String(), want) })
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := r.add(ctx, 1, 2); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a call: %v", err)
			}
			if err := r.Healthy(); err == nil {
				t.Error("it is healthy")
			}
		})
	}
}

func TestProgramThatIsMissing(t *testing.T) {
	p, err := New(testConfig(), Command{Path: "/nowhere/worker"}, adder, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(fmt.Sprint(p.Healthy()), "/nowhere/worker"); {
		if time.Now().After(end) {
			t.Fatal(p.Healthy())
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestHealthFollowsTheWorkers(t *testing.T) {
	cfg := testConfig()
	r := startPool(t, cfg)
	r.until("it is healthy", func() bool { return r.Healthy() == nil })
	hold := make(chan struct{})
	var holder sync.WaitGroup
	holder.Go(func() { // whoever comes is stopped
		for {
			select {
			case <-hold:
				return
			default:
			}
			for _, pid := range r.pids() {
				syscall.Kill(pid, syscall.SIGSTOP)
			}
			time.Sleep(time.Millisecond)
		}
	})
	begin := time.Now()
	r.until("it is not healthy", func() bool { return r.Healthy() != nil })
	t.Logf("not healthy after %v", time.Since(begin))
	close(hold)
	holder.Wait()
	r.until("it is healthy again", func() bool { return r.Healthy() == nil })
}

func TestFailFastDoesNotWaitForAWorker(t *testing.T) {
	model := adder
	model.FailFast = true
	r := newPool(t, testConfig(), "refuses", model)
	r.until("it is said", func() bool { return strings.Contains(r.log.String(), "opset 99") })
	if _, err := r.add(t.Context(), 1, 2); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a call: %v", err)
	}
}

func TestRulesStrikeStartsAndCalls(t *testing.T) {
	only := map[string]string{"model": "adder", "version": "1"}
	for name, rule := range map[string]fault.Rule{
		"error": {Error: &fault.Failure{Message: "on purpose"}},
		"panic": {Panic: &fault.Panicking{Message: "on purpose"}},
	} {
		t.Run(name, func(t *testing.T) {
			rule.ID, rule.Point, rule.Where, rule.Count = "start", pointStart.Name, only, 3
			r := newPool(t, testConfig(), "adds", adder, rule)
			r.workers(2)
			if n := r.seen.ends[EndFailed].Load(); n != 3 || !strings.Contains(r.log.String(), "on purpose") {
				t.Errorf("%d starts failed", n)
			}
		})
	}
	r := newPool(t, testConfig(), "adds", adder, fault.Rule{ID: "call", Point: pointCall.Name, Where: only, Count: 1, Error: &fault.Failure{Message: "on purpose"}})
	r.workers(2)
	if _, err := r.add(t.Context(), 1, 2); !errors.Is(err, fault.ErrInjected) {
		t.Errorf("the call: %v", err)
	}
	r.adds(3)
}

func TestNothingIsLeft(t *testing.T) {
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := 0
	for round := range 6 {
		r := startPool(t, testConfig())
		for range 5 {
			r.workers(2)
			syscall.Kill(r.pids()[0], syscall.SIGKILL)
			r.adds(5)
		}
		r.stop()
		if round == 1 {
			before = descriptors()
		}
	}
	if after := descriptors(); after > before+2 {
		t.Errorf("%d descriptors were open, now %d", before, after)
	}
}
