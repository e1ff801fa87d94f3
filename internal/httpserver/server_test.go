package httpserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dougong-io/dougong/internal/auth"
	"github.com/dougong-io/dougong/kit/limit"
)

// buffer is a bytes.Buffer for many goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// recorder is an Observer that remembers.
type recorder struct {
	mu      sync.Mutex
	ended   map[string][]Outcome
	begun   map[string]int
	panics  int
	refused int
	dropped int
}

type routeRecorder struct {
	r       *recorder
	pattern string
}

func newRecorder() *recorder {
	return &recorder{ended: map[string][]Outcome{}, begun: map[string]int{}}
}

func (r *recorder) locked(f func()) { r.mu.Lock(); defer r.mu.Unlock(); f() }

func (r *recorder) Route(pattern string) RouteObserver { return routeRecorder{r, pattern} }
func (r *recorder) LogLinesDropped(n int)              { r.locked(func() { r.dropped += n }) }
func (r *recorder) ConnectionRefused()                 { r.locked(func() { r.refused++ }) }
func (o routeRecorder) Begin()                         { o.r.locked(func() { o.r.begun[o.pattern]++ }) }
func (o routeRecorder) Panic()                         { o.r.locked(func() { o.r.panics++ }) }
func (o routeRecorder) End(out Outcome) {
	o.r.locked(func() { o.r.ended[o.pattern] = append(o.r.ended[o.pattern], out) })
}

