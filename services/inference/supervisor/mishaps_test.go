//go:build linux

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

func TestDelayOfABatchEndsWithTheDeadline(t *testing.T) {
	cfg := testConfig()
	cfg.Batch = Batch{Rows: 64, Delay: 2 * time.Second}
	r := startPool(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := r.add(ctx, 1, 2)
	if d := time.Since(begin); d > 500*time.Millisecond {
		t.Errorf("let go after %v, its deadline was 50ms: %v", d, err)
	}
}

// A call with little time joins a batch that waits longer than that; all workers have nothing to do.
func TestDelayOfABatchIsNoLongerThanItsCallsHave(t *testing.T) {
	cfg := testConfig()
	cfg.Batch = Batch{Rows: 64, Delay: 300 * time.Millisecond}
	r := startPool(t, cfg)
	var g sync.WaitGroup
	g.Go(func() { r.add(t.Context(), 1, 1) })
	time.Sleep(20 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := r.add(ctx, 2, 2); err != nil {
		t.Errorf("with 100 ms, of which 1 was needed: %v", err)
	}
	g.Wait()
}

func TestWorkersThatDieIdleAreReplacedAtOnce(t *testing.T) {
	cfg := testConfig()
	cfg.Heartbeat, cfg.Silence, cfg.Probe = 5*time.Second, 10*time.Second, 10*time.Second
	r := startPool(t, cfg)
	time.Sleep(100 * time.Millisecond)
	pids := r.pids()
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	r.until("both are replaced", func() bool { return r.seen.started.Load() == 4 })
	for _, pid := range pids {
		if r.alive(pid) {
			t.Errorf("worker %d was reaped, and is given calls", pid)
		}
	}
	r.adds(10)
	if n := r.suspects.known.Load(); n != 0 {
		t.Errorf("%d inputs are blamed for it", n)
	}
}

func TestCancelIsGivenTime(t *testing.T) {
	r := startPool(t, testConfig()) // HangAfter 300 ms
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		r.add(ctx, obeys, 0)
		cancel()
		time.Sleep(300 * time.Millisecond)
	}
	if n := r.seen.ends[EndHung].Load(); n > 0 {
		t.Errorf("%d workers were killed that obey CANCEL; quarantined: %+v", n, r.Quarantined())
	}
}

func TestLanesOfCallersThatHungUpComeBack(t *testing.T) {
	r := startPool(t, testConfig())
	ctx, cancel := context.WithCancel(t.Context())
	var g sync.WaitGroup
	for i := range 4 {
		g.Go(func() { r.add(ctx, hangs, float64(i)) })
		time.Sleep(30 * time.Millisecond)
	}
	cancel()
	g.Wait()
	begin := time.Now()
	ctx, cancel = context.WithTimeout(t.Context(), 3*time.Second) // ten times HangAfter
	defer cancel()
	if _, err := r.add(ctx, 1, 2); err != nil {
		t.Errorf("nobody waits for anything, and a call got no worker in %v: %v; %+v", time.Since(begin), err, r.Status())
	}
}

func TestReplacementThatFailsIsNotTriedAllTheTime(t *testing.T) {
	cfg := testConfig()
	cfg.MaxAge, cfg.Backoff, cfg.MaxBackoff = 500*time.Millisecond, 10*time.Millisecond, 10*time.Second
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script, tries := filepath.Join(dir, "w"), filepath.Join(dir, "tries")
	good := fmt.Sprintf("#!/bin/sh\nexec %s\n", program)
	os.WriteFile(script, []byte(good), 0o755)
	r := poolOf(t, cfg, Command{Path: script, Env: []string{"DOUGONG_TEST_WORKER=adds"}}, adder)
	r.workers(cfg.Workers)
	os.WriteFile(script+"2", []byte(fmt.Sprintf("#!/bin/sh\necho x >> %s\nexit 1\n", tries)), 0o755)
	os.Rename(script+"2", script)
	time.Sleep(4 * time.Second)
	b, _ := os.ReadFile(tries)
	if n := len(b) / 2; n > 20 {
		t.Errorf("%d starts were tried in 3.5 s; with doubling from 10 ms it would be about 9", n)
	}
}

func TestChildOfAWorkerThatKeepsItsSocketsHoldsNothingUp(t *testing.T) {
	cfg := testConfig() // Silence 2 s
	r := newPool(t, cfg, "forks", adder)
	r.workers(cfg.Workers)
	done := make(chan time.Duration)
	go func() {
		begin := time.Now()
		got, err := r.add(t.Context(), takesTime, 1)
		t.Log(got, err)
		done <- time.Since(begin)
	}()
	var pid int
	r.until("busy", func() bool {
		for _, w := range r.Status().Workers {
			if w.InFlight > 0 && w.Calls > 0 {
				pid = w.PID
			}
		}
		return pid != 0
	})
	time.Sleep(10 * time.Millisecond)
	syscall.Kill(pid, syscall.SIGKILL)
	if d := <-done; d > time.Second {
		t.Errorf("the worker was reaped at once; its call waited %v", d)
	}
}

// What the worker started outlives it.
func TestWhatAWorkerHasStartedEndsWithIt(t *testing.T) {
	r := newPool(t, testConfig(), "forks", adder)
	r.workers(2)
	pids := r.pids()
	r.stop()
	for _, pid := range pids {
		r.until("all of its group have ended", func() bool { return syscall.Kill(-pid, 0) != nil })
	}
}

func TestStallDoesNotPutTheGoldenRowIntoQuarantine(t *testing.T) {
	cfg := testConfig()
	file := filepath.Join(t.TempDir(), "stall")
	r := newPool(t, cfg, "stalls "+file, adder)
	r.workers(cfg.Workers)
	r.until("healthy", func() bool { return r.Healthy() == nil })
	os.WriteFile(file, nil, 0o600)
	time.Sleep(3 * time.Second)
	os.Remove(file)
	r.workers(2)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && r.Healthy() != nil; {
		time.Sleep(10 * time.Millisecond)
	}
	if got, err := r.add(t.Context(), 7, 8); err != nil || got != 15 {
		t.Errorf("another call: %v, %v", got, err)
	}
	if err := r.Healthy(); err != nil {
		t.Errorf("the stall is over for 5 s, two workers serve, and: %v", err)
	}
}

func TestDescriptorsThatRunOutAreNotLost(t *testing.T) {
	r := startPool(t, testConfig())
	r.adds(10)
	count := func() int { e, _ := os.ReadDir("/proc/self/fd"); return len(e) }
	before := count()
	var old syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old)
	low := old
	for _, extra := range []uint64{1, 3, 5, 6, 7, 8, 9} {
		low.Cur = uint64(before) + extra
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low)
		syscall.Kill(r.pids()[0], syscall.SIGKILL)
		time.Sleep(400 * time.Millisecond)
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)
		r.workers(2)
		r.adds(10)
	}
	time.Sleep(400 * time.Millisecond)
	if after := count(); after > before+1 {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// handmade is a worker without a process; what it is sent nobody reads, but who has the other ends.
func handmade(t *testing.T, p *Pool, slot int) (w *worker, theirs []*os.File) {
	t.Helper()
	w = &worker{pool: p, slot: slot, born: time.Now(), gone: make(chan struct{}), idle: make(chan struct{}, 1), log: p.log}
	w.lines = &logLines{worker: w}
	w.input, w.output, w.datatype, w.answers = []byte("in"), []byte("out"), wire.FP32, wire.FP32
	w.proc = &process{dead: true, reaped: make(chan struct{}), ended: make(chan struct{})}
	for i := range p.cfg.Lanes + 1 {
		ours, their, err := socketPair()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ours.Close(); their.Close() })
		theirs = append(theirs, their)
		if i == 0 {
			w.proc.control = ours
			continue
		}
		w.proc.lanes = append(w.proc.lanes, ours)
		w.lanes = append(w.lanes, &lane{worker: w, file: ours, looker: newLooker(ours), id: uint64(i) << 48})
	}
	return w, theirs
}

