package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dougong-io/dougong/prove/load/schedule"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open is a plan of a constant rate.
func open(target string, rate float64, length time.Duration) Plan {
	p := DefaultPlan()
	p.Target = target
	p.Connections = 8
	p.Timeout = Duration(2 * time.Second)
	p.Open = schedule.Constant(rate, length)
	p.LateAfter = Duration(time.Minute) // what is tested is not the machine
	return p
}

func mustRun(t *testing.T, p Plan) *Result {
	t.Helper()
	r, err := Run(t.Context(), p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	consistent(t, r)
	return r
}

// consistent holds the parts of a result against each other: every request that was due is counted once, everywhere.
func consistent(t *testing.T, r *Result) {
	t.Helper()
	window := func(name string, w *Window) {
		var failed uint64
		for _, n := range w.Failed {
			failed += n
		}
		if w.Due != w.OK+failed+w.Unfinished {
			t.Errorf("%s: %d due, but %d good + %d failed + %d unfinished", name, w.Due, w.OK, failed, w.Unfinished)
		}
		if timed := w.OK + w.Failed[ClassTimeout]; w.Latency.Count() != timed || w.Service.Count() != timed {
			t.Errorf("%s: %d answers and time-outs, but %d latencies and %d service times", name, timed, w.Latency.Count(), w.Service.Count())
		}
		if w.Rejected.Count() != failed-w.Failed[ClassTimeout] {
			t.Errorf("%s: %d failures that are no time-outs, but %d of their latencies", name, failed-w.Failed[ClassTimeout], w.Rejected.Count())
		}
	}
	window("total", &r.Total)
	var stages, intervals, requests, done uint64
	for i := range r.Stages {
		window(r.Stages[i].Name, &r.Stages[i].Window)
		stages += r.Stages[i].Due
	}
	for i := range r.Intervals {
		window(fmt.Sprintf("interval %v", r.Intervals[i].From), &r.Intervals[i].Window)
		intervals += r.Intervals[i].Due
		done += r.Intervals[i].Done
	}
	for i := range r.Requests {
		window(r.Requests[i].Name, &r.Requests[i].Window)
		requests += r.Requests[i].Due
	}
	if stages != r.Total.Due || intervals != r.Total.Due || requests != r.Total.Due {
		t.Errorf("%d due in total, %d in stages, %d in intervals, %d by request", r.Total.Due, stages, intervals, requests)
	}
	if done != r.Total.Due-r.Total.Unfinished {
		t.Errorf("%d ended, but the intervals say %d", r.Total.Due-r.Total.Unfinished, done)
	}
}

// rawServer answers each connection with what serve writes.
func rawServer(t *testing.T, serve func(conn net.Conn, r *bufio.Reader)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			group.Go(func() {
				defer conn.Close()
				serve(conn, bufio.NewReader(conn))
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		group.Wait()
	})
	return "http://" + listener.Addr().String() + "/"
}

// request reads a request's head; false at the end of the connection.
func request(r *bufio.Reader) bool {
	request, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, request.Body)
	return err == nil
}

func TestEveryRequestIsCountedOnce(t *testing.T) {
	t.Parallel()
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		io.WriteString(w, "fine")
	}))
	defer server.Close()
	p := open(server.URL, 500, 1500*time.Millisecond)
	p.SLO = []string{"errors<=0%", "p99<2s"}
	r := mustRun(t, p)
	if r.Total.Due != 750 || r.Total.OK != 750 || served.Load() != 750 {
		t.Errorf("due %d, good %d, served %d; want 750", r.Total.Due, r.Total.OK, served.Load())
	}
	if r.Verdict != VerdictPass || r.End != EndFinished || r.Total.Status["200"] != 750 {
		t.Errorf("verdict %s, end %s, status %v", r.Verdict, r.End, r.Total.Status)
	}
	if r.Total.Connects != 8 || r.Total.Connect.Count() != 8 {
		t.Errorf("%d connections, want 8", r.Total.Connects)
	}
	if n := len(r.Intervals); n < 2 || r.Intervals[0].Due != 500 || r.Intervals[1].Due != 250 || r.Intervals[1].Seconds != 0.5 {
		t.Errorf("intervals: %+v", r.Intervals)
	}
}