// wait returns the first n outcomes of a route.
func (r *recorder) wait(t *testing.T, pattern string, n int) (out []Outcome) {
	t.Helper()
	for range 1000 {
		r.locked(func() { out = append([]Outcome(nil), r.ended[pattern]...) })
		if len(out) >= n {
			return out
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatalf("%d outcomes of %q, want %d", len(out), pattern, n)
	return nil
}

// running is a server under test.
type running struct {
	*Server
	url    string
	cancel context.CancelFunc
	ended  chan error
	logs   *buffer
	access *buffer
	seen   *recorder
}

func testConfig() Config {
	c := DefaultConfig()
	c.Listen = "127.0.0.1:0"
	return c
}

// start runs a server; the test stops it, or the cleanup does.
func start(t *testing.T, cfg Config, deps Deps, routes func(*Server)) *running {
	t.Helper()
	r := &running{logs: &buffer{}, access: &buffer{}, seen: newRecorder(), ended: make(chan error, 1)}
	deps.Service, deps.Logger = "test", slog.New(slog.NewJSONHandler(r.logs, nil))
	if deps.AccessLog == nil {
		deps.AccessLog = r.access
	}
	deps.Observer = r.seen
	s, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	r.run(t, s, routes)
	return r
}

func (r *running) run(t *testing.T, s *Server, routes func(*Server)) {
	t.Helper()
	r.Server = s
	if routes != nil {
		routes(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	ready := make(chan struct{})
	go func() { r.ended <- s.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-r.ended:
		t.Fatal(err)
	}
	scheme := "http"
	if s.tls != nil {
		scheme = "https"
	}
	r.url = scheme + "://" + s.Addr().String()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-r.ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Run did not return")
		}
	})
}

// stop ends the server and returns what Run returned.
func (r *running) stop() error {
	r.cancel()
	err := <-r.ended
	r.ended <- nil // for the cleanup
	return err
}

type answer struct {
	*http.Response
	body string
}

func do(t *testing.T, method, url, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	if h := req.Header.Get("Host"); h != "" {
		req.Host = h
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res, string(b)}
}

func (a answer) wantProblem(t *testing.T, status int, code string) {
	t.Helper()
	var p struct {
		Status int
		Code   string
		Detail string
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Errorf("%s: not a problem document: %q", a.Request.URL, a.body)
		return
	}
	if a.StatusCode != status || p.Status != status || p.Code != code || !strings.HasPrefix(a.Header.Get("Content-Type"), "application/problem+json") {
		t.Errorf("%s: answered %d %s, want %d %q", a.Request.URL, a.StatusCode, a.body, status, code)
	}
}

func handle(pattern string, role auth.Role, f http.HandlerFunc) func(*Server) {
	return func(s *Server) { s.Handle(pattern, role, f) }
}

func TestDeadlineOfCallerBecomesDeadlineOfContext(t *testing.T) {
	type seen struct {
		ok   bool
		left time.Duration
	}
	got := make(chan seen, 1)
	h := func(w http.ResponseWriter, r *http.Request) {
		d, ok := r.Context().Deadline()
		got <- seen{ok, time.Until(d)}
	}
	r := start(t, testConfig(), Deps{}, func(s *Server) {
		s.Handle("/x", "", http.HandlerFunc(h))
		s.HandleRoute(Route{Pattern: "/short", Handler: http.HandlerFunc(h), Timeout: time.Second})
		s.HandleRoute(Route{Pattern: "/stream", Handler: http.HandlerFunc(h), Stream: true})
	})
	for _, c := range []struct {
		path   string
		header []string
		want   time.Duration // 0: no deadline
	}{
		{"/x", nil, 30 * time.Second},
		{"/x", []string{"X-Request-Timeout", "2s"}, 2*time.Second - 5*time.Millisecond},
		{"/x", []string{"X-Request-Timeout", "1.5"}, 1495 * time.Millisecond},
		{"/x", []string{"X-Request-Timeout", "10h"}, 30 * time.Second},
		{"/x", []string{"grpc-timeout", "4S"}, 3995 * time.Millisecond},
		{"/x", []string{"grpc-timeout", "4S", "X-Request-Timeout", "3s"}, 2995 * time.Millisecond},
		{"/short", nil, time.Second},
		{"/stream", nil, 0},
		{"/stream", []string{"X-Request-Timeout", "2s"}, 1995 * time.Millisecond},
	} {
		do(t, "GET", r.url+c.path, "", c.header...)
		s := <-got
		if s.ok != (c.want != 0) || s.ok && (s.left > c.want || s.left < c.want-500*time.Millisecond) {
			t.Errorf("%s %v: deadline in %v (%v), want %v", c.path, c.header, s.left, s.ok, c.want)
		}
	}
}

func TestExpiredOrMalformedDeadlineIsRefusedBeforeWorkBegins(t *testing.T) {
	r := start(t, testConfig(), Deps{}, handle("/x", "", func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") }))
	for _, c := range []struct {
		header []string
		status int
		code   string
	}{
		{[]string{"X-Request-Timeout", "0"}, 504, "deadline_exceeded"},
		{[]string{"X-Request-Timeout", "5ms"}, 504, "deadline_exceeded"},
		{[]string{"grpc-timeout", "1n"}, 504, "deadline_exceeded"},
		{[]string{"X-Request-Timeout", "soon"}, 400, "malformed_timeout"},
		{[]string{"X-Request-Timeout", "-1s"}, 400, "malformed_timeout"},
		{[]string{"X-Request-Timeout", ""}, 400, "malformed_timeout"},
		{[]string{"X-Request-Timeout", "1s", "X-Request-Timeout", "2s"}, 400, "malformed_timeout"},
		{[]string{"grpc-timeout", "123456789m"}, 400, "malformed_timeout"},
	} {
		do(t, "GET", r.url+"/x", "", c.header...).wantProblem(t, c.status, c.code)
	}
}

// TestDeadlineWithinTheMarginIsNamed: such a deadline has not passed, but nothing of it is left.
func TestDeadlineWithinTheMarginIsNamed(t *testing.T) {
	cfg := testConfig()
	cfg.DeadlineMargin = 40 * time.Millisecond
	r := start(t, cfg, Deps{}, handle("/x", "", func(http.ResponseWriter, *http.Request) {}))
	a := do(t, "GET", r.url+"/x", "", "X-Request-Timeout", "40ms")
	a.wantProblem(t, 504, "deadline_exceeded")
	if !strings.Contains(a.body, "the caller's deadline, 40ms, is not longer than the deadline_margin of this listener, 40ms") {
		t.Error(a.body)
	}
}

func TestTraceOfCallerIsContinuedAndInvalidOnesAreReplaced(t *testing.T) {
	got := make(chan Trace, 1)
	out := make(chan http.Header, 1)
	r := start(t, testConfig(), Deps{}, handle("/x", "", func(w http.ResponseWriter, r *http.Request) {
		got <- TraceFrom(r.Context())
		h := http.Header{}
		Propagate(r.Context(), h)
		out <- h
	}))
	const id = "0af7651916cd43dd8448eb211c80319c"
	do(t, "GET", r.url+"/x", "", "traceparent", "00-"+id+"-b7ad6b7169203331-01", "tracestate", "a=b")
	tr, h := <-got, <-out
	if tr.ID() != id || tr.Flags != 1 || fmt.Sprintf("%x", tr.Parent) != "b7ad6b7169203331" || tr.SpanID == tr.Parent || tr.SpanID == [8]byte{} {
		t.Errorf("continued as %+v", tr)
	}
	if h.Get("Traceparent") != tr.Traceparent() || h.Get("Tracestate") != "a=b" || !strings.HasPrefix(h.Get("X-Request-Timeout"), "29.9") {
		t.Errorf("passed on: %v", h)
	}
	do(t, "GET", r.url+"/x", "", "traceparent", "00-"+id+"-b7ad6b7169203331-01", "tracestate", "a=b,c=d", "tracestate", "e=f")
	<-got
	if h = <-out; h.Get("Tracestate") != "a=b,c=d,e=f" {
		t.Errorf("several fields became %q", h.Get("Tracestate"))
	}
	do(t, "GET", r.url+"/x", "", "traceparent", "00-"+strings.ToUpper(id)+"-b7ad6b7169203331-01", "tracestate", "a=b")
	tr, h = <-got, <-out
	if strings.EqualFold(tr.ID(), id) || tr.IsZero() || tr.Parent != [8]byte{} || h.Get("Tracestate") != "" {
		t.Errorf("an invalid header became %+v, passed on as %v", tr, h)
	}
	if _, ok := ParseTraceparent(tr.Traceparent()); !ok {
		t.Errorf("our own header is invalid: %s", tr.Traceparent())
	}
}

func TestPanicIsAnsweredCountedAndLogged(t *testing.T) {
	r := start(t, testConfig(), Deps{}, func(s *Server) {
		s.Handle("/before", "", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			panic("before \"the\" answer")
		}))
		s.Handle("/after", "", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(errors.New("after"))
		}))
		s.Handle("/1000", "", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(1000) }))
		s.Handle("/abort", "", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	})
	a := do(t, "GET", r.url+"/before", "")
	a.wantProblem(t, 500, "internal")
	id := a.Header.Get("X-Request-Id")
	if len(id) != 32 || !strings.Contains(r.logs.String(), id) || !strings.Contains(r.logs.String(), "server_test.go") {
		t.Errorf("request id %q, log %s", id, r.logs.String())
	}
	do(t, "GET", r.url+"/1000", "").wantProblem(t, 500, "internal")
	res, err := http.Get(r.url + "/after")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("a half answer looked complete")
	}
	res.Body.Close()
	if _, err := http.Get(r.url + "/abort"); err == nil {
		t.Error("an aborted request was answered")
	}
	if out := r.seen.wait(t, "/before", 1); out[0].Status != 500 {
		t.Errorf("observed %+v", out)
	}
	if out := r.seen.wait(t, "/after", 1); out[0].Status != 200 || out[0].BytesOut != 4 {
		t.Errorf("observed %+v", out)
	}
	if out := r.seen.wait(t, "/abort", 1); out[0].Status != 499 {
		t.Errorf("observed %+v", out) // the transport may have tried again
	}
	r.seen.locked(func() {
		if r.seen.panics != 3 {
			t.Errorf("%d panics counted, want 3", r.seen.panics)
		}
	})
	if n := r.inflight.len(); n != 0 {
		t.Errorf("%d requests still in flight", n)
	}
}

