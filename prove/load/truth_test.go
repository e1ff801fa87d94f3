package load

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws/wsutil"
)

func TestTargetsThatNeverStopSendingEndWithTheTimeout(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(net.Conn, *bufio.Reader){
		"interim answers":  endless("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n"),
		"chunk extensions": endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1;"+strings.Repeat("x", 60<<10)+"\r\ny\r\n"),
		"a long body":      endless("HTTP/1.1 200 OK\r\nContent-Length: 900000000000\r\n\r\n", strings.Repeat("x", 32<<10)),
	} {
		p := open(rawServer(t, serve), 20, 500*time.Millisecond)
		p.Timeout, p.MaxBody = Duration(300*time.Millisecond), 1<<40
		p.Drain = p.Timeout
		began := time.Now()
		r := mustRun(t, p)
		if r.Total.OK != 0 || r.Total.Failed[ClassTimeout]+r.Total.Failed[ClassProtocol] == 0 || time.Since(began) > 10*time.Second {
			t.Errorf("%s: good %d, failed %v, after %s", name, r.Total.OK, r.Total.Failed, time.Since(began))
		}
	}
}

func TestTargetsThatDoNotReadHoldNothingUp(t *testing.T) {
	t.Parallel()
	// It reads a header, answers, and never reads the body nor anything else.
	over := make(chan struct{})
	target := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if line == "\r\n" {
				if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
					return
				}
				<-over
			}
		}
	})
	t.Cleanup(func() { close(over) })
	for _, size := range []int{20 << 10, 8 << 20} {
		p := open(target, 200, 500*time.Millisecond)
		p.Timeout = Duration(300 * time.Millisecond)
		p.Drain = p.Timeout
		p.Scenarios = []Scenario{{Steps: []Step{{Method: "POST", Body: strings.Repeat("x", size)}}}}
		began := time.Now()
		r := mustRun(t, p)
		if r.Total.Due != 100 || time.Since(began) > 10*time.Second {
			t.Errorf("%d bytes: due %d after %s", size, r.Total.Due, time.Since(began))
		}
	}
}

func TestWebSocketLengthsThatOverflowAreRefused(t *testing.T) {
	t.Parallel()
	target := wsServer(t, func(conn net.Conn) {
		wsutil.ReadClientData(conn)
		conn.Write([]byte{0x01, 0x01, 'x', 0x00, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		io.Copy(io.Discard, conn)
	})
	p := open(target, 20, 500*time.Millisecond)
	p.Scenarios = []Scenario{{Steps: []Step{{Body: "x", Expect: 1}}}}
	if r := mustRun(t, p); r.Total.Failed[ClassProtocol] != 10 {
		t.Errorf("failed %v %v", r.Total.Failed, r.Errors)
	}
}

func TestRequestsThatTheTargetAbortsAreNeverHidden(t *testing.T) {
	t.Parallel()
	var seen, aborted atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if seen.Add(1)%5 == 0 {
			aborted.Add(1)
			panic(http.ErrAbortHandler)
		}
	}))
	defer server.Close()
	r := mustRun(t, open(server.URL, 400, time.Second))
	if got := r.Total.Failures(); got != uint64(aborted.Load()) || seen.Load() != 400 {
		t.Errorf("%d failures for %d aborted of %d", got, aborted.Load(), seen.Load())
	}
}

// slowly answers one request after the other, each after a time: a capacity that is fixed by construction.
func slowly(t *testing.T, each time.Duration) string {
	t.Helper()
	turn := make(chan struct{}, 1)
	var next time.Time
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		turn <- struct{}{}
		if now := time.Now(); next.Before(now) {
			next = now
		}
		next = next.Add(each)
		at := next
		<-turn
		select {
		case <-time.After(time.Until(at)):
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestRateCountsAnswersWhenTheyCome(t *testing.T) {
	t.Parallel()
	p := open(slowly(t, 10*time.Millisecond), 200, 2*time.Second)
	p.Connections, p.Timeout, p.Drain = 64, Duration(5*time.Second), Duration(5*time.Second)
	p.SLO = []string{"rate>150"}
	r := mustRun(t, p)
	if r.Total.OK != 400 || r.Verdict != VerdictFail || r.SLO[0].Value > 110 {
		t.Errorf("good %d, %+v: a target of 100/s", r.Total.OK, r.SLO)
	}
}

func TestSearchFindsACapacityWithoutALatencyObjective(t *testing.T) {
	t.Parallel()
	p := open(slowly(t, 5*time.Millisecond), 1, time.Second)
	p.Open, p.Connections = nil, 64
	p.Search = &Search{From: 50, To: 2000, Precision: 0.1, Trial: Duration(2 * time.Second), Budget: Duration(time.Minute)}
	p.SLO = []string{"errors<1%"}
	r, err := Run(t.Context(), p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if b := r.Breakpoint; b.Rate < 160 || b.Rate > 215 {
		for _, trial := range b.Trials {
			t.Logf("%s %v/s: goodput %v, %s %s", trial.Phase, trial.Rate, trial.Goodput, trial.Verdict, trial.Reason)
		}
		t.Errorf("found %v/s of a target of 200/s (%s)", b.Rate, b.Limit)
	}
}

func TestWhatCannotBeSentGivesNoVerdict(t *testing.T) {
	t.Parallel()
	rows := filepath.Join(t.TempDir(), "rows.csv")
	if err := os.WriteFile(rows, []byte("id\n1\n\"a\nb\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	p := open(server.URL, 100, 500*time.Millisecond)
	p.Rows.File = rows
	p.SLO = []string{"errors<=0%"}
	p.Scenarios = []Scenario{{Steps: []Step{{Headers: map[string]string{"x-id": "{{id}}"}}}}}
	r := mustRun(t, p)
	if r.Total.OK != 25 || r.Total.Failed[ClassLocal] != 25 || r.Verdict != VerdictInconclusive || r.Total.Connects != 8 {
		t.Errorf("good %d, failed %v, verdict %s, %d connections", r.Total.OK, r.Total.Failed, r.Verdict, r.Total.Connects)
	}
}

func TestNothingIsSentAfterAnInterruption(t *testing.T) {
	t.Parallel()
	var seen atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen.Add(1) }))
	defer server.Close()
	p := open(server.URL, 20, time.Hour)
	steps := make([]Step, 1000)
	p.Scenarios = []Scenario{{Steps: steps}}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	r, err := Run(ctx, p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	consistent(t, r)
	// What was due and had not been sent is told as unfinished.
	if n := uint64(seen.Load()); r.End != EndInterrupted || n > r.Total.Due || n < r.Total.Due-r.Total.Unfinished || r.Total.Unfinished > 20 {
		t.Errorf("the target saw %d requests, the result tells of %d, %d of them unfinished", n, r.Total.Due, r.Total.Unfinished)
	}
}

func TestClosedLoopLetsEveryScenarioEnd(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	p := open(server.URL, 1, time.Second)
	p.Open, p.Closed = nil, &Closed{Users: 4, Duration: Duration(time.Second)}
	p.Scenarios = []Scenario{{Steps: []Step{{Name: "first"}, {Name: "second", Think: Duration(150 * time.Millisecond)}}}}
	r := mustRun(t, p)
	if r.Requests[0].OK == 0 || r.Requests[0].OK != r.Requests[1].OK || r.Total.Unfinished != 0 {
		t.Errorf("%d first steps, %d second, %d unfinished", r.Requests[0].OK, r.Requests[1].OK, r.Total.Unfinished)
	}
}
