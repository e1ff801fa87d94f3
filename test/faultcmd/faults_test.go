package faultcmd

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/prove/fault"
)

// own is a plan that starts the service.
const own = `
services:
  - name: inference
    command: ["{self}", run, inference]
    admin: http://127.0.0.1:{port:admin}
    environment:
      DOUGONG_HTTP_LISTEN: 127.0.0.1:{port:http}
      DOUGONG_GRPC_LISTEN: 127.0.0.1:{port:grpc}
      DOUGONG_ADMIN_LISTEN: 127.0.0.1:{port:admin}
      DOUGONG_HTTP_ACCESS_LOG: "false"
      DOUGONG_LIFECYCLE_DRAIN_DELAY: 0s
    restart_delay: 200ms
load:
  target: http://127.0.0.1:{port:http}
  rate: 60
  timeout: 1s
  scenarios: [{name: predict, steps: [{path: /v1/predict, body: '{"model":"loan-mini","input":[0.1,0.9]}', checks: ["status == 200"]}]}]
warmup: 1s
window: 1s
guard: 100ms
pairs: PAIRS
control: false
faults:
  - name: scoring takes 5 ms longer
    rule: {point: inference.score, delay: {fixed: 5ms}}
  - name: killed
    kill: true
`

// running is a plan for a service that runs already.
const running = `
services: [{name: inference, admin: "http://ADMIN"}]
load:
  target: http://PUBLIC
  rate: 60
  timeout: 1s
  scenarios: [{name: predict, steps: [{path: /v1/predict, body: '{"model":"loan-mini","input":[0.1,0.9]}'}]}]
warmup: 1s
pairs: 100
control: false
faults: [{name: slow, rule: {point: inference.score, delay: {fixed: 5ms}}}]
`

func needsLinux(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("plans start processes on Linux only")
	}
}

func TestPlanWithAProcessOfItsOwn(t *testing.T) {
	needsLinux(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "plan.yaml"), strings.ReplaceAll(own, "PAIRS", "2"))
	p := start(t, dir, nil, "prove", "faults", "plan.yaml", "--journal", "journal", "--json", "r.json", "--report", "r.html", "--markdown", "r.md")
	if code := p.exit(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	r := readResult(t, filepath.Join(dir, "r.json"))
	if r.Schema != fault.ResultSchema || r.End != fault.EndFinished || len(r.Rows) != 2 {
		t.Fatalf("%s, %s, %d rows", r.Schema, r.End, len(r.Rows))
	}
	slow, killed := &r.Rows[0], &r.Rows[1]
	if slow.Hits == 0 || len(slow.Windows) < 4 {
		t.Errorf("%d hits, %d windows", slow.Hits, len(slow.Windows))
	}
	errors := uint64(0)
	for _, w := range killed.Windows {
		if w.On {
			errors += w.Counts.Errors
		}
	}
	if killed.Hits < 2 || errors == 0 || killed.Detect.Seen == 0 || killed.Recover.Seen < 2 {
		t.Errorf("killed %d times: %d errors, %+v, %+v", killed.Hits, errors, killed.Detect, killed.Recover)
	}
	for _, file := range []string{"r.html", "r.md"} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Size() < 200 {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, name := range []string{"scoring takes 5 ms", "killed"} {
		if !strings.Contains(p.stdout.String(), name) {
			t.Errorf("the table has no row %q", name)
		}
	}
	if n := marked(t, filepath.Join(dir, "journal")); n > 0 {
		t.Errorf("%d processes are left", n)
	}
	undo := start(t, dir, nil, "prove", "faults", "--undo", "--journal", "journal")
	if code := undo.exit(); code != 0 || !strings.Contains(undo.stdout.String(), "nothing to undo") {
		t.Errorf("exit code %d", code)
	}
}

func TestInterruptUndoesAndReportsWhatRan(t *testing.T) {
	needsLinux(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "plan.yaml"), strings.ReplaceAll(own, "PAIRS", "100"))
	p := start(t, dir, nil, "prove", "faults", "plan.yaml", "--journal", "journal", "--json", "r.json")
	p.eventually("the third pair", func() bool { return strings.Contains(p.stdout.String(), "pair  3 of 100") })
	p.signal(syscall.SIGINT)
	if code := p.exit(); code != 130 {
		t.Errorf("exit code %d", code)
	}
	r := readResult(t, filepath.Join(dir, "r.json"))
	if r.End != fault.EndInterrupted || len(r.Rows) != 2 || len(r.Rows[0].Windows) < 4 || r.Rows[1].Status != fault.StatusNotTried {
		t.Errorf("%s: %+v", r.End, r.Rows)
	}
	if n := marked(t, filepath.Join(dir, "journal")); n > 0 {
		t.Errorf("%d processes are left", n)
	}
}