func TestMishapsAreCountedInTheirClass(t *testing.T) {
	t.Parallel()
	answer := func(text string) func(net.Conn, *bufio.Reader) {
		return func(conn net.Conn, r *bufio.Reader) {
			for request(r) {
				if _, err := io.WriteString(conn, text); err != nil {
					return
				}
			}
		}
	}
	once := func(text string) func(net.Conn, *bufio.Reader) {
		return func(conn net.Conn, r *bufio.Reader) {
			if request(r) {
				io.WriteString(conn, text)
			}
		}
	}
	for name, test := range map[string]struct {
		serve  func(net.Conn, *bufio.Reader)
		checks []string
		want   Class
	}{
		"garbage":           {answer("hello, I am no web server\r\n"), nil, ClassProtocol},
		"endless headers":   {endless("HTTP/1.1 200 OK\r\n", "X-Filler: 0123456789012345678901234567890123456789\r\n"), nil, ClassProtocol},
		"endless body":      {endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "400\r\n"+strings.Repeat("x", 1024)+"\r\n"), nil, ClassProtocol},
		"half a body":       {once("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), nil, ClassClosed},
		"half a header":     {once("HTTP/1.1 200 OK\r\nContent-Le"), nil, ClassClosed},
		"closed unanswered": {func(_ net.Conn, r *bufio.Reader) { request(r) }, nil, ClassClosed},
		"reset": {func(conn net.Conn, r *bufio.Reader) {
			if request(r) {
				conn.(*net.TCPConn).SetLinger(0)
			}
		}, nil, ClassReset},
		"silence": {func(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }, nil, ClassTimeout},
		"drip": {func(conn net.Conn, r *bufio.Reader) {
			for request(r) {
				for _, c := range "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" {
					if _, err := conn.Write([]byte{byte(c)}); err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
		}, nil, ClassTimeout},
		"503":          {answer("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), nil, ClassStatus},
		"wrong status": {answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), []string{"status == 201"}, ClassStatus},
		"wrong body":   {answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), []string{"json $.ok == true"}, ClassCheck},
	} {
		t.Run(name, func(t *testing.T) {
			p := open(rawServer(t, test.serve), 40, 500*time.Millisecond)
			p.Timeout, p.MaxBody = Duration(400*time.Millisecond), 64<<10
			// A POST is never sent twice, so each mishap is seen as it is.
			p.Scenarios = []Scenario{{Steps: []Step{{Method: "POST", Body: "x", Checks: test.checks}}}}
			r := mustRun(t, p)
			if r.Total.Due != 20 || r.Total.Failed[test.want] < 18 {
				t.Errorf("due %d, failed %v; want nearly all 20 as %s", r.Total.Due, r.Total.Failed, test.want)
			}
			if len(r.Errors) == 0 || r.Errors[0].Message == "" {
				t.Errorf("no message tells what happened: %+v", r.Errors)
			}
			if test.want == ClassTimeout {
				if low, high := time.Duration(r.Total.Latency.Min()), time.Duration(r.Total.Latency.Max()); low < 390*time.Millisecond || high > 1500*time.Millisecond {
					t.Errorf("time-outs after %s to %s, want 400ms", low, high)
				}
			}
		})
	}
}

func endless(begin, more string) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, r *bufio.Reader) {
		if !request(r) {
			return
		}
		_, err := io.WriteString(conn, begin)
		for err == nil {
			_, err = io.WriteString(conn, more)
		}
	}
}

func TestConnectionsThatTheTargetClosesIdleCostNothing(t *testing.T) {
	t.Parallel()
	// It says keep-alive and closes after each answer.
	target := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		if request(r) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	r := mustRun(t, open(target, 200, time.Second))
	// The end may come in the very moment in which a request is sent; that one has failed, in truth.
	if r.Total.OK < 195 || r.Total.Connects < 190 {
		t.Errorf("good %d of 200 over %d connections, failed %v %v", r.Total.OK, r.Total.Connects, r.Total.Failed, r.Errors)
	}
}

func TestConnectionCloseAndBodiesUntilTheEndAreUnderstood(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0 200 OK\r\n\r\nok",
	} {
		target := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
			if request(r) {
				io.WriteString(conn, text)
			}
		})
		p := open(target, 100, 500*time.Millisecond)
		p.Scenarios = []Scenario{{Steps: []Step{{Method: "POST", Body: "x", Checks: []string{"body == ok"}}}}}
		if r := mustRun(t, p); r.Total.OK != 50 {
			t.Errorf("%q: good %d of 50, failed %v %v", text, r.Total.OK, r.Total.Failed, r.Errors)
		}
	}
}