func TestUnknownPathsAndMethodsAreProblemsUnderOneRoute(t *testing.T) {
	r := start(t, testConfig(), Deps{}, handle("POST /x", "", func(http.ResponseWriter, *http.Request) {}))
	for i := range 3 {
		do(t, "GET", fmt.Sprintf("%s/nowhere/%d", r.url, i), "").wantProblem(t, 404, "not_found")
	}
	a := do(t, "BREW", r.url+"/x", "")
	a.wantProblem(t, 405, "method_not_allowed")
	if a.Header.Get("Allow") != "POST" {
		t.Errorf("Allow: %q", a.Header.Get("Allow"))
	}
	out := r.seen.wait(t, otherRoute, 4)
	if out[3].Method != "OTHER" || out[0].Status != 404 || out[0].BytesOut == 0 {
		t.Errorf("observed %+v", out)
	}
	r.seen.locked(func() {
		if len(r.seen.ended) != 1 {
			t.Errorf("routes %v", r.seen.ended)
		}
	})
}

func writeTokens(t *testing.T) (path string, plain map[auth.Role]string) {
	t.Helper()
	path, plain = filepath.Join(t.TempDir(), "tokens.json"), map[auth.Role]string{}
	for _, role := range auth.Roles() {
		p, e, err := auth.Create("bot-"+string(role), "acme", role)
		if err != nil {
			t.Fatal(err)
		}
		if err := auth.AppendTo(path, e); err != nil {
			t.Fatal(err)
		}
		plain[role] = p
	}
	return path, plain
}

