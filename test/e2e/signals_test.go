package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// inFlight waits until the process says that n predictions are in flight.
func (p *process) inFlight(n int) {
	p.t.Helper()
	p.eventually(fmt.Sprintf("%d in flight", n), func() bool {
		_, body := p.get(p.admin+"/statusz", "Accept", "application/json")
		return strings.Contains(body, fmt.Sprintf(`"admitted": %d`, n))
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

func TestSecondSignalStopsAtOnce(t *testing.T) {
	for _, second := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := up(t)
		p.sendHalf()
		p.inFlight(1)
		p.signal(syscall.SIGINT)
		p.eventually("draining", func() bool { return strings.Contains(p.stderr.String(), `"to":"Draining"`) })
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
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
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
	again := start(t, []string{"up"}, "DOUGONG_HTTP_LISTEN="+strings.TrimPrefix(p.http, "http://"), "DOUGONG_ADMIN_LISTEN="+strings.TrimPrefix(p.admin, "http://"))
	again.http, again.admin = p.http, p.admin
	again.eventually("ready", func() bool {
		r, err := http.Get(again.http + "/readyz")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == 200
	})
}
