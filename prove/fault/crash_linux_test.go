package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	inject "github.com/dougong-io/dougong/kit/fault"
)

// crash is how a prover dies.
type crash struct {
	Plan    string        // file
	Journal string        // directory
	Orphans bool          // what it started lives on
	Trip    int           // dies at this write of the journal, before (odd) or after (even); 0: it is killed after After
	After   time.Duration //
	Undo    bool          // it is an Undo instead
}

// prove is the prover that is killed, as a process.
func prove() int {
	var c crash
	err := json.Unmarshal([]byte(os.Getenv("FAULT_TEST_CRASH")), &c)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if c.Undo {
		_, err := Undo(context.Background(), c.Journal)
		fmt.Fprintln(os.Stderr, err)
		return 0
	}
	text, err := os.ReadFile(c.Plan)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	var p Plan
	if err := json.Unmarshal(text, &p); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	opt := Options{Journal: c.Journal, orphans: c.Orphans}
	var trips atomic.Int64
	if c.Trip > 0 {
		opt.trip = func() {
			if int(trips.Add(1)) == c.Trip {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
	}
	fmt.Println("at work")
	if _, err := Run(context.Background(), p, opt); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// crashPlan hurts a process of its own in every way, and a service that lives on.
func crashPlan(other string, rnd *rand.Rand) Plan {
	p := ownProcess()
	p.Services = append(p.Services, Service{Name: "other", Admin: other})
	p.Warmup, p.Window, p.Guard = Duration(time.Second), Duration(250*time.Millisecond), Duration(50*time.Millisecond)
	p.Load.Timeout = Duration(200 * time.Millisecond)
	p.Faults = []Fault{
		{Name: "slow", Rule: delay(5 * time.Millisecond)},
		{Name: "other is slow", Service: "other", Rule: &Rule{Point: "target.idle", Delay: &inject.Delay{Fixed: time.Second}}},
		{Name: "stopped", Stop: true},
		{Name: "killed", Kill: true},
		{Name: "restarted", Restart: true},
		{Name: "starved", CPU: 0.1},
		{Name: "cramped", Memory: 64 << 20},
	}
	rnd.Shuffle(len(p.Faults), func(i, k int) { p.Faults[i], p.Faults[k] = p.Faults[k], p.Faults[i] })
	return p
}

// A prover that is killed with SIGKILL, at any instant, leaves nothing that Undo does not put right; and an Undo that
// is killed is finished by the next.
func TestUndoAfterACrashAtAnyInstant(t *testing.T) {
	if !processFaults {
		t.Skip(errNoProcesses)
	}
	count := 5
	switch {
	case long():
		count = 50
	case testing.Short():
		count = 3
	}
	if *seedFlag != 0 {
		count = 1
	}
	for range count {
		seed := *seedFlag
		if seed == 0 {
			seed = rand.Uint64()
		}
		crashOnce(t, rand.New(rand.NewPCG(seed, 0)))
		if t.Failed() {
			t.Fatalf("replay with -run=%s -args -seed=%d", t.Name(), seed)
		}
	}
}

func crashOnce(t *testing.T, rnd *rand.Rand) {
	other, err := newTarget()
	if err != nil {
		t.Fatal(err)
	}
	defer other.set.Close()
	other.set.Point(pointIdle)
	urls := listen(t, other.admin())
	dir := t.TempDir()
	text, err := json.Marshal(crashPlan(urls[0], rnd))
	if err != nil {
		t.Fatal(err)
	}
	c := crash{Plan: filepath.Join(dir, "plan.json"), Journal: filepath.Join(dir, "journal"), Orphans: rnd.IntN(2) == 0}
	if err := os.WriteFile(c.Plan, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if rnd.IntN(2) == 0 {
		c.Trip = 1 + rnd.IntN(50)
	} else {
		c.After = time.Duration(rnd.Int64N(int64(8 * time.Second)))
	}
	run(t, c)
	runs := runsIn(t, c.Journal)
	left := 0
	for _, id := range runs {
		left += len(processesOf(t, id))
	}
	if !c.Orphans {
		// Those that the kernel ended with the prover may be on their way still.
		for begin := time.Now(); left > 0 && time.Since(begin) < 5*time.Second; time.Sleep(5 * time.Millisecond) {
			left = 0
			for _, id := range runs {
				left += len(processesOf(t, id))
			}
		}
		if left > 0 {
			t.Errorf("%d processes outlive the prover", left)
		}
	}
	open := len(other.set.Status().Rules)
	if rnd.IntN(3) == 0 {
		run(t, crash{Journal: c.Journal, Undo: true, After: time.Duration(rnd.Int64N(int64(40 * time.Millisecond)))})
	}
	undone, err := Undo(t.Context(), c.Journal)
	if err != nil {
		t.Errorf("undo: %v", err)
	}
	t.Logf("%+v: left %d processes and %d rules; undone: %+v", c, left, open, undone)
	for _, id := range runs {
		if left := processesOf(t, id); len(left) > 0 {
			t.Errorf("processes are left: %v", left)
		}
		for _, pattern := range []string{"/sys/fs/cgroup/*/dougong-prove-" + id + "*", "/sys/fs/cgroup/*/*/dougong-prove-" + id + "*", "/sys/fs/cgroup/*/*/*/dougong-prove-" + id + "*"} {
			if left, _ := filepath.Glob(pattern); len(left) > 0 {
				t.Errorf("control groups are left: %v", left)
			}
		}
	}
	if left := other.set.Status().Rules; len(left) > 0 {
		t.Errorf("rules are left: %+v", left)
	}
	if again, err := Undo(t.Context(), c.Journal); len(again) > 0 || err != nil {
		t.Errorf("a second undo did %+v, %v", again, err)
	}
}

// run runs a prover until it has died.
func run(t *testing.T, c crash) {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+roleProver, "FAULT_TEST_CRASH="+string(text))
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !c.Undo {
		_, _ = io.ReadFull(out, make([]byte, len("at work")))
	}
	patience := 2 * time.Minute
	if c.Trip == 0 {
		patience = c.After
	}
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err = cmd.Wait()
	if cmd.ProcessState.ExitCode() > 0 {
		t.Errorf("the prover ended by itself: %v\n%s", err, &said)
	}
}

// runsIn lists the runs that have a journal.
func runsIn(t *testing.T, dir string) (runs []string) {
	files, err := filepath.Glob(filepath.Join(dir, "*"+journalSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		_, id, _ := strings.Cut(strings.TrimSuffix(filepath.Base(f), journalSuffix), "-")
		runs = append(runs, id)
	}
	return runs
}

// A process that has ended, but that nobody has waited for, is not there any more.
func TestZombiesDoNotLive(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	defer cmd.Wait()
	since, err := began(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for state := byte(0); state != 'Z'; {
		if state, _, err = stat(cmd.Process.Pid); err != nil {
			t.Fatal(err)
		}
	}
	if lives(identity{cmd.Process.Pid, since}) {
		t.Error("it lives")
	}
	if was, err := signalIf(cmd.Process.Pid, since, sigCont); was || err != nil {
		t.Error(was, err)
	}
}

// A process that has taken the number of one that was stopped is not signalled, nor is one after a boot.
func TestUndoSignalsNobodyElse(t *testing.T) {
	if !processFaults {
		t.Skip(errNoProcesses)
	}
	host, _ := os.Hostname()
	sleep := exec.Command("sleep", "60")
	if err := sleep.Start(); err != nil {
		t.Skip(err)
	}
	defer func() {
		sleep.Process.Kill()
		sleep.Wait()
	}()
	pid := sleep.Process.Pid
	since, err := began(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := sleep.Process.Signal(sigStop); err != nil {
		t.Fatal(err)
	}
	stopped := func() bool {
		for begin := time.Now(); time.Since(begin) < 200*time.Millisecond; time.Sleep(time.Millisecond) {
			if state, _, err := stat(pid); err == nil && state != 'T' {
				return false
			}
		}
		return true
	}
	for state := byte(0); state != 'T'; {
		if state, _, err = stat(pid); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		boot  string
		since uint64
		goes  bool
	}{
		"another process": {bootID(), since + 1, false},
		"another boot":    {"another", since, false},
		"the same":        {bootID(), since, true},
	} {
		if c.goes {
			continue // last, below
		}
		dir := t.TempDir()
		writeJournal(t, dir, entry{Op: opBegin, Version: journalVersion, Run: "a", Boot: c.boot, Host: host}, entry{Op: opStop, Pid: pid, Since: c.since})
		if _, err := Undo(t.Context(), dir); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !stopped() {
			t.Fatalf("%s was continued", name)
		}
	}
	dir := t.TempDir()
	writeJournal(t, dir, entry{Op: opBegin, Version: journalVersion, Run: "a", Boot: bootID()}, entry{Op: opStop, Pid: pid, Since: since})
	if undone, err := Undo(t.Context(), dir); err != nil || len(undone) != 1 || len(undone[0].Actions) != 1 {
		t.Errorf("%+v, %v", undone, err)
	}
	if stopped() {
		t.Error("the process is stopped still")
	}
}
