package fault

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	inject "github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/prove/fault/effect"
	"github.com/dougong-io/dougong/prove/load"
)

func TestRulesAreMeasured(t *testing.T) {
	p, s := inProcess(t)
	p.Control = true
	p.Load.Scenarios = append(p.Load.Scenarios, load.Scenario{Weight: 1, Steps: []load.Step{{Path: "/work", Headers: map[string]string{"X-Fallback": "yes", "X-Tenant": "careful"}}}})
	p.Load.Degraded = []string{"header x-degraded == fallback"}
	p.Faults = []Fault{
		{Name: "5 ms", Rule: delay(5 * time.Millisecond)},
		{Name: "nobody comes by", Rule: &Rule{Point: "target.idle", Delay: &inject.Delay{Fixed: time.Second}}},
		{Name: "failing", Rule: &Rule{Point: "target.*", Where: map[string]string{"tenant": ""}, Error: &inject.Failure{HTTPStatus: 503}}},
		{Name: "falling back", Rule: &Rule{Point: "target.work", Where: map[string]string{"tenant": "careful"}, Error: &inject.Failure{}}},
		{Name: "hanging", Rule: &Rule{Point: "target.work", Hang: &inject.Hang{}}},
	}
	result := carriedOut(t, p)
	if left := s.set.Status().Rules; len(left) > 0 {
		t.Errorf("rules are left: %+v", left)
	}
	if result.Schema != ResultSchema || result.End != EndFinished || result.Seed == 0 || len(result.Rows) != 6 {
		t.Fatalf("%s, %s, %d rows", result.Schema, result.End, len(result.Rows))
	}
	control, slow, idle, failing, degraded, hanging := &result.Rows[0], &result.Rows[1], &result.Rows[2], &result.Rows[3], &result.Rows[4], &result.Rows[5]
	for i := range result.Rows {
		row := &result.Rows[i]
		if row.Pairs != 2 || len(row.Windows) != 4 || row.Off.Sent < 80 {
			t.Errorf("%s: %d pairs, %d windows, %d requests", row.Name, row.Pairs, len(row.Windows), row.Off.Sent)
		}
		if row.Off.Errors+row.Off.Degraded > 0 {
			t.Errorf("%s: errors with the fault off: %+v", row.Name, row.Off)
		}
	}
	if control.Kind != KindControl || control.Hits+uint64(control.Detect.Tries+control.Recover.Tries) != 0 {
		t.Errorf("the control: %s", line(control))
	}
	if slow.Hits < slow.On.Sent || slow.Effect.P50.Value < 3 || slow.Effect.P50.Value > 30 || slow.Detect.Seen != 0 || slow.Detail != "delay fixed 5ms at target.work" {
		t.Errorf("5 ms: %s (%s)", line(slow), slow.Detail)
	}
	if idle.Hits != 0 || idle.Status != StatusNotHit || idle.Effect.Verdict != effect.NeverHit {
		t.Errorf("what nobody came by: %s", line(idle))
	}
	if share := failing.Effect.Errors.Value; share < 0.3 || share > 0.7 || failing.On.Degraded != 0 {
		t.Errorf("failing: %s", line(failing))
	}
	if share := degraded.Effect.Degraded.Value; share < 0.3 || share > 0.7 || degraded.On.Errors != 0 {
		t.Errorf("falling back: %s", line(degraded))
	}
	if hanging.On.Timeouts == 0 || hanging.On.Lost != hanging.On.Timeouts || hanging.Recover.Seen != 2 {
		t.Errorf("hanging: %s", line(hanging))
	}
	if len(result.Timeline) < 20 || len(result.Events) < 10 {
		t.Errorf("%d points, %d events", len(result.Timeline), len(result.Events))
	}
	text, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	var read Result
	if err := json.Unmarshal(text, &read); err != nil {
		t.Error(err)
	}
}

func TestOpenCircuitsAreDetected(t *testing.T) {
	p, _ := inProcess(t)
	p.Faults = []Fault{{Name: "failing", Rule: &Rule{Point: "target.work", Error: &inject.Failure{HTTPStatus: 503}}}}
	row := carriedOut(t, p).Rows[0]
	if row.Detect.Seen != 2 || row.Detect.Median > 0.5 || !slices.Contains(row.Detect.By, "state Degraded") || row.Recover.Seen != 2 {
		t.Error(line(&row))
	}
}