func TestTargetThatDiesMidwayIsRefusedNotHidden(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	defer server.Close()
	p := open(server.URL, 200, 1500*time.Millisecond)
	stop := time.AfterFunc(500*time.Millisecond, func() {
		server.Listener.Close()
		server.CloseClientConnections()
	})
	defer stop.Stop()
	r := mustRun(t, p)
	if r.Total.Due != 300 || r.Total.OK < 50 || r.Total.Failed[ClassRefused] < 100 {
		t.Errorf("due %d, good %d, failed %v", r.Total.Due, r.Total.OK, r.Total.Failed)
	}
}

func TestTargetThatCannotBeLoadedIsSaidBeforehand(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secured := httptest.NewTLSServer(http.NotFoundHandler()) // a certificate that nobody trusts, no HTTP/2
	secured.Config.ErrorLog = nil
	defer secured.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	for name, test := range map[string]struct {
		target   string
		insecure bool
		want     string
	}{
		"down":              {"http://" + free.Addr().String(), false, "refused"},
		"wrong certificate": {secured.URL, false, "certificate"},
		"TLS on plain port": {strings.Replace(plain.URL, "http:", "https:", 1), false, "TLS"},
		"no HTTP/2":         {strings.Replace(secured.URL, "https:", "h2:", 1), true, "HTTP/2"},
		"gRPC on a website": {strings.Replace(plain.URL, "http:", "grpc:", 1), false, ""},
		"ws on a website":   {strings.Replace(plain.URL, "http:", "ws:", 1), false, "WebSocket"},
	} {
		t.Run(name, func(t *testing.T) {
			p := open(test.target, 10, time.Second)
			p.TLS.Insecure = test.insecure
			p.Scenarios = []Scenario{{Steps: []Step{{Method: "GET"}}}}
			if strings.HasPrefix(p.Target, "grpc") {
				p.Scenarios[0].Steps[0].Method = "a.B/C"
			}
			began := time.Now()
			_, err := Run(t.Context(), p, Options{})
			if err == nil || !errors.Is(err, ErrTarget) && !errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("have %v, want %q", err, test.want)
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("it took %s to say so", took)
			}
		})
	}
}

