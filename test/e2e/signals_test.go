package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/testenv"
)

// inFlight waits until the process says that n predictions are in flight.
func (p *process) inFlight(n int) {
	p.t.Helper()
	p.eventually(fmt.Sprintf("%d in flight", n), func() bool {
		_, body := p.get(p.admin+"/statusz", "Accept", "application/json")
		return strings.Contains(body, fmt.Sprintf(`"arriving": %d`, n))
	})
}

func TestTermAnswersWhatIsInFlight(t *testing.T) {
	p := up(t, "DOUGONG_LIFECYCLE_DRAIN_DELAY=500ms")
	var requests []halfSent
	for range 50 {
		requests = append(requests, p.sendHalf())
	}
	p.inFlight(len(requests))
	p.signal(syscall.SIGTERM)
	// Readiness fails first, while the process goes on serving.
	p.eventually("not ready", func() bool {
		status, _ := p.get(p.admin + "/readyz")
		return status == http.StatusServiceUnavailable
	})
	if status, body := p.get(p.admin + "/healthz"); status != 200 {
		t.Errorf("not live while draining: %d %s", status, body)
	}
	var wg sync.WaitGroup
	for i, r := range requests {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 30 * time.Millisecond) // some before the drain delay is over, some after it
			if status, body, err := r.end(); err != nil || status != 200 || !strings.Contains(body, "0.03645608") {
				t.Errorf("request %d: %d %s %v", i, status, body, err)
			}
		})
	}
	wg.Wait()
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(p.stderr.String(), `"msg":"request"`); n < len(requests) {
		t.Errorf("%d access lines for %d requests: the log was not flushed", n, len(requests))
	}
}

// apart is how far from the first a signal comes that is the second: closer together they are one.
const apart = 200 * time.Millisecond

func TestSignalThatComesTwiceAtOnceDrains(t *testing.T) {
	p := up(t)
	r := p.sendHalf()
	p.inFlight(1)
	p.signal(syscall.SIGINT)
	p.signal(syscall.SIGINT)
	p.eventually("draining", func() bool { return strings.Contains(p.stderr.String(), `"to":"Draining"`) })
	if status, body, err := r.end(); err != nil || status != 200 {
		t.Errorf("%d %s %v", status, body, err)
	}
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	for _, second := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := up(t)
		p.sendHalf()
		p.inFlight(1)
		p.signal(syscall.SIGINT)
		p.eventually("draining", func() bool { return strings.Contains(p.stderr.String(), `"to":"Draining"`) })
		time.Sleep(apart)
		p.signal(second)
		if code := p.exit(); code != 130 {
			t.Errorf("%v: exit code %d", second, code)
		}
	}
}

func TestStormOfSignalsStopsOnce(t *testing.T) {
	p := up(t)
	p.sendHalf()
	p.inFlight(1)
	p.signal(syscall.SIGTERM)
	time.Sleep(apart)
	for range 200 { // of which the system merges those that are pending at a time
		p.signal(syscall.SIGTERM)
		p.signal(syscall.SIGINT)
	}
	if code := p.exit(); code != 130 {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(p.stderr.String(), `"name":"dougong","from":"Ready","to":"Draining"`); n > 1 {
		t.Errorf("drained %d times", n)
	}
}

func TestSignalWithoutWorkStopsCleanly(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		p := up(t)
		p.signal(s)
		if code := p.exit(); code != 0 {
			t.Errorf("%v: exit code %d", s, code)
		}
	}
}

// TestSignalAtAnyMomentOfTheStart: whatever has been started is stopped in order.
func TestSignalAtAnyMomentOfTheStart(t *testing.T) {
	for i := range 12 {
		p := start(t, []string{"up"})
		p.eventually("running", func() bool { return true })
		time.Sleep(time.Duration(i*i) * 2 * time.Millisecond)
		p.signal(syscall.SIGTERM)
		code := p.exit()
		// Before the program could ask for signals, the system's own way of ending it is the right one.
		if code != 0 && !(code == -1 && p.stderr.String() == "") {
			t.Errorf("after %d ms: exit code %d", i*i*2, code)
		}
		if strings.Contains(p.stderr.String(), `"to":"Failed"`) {
			t.Errorf("after %d ms: a stop while loading is called a failure:\n%s", i*i*2, p.stderr.String())
		}
	}
}

// TestBoundedDrainNamesWhatDidNotEnd: a request whose sender stalls is cut when the bound is reached.
func TestBoundedDrainNamesWhatDidNotEnd(t *testing.T) {
	p := up(t, "DOUGONG_HTTP_DRAIN_TIMEOUT=300ms")
	p.sendHalf()
	p.inFlight(1)
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if log := p.stderr.String(); !strings.Contains(log, "POST") || !strings.Contains(log, "/v1/predict") || !strings.Contains(log, "had not ended") {
		t.Error("the log does not name the request")
	}
}

func TestKillLeavesNothingBehind(t *testing.T) {
	p := up(t)
	p.signal(syscall.SIGKILL)
	if code := p.exit(); code != -1 {
		t.Errorf("exit code %d", code)
	}
	// The same ports serve again at once.
	again := up(t, "DOUGONG_HTTP_LISTEN="+strings.TrimPrefix(p.http, "http://"), "DOUGONG_GRPC_LISTEN=127.0.0.1:0", "DOUGONG_ADMIN_LISTEN="+strings.TrimPrefix(p.admin, "http://"))
	if again.http != p.http {
		t.Errorf("serves on %s", again.http)
	}
}

// stuckLog runs a process whose standard error is a pipe that the test decides about.
func stuckLog(t *testing.T) (p *process, reader *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	p = &process{t: t, cmd: exec.Command(binary, "up"), ended: make(chan struct{})}
	p.cmd.Env = testenv.Environment([]string{"DOUGONG_HTTP_LISTEN=127.0.0.1:0", "DOUGONG_GRPC_LISTEN=127.0.0.1:0", "DOUGONG_ADMIN_LISTEN=127.0.0.1:0", "DOUGONG_LIFECYCLE_DRAIN_DELAY=0s"})
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, writer
	p.run()
	writer.Close() // the child has its own
	lines := bufio.NewReader(reader)
	for p.http == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		p.listens(servingLine.FindStringSubmatch(line))
	}
	return p, reader
}

// TestLogThatNobodyReads: neither requests nor the stop wait for it.
func TestLogThatNobodyReads(t *testing.T) {
	p, _ := stuckLog(t)
	for range 1000 { // some 300 KiB of lines; a pipe takes 64
		if status, body := p.predict(miniRequest); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 && code != 1 { // 1 says that lines were lost
		t.Errorf("exit code %d", code)
	}
}

// TestLogWhoseReaderLeaves: a dead `| tee` must not take the process with it.
func TestLogWhoseReaderLeaves(t *testing.T) {
	p, reader := stuckLog(t)
	reader.Close()
	for range 100 {
		if status, body := p.predict(miniRequest); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	p.eventually("lost lines are counted", func() bool {
		_, metrics := p.get(p.admin + "/metrics")
		return !strings.Contains(metrics, "dougong_http_dropped_log_lines_total 0")
	})
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 && code != 1 {
		t.Errorf("exit code %d", code)
	}
}