func TestRoleDecidesWhoMayCall(t *testing.T) {
	path, plain := writeTokens(t)
	cfg := testConfig()
	cfg.TokensFile = path
	whoami := func(w http.ResponseWriter, r *http.Request) {
		if who := auth.IdentityFrom(r.Context()); who != nil {
			io.WriteString(w, who.Name+"@"+who.Tenant)
		}
	}
	var audited []AuditEvent
	r := start(t, cfg, Deps{Audit: func(e AuditEvent) { audited = append(audited, e) }}, func(s *Server) {
		s.Handle("/open", "", http.HandlerFunc(whoami))
		s.Handle("/write", auth.Write, http.HandlerFunc(whoami))
		s.Handle("/release/{version}", auth.Release, http.HandlerFunc(whoami))
	})
	for _, c := range []struct {
		path, header string
		status       int
		want         string
	}{
		{"/open", "", 200, ""},
		{"/open", "Bearer " + plain[auth.Read], 200, "bot-read@acme"},
		{"/open", "Bearer nonsense", 200, ""},
		{"/write", "Bearer " + plain[auth.Write], 200, "bot-write@acme"},
		{"/write", "bEARER " + plain[auth.Write], 200, "bot-write@acme"},
		{"/write", "Bearer " + plain[auth.Read], 403, "forbidden"},
		{"/write", "", 401, "unauthenticated"},
		{"/write", "Bearer ", 401, "unauthenticated"},
		{"/write", "Bearer dg_wrong", 401, "unauthenticated"},
		{"/write", "Basic " + plain[auth.Write], 401, "unauthenticated"},
	} {
		var header []string
		if c.header != "" {
			header = []string{"Authorization", c.header}
		}
		a := do(t, "POST", r.url+c.path, "", header...)
		if c.status != 200 {
			a.wantProblem(t, c.status, c.want)
		} else if a.StatusCode != 200 || a.body != c.want {
			t.Errorf("%s: %d %q, want %q", c.path, a.StatusCode, a.body, c.want)
		}
		if (a.Header.Get("WWW-Authenticate") != "") != (c.status == 401) {
			t.Errorf("%s: WWW-Authenticate %q with %d", c.path, a.Header.Get("WWW-Authenticate"), a.StatusCode)
		}
	}
	do(t, "POST", r.url+"/release/7", "", "Authorization", "Bearer "+plain[auth.Release])
	do(t, "POST", r.url+"/release/8", "", "Authorization", "Bearer "+plain[auth.Read])
	do(t, "GET", r.url+"/release/9", "", "Authorization", "Bearer "+plain[auth.Release])
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if len(audited) != 2 || audited[0].Name != "bot-release" || audited[0].Path != "/release/7" || audited[0].Status != 200 || audited[1].Status != 403 || audited[1].Name != "bot-read" {
		t.Errorf("audited %+v", audited)
	}
	for _, secret := range plain {
		if strings.Contains(r.logs.String()+r.access.String(), secret[len(auth.Prefix):]) {
			t.Error("a token is in the logs")
		}
	}
}