func TestProcessFaultsAreMeasured(t *testing.T) {
	if !processFaults {
		t.Skip(errNoProcesses)
	}
	p := ownProcess()
	p.Window, p.Load.Timeout = Duration(1200*time.Millisecond), Duration(700*time.Millisecond)
	p.Services[0].RestartDelay = Duration(300 * time.Millisecond)
	p.Faults = []Fault{
		{Name: "5 ms", Rule: delay(5 * time.Millisecond)},
		{Name: "killed", Kill: true},
		{Name: "stopped", Stop: true},
		{Name: "restarted", Restart: true},
		{Name: "starved", CPU: 0.02},
		{Name: "cramped", Memory: 64 << 20},
	}
	result := carriedOut(t, p)
	if t.Failed() || testing.Verbose() {
		for _, e := range result.Events {
			t.Logf("%6.2f %s %s: %s", e.At, e.Fault, e.Kind, e.Text)
		}
	}
	rows := map[string]*Row{}
	for i := range result.Rows {
		row := &result.Rows[i]
		rows[row.Name] = row
		if row.Status == StatusRefused && (row.Kind == KindCPU || row.Kind == KindMemory) {
			t.Logf("%s cannot be tried here: %s", row.Name, row.Reason)
			continue
		}
		if row.Pairs != 2 || row.Hits < 2 || row.Recover.Seen != 2 || row.Status != StatusMeasured {
			t.Error(line(row))
		}
	}
	if k := rows["killed"]; k.On.Errors == 0 || k.Detect.Seen != 2 || k.Detect.By[0] != signSilent || k.Recover.Worst < 0.1 || k.Recover.Worst > 5 {
		t.Error(line(k))
	}
	if s := rows["stopped"]; s.On.Timeouts == 0 || s.On.Lost == 0 || s.Detect.Seen != 2 || s.Detect.Median < 0.4 {
		t.Error(line(s))
	}
	if r := rows["restarted"]; r.On.Errors == 0 || r.Detect.Seen != 2 || !slices.Contains(r.Detect.By, signNotReady) {
		t.Error(line(r))
	}
	if c := rows["starved"]; c.Status == StatusMeasured && c.On.Latency.Mean() < c.Off.Latency.Mean() {
		t.Error(line(c))
	}
	if left := processesOf(t, result.Run); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/dougong-prove-" + result.Run + "*"); len(left) > 0 {
		t.Errorf("control groups are left: %v", left)
	}
}

func TestAnInterruptUndoesEverything(t *testing.T) {
	p, s := inProcess(t)
	p.Pairs = 50
	p.Faults = []Fault{{Name: "slow", Rule: delay(5 * time.Millisecond)}, {Name: "slower", Rule: delay(9 * time.Millisecond)}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var shown atomic.Int64
	dir := t.TempDir()
	result, err := Run(ctx, p, Options{Journal: dir, anyLate: true, Progress: func(g Progress) {
		shown.Add(1)
		if g.Pair == 2 && g.Phase == "on" && len(s.set.Status().Rules) > 0 {
			cancel()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if left := s.set.Status().Rules; len(left) > 0 {
		t.Errorf("rules are left: %+v", left)
	}
	if result.End != EndInterrupted || result.Rows[0].Pairs != 2 || result.Rows[0].Status != StatusMeasured || result.Rows[1].Status != StatusNotTried {
		t.Errorf("%s (%s): %s; %s", result.End, result.Reason, line(&result.Rows[0]), line(&result.Rows[1]))
	}
	if undone, err := Undo(t.Context(), dir); err != nil || len(undone) > 0 {
		t.Errorf("something was left: %+v, %v", undone, err)
	}
}

func TestWhatCannotBeTriedIsSaidBeforeAnythingIsDone(t *testing.T) {
	p, s := inProcess(t)
	p.Faults = []Fault{{Name: "slow", Rule: delay(5 * time.Millisecond)}}
	gone := p
	gone.Load.Target = "http://127.0.0.1:1"
	if _, err := Run(t.Context(), gone, Options{Journal: t.TempDir()}); !errors.Is(err, ErrTarget) {
		t.Errorf("a target that is not there: %v", err)
	}
	gone = p
	gone.Services = []Service{{Name: "a", Admin: "http://127.0.0.1:1"}}
	if _, err := Run(t.Context(), gone, Options{Journal: t.TempDir()}); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("an admin port that is not there: %v", err)
	}
	if _, err := Run(t.Context(), p, Options{Journal: "/proc/none"}); !errors.Is(err, ErrJournal) {
		t.Errorf("a journal that cannot be written: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, p, Options{Journal: t.TempDir()}); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupt before it begins: %v", err)
	}
	if status := s.set.Status(); len(status.Rules) > 0 || len(status.Recent) > 0 {
		t.Errorf("%+v", status)
	}
	if processFaults {
		p = ownProcess()
		p.Faults = []Fault{{Name: "killed", Kill: true}}
		p.Services[0].Command = []string{"/none/such"}
		if _, err := Run(t.Context(), p, Options{Journal: t.TempDir()}); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), "/none/such") {
			t.Errorf("a program that is not there: %v", err)
		}
		p.Services[0].Command = []string{"sh", "-c", "echo out of luck; exit 3"}
		if _, err := Run(t.Context(), p, Options{Journal: t.TempDir()}); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), "out of luck") {
			t.Errorf("a program that ends at once: %v", err)
		}
	}
}