func TestPlansThatCannotBeAreRefusedWithEveryFault(t *testing.T) {
	t.Parallel()
	rows := filepath.Join(t.TempDir(), "rows.csv")
	if err := os.WriteFile(rows, []byte("id,name\n1,a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Plan){
		"no URL with scheme": func(p *Plan) { p.Target = "ftp://127.0.0.1/" },
		"not loopback":       func(p *Plan) { p.Target = "http://example.com/" },
		"and to no other":    func(p *Plan) { p.Target = "http://example.com/"; p.AllowRemote = "example.org" },
		"password":           func(p *Plan) { p.Target = "http://a:b@127.0.0.1/" },
		"does not go with": func(p *Plan) {
			p.Protocol = GRPC
			p.Target = "ws://127.0.0.1/"
			p.Scenarios = []Scenario{{Steps: []Step{{Method: "a.B/C"}}}}
		},
		"nothing would be sent":     func(p *Plan) { p.Open = nil },
		"open or closed":            func(p *Plan) { p.Closed = &Closed{Users: 1, Duration: Duration(time.Second)} },
		"connections":               func(p *Plan) { p.Connections = 1_000_000 },
		"one request at a time":     func(p *Plan) { p.Streams = 2 },
		"timeout":                   func(p *Plan) { p.Timeout = 0 },
		"not between 0 and 1000000": func(p *Plan) { p.Open = schedule.Constant(2e6, time.Second) },
		"p101":                      func(p *Plan) { p.SLO = []string{"p101<1s"} },
		"no answer takes":           func(p *Plan) { p.SLO = []string{"p99<0s"} },
		"never asks for more":       func(p *Plan) { p.SLO = []string{"rate>5000"} },
		"fail after the time-out":   func(p *Plan) { p.SLO = []string{"p99<1m"} },
		"no share is below 0":       func(p *Plan) { p.SLO = []string{"errors<0%"} },
		"no class of failure":       func(p *Plan) { p.SLO = []string{"errors.tiemout<1%"} },
		"no such file":              func(p *Plan) { p.Rows.File = "/does/not/exist.csv" },
		"did you mean name":         func(p *Plan) { p.Rows.File = rows; p.Scenarios = body("{{nmae}}") },
		"for the generator to set": func(p *Plan) {
			p.Scenarios = []Scenario{{Steps: []Step{{Headers: map[string]string{"Content-Length": "3"}}}}}
		},
		"no name of a header":          func(p *Plan) { p.Scenarios = []Scenario{{Steps: []Step{{Headers: map[string]string{"a b": "3"}}}}} },
		"no HTTP method":               func(p *Plan) { p.Scenarios = []Scenario{{Steps: []Step{{Method: "get it"}}}} },
		"does not begin with /":        func(p *Plan) { p.Scenarios = []Scenario{{Steps: []Step{{Path: "x"}}}} },
		"binary is for ws, expect":     func(p *Plan) { p.Scenarios = []Scenario{{Steps: []Step{{Expect: 1}}}} },
		"it has 0 steps":               func(p *Plan) { p.Scenarios = []Scenario{{}} },
		"needs at least one objective": func(p *Plan) { s := DefaultSearch(); p.Open, p.Search = nil, &s },
	} {
		p := open("http://127.0.0.1:1/", 10, time.Second)
		change(&p)
		if _, err := Run(t.Context(), p, Options{}); !errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), want) {
			t.Errorf("have %v, want %q", err, want)
		}
	}
	p := open("http://127.0.0.1:1/", 10, time.Second)
	p.Connections, p.Timeout, p.SLO = 0, 0, []string{"x<1"}
	_, err := Run(t.Context(), p, Options{})
	for _, want := range []string{"connections: ", "timeout: ", "slo: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("not every fault is told at once: %v", err)
		}
	}
}

func body(text string) []Scenario { return []Scenario{{Steps: []Step{{Method: "POST", Body: text}}}} }

func TestInterruptionReportsWhatRan(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	began := time.Now()
	r, err := Run(ctx, open(server.URL, 100, time.Hour), Options{})
	if err != nil {
		t.Fatal(err)
	}
	consistent(t, r)
	if r.End != EndInterrupted || r.Total.Due < 30 || r.Total.Due > 75 || r.Total.OK == 0 || r.Seconds > 5 {
		t.Errorf("end %s, due %d, good %d in %v s", r.End, r.Total.Due, r.Total.OK, r.Seconds)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s to end", took)
	}
}

func TestAnswersThatNeverComeEndWithTheDrain(t *testing.T) {
	t.Parallel()
	target := rawServer(t, func(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) })
	p := open(target, 50, 400*time.Millisecond)
	p.Timeout, p.Drain = Duration(time.Minute), Duration(300*time.Millisecond)
	began := time.Now()
	r := mustRun(t, p)
	if r.Total.Unfinished != 20 || r.Total.Due != 20 || len(r.Notes) == 0 {
		t.Errorf("due %d, unfinished %d, notes %q", r.Total.Due, r.Total.Unfinished, r.Notes)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestRequestsThatWaitForAConnectionTimeOutToo(t *testing.T) {
	t.Parallel()
	target := rawServer(t, func(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) })
	p := open(target, 100, time.Second)
	p.Connections, p.Timeout = 2, Duration(300*time.Millisecond)
	p.Drain = p.Timeout
	r := mustRun(t, p)
	if r.Total.Due != 100 || r.Total.Failed[ClassTimeout] < 95 {
		t.Errorf("due %d, failed %v, unfinished %d", r.Total.Due, r.Total.Failed, r.Total.Unfinished)
	}
}