func TestRoutesWithRoleAreOpenOnlyOnLoopbackWithoutTokens(t *testing.T) {
	for _, c := range []struct {
		listen string
		status int
	}{{"127.0.0.1:0", 200}, {"[::1]:0", 200}, {"localhost:0", 200}, {"LocalHost:0", 200}, {"0.0.0.0:0", 403}, {":0", 403}} {
		cfg := testConfig()
		cfg.Listen = c.listen
		s, err := New(cfg, Deps{AccessLog: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		s.Handle("/x", auth.Read, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		w := &statusOnly{}
		req, _ := http.NewRequest("GET", "http://h/x", nil)
		s.ServeHTTP(w, req)
		if w.status != c.status && !(w.status == 0 && c.status == 200) {
			t.Errorf("listening on %s: %d, want %d", c.listen, w.status, c.status)
		}
	}
}

type statusOnly struct {
	h      http.Header
	status int
}

func (s *statusOnly) Header() http.Header {
	if s.h == nil {
		s.h = http.Header{}
	}
	return s.h
}
func (s *statusOnly) Write(p []byte) (int, error) { return len(p), nil }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }

func TestBodyLimitGivesMaxBytesError(t *testing.T) {
	errs := make(chan error, 1)
	read := make(chan int, 1)
	h := func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		errs <- err
		read <- len(b)
	}
	cfg := testConfig()
	cfg.MaxBodyBytes = 10
	r := start(t, cfg, Deps{}, func(s *Server) {
		s.Handle("/x", "", http.HandlerFunc(h))
		s.HandleRoute(Route{Pattern: "/more", Handler: http.HandlerFunc(h), MaxBodyBytes: 20})
		s.HandleRoute(Route{Pattern: "/any", Handler: http.HandlerFunc(h), MaxBodyBytes: -1})
	})
	for _, c := range []struct {
		path    string
		size    int
		chunked bool
		tooBig  bool
	}{
		{"/x", 10, false, false}, {"/x", 10, true, false}, {"/x", 11, false, true}, {"/x", 11, true, true},
		{"/more", 20, true, false}, {"/more", 21, true, true}, {"/any", 100_000, true, false},
	} {
		var body io.Reader = strings.NewReader(strings.Repeat("x", c.size))
		if c.chunked {
			body = struct{ io.Reader }{body}
		}
		res, err := http.Post(r.url+c.path, "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		err, n := <-errs, <-read
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) != c.tooBig || !c.tooBig && (err != nil || n != c.size) {
			t.Errorf("%+v: read %d, error %v", c, n, err)
		}
		if c.tooBig && (n > int(tooBig.Limit) || !res.Close) {
			t.Errorf("%+v: read %d of limit %d, connection closed %v", c, n, tooBig.Limit, res.Close)
		}
	}
}

func TestSlowClientsAreCut(t *testing.T) {
	cfg := testConfig()
	cfg.ReadHeaderTimeout, cfg.ReadTimeout, cfg.IdleTimeout = 300*time.Millisecond, 600*time.Millisecond, 400*time.Millisecond
	r := start(t, cfg, Deps{}, handle("/x", "", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); errors.Is(err, os.ErrDeadlineExceeded) {
			w.WriteHeader(http.StatusRequestTimeout)
		}
	}))
	for _, c := range []struct {
		name, send, want string
		min, max         time.Duration
	}{
		{"slow header", "GET /x HTTP/1.1\r\nHost:", "", 250 * time.Millisecond, 3 * time.Second},
		{"nothing", "", "", 250 * time.Millisecond, 3 * time.Second},
		{"slow body", "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc", "HTTP/1.1 408 ", 550 * time.Millisecond, 3 * time.Second},
		{"slow body nobody wants", "POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc", "HTTP/1.1 404 ", 550 * time.Millisecond, 3 * time.Second},
		{"idle", "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 ", 350 * time.Millisecond, 3 * time.Second},
		{"huge header", "GET /x HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n", "HTTP/1.1 431 ", 0, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", r.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			begin := time.Now()
			io.WriteString(conn, c.send)
			conn.SetReadDeadline(begin.Add(10 * time.Second))
			got, err := io.ReadAll(conn)
			took := time.Since(begin)
			if errors.Is(err, os.ErrDeadlineExceeded) || !strings.HasPrefix(string(got), c.want) || took < c.min || took > c.max {
				t.Errorf("after %v: %q, %v", took, got, err)
			}
		})
	}
}