func TestRefusedFaultsDoNotEndTheRun(t *testing.T) {
	p, s := inProcess(t)
	p.Warmup = Duration(time.Second)
	p.Faults = []Fault{
		{Name: "too long", Rule: delay(1000 * time.Hour)}, // beyond the ceiling
		{Name: "slow", Rule: delay(5 * time.Millisecond)},
	}
	result := carriedOut(t, p)
	if a, b := &result.Rows[0], &result.Rows[1]; a.Status != StatusRefused || a.Reason == "" || b.Status != StatusMeasured || b.Pairs != 2 {
		t.Errorf("%s; %s", line(a), line(b))
	}
	if err := s.set.Kill(inject.File, true); err != nil {
		t.Fatal(err)
	}
	p.Faults = p.Faults[1:]
	result = carriedOut(t, p)
	if a := &result.Rows[0]; a.Status != StatusRefused || !strings.Contains(a.Reason, "kill switch of file is thrown") {
		t.Error(line(a))
	}
}

// A service that does not come back ends the run, and says so. One that is only slower than it was does not.
func TestATargetThatStaysBrokenEndsTheRun(t *testing.T) {
	for name, harm := range map[string]func(http.ResponseWriter){
		"broken": func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
		"slower": func(http.ResponseWriter) { time.Sleep(30 * time.Millisecond) },
	} {
		s, err := newTarget()
		if err != nil {
			t.Fatal(err)
		}
		defer s.set.Close()
		var harmed atomic.Bool
		urls := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if len(s.set.Status().Rules) > 0 {
				harmed.Store(true)
			}
			if harmed.Load() {
				harm(w)
			}
		}), s.admin())
		s.public() // its points
		p := shortPlan()
		p.Services, p.Load.Target, p.Recover = []Service{{Name: "a", Admin: urls[1]}}, urls[0], Duration(2*time.Second)
		p.Faults = []Fault{{Name: "slow", Rule: delay(time.Millisecond)}, {Name: "other", Rule: delay(time.Millisecond)}}
		result := carriedOut(t, p)
		if r := result.Rows[0].Recover; r.Tries == r.Seen {
			t.Errorf("%s: %+v", name, r)
		}
		if name == "slower" {
			if result.End != EndFinished || result.Rows[1].Pairs != 2 {
				t.Errorf("%s: %s: %s; %s", name, result.End, result.Reason, line(&result.Rows[1]))
			}
			continue
		}
		if result.End != EndBroken || !strings.Contains(result.Reason, "did not come back within 2s of slow being lifted, nor later") || result.Rows[1].Status != StatusNotTried {
			t.Errorf("%s: %s: %s; %s", name, result.End, result.Reason, line(&result.Rows[1]))
		}
	}
}