func TestRequestsComeFromRowsAndTemplates(t *testing.T) {
	t.Parallel()
	rows := filepath.Join(t.TempDir(), "rows.csv")
	if err := os.WriteFile(rows, []byte("id,name,want\n1,\"a\"\"b\",x\n2,c,y\n3,,z\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		mu.Lock()
		seen[r.URL.Path+" "+r.Header.Get("x-id")+" "+string(text)]++
		mu.Unlock()
		want := map[string]string{"1": "x", "2": "y", "3": "z"}[r.Header.Get("x-id")]
		fmt.Fprintf(w, `{"nested":[{"want":%q}]}`, want)
	}))
	defer server.Close()
	for _, target := range []string{server.URL + "/base/", strings.Replace(server.URL, "http:", "h2c:", 1) + "/base"} {
		if strings.HasPrefix(target, "h2c") {
			protocols := new(http.Protocols)
			protocols.SetUnencryptedHTTP2(true)
			h2 := httptest.NewUnstartedServer(server.Config.Handler)
			h2.Config.Protocols = protocols
			h2.Start()
			defer h2.Close()
			target = strings.Replace(h2.URL, "http:", "h2c:", 1) + "/base"
		}
		clear(seen)
		p := open(target, 60, time.Second)
		p.Rows.File = rows
		p.Scenarios = []Scenario{{Steps: []Step{{
			Method: "POST", Path: "/item/{{id}}", Headers: map[string]string{"X-Id": "{{id}}"},
			Body:   `{"name":{{name|string}}}`,
			Checks: []string{"status == 200", "json $.nested[0].want == {{want}}", "body contains want"},
		}}}}
		r := mustRun(t, p)
		if r.Total.OK != 60 {
			t.Fatalf("%s: good %d of 60, failed %v %v", target, r.Total.OK, r.Total.Failed, r.Errors)
		}
		for _, want := range []string{`/base/item/1 1 {"name":"a\"b"}`, `/base/item/2 2 {"name":"c"}`, `/base/item/3 3 {"name":""}`} {
			if seen[want] != 20 {
				t.Errorf("%s: %q was sent %d times, want 20; sent %v", target, want, seen[want], seen)
			}
		}
	}
}

func TestStepsOfAScenarioFollowEachOtherAndPassValuesOn(t *testing.T) {
	t.Parallel()
	var next atomic.Int64
	var mu sync.Mutex
	at := map[string]time.Time{}
	var pauses []time.Duration
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/orders" {
			id := fmt.Sprint("order-", next.Add(1))
			mu.Lock()
			at[id] = time.Now()
			mu.Unlock()
			fmt.Fprintf(w, `{"id":%q}`, id)
			return
		}
		mu.Lock()
		began, ok := at[strings.TrimPrefix(r.URL.Path, "/orders/")]
		if ok {
			pauses = append(pauses, time.Since(began))
		}
		mu.Unlock()
		if !ok {
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	p := open(server.URL, 30, time.Second)
	p.Scenarios = []Scenario{{Name: "buy", Steps: []Step{
		{Name: "create", Method: "POST", Path: "/orders", Body: "{}", Save: map[string]string{"order": "$.id"}},
		{Name: "pay", Method: "PUT", Path: "/orders/{{order}}", Think: Duration(50 * time.Millisecond)},
	}}}
	r := mustRun(t, p)
	if len(r.Requests) != 2 || r.Requests[0].OK != 30 || r.Requests[1].OK != 30 {
		t.Fatalf("%+v %v", r.Requests, r.Errors)
	}
	if shortest := slices.Min(pauses); shortest < 45*time.Millisecond {
		t.Errorf("a user paused for %s, want 50ms", shortest)
	}
	// The pause is the user's, not the target's.
	if p50 := time.Duration(r.Requests[1].Latency.Quantile(0.1)); p50 > 45*time.Millisecond {
		t.Errorf("latency of the second request, %s, includes the pause", p50)
	}
}