func TestHandlerThatOutlastsReadTimeoutKeepsItsContext(t *testing.T) {
	cfg := testConfig()
	cfg.ReadHeaderTimeout, cfg.ReadTimeout = 100*time.Millisecond, 200*time.Millisecond
	r := start(t, cfg, Deps{}, handle("/x", "", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
			t.Error("the context ended with the read timeout")
		case <-time.After(600 * time.Millisecond):
		}
	}))
	do(t, "POST", r.url+"/x", "body")
}

func TestContextEndsWhenTheClientGoesAway(t *testing.T) {
	entered, gone := make(chan struct{}), make(chan error, 1)
	r := start(t, testConfig(), Deps{}, handle("/x", "", func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		gone <- context.Cause(r.Context())
	}))
	conn, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
	<-entered
	conn.Close()
	select {
	case err := <-gone:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cause %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the handler was not told")
	}
}

func TestDrainLetsRequestsEndAndClosesConnections(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	r := start(t, testConfig(), Deps{}, func(s *Server) {
		s.Handle("/slow", "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-release
			io.WriteString(w, "done")
		}))
		s.Handle("/quick", "", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	})
	idle, err := net.Dial("tcp", r.Addr().String()) // never sends anything
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	do(t, "GET", r.url+"/quick", "") // leaves a kept connection
	got := make(chan answer, 1)
	go func() { got <- do(t, "GET", r.url+"/slow", "") }()
	<-entered
	if in := r.InFlight(); len(in) != 1 || in[0].Route != "/slow" || in[0].Method != "GET" || len(in[0].TraceID) != 32 {
		t.Errorf("in flight: %v", in)
	}
	addr := r.Addr().String()
	r.cancel()
	for range 500 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			break // stopped accepting
		}
		c.Close()
		time.Sleep(2 * time.Millisecond)
	}
	select {
	case err := <-r.ended:
		t.Fatalf("Run returned while a request was in flight: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	begin := time.Now()
	close(release)
	a := <-got
	if a.body != "done" || !a.Close {
		t.Errorf("answered %q, Connection: close %v", a.body, a.Close)
	}
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	r.ended <- nil
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("the drain took another %v; it waited for idle connections", d)
	}
	if n := r.Connections(); n != 0 {
		t.Errorf("%d connections left", n)
	}
}

func TestDrainNamesWhatDidNotEnd(t *testing.T) {
	cfg := testConfig()
	cfg.DrainTimeout = 100 * time.Millisecond
	entered := make(chan struct{})
	r := start(t, cfg, Deps{}, handle("POST /stuck/{id}", "", func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done() // ends only when it is cut
	}))
	go http.Post(r.url+"/stuck/7", "", nil)
	<-entered
	err := r.stop()
	var late *DrainError
	if !errors.As(err, &late) || len(late.Requests) != 1 || late.Requests[0].Route != "POST /stuck/{id}" || late.Requests[0].Age < 50*time.Millisecond {
		t.Fatalf("Run returned %v", err)
	}
	if !strings.Contains(err.Error(), "POST (route \"POST /stuck/{id}\"") {
		t.Errorf("message: %v", err)
	}
	if n := r.inflight.len(); n != 0 {
		t.Errorf("%d handlers left behind", n)
	}
}

func TestReadinessCanBeWaitedForWhileTheProcessStarts(t *testing.T) {
	var serves atomic.Bool
	asked, started := make(chan struct{}, 1), make(chan struct{})
	r := start(t, testConfig(), Deps{
		Ready: func() (string, bool) {
			if serves.Load() {
				return "Ready", true
			}
			return "Initializing", false
		},
		Started: func(ctx context.Context) {
			asked <- struct{}{}
			select {
			case <-started:
			case <-ctx.Done():
			}
		},
	}, nil)
	defer r.stop()
	ask := func(query string, status int, body string) {
		t.Helper()
		if a := do(t, "GET", r.url+"/readyz"+query, ""); a.StatusCode != status || !strings.Contains(a.body, body) {
			t.Errorf("/readyz%s: %d %s, want %d %s", query, a.StatusCode, a.body, status, body)
		}
	}
	ask("", 503, "Initializing") // and nobody waited
	if len(asked) != 0 {
		t.Error("waited unasked")
	}
	ask("?wait=5ms", 503, "Initializing")
	<-asked
	for _, bad := range []string{"1", "-1s", "10001ms", "soon"} {
		ask("?wait="+bad, 400, "no duration from 0s to 10s")
	}
	var waiting sync.WaitGroup
	waiting.Go(func() { ask("?wait=10s", 200, "Ready") })
	<-asked
	serves.Store(true)
	close(started)
	waiting.Wait()
	ask("?wait=10s", 200, "Ready")
}

