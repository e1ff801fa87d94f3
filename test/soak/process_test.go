//go:build linux

package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/testenv"
)

// binary is the program under test, built once as it is shipped: without cgo.
var binary string

func TestMain(m *testing.M) { os.Exit(testenv.Main(m, &binary)) }

// long tells whether the tests run as long as `make soak-inference` and `make overload-inference` ask for.
func long() bool { return os.Getenv("DOUGONG_LONG") == "1" }

// needsTime skips where tests are to be short. The race detector, which asks for that, does not look into another
// process anyway.
func needsTime(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("holds a process under load for 10 s and more")
	}
}

// patience is how long a test waits for something that must happen. It is no measure of speed.
const patience = 60 * time.Second

// process is a running `dougong run inference`.
type process struct {
	t           *testing.T
	cmd         *exec.Cmd
	quota       *quota // nil: not throttled
	http, admin string // base URLs
	log         logLines
	ctx         context.Context // ends with the process
	ended       chan struct{}
}

// up starts a process on ports of the system's choice and waits until it serves.
func up(t *testing.T, env ...string) *process {
	t.Helper()
	p := &process{t: t, ended: make(chan struct{})}
	args := []string{binary, "run", "inference"}
	var err error
	if p.quota, err = newQuota(); err != nil {
		t.Logf("not throttled: %v", err)
	} else {
		args = p.quota.wrap(args)
	}
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = testenv.Environment(append([]string{"DOUGONG_HTTP_LISTEN=127.0.0.1:0", "DOUGONG_GRPC_LISTEN=127.0.0.1:0", "DOUGONG_ADMIN_LISTEN=127.0.0.1:0", "DOUGONG_LIFECYCLE_DRAIN_DELAY=0s"}, env...))
	p.cmd.Stderr = &p.log
	testenv.EndWithParent(p.cmd)
	if err := p.cmd.Start(); err != nil {
		p.quota.remove()
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	p.ctx = ctx
	go func() {
		p.cmd.Wait()
		cancel(fmt.Errorf("the process has ended: %v", p.cmd.ProcessState))
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
		if err := p.quota.remove(); err != nil {
			t.Errorf("the cgroup stays behind: %v", err)
		}
		if t.Failed() {
			t.Logf("standard error without requests:\n%s", p.log.String())
		}
	})
	p.eventually("serving", func() bool {
		match := servingLine.FindStringSubmatch(p.log.String())
		if match != nil {
			p.http, p.admin = "http://"+match[1], "http://"+match[2]
		}
		return match != nil
	})
	return p
}

// throttle cuts the process to its share of a processor, where that is allowed. It is not done before the start, which works
// as well then, and takes seconds that test nothing.
func (p *process) throttle() {
	p.t.Helper()
	if p.quota == nil {
		return
	}
	if err := p.quota.throttle(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Logf("throttled to %.0f %% of a processor by %s", 100*share, p.quota.dir)
}

var servingLine = regexp.MustCompile(`"msg":"serving","http":"([^"]+)".*"admin":"([^"]+)"`)

func (p *process) eventually(what string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if p.ctx.Err() != nil {
			p.t.Fatalf("%s: %v", what, context.Cause(p.ctx))
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s: not in %v", what, patience)
		}
	}
}

// alive fails the test at once when the process has ended.
func (p *process) alive() {
	p.t.Helper()
	if p.ctx.Err() != nil {
		p.t.Fatal(context.Cause(p.ctx))
	}
}

// stop ends the process as a platform would and judges how it went, and what it said all the while.
func (p *process) stop() {
	t := p.t
	t.Helper()
	p.alive()
	if p.quota != nil {
		throttled, periods := p.quota.throttled()
		t.Logf("throttled in %d of %d periods", throttled, periods)
		if throttled == 0 {
			t.Errorf("never throttled in %d periods: the load was no load, or %s does not hold the process", periods, p.quota.dir)
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("still running %v after SIGTERM", patience)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d after SIGTERM: %v", code, p.cmd.ProcessState)
	}
	for line := range strings.Lines(p.log.String()) {
		if crashLine.MatchString(line) || strings.Contains(line, `"level":"ERROR"`) {
			t.Errorf("the log has the line %.300s", line)
		}
	}
}

// crashLine is what the runtime or net/http says about a crash, on standard error or in a log line.
var crashLine = regexp.MustCompile(`panic|fatal error|SIGSEGV|concurrent map|runtime: |^goroutine \d+ \[`)

// logLines keeps the log without the lines of single requests, which would fill the memory.
type logLines struct {
	mu   sync.Mutex
	rest []byte // a line that is not whole yet
	kept bytes.Buffer
}

const mostKept = 1 << 20

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	start := 0
	for {
		end := bytes.IndexByte(l.rest[start:], '\n')
		if end < 0 {
			break
		}
		line := l.rest[start : start+end+1]
		if !bytes.Contains(line, []byte(`"msg":"request"`)) && l.kept.Len() < mostKept {
			l.kept.Write(line)
		}
		start += end + 1
	}
	l.rest = append(l.rest[:0], l.rest[start:]...)
	return len(p), nil
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.String() + string(l.rest)
}

// prober asks as a health check or a scraper does: on a connection of its own, and without patience.
var prober = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: probeWithin}

// probeWithin is when whoever asks for health or metrics gives up.
const probeWithin = 2 * time.Second

// probe asks for something that has to be there at once, whatever the load.
func (p *process) probe(url string) (string, error) { return ask(prober, url) }

// look asks for something that may take its time.
func (p *process) look(url string) string {
	p.t.Helper()
	body, err := ask(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}, url)
	if err != nil {
		p.alive()
		p.t.Fatal(err)
	}
	return body
}

func ask(client *http.Client, url string) (string, error) {
	answer, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s %.200s", url, answer.Status, body)
	}
	return string(body), err
}

// holds asks the process itself whether what must always hold does.
func (p *process) holds() {
	p.t.Helper()
	var doc struct{ Hold bool }
	body := p.look(p.admin + "/debug/invariants")
	if err := json.Unmarshal([]byte(body), &doc); err != nil || !doc.Hold {
		p.t.Errorf("invariants: %s %v", body, err)
	}
}

// metrics are the samples of a scrape by name and labels.
type metrics map[string]float64

func parseMetrics(text string) metrics {
	m := metrics{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if at := strings.LastIndexByte(line, ' '); at > 0 && line[0] != '#' {
			if value, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
				m[line[:at]] = value
			}
		}
	}
	return m
}

// refusals is how many requests the limit of the service has refused, for all reasons.
func (m metrics) refusals() (n uint64) {
	for name, value := range m {
		if strings.HasPrefix(name, `dougong_limit_rejected_total{limit="inference"`) {
			n += uint64(value)
		}
	}
	return n
}