func TestScenariosAreDrawnByWeight(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	p := open(server.URL, 1000, time.Second)
	p.Seed = 5
	p.Scenarios = []Scenario{
		{Weight: 9, Steps: []Step{{Name: "often"}}},
		{Weight: 1, Steps: []Step{{Name: "seldom"}}},
	}
	r := mustRun(t, p)
	if n := r.Requests[1].Due; n < 60 || n > 145 {
		t.Errorf("%d of 1000 were drawn by a share of 0.1", n)
	}
}

func TestRowsThatAreUsedOnceEndTheRun(t *testing.T) {
	t.Parallel()
	rows := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(rows, []byte("{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var bodies atomic.Value
	bodies.Store("")
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		bodies.Store(bodies.Load().(string) + string(text))
	}))
	defer server.Close()
	p := open(server.URL, 20, time.Hour)
	p.Connections = 1
	p.Rows = Rows{File: rows, Order: RowsOnce}
	p.Scenarios = body("{{row}}")
	if r := mustRun(t, p); r.Total.OK != 3 || r.End != EndFinished || bodies.Load() != `{"a":1}{"a":2}{"a":3}` {
		t.Errorf("good %d, end %s, sent %s", r.Total.OK, r.End, bodies.Load())
	}
}

func TestClosedLoopWaitsForItsAnswers(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		time.Sleep(20 * time.Millisecond)
	}))
	defer server.Close()
	p := open(server.URL, 1, time.Second)
	p.Open, p.Closed = nil, &Closed{Users: 5, Think: Duration(20 * time.Millisecond), Duration: Duration(time.Second)}
	r := mustRun(t, p)
	if r.Loop != ClosedLoop || most.Load() > 5 {
		t.Errorf("loop %s with %d requests at a time, want 5", r.Loop, most.Load())
	}
	// 5 users, 40 ms a round: at most 125 and surely more than a few.
	if r.Total.OK < 20 || r.Total.OK > 126 || r.Total.OK != r.Total.Due {
		t.Errorf("good %d of %d, failed %v", r.Total.OK, r.Total.Due, r.Total.Failed)
	}
}

func TestClosedLoopDoesNotSpinOnATargetThatIsGone(t *testing.T) {
	t.Parallel()
	target := rawServer(t, func(net.Conn, *bufio.Reader) {})
	p := open(target, 1, time.Second)
	p.Open, p.Closed = nil, &Closed{Users: 2, Duration: Duration(time.Second)}
	if r := mustRun(t, p); r.Total.Due == 0 || r.Total.Due > 2*55 {
		t.Errorf("%d requests in a second from 2 users, each of which pauses 20 ms after a failure", r.Total.Due)
	}
}

func TestLongBodiesBothWays(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" { // answers before it has read
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		io.Copy(w, r.Body)
	}))
	defer server.Close()
	long := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	for path, want := range map[string]string{"/echo": "status == 200", "/early": "status == 413"} {
		p := open(server.URL, 20, 500*time.Millisecond)
		p.Connections = 3
		p.Scenarios = []Scenario{{Steps: []Step{{Method: "PUT", Path: path, Body: long, Checks: []string{want}}}}}
		if path == "/echo" {
			p.Scenarios[0].Steps[0].Checks = append(p.Scenarios[0].Steps[0].Checks, "body contains 0123456789abcdef0123456789abcdef")
		}
		r := mustRun(t, p)
		// An early answer may cost the connection, and with it an answer; an echo never.
		if path == "/echo" && r.Total.OK != 10 || r.Total.OK < 5 {
			t.Errorf("%s: good %d of 10, failed %v %v", path, r.Total.OK, r.Total.Failed, r.Errors)
		}
	}
}