func TestHealthAnswersStatesAndIsNotLogged(t *testing.T) {
	var mu sync.Mutex
	live, state, ok := error(nil), "Ready", true
	r := start(t, testConfig(), Deps{
		Live:  func() error { mu.Lock(); defer mu.Unlock(); return live },
		Ready: func() (string, bool) { mu.Lock(); defer mu.Unlock(); return state, ok },
	}, nil)
	check := func(path string, status int, body string) {
		t.Helper()
		if a := do(t, "GET", r.url+path, ""); a.StatusCode != status || strings.TrimSpace(a.body) != body {
			t.Errorf("%s: %d %s, want %d %s", path, a.StatusCode, a.body, status, body)
		}
	}
	check("/healthz", 200, `{"state":"live"}`)
	check("/readyz", 200, `{"state":"Ready"}`)
	mu.Lock()
	live, state, ok = errors.New("disk gone"), "Initializing", false
	mu.Unlock()
	check("/healthz", 503, `{"state":"failed","error":"disk gone"}`)
	check("/readyz", 503, `{"state":"Initializing"}`)
	r.stop()
	if s := r.access.String(); s != "" {
		t.Errorf("logged: %s", s)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	cfg := testConfig()
	cfg.MaxConnections = 2
	r := start(t, cfg, Deps{}, nil)
	for range 2 {
		c, err := net.Dial("tcp", r.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for r.Connections() < 2 {
		time.Sleep(time.Millisecond)
	}
	c, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the third connection: %v", err)
	}
	r.seen.locked(func() {
		if r.seen.refused != 1 {
			t.Errorf("%d refused, want 1", r.seen.refused)
		}
	})
}

func TestHijackHandsOverTheBareConnection(t *testing.T) {
	r := start(t, testConfig(), Deps{}, handle("/ws", "", func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		bounded, ok := c.(*limit.Conn) // which its client has still open
		if !ok {
			t.Errorf("a %T", c)
		} else if _, ok := bounded.NetConn().(*net.TCPConn); !ok {
			t.Errorf("over a %T", bounded.NetConn())
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		line, _ := rw.ReadString('\n')
		io.WriteString(c, line)
	}))
	c, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: h\r\n\r\n")
	br := bufio.NewReader(c)
	br.ReadString('\n')
	br.ReadString('\n')
	if r.Connections() != 0 {
		t.Error("an upgraded connection still counts")
	}
	io.WriteString(c, "echo\n")
	if line, _ := br.ReadString('\n'); line != "echo\n" {
		t.Errorf("got %q", line)
	}
	if out := r.seen.wait(t, "/ws", 1); out[0].Status != 101 {
		t.Errorf("observed %+v", out)
	}
}

func TestStreamOutlivesEveryTimeout(t *testing.T) {
	cfg := testConfig()
	cfg.ReadHeaderTimeout, cfg.ReadTimeout, cfg.RequestTimeout, cfg.WriteTimeout, cfg.DeadlineMargin = 100*time.Millisecond, 150*time.Millisecond, 300*time.Millisecond, 400*time.Millisecond, time.Millisecond
	r := start(t, cfg, Deps{}, func(s *Server) {
		s.HandleRoute(Route{Pattern: "/events", Stream: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for range 6 {
				select {
				case <-r.Context().Done():
					t.Errorf("ended: %v", context.Cause(r.Context()))
					return
				case <-time.After(150 * time.Millisecond):
				}
				io.WriteString(w, "tick\n")
				w.(http.Flusher).Flush()
			}
		})})
	})
	if a := do(t, "GET", r.url+"/events", ""); a.body != strings.Repeat("tick\n", 6) {
		t.Errorf("got %q", a.body)
	}
}

