package loadcmd

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// running waits for the line of the first second.
func (p *process) running() {
	p.t.Helper()
	p.eventually("the first second", func() bool { return strings.Contains(p.stdout.String(), "\nt=1s ") })
}

func TestInterruptReportsWhatRan(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		dir := t.TempDir()
		p := start(t, dir, nil, "load", good(t), "--plan", certain(t), "--rate", "200", "--for", "10m", "--slo", "p99<4s",
			"--json", "r.json", "--report", "r.html", "--csv", "r.csv", "--junit", "r.xml")
		p.running()
		p.signal(s)
		if code := p.exit(); code != 130 {
			t.Errorf("%v: exit code %d", s, code)
		}
		if !strings.Contains(p.stdout.String(), "interrupted after") || !strings.Contains(p.stderr.String(), "the reports cover what ran") {
			t.Errorf("%v: it does not say that it was interrupted", s)
		}
		r := readReports(t, dir)
		if r.End != "interrupted" || r.Seconds < 1 || r.Seconds > patience.Seconds() {
			t.Errorf("%v: the report covers %v s, %s", s, r.Seconds, r.End)
		}
		// Whatever was due by then is in it.
		if due := float64(r.Total.Due); due < 200*r.Seconds-2 || due > 200*r.Seconds+2 {
			t.Errorf("%v: %v requests were due in %v s of 200 a second", s, due, r.Seconds)
		}
		if r.Total.OK+r.Total.Unfinished != r.Total.Due || r.Total.OK == 0 {
			t.Errorf("%v: of %d due, %d good and %d unfinished", s, r.Total.Due, r.Total.OK, r.Total.Unfinished)
		}
	}
}

// TestSecondInterruptEndsAtOnce: with a target that never answers, the first waits for what is in flight.
func TestSecondInterruptEndsAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, nil, "load", silent(t), "--plan", certain(t), "--rate", "200", "--for", "10m", "--timeout", "10m", "--json", "r.json")
	p.running()
	p.eventually("more due than the connections carry", func() bool { return regexp.MustCompile(`waiting=[1-9]`).MatchString(p.stdout.String()) })
	p.signal(syscall.SIGINT)
	p.eventually("nothing waits any more", func() bool {
		lines := strings.Split(strings.TrimSpace(p.stdout.String()), "\n")
		last := lines[len(lines)-1]
		return strings.Contains(last, "inflight=8 ") && strings.Contains(last, "waiting=0 ")
	})
	time.Sleep(200 * time.Millisecond) // closer together the two would be one
	began := time.Now()
	p.signal(syscall.SIGINT)
	if code := p.exit(); code != 130 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("at once took %v", took)
	}
	if strings.Contains(p.stdout.String(), "ran for") || strings.Contains(p.stdout.String(), "interrupted after") {
		t.Error("it took the time for a summary")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestInterruptedSearchIsWhatTheSchemaSays: the reason has a name of its own.
func TestInterruptedSearchIsWhatTheSchemaSays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, nil, "load", good(t), "--plan", certain(t), "--search", "100:1000", "--slo", "p90<4s", "--json", "r.json")
	p.running()
	p.signal(syscall.SIGINT)
	if code := p.exit(); code != 130 {
		t.Errorf("exit code %d", code)
	}
	_, schema, _ := load(t, "schema")
	validate(t, schema, filepath.Join(dir, "r.json"))
	if r := readJSON(t, filepath.Join(dir, "r.json")); r.Breakpoint.Limit != "interrupted" || r.Verdict != "inconclusive" {
		t.Errorf("%s, %s", r.Breakpoint.Limit, r.Verdict)
	}
}

func TestWithoutTerminalThereAreLines(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), []string{"TERM=xterm-256color"}, "load", good(t), "--rate", "100", "--for", "2s")
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	out := p.stdout.String()
	if strings.Contains(out, "\x1b") || strings.Contains(out, "\r") {
		t.Error("there are escape codes")
	}
	if !regexp.MustCompile(`(?m)^t=1s +phase=100/s +asked=100 +done=\d+ `).MatchString(out) {
		t.Error("there is no line of the first second")
	}
	for _, want := range []string{"corrected", "uncorrected", "failures", "verdict none"} {
		if !strings.Contains(out, want) {
			t.Errorf("the summary lacks %q", want)
		}
	}
}

func TestQuietSaysNothing(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := load(t, good(t), "--rate", "100", "--for", "1s", "--quiet", "--late-after", "1ns")
	if code != 0 || stdout != "" || stderr != "" {
		t.Errorf("exit code %d", code)
	}
}