// timeout(1) signals a process and its group, which reaches it twice at once. Two orders are two only when they come
// apart: the second ends the prover, which leaves no half-made report.
func TestASecondInterruptEndsTheProverIfItComesApart(t *testing.T) {
	needsLinux(t)
	for apart, said := range map[time.Duration]string{0: "interrupted; everything is undone", 400 * time.Millisecond: "ended at once; run 'dougong prove faults --undo'"} {
		dir := t.TempDir()
		plan := strings.ReplaceAll(strings.ReplaceAll(own, "PAIRS", "100"), "DRAIN_DELAY: 0s", "DRAIN_DELAY: 2s")
		write(t, filepath.Join(dir, "plan.yaml"), plan)
		p := start(t, dir, nil, "prove", "faults", "plan.yaml", "--journal", "journal", "--json", "r.json", "--report", "r.html")
		p.eventually("the first pair", func() bool { return strings.Contains(p.stdout.String(), "pair  1 of 100") })
		p.signal(syscall.SIGINT)
		time.Sleep(apart) // the order of the two is what is tested
		p.signal(syscall.SIGINT)
		if code := p.exit(); code != 130 || !strings.Contains(p.stderr.String(), said) {
			t.Errorf("%v apart: exit code %d; want %q", apart, code, said)
		}
		if apart == 0 {
			if r := readResult(t, filepath.Join(dir, "r.json")); r.End != fault.EndInterrupted {
				t.Errorf("the run is %s", r.End)
			}
			continue
		}
		if left, err := filepath.Glob(filepath.Join(dir, ".r.*")); err != nil || len(left) > 0 {
			t.Errorf("half-made reports are left: %v, %v", left, err)
		}
		undo := start(t, dir, nil, "prove", "faults", "--undo", "--journal", "journal")
		if code := undo.exit(); code != 0 || strings.Contains(undo.stdout.String(), "left:") {
			t.Errorf("undo: exit code %d", code)
		}
	}
}

// What cannot be told of a target is said before anything is done to it.
func TestWhatATargetDoesNotHaveIsSaidAtTheStart(t *testing.T) {
	public, admin := inference(t)
	dir := t.TempDir()
	text := strings.NewReplacer("PUBLIC", public, "ADMIN", admin, "inference.score", "inference.scoer", "pairs: 100", "pairs: 2").Replace(running)
	write(t, filepath.Join(dir, "plan.yaml"), text)
	p := start(t, dir, nil, "prove", "faults", "plan.yaml", "--journal", "journal")
	code := p.exit()
	for _, want := range []string{"plan.yaml: ", "faults[0].rule.point: slow would strike nothing in inference: no point is called inference.scoer; did you mean inference.score?", "warning: 2 pairs a fault are too few"} {
		if code != 2 || !strings.Contains(p.stderr.String(), want) {
			t.Errorf("exit code %d; want %q in\n%s", code, want, p.stderr.String())
		}
	}
	if strings.Contains(p.stdout.String(), "warm-up") {
		t.Error("load was offered")
	}
	report := start(t, dir, nil, "prove", "faults", "report", "plan.yaml")
	if code := report.exit(); code != 2 || !strings.Contains(report.stderr.String(), "plan.yaml is a plan, and no result") {
		t.Errorf("exit code %d: %s", code, report.stderr.String())
	}
}