// A rule that makes the service end takes its rule with it.
func TestAServiceThatDiesOfItsFaultIsStartedAgain(t *testing.T) {
	if !processFaults {
		t.Skip(errNoProcesses)
	}
	p := ownProcess()
	p.Services[0].Environment["FAULT_TEST_FRAGILE"] = "yes"
	p.Faults = []Fault{{Name: "failing", Rule: &Rule{Point: "target.work", Skip: 20, Error: &inject.Failure{}}}}
	dir := t.TempDir()
	result, err := Run(t.Context(), p, Options{Journal: dir, Output: io.Discard, anyLate: true})
	if err != nil {
		t.Fatal(err)
	}
	row := &result.Rows[0]
	t.Log(line(row))
	if result.End != EndFinished || row.On.Errors == 0 || row.Detect.Seen == 0 || row.Recover.Seen != 2 {
		t.Errorf("%s: %s", result.Reason, line(row))
	}
	if row.Died != 2 || row.Status != StatusMeasured || !strings.Contains(row.Reason, "it is not known what the rule hit") {
		t.Errorf("%d, %s: %s", row.Died, row.Status, row.Reason)
	}
	if undone, err := Undo(t.Context(), dir); err != nil || len(undone) > 0 {
		t.Errorf("something was left: %+v, %v", undone, err)
	}
}

// What a process has started ends with it, so that nothing of a plan outlives it.
func TestNothingIsLeftOfAProcessThatHasStartedOthers(t *testing.T) {
	if !processFaults {
		t.Skip(errNoProcesses)
	}
	p := ownProcess()
	p.Warmup, p.Window = Duration(time.Second), Duration(400*time.Millisecond)
	p.Services[0].Command = []string{"sh", "-c", `sleep 600 & exec "$0"`, "{self}"}
	p.Faults = []Fault{{Name: "killed", Kill: true}}
	result := carriedOut(t, p)
	swept := 0
	for _, e := range result.Events {
		if strings.Contains(e.Text, "had left 1 processes behind") {
			swept++
		}
	}
	if swept != 3 { // killed twice, and ended
		t.Errorf("%d were swept up: %+v", swept, result.Events)
	}
	if left := processesOf(t, result.Run); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// Rows of nothing are no rows: load that ends before the faults do is an error.
func TestLoadThatEndsBeforeTheFaultsIsSaid(t *testing.T) {
	p, s := inProcess(t)
	p.Faults = []Fault{{Name: "slow", Rule: delay(time.Millisecond)}, {Name: "slower", Rule: delay(2 * time.Millisecond)}}
	p.Pairs = 20
	result, err := Run(t.Context(), p, Options{Journal: t.TempDir(), anyLate: true, loadFor: 3500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if result.End != EndBroken || !strings.HasPrefix(result.Reason, "load ended after 3s, before every fault was tried") && !strings.HasPrefix(result.Reason, "load ended after 4s") {
		t.Errorf("%s: %s", result.End, result.Reason)
	}
	if result.Rows[0].Pairs > 3 || result.Rows[1].Status != StatusNotTried {
		t.Errorf("%s; %s", line(&result.Rows[0]), line(&result.Rows[1]))
	}
	if left := s.set.Status().Rules; len(left) > 0 {
		t.Errorf("%+v", left)
	}
}

func TestTooFewPairsAreNoted(t *testing.T) {
	p, _ := inProcess(t)
	p.Warmup = Duration(time.Second)
	p.Faults = []Fault{{Name: "slow", Rule: delay(time.Millisecond)}}
	if notes := carriedOut(t, p).Notes; !slices.ContainsFunc(notes, func(n string) bool { return strings.HasPrefix(n, "2 pairs a fault are too few to claim anything") }) {
		t.Errorf("%q", notes)
	}
}

// A process that is asked to end may take its time: a second SIGTERM would tell it to end at once.
func TestProcessesAreAskedToEndOnce(t *testing.T) {
	if !processFaults {
		t.Skip(errNoProcesses)
	}
	dir := t.TempDir()
	ready, asked := filepath.Join(dir, "ready"), filepath.Join(dir, "asked")
	c := &child{
		service: &Service{Name: "a", Command: []string{"sh", "-c", `trap 'echo once >>"$1"; ended=yes' TERM; : >"$0"; while [ -z "$ended" ]; do sleep 0.01; done; sleep 0.3`, ready, asked}},
		run:     newRun(), journal: newJournal(t, dir, "a"), starter: newStarter(), tell: func(string) {},
	}
	defer c.starter.close()
	if err := c.begin(); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(ready); err == nil {
			break
		}
		if time.Since(begin) > 30*time.Second {
			t.Fatal("it does not start")
		}
	}
	if err := c.end(t.Context()); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(asked); string(text) != "once\n" {
		t.Errorf("%q, %v", text, err)
	}
}