func TestRowsCannotBreakARequestApart(t *testing.T) {
	t.Parallel()
	rows := filepath.Join(t.TempDir(), "rows.csv")
	if err := os.WriteFile(rows, []byte("id\n\"a\r\nX-Evil: 1\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var evil atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Evil") != "" {
			evil.Add(1)
		}
	}))
	defer server.Close()
	for _, step := range []Step{{Headers: map[string]string{"x-id": "{{id}}"}}, {Path: "/{{id}}"}} {
		p := open(server.URL, 20, 500*time.Millisecond)
		p.Rows.File = rows
		p.Scenarios = []Scenario{{Steps: []Step{step}}}
		r := mustRun(t, p)
		if evil.Load() != 0 || r.Total.Failed[ClassLocal] != 10 || r.Total.Failures() != 0 {
			t.Errorf("%d requests smuggled a header; failed %v", evil.Load(), r.Total.Failed)
		}
	}
}

func TestMemoryIsBoundedByTheNumberOfIntervals(t *testing.T) {
	t.Parallel()
	s := newStats([]int64{1 << 60}, []*step{{name: "x"}}, 4, time.Second, time.Second)
	u := &user{scenario: &scenario{steps: s.steps}, stripe: s.stripes[0]}
	var late lateness
	for second := range int64(1000) {
		u.due, u.sent = second*1e9, second*1e9
		u.stripe.record(u, &outcome{end: second*1e9 + 5e6, status: "200"})
		s.collect(&late, second*1e9)
	}
	if len(s.intervals) > 4 || s.length != 256 {
		t.Errorf("%d intervals of %d s for 1000 s", len(s.intervals), s.length)
	}
	var due, done uint64
	for i, in := range s.intervals {
		due += in.Due
		done += in.Done
		if in.From != float64(i*s.length) || in.Seconds != float64(s.length) {
			t.Errorf("interval %d is from %v, %v s long", i, in.From, in.Seconds)
		}
	}
	if due != 1000 || done != 1000 {
		t.Errorf("due %d, done %d after joining intervals; want 1000", due, done)
	}
}

func TestLateSecondsAreMarkedAndNotJudged(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	p := open(server.URL, 200, time.Second)
	p.LateAfter = Duration(1) // a nanosecond: every second is late
	p.SLO = []string{"p50<1ns", "errors<=0%"}
	r := mustRun(t, p)
	if r.LateSeconds != 1 || r.Judged.Due != 0 || r.Verdict != VerdictInconclusive || len(r.Notes) == 0 {
		t.Errorf("late %v s, judged %d, verdict %s, notes %q", r.LateSeconds, r.Judged.Due, r.Verdict, r.Notes)
	}
}

func TestSecretsStayOutOfTheResult(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	p := open(server.URL, 20, 200*time.Millisecond)
	p.Scenarios = []Scenario{{Steps: []Step{{Headers: map[string]string{"Authorization": "Bearer hunter2", "x-tenant": "a"}}}}}
	r := mustRun(t, p)
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "hunter2") || !strings.Contains(string(data), "x-tenant") {
		t.Errorf("the result holds the token, or no longer the other header")
	}
	if p.Scenarios[0].Steps[0].Headers["Authorization"] != "Bearer hunter2" {
		t.Error("the caller's plan was changed")
	}
}

func TestProgressTellsWhatHappens(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	p := open(server.URL, 100, 1500*time.Millisecond)
	var looks []Progress
	if _, err := Run(t.Context(), p, Options{Progress: func(g Progress) { looks = append(looks, g) }}); err != nil {
		t.Fatal(err)
	}
	if len(looks) < 3 {
		t.Fatalf("%d looks at a run of 1.5 s", len(looks))
	}
	last := looks[len(looks)-1]
	if last.Sum.OK == 0 || last.Total != 1500*time.Millisecond || last.Connected != 8 || len(last.Done) == 0 {
		t.Errorf("%+v", last)
	}
}