func TestSlowReaderIsCut(t *testing.T) {
	cfg := testConfig()
	cfg.RequestTimeout, cfg.WriteTimeout = 100*time.Millisecond, 300*time.Millisecond
	r := start(t, cfg, Deps{}, handle("/big", "", func(w http.ResponseWriter, r *http.Request) {
		chunk := make([]byte, 1<<20)
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	c, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
	r.seen.wait(t, "/big", 1) // waits at most 2 s
}

func TestFileIsSentThroughReadFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	want := strings.Repeat("0123456789abcdef", 20_000)
	if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, testConfig(), Deps{}, handle("/f", "", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) }))
	if a := do(t, "GET", r.url+"/f", ""); a.body != want {
		t.Errorf("%d bytes, want %d", len(a.body), len(want))
	}
	if out := r.seen.wait(t, "/f", 1); out[0].BytesOut != int64(len(want)) {
		t.Errorf("counted %d bytes, want %d", out[0].BytesOut, len(want))
	}
}

func TestNewReportsFilesThatCannotBeLoadedAndRunABusyPort(t *testing.T) {
	cfg := testConfig()
	cfg.TokensFile = filepath.Join(t.TempDir(), "none")
	if _, err := New(cfg, Deps{}); err == nil || !strings.HasPrefix(err.Error(), "tokens_file:") {
		t.Errorf("error %v", err)
	}
	cfg = testConfig()
	cfg.TLS.CertFile, cfg.TLS.KeyFile = "none", "none"
	if _, err := New(cfg, Deps{}); err == nil || !strings.HasPrefix(err.Error(), "tls.cert_file:") {
		t.Errorf("error %v", err)
	}
	r := start(t, testConfig(), Deps{}, nil)
	cfg = testConfig()
	cfg.Listen = r.Addr().String()
	s, err := New(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(context.Background(), nil); err == nil {
		t.Error("two servers on one port")
	}
	if err := r.Run(context.Background(), nil); err == nil {
		t.Error("Run twice")
	}
}

func TestTokensFileIsReadAgainWhenItChanges(t *testing.T) {
	path, plain := writeTokens(t)
	cfg := testConfig()
	cfg.TokensFile = path
	r := start(t, cfg, Deps{}, handle("/x", auth.Write, func(http.ResponseWriter, *http.Request) {}))
	status := func() int {
		return do(t, "GET", r.url+"/x", "", "Authorization", "Bearer "+plain[auth.Write]).StatusCode
	}
	if got := status(); got != 200 {
		t.Fatal(got)
	}
	if err := os.WriteFile(path, []byte(`{"version":1,"tokens":[]}`), 0o600); err != nil { // revoked
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); status() != 401; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a revoked token still works")
		}
	}
	os.WriteFile(path, []byte(`{`), 0o600)
	for end := time.Now().Add(10 * time.Second); !strings.Contains(r.logs.String(), "reload_failed"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a broken file was not reported")
		}
	}
	if got := status(); got != 401 {
		t.Errorf("after a broken file: %d", got)
	}
}

func TestFileChangedBetweenNewAndRunIsNoticed(t *testing.T) {
	path, plain := writeTokens(t)
	cfg := testConfig()
	cfg.TokensFile = path
	r := &running{logs: &buffer{}, ended: make(chan error, 1)}
	s, err := New(cfg, Deps{Service: "test", Logger: slog.New(slog.NewJSONHandler(r.logs, nil)), AccessLog: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	// The same size and time, as a tool that keeps them leaves it: another file all the same.
	st, _ := os.Stat(path)
	content := []byte(`{"version":1,"tokens":[]}`)
	content = append(content, bytes.Repeat([]byte(" "), int(st.Size())-len(content))...)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	os.Chtimes(path+".new", st.ModTime(), st.ModTime())
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	r.run(t, s, handle("/x", auth.Write, func(http.ResponseWriter, *http.Request) {}))
	for end := time.Now().Add(10 * time.Second); do(t, "GET", r.url+"/x", "", "Authorization", "Bearer "+plain[auth.Write]).StatusCode != 401; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a revoked token still works")
		}
	}
	for end := time.Now().Add(10 * time.Second); !strings.Contains(r.logs.String(), `"msg":"changed file loaded","service":"test","what":"tokens_file"`); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not logged: %s", r.logs.String())
		}
	}
}