func bare(t *testing.T, cfg Config) *Pool {
	p, err := New(cfg, Command{Path: "x"}, adder, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newCall(deadline time.Duration) *call {
	return &call{rows: []float64{1, 2}, answers: make([]float64, 1), count: 1, deadline: time.Now().Add(deadline), wake: make(chan wake, 1)}
}

// The lane ends, and the process is not reaped (a driver has it in the kernel, somebody traces it).
func TestCallerDoesNotWaitForTheKernel(t *testing.T) {
	p := bare(t, testConfig())
	w, theirs := handmade(t, p, 0)
	p.join(w)
	for _, f := range theirs[1:] {
		time.AfterFunc(30*time.Millisecond, func() { f.Close() })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	time.AfterFunc(2*time.Second, func() { close(w.proc.reaped) })
	begin := time.Now()
	err := p.Predict(ctx, make([]float64, 1), []float64{1, 2})
	if d := time.Since(begin); d > 500*time.Millisecond {
		t.Errorf("let go after %v, its deadline was 100ms: %v", d, err)
	}
}

// The worker that was to be alone with a suspect is kept idle while the suspect may not go there.
func TestWorkerThatASuspectMayNotHaveIsForOthers(t *testing.T) {
	p := bare(t, testConfig())
	a, _ := handmade(t, p, 0)
	b, _ := handmade(t, p, 1)
	p.join(a)
	p.join(b)
	y, x, n := newCall(5*time.Second), newCall(5*time.Second), newCall(5*time.Second)
	y.lone, x.lone, x.careful = true, true, time.Now().Add(time.Second)
	p.enter(y)
	lane := (<-y.wake).lane // y is alone on one of them
	p.enter(x)              // x waits for that one
	other := a
	if lane.worker == a {
		other = b
	}
	other.die(EndSilent, errors.New("killed"), nil)
	p.giveBack(lane) // y was answered
	p.enter(n)       // anybody
	select {
	case <-n.wake:
	case <-time.After(500 * time.Millisecond):
		t.Errorf("a worker that is ready has %d of %d lanes free; an innocent call got none in 500 ms", len(lane.worker.free), len(lane.worker.lanes))
	}
}

// A suspect waits for a busy worker while another is idle.
func TestSuspectGoesToTheWorkerThatIsIdleFirst(t *testing.T) {
	p := bare(t, testConfig())
	a, _ := handmade(t, p, 0)
	b, _ := handmade(t, p, 1)
	p.join(a)
	p.join(b)
	var lanes []*lane
	for range 4 { // all are busy
		c := newCall(time.Minute)
		c.single = true
		p.enter(c)
		lanes = append(lanes, (<-c.wake).lane)
	}
	s := newCall(5 * time.Second)
	s.lone = true
	p.enter(s) // picks one
	for _, ln := range lanes {
		if ln.worker != p.alonefor {
			p.giveBack(ln) // the other one has nothing to do
		}
	}
	select {
	case <-s.wake:
	case <-time.After(500 * time.Millisecond):
		t.Errorf("one worker is idle, and a call that must be alone waits for the other one")
	}
}

// Calls that come back when the pool has been closed.
func TestCallsThatComeBackToAClosedPoolAreAnswered(t *testing.T) {
	p := bare(t, testConfig())
	a, _ := handmade(t, p, 0)
	p.join(a)
	c := newCall(2 * time.Second)
	p.enter(c)
	ln := (<-c.wake).lane
	a.die(EndStopped, nil, nil)
	p.close()
	ln.apart = true // as after a FAILURE to a batch
	p.giveBack(ln)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := c.await(ctx); err != nil {
		t.Errorf("queued in a pool that is closed: %v", err)
	}
}

// The caller hangs up in the moment between interruptBy and the SetDeadline of exchange.
func TestHangUpBetweenTwoDeadlinesIsHeard(t *testing.T) {
	p := bare(t, testConfig())
	w, _ := handmade(t, p, 0)
	ln := w.lanes[0]
	c := newCall(2 * time.Second)
	w.load(ln, c)
	ln.encode()
	ctx, cancel := context.WithCancel(t.Context())
	stop := ln.interruptBy(ctx)
	cancel()
	time.Sleep(10 * time.Millisecond)
	begin := time.Now()
	ln.exchange(c.deadline)
	stop()
	if d := time.Since(begin); d > time.Second {
		t.Errorf("went on for %v after its caller hung up", d)
	}
}

// An expired call that gets a lane is computed for nobody.
func TestExpiredCallIsNotSent(t *testing.T) {
	p := bare(t, testConfig())
	w, theirs := handmade(t, p, 0)
	p.join(w)
	got := make(chan int, 1)
	for _, f := range theirs[1:] {
		go func() {
			b := make([]byte, 4096)
			n, _ := f.Read(b)
			got <- n
		}()
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	p.Predict(ctx, make([]float64, 1), []float64{1, 2})
	select {
	case n := <-got:
		t.Errorf("%d bytes of a call that expired a second ago were sent, and its lane is taken", n)
	case <-time.After(200 * time.Millisecond):
	}
	close(w.proc.reaped)
}

// A call whose length alone kills, before all of it has been written.
func TestInputThatKillsBeforeItHasArrivedIsQuarantined(t *testing.T) {
	cfg := testConfig()
	cfg.Batch.Rows = 1
	r := newPool(t, cfg, "aborts", adder)
	r.workers(cfg.Workers)
	before := r.seen.started.Load()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	rows := make([]float64, 2*300000)
	err := r.Predict(ctx, make([]float64, 300000), rows)
	r.workers(2)
	if n := r.seen.started.Load() - before; n > 2 || !errors.Is(err, ErrQuarantined) {
		t.Errorf("one input has killed %d workers in 5 s, and ended with: %v; quarantine %+v", n, err, r.Quarantined())
	}
}

// A device that is gone: every call hangs. Nobody has answered a golden row for many probes.
func TestModelWhoseLanesAllHangIsNotHealthy(t *testing.T) {
	cfg := testConfig() // Probe 100 ms, HangAfter 300 ms, Silence 2 s, CallTimeout 30 s
	cfg.DrainAfter = 100 * time.Millisecond
	r := startPool(t, cfg)
	r.until("healthy", func() bool { return r.Healthy() == nil })
	ctx, cancel := context.WithCancel(t.Context())
	var g sync.WaitGroup
	for i := range 4 {
		g.Go(func() { r.add(ctx, hangs, float64(i)) })
		time.Sleep(30 * time.Millisecond)
	}
	time.Sleep(4 * time.Second)
	if err := r.Healthy(); err == nil {
		t.Errorf("all lanes have hung for 4 s, no golden row was answered for 40 probes, and it is healthy: %+v", r.Status())
	}
	cancel()
	g.Wait()
}

// A model that takes a second, whose clients hang up: well within the deadline.
func TestHangUpsDoNotPutASlowInputIntoQuarantine(t *testing.T) {
	cfg := testConfig()
	r := startPool(t, cfg)
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		time.AfterFunc(50*time.Millisecond, cancel)
		r.add(ctx, takesLong, 5) // 1 s
		time.Sleep(1500 * time.Millisecond)
		cancel()
	}
	if _, err := r.add(t.Context(), takesLong, 5); err != nil {
		t.Errorf("an input that takes 1 s: %v; %d workers killed", err, r.seen.ends[EndHung].Load())
	}
}

// A worker that is always too large: how often is it replaced once the pace has slowed down?
func TestWorkersThatAreAlwaysTooLargeAreReplacedSeldom(t *testing.T) {
	cfg := testConfig()
	cfg.MaxMemory, cfg.Workers = 1000, 1
	cfg.Heartbeat, cfg.Backoff, cfg.MaxBackoff = 10*time.Millisecond, 10*time.Millisecond, 500*time.Millisecond
	r := startPool(t, cfg)
	time.Sleep(3 * time.Second)
	before := r.seen.started.Load()
	time.Sleep(5 * time.Second)
	if n := r.seen.started.Load() - before; n > 12 {
		r.log.b.Reset()
		t.Errorf("%d replacements in 5 s after it slowed down; at max_backoff 500ms there would be 10", n)
	}
}

// A worker dies under a probe; the other one is well.
func TestProbeThatDiedWithItsWorkerIsAskedAgain(t *testing.T) {
	cfg := testConfig()
	cfg.Lanes, cfg.Probe = 1, 10*time.Second
	p := bare(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a, theirs := handmade(t, p, 0)
	close(a.proc.reaped)
	p.join(a)
	p.setHealth(nil)
	go p.probes(ctx)
	if _, err := theirs[1].Read(make([]byte, 1)); err != nil { // the probe has come
		t.Fatal(err)
	}
	b, others := handmade(t, p, 1)
	p.join(b)
	a.die(EndSilent, errors.New("killed"), nil)
	again := make(chan struct{}, 1)
	go func() {
		if n, _ := others[1].Read(make([]byte, 1)); n > 0 {
			again <- struct{}{}
		}
	}()
	select {
	case <-again:
	case <-time.After(5 * time.Second):
		t.Fatal("no golden row was asked for again")
	}
	if err := p.health.Load().why; err != nil {
		t.Errorf("meanwhile it was not healthy: %v", err)
	}
}

// A worker has answered an earlier call twice: who comes next on that lane finds it, and has not caused it.
func TestCallIsNotBlamedForWhatWasThereBefore(t *testing.T) {
	cfg := testConfig()
	cfg.Lanes = 1
	p := bare(t, cfg)
	w, theirs := handmade(t, p, 0)
	close(w.proc.reaped)
	p.join(w)
	if _, err := theirs[1].Write(wire.AppendHeader(nil, wire.Header{Type: wire.TypeAnswer, ID: 1})); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := p.Predict(ctx, make([]float64, 1), []float64{1, 2}); !errors.Is(err, context.DeadlineExceeded) { // there is no other worker
		t.Errorf("the call: %v", err)
	}
	<-w.gone
	p.others.Wait()
	if w.end != EndBreach {
		t.Errorf("the worker's end is %v: %v", w.end, w.cause)
	}
	if n := p.suspects.known.Load(); n != 0 {
		t.Errorf("%d inputs are blamed for it", n)
	}
}