// The prover is killed while its rule is in force: the rule stays, Undo takes it back, and a second one does nothing. An
// Undo while the prover lives leaves it alone.
func TestUndoAfterTheProverWasKilled(t *testing.T) {
	public, admin := inference(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "plan.yaml"), strings.NewReplacer("PUBLIC", public, "ADMIN", admin).Replace(running))
	p := start(t, dir, nil, "prove", "faults", "plan.yaml", "--journal", "journal")
	inForce := func() bool { return len(rules(t, admin)) == 1 }
	p.eventually("a rule", inForce)
	undo := start(t, dir, nil, "prove", "faults", "--undo", "--journal", "journal")
	if code := undo.exit(); code != 0 || !strings.Contains(undo.stdout.String(), "left alone") {
		t.Errorf("undo of a living one: exit code %d", code)
	}
	p.eventually("a rule", inForce)
	p.signal(syscall.SIGKILL)
	p.exit()
	if left := rules(t, admin); len(left) != 1 {
		t.Skipf("the rule was taken back just before the prover was killed: %v", left)
	}
	undo = start(t, dir, nil, "prove", "faults", "--undo", "--journal", "journal")
	if code := undo.exit(); code != 0 || !strings.Contains(undo.stdout.String(), "taken back from") {
		t.Errorf("exit code %d", code)
	}
	if left := rules(t, admin); len(left) != 0 {
		t.Errorf("rules are left: %v", left)
	}
	undo = start(t, dir, nil, "prove", "faults", "--undo", "--journal", "journal")
	if code := undo.exit(); code != 0 || !strings.Contains(undo.stdout.String(), "nothing to undo") {
		t.Errorf("a second one: exit code %d", code)
	}
}

// What the plan started ends with a prover that is killed, whether anybody calls Undo or not.
func TestProcessesEndWithTheProver(t *testing.T) {
	needsLinux(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "plan.yaml"), strings.ReplaceAll(own, "PAIRS", "100"))
	p := start(t, dir, nil, "prove", "faults", "plan.yaml", "--journal", "journal")
	p.eventually("the first pair", func() bool { return strings.Contains(p.stdout.String(), "pair  1 of 100") })
	journal := filepath.Join(dir, "journal")
	if n := marked(t, journal); n == 0 {
		t.Error("no process is marked")
	}
	p.signal(syscall.SIGKILL)
	p.exit()
	for begin := time.Now(); marked(t, journal) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > 30*time.Second {
			t.Fatal("a process outlives the prover")
		}
	}
	undo := start(t, dir, nil, "prove", "faults", "--undo", "--journal", "journal")
	if code := undo.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestWrongPlansAreRefused(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"servces: []\n": "servces",
		strings.ReplaceAll(strings.ReplaceAll(own, "PAIRS", "2"), "kill: true", "kill: true\n    stop: true"):                  fmt.Sprintf("plan.yaml:%d:5: faults[1]: does 2 things", 1+strings.Count(own[:strings.Index(own, "- name: killed")], "\n")),
		strings.NewReplacer("PUBLIC", "example.org", "ADMIN", "127.0.0.1:1").Replace(running):                                  "example.org is not this machine",
		strings.NewReplacer("PUBLIC", "127.0.0.1:1", "ADMIN", "127.0.0.1:1", "{fixed: 5ms}", "{fixed: -5ms}").Replace(running): "delay.fixed: is negative",
	} {
		write(t, filepath.Join(dir, "plan.yaml"), text)
		p := start(t, dir, nil, "prove", "faults", "plan.yaml", "--journal", "journal")
		if code := p.exit(); code != 2 || !strings.Contains(p.stderr.String(), want) {
			t.Errorf("exit code %d; want %q in\n%s", code, want, p.stderr.String())
		}
		if left, _ := os.ReadDir(filepath.Join(dir, "journal")); len(left) > 0 {
			t.Errorf("a journal was begun: %v", left)
		}
	}
}
