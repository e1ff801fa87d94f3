package httpmw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dougong-io/dougong/adapters/internal/faultrules"
	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/ramp"
)

// joined is a client whose transport has a breaker with one circuit and a limit.
type joined struct {
	http.Client
	group *breaker.Group[string]
	limit *limit.Limit
}

func join(t *testing.T, s *httptest.Server, p breaker.Policy, opts ...Option) *joined {
	t.Helper()
	return joinBy(t, nil, s.Client().Transport, p, opts...)
}

// joinBy has points in the joints too.
func joinBy(t *testing.T, faults *fault.Set, base http.RoundTripper, p breaker.Policy, opts ...Option) *joined {
	t.Helper()
	rm, err := ramp.New(ramp.DefaultConfig(), ramp.WithFaults(faults))
	if err != nil {
		t.Fatal(err)
	}
	j := &joined{group: newGroup(t, p, breaker.WithFaults[string](faults)), limit: newLimit(t, limit.DefaultConfig(), limit.WithFaults(faults))}
	opts = append([]Option{WithRamp(rm), WithBreaker(j.group, ByHost), WithLimit(func(*http.Request) *limit.Limit { return j.limit }, nil)}, opts...)
	j.Transport = NewTransport(base, opts...)
	t.Cleanup(j.CloseIdleConnections)
	return j
}

// partly is a handler that sends a part of what it announces, and then waits for the signal to cut the connection.
func partly(cut <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "begun")
		w.(http.Flusher).Flush()
		select {
		case <-cut:
			panic(http.ErrAbortHandler)
		case <-r.Context().Done():
		}
	}
}

func TestCallsAreCountedWhenTheirBodyEnds(t *testing.T) {
	cut := make(chan struct{})
	close(cut)
	whole := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, strings.Repeat("x", 100_000)) }
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for _, h := range header {
				w.Header().Set(h, "1")
			}
			w.WriteHeader(code)
			io.WriteString(w, "because")
		}
	}
	readAll := func(resp *http.Response) { io.Copy(io.Discard, resp.Body) } // and no Close
	readSome := func(resp *http.Response) { io.ReadFull(resp.Body, make([]byte, 5)); resp.Body.Close() }
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		use     func(*http.Response)
		timeout time.Duration
		want    breaker.Counts
	}{
		"read to the end":    {whole, readAll, 0, oneSuccess},
		"closed early":       {whole, readSome, 0, oneSuccess},
		"closed twice":       {whole, func(resp *http.Response) { readSome(resp); resp.Body.Close() }, 0, oneSuccess},
		"without a body":     {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }, func(*http.Response) {}, 0, oneSuccess},
		"5xx":                {status(503), readAll, 0, oneFailure},
		"4xx":                {status(404), readAll, 0, oneSuccess},
		"429":                {status(429), readAll, 0, oneSuccess},
		"429 come later":     {status(429, "Retry-After"), readAll, 0, oneFailure},
		"cut in the body":    {partly(cut), readAll, 0, oneFailure},
		"cut before the end": {partly(cut), readSome, 0, oneSuccess},
		"cut at once":        {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil, 0, oneFailure},
		"too slow":           {partly(nil), readAll, 50 * time.Millisecond, oneFailure},
		"too slow to begin":  {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil, 50 * time.Millisecond, oneFailure},
		"never read":         {partly(nil), func(*http.Response) {}, 50 * time.Millisecond, oneFailure},
	} {
		t.Run(name, func(t *testing.T) {
			noMoreGoroutines(t)
			s, _ := serving(t, test.handler)
			j := join(t, s, breaker.DefaultPolicy())
			ctx := t.Context()
			if test.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, test.timeout)
				defer cancel()
			}
			req, _ := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
			resp, err := j.Do(req)
			if (err != nil) != (test.use == nil) {
				t.Fatal(err)
			}
			if err == nil {
				test.use(resp)
			}
			if got := counts(t, j.group); got != test.want {
				t.Errorf("counted %+v, want %+v", got, test.want)
			}
			eventually(t, "no place is taken", func() bool { return j.limit.Stats().Admitted == 0 })
			if resp != nil {
				resp.Body.Close()
			}
		})
	}
}

func TestCallerWhoCancelsIsNoFailure(t *testing.T) {
	for _, when := range []string{"before the answer", "in the body", "and never reads"} {
		t.Run(when, func(t *testing.T) {
			noMoreGoroutines(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			s, _ := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if when == "before the answer" {
					cancel(errors.New("lost interest"))
					<-r.Context().Done()
					return
				}
				partly(nil)(w, r)
			}))
			j := join(t, s, breaker.DefaultPolicy())
			req, _ := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
			resp, err := j.Do(req)
			if err == nil {
				defer resp.Body.Close()
				cancel(errors.New("lost interest"))
				if when == "in the body" {
					if _, err := io.ReadAll(resp.Body); err == nil {
						t.Error("read it all")
					}
				}
			}
			if got := counts(t, j.group); got != oneIgnored {
				t.Errorf("counted %+v", got)
			}
			eventually(t, "no place is taken", func() bool { return j.limit.Stats().Admitted == 0 })
		})
	}
}

// tripperFunc is a base transport.
type tripperFunc func(*http.Request) (*http.Response, error)

func (f tripperFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// noted is a body of a request that knows whether it was closed.
type noted struct {
	io.Reader
	closed bool
}

func (n *noted) Close() error { n.closed = true; return nil }

func TestRefusedCallsAreNotSent(t *testing.T) {
	g, l := newGroup(t, twoFailures()), newLimit(t, limit.Config{Slots: 1})
	rm, _ := ramp.New(ramp.DefaultConfig())
	sent := 0
	c := http.Client{Transport: NewTransport(tripperFunc(func(*http.Request) (*http.Response, error) { sent++; return nil, io.ErrUnexpectedEOF }),
		WithBreaker(g, ByHost), WithRamp(rm), WithLimit(func(*http.Request) *limit.Limit { return l }, func(*http.Request) limit.Request { return limit.Request{Priority: limit.Critical} }))}
	call := func() error {
		b := &noted{Reader: strings.NewReader("x")}
		_, err := c.Post("http://h/", "", b)
		if isRejection(err) && !b.closed {
			t.Error("the body was not closed")
		}
		return err
	}
	for range 2 {
		if err := call(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
	}
	if rejected, ok := errors.AsType[*breaker.RejectedError](call()); !ok || rejected.Circuit != "h" {
		t.Error(rejected, ok)
	}
	rm.Fall(io.ErrUnexpectedEOF)
	if _, ok := errors.AsType[*ramp.RejectedError](call()); !ok {
		t.Error("not refused by the ramp")
	}
	taken, _ := l.Acquire(t.Context())
	if _, ok := errors.AsType[*limit.RejectedError](call()); !ok {
		t.Error("not refused by the limit")
	}
	taken.Done()
	if s := l.Stats(); sent != 2 || s.Admitted != 0 {
		t.Errorf("%d calls were sent, %+v", sent, s)
	}
}

func TestTransportThatPanicsGivesItsPlaceBack(t *testing.T) {
	g, l := newGroup(t, breaker.DefaultPolicy()), newLimit(t, limit.DefaultConfig())
	tr := NewTransport(tripperFunc(func(*http.Request) (*http.Response, error) { panic("oops") }), WithBreaker(g, ByHost), WithLimit(func(*http.Request) *limit.Limit { return l }, nil))
	func() {
		defer func() { recover() }()
		tr.RoundTrip(httptest.NewRequest("GET", "http://h/", nil))
	}()
	if got := counts(t, g); got != oneFailure || l.Stats().Admitted != 0 {
		t.Errorf("%+v, %+v", got, l.Stats())
	}
}

func TestMarkedCallsAreTheProbesAndTheMarkGoesOn(t *testing.T) {
	p := twoFailures()
	p.Open.First, p.Open.Jitter, p.MarkedFor, p.Successes = time.Millisecond, 0, time.Hour, 1
	g := newGroup(t, p)
	failing := true
	seen := ""
	c := http.Client{Transport: NewTransport(tripperFunc(func(r *http.Request) (*http.Response, error) {
		seen = r.Header.Get("x-ai-test")
		if failing {
			return nil, io.ErrUnexpectedEOF
		}
		return &http.Response{StatusCode: 200}, nil
	}), WithBreaker(g, ByHost))}
	call := func(mark string) error {
		r, _ := http.NewRequest("GET", "http://h/", nil)
		if mark != "" {
			r.Header.Set("X-Ai-Test", mark)
		}
		_, err := c.Do(r)
		return err
	}
	call("")
	call("")
	failing = false
	eventually(t, "its time is over", func() bool {
		err := call("")
		rejected, ok := errors.AsType[*breaker.RejectedError](err)
		return ok && rejected.Reason == breaker.ReasonProbing
	})
	if err := call("true"); err != nil || seen != "true" {
		t.Error(err, seen)
	}
	if err := call(""); err != nil {
		t.Error(err)
	}
}

func TestEachHostHasALimitUpToTheBound(t *testing.T) {
	pick, err := PerHost(limit.Config{Slots: 1}, 2)
	if err != nil {
		t.Fatal(err)
	}
	of := func(host string) *limit.Limit { return pick(&http.Request{URL: &url.URL{Host: host}}) }
	a, b, c, d := of("a"), of("b"), of("c"), of("d")
	if a == b || c == a || c != d || of("a") != a || of("b") != b {
		t.Error(a, b, c, d)
	}
	if _, err := PerHost(limit.Config{}, 2); err == nil || !strings.Contains(err.Error(), "slots: ") {
		t.Error(err)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	for name, want := range map[string]bool{PresetGateway: true, "few": false} {
		t.Run(name, func(t *testing.T) {
			const calls = 150
			config, ok := ClientPreset(name)
			if !ok {
				config = DefaultClientConfig()
				config.MaxIdleConnsPerHost = 2 // as net/http has it
			}
			var dialled atomic.Int32
			var together sync.WaitGroup
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				together.Done()
				together.Wait() // so that each call has a connection of its own
			}))
			s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					dialled.Add(1)
				}
			}
			s.Start()
			defer s.Close()
			g := newGroup(t, breaker.DefaultPolicy())
			c, err := NewClient(config, WithBreaker(g, ByHost))
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseIdleConnections()
			for range 3 {
				together.Add(calls)
				var done sync.WaitGroup
				for range calls {
					done.Go(func() {
						resp, err := c.Get(s.URL)
						if err != nil {
							t.Error(err)
							return
						}
						resp.Body.Close()
					})
				}
				done.Wait()
			}
			if n := dialled.Load(); (n <= calls*11/10) != want {
				t.Errorf("%d connections for 3 times %d calls", n, calls)
			}
		})
	}
}

func TestPresetsAreValidAndSayWhatIsPromised(t *testing.T) {
	for _, name := range ClientPresets() {
		c, ok := ClientPreset(name)
		if err := c.Validate(); !ok || err != nil {
			t.Error(name, err)
		}
	}
	if _, ok := ClientPreset("none"); ok {
		t.Error("there is a preset none")
	}
	c, _ := ClientPreset(PresetGateway)
	tr, err := c.Transport()
	if err != nil || tr.MaxIdleConnsPerHost != 2000 || tr.MaxIdleConns != 0 || tr.IdleConnTimeout != 90*time.Second || !tr.Protocols.HTTP2() || tr.HTTP2.SendPingTimeout != 10*time.Second {
		t.Errorf("%+v, %v", tr, err)
	}
}

func TestEveryFaultOfAClientIsReported(t *testing.T) {
	faulty := ClientConfig{Timeout: -1, ResponseHeaderTimeout: -1, MaxIdleConns: -1, MaxConnsPerHost: -1, PingAfter: 1}
	err := faulty.Validate()
	var fields []string
	for line := range strings.Lines(err.Error()) {
		field, _, _ := strings.Cut(line, ": ")
		fields = append(fields, field)
	}
	want := []string{"timeout", "dial_timeout", "tls_handshake_timeout", "response_header_timeout", "idle_conn_timeout", "max_idle_conns", "max_conns_per_host", "max_idle_conns_per_host", "keep_alive", "ping_timeout", "max_header_bytes"}
	if !slices.Equal(fields, want) {
		t.Errorf("got  %q\nwant %q", fields, want)
	}
	if _, err := NewClient(faulty); err == nil {
		t.Error("was taken")
	}
}

func TestAddressThatDoesNotAnswerIsLeftAlone(t *testing.T) {
	policy, _ := breaker.Preset(breaker.PresetConnections)
	g := newGroup(t, policy)
	dials := 0
	dial := GuardDial(g, func(context.Context, string, string) (net.Conn, error) { dials++; return nil, io.ErrUnexpectedEOF })
	for range 100 {
		if _, err := dial(t.Context(), "tcp", "a:1"); err == nil {
			t.Fatal("connected")
		}
	}
	if dials < 5 || dials > 20 {
		t.Errorf("%d dials", dials)
	}
	if _, err := dial(t.Context(), "tcp", "a:1"); !errors.Is(err, breaker.ErrRejected) {
		t.Error(err)
	}
	if _, err := dial(t.Context(), "tcp", "b:1"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func TestUpgradedConnectionHoldsNothing(t *testing.T) {
	s, _ := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.CopyN(conn, rw, 4)
	}))
	f, err := NewFallback(FallbackOptions{Config: fallbackConfig()})
	if err != nil {
		t.Fatal(err)
	}
	j := join(t, s, breaker.DefaultPolicy(), WithFallback(f))
	req, _ := http.NewRequest("GET", s.URL, nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := j.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := counts(t, j.group); got != oneSuccess || j.limit.Stats().Admitted != 0 {
		t.Errorf("%+v, %+v", got, j.limit.Stats())
	}
	fmt.Fprint(resp.Body.(io.Writer), "ping")
	if b, err := io.ReadAll(resp.Body); string(b) != "ping" {
		t.Errorf("%s, %v", b, err)
	}
}

// TestRandomCallsGiveEverythingBack has many callers and handlers misbehave at once.
func TestRandomCallsGiveEverythingBack(t *testing.T) {
	for name, rules := range map[string][]string{
		"points off": nil,
		"points on": {
			`{"point":"httpmw.*","probability":0.02,"error":{"cause":"reset"}}`, `{"point":"httpmw.*","probability":0.02,"error":{"http_status":503}}`,
			`{"point":"httpmw.*","probability":0.05,"delay":{"fixed":"2ms"}}`, `{"point":"httpmw.server*","probability":0.01,"panic":{}}`,
			`{"point":"httpmw.client*","probability":0.01,"hang":{}}`, `{"point":"httpmw.*","probability":0.02,"drop":{}}`,
			`{"point":"httpmw.*","probability":0.02,"truncate":{"after":100}}`, `{"point":"httpmw.*","probability":0.02,"corrupt":{"mode":"random"}}`,
		},
		"points of the joints on": jointRules,
	} {
		t.Run(name, func(t *testing.T) { randomCalls(t, rules) })
	}
}

// jointRules strike a limit, a ramp and a breaker themselves. What hangs does so until its call ends, but at
// breaker.done: there until the rule does.
var jointRules = []string{
	`{"point":"*","probability":0.02,"error":{}}`, `{"point":"*","probability":0.02,"panic":{}}`, `{"point":"*","probability":0.03,"delay":{"fixed":"2ms"}}`,
	`{"point":"limit.*","probability":0.01,"hang":{}}`, `{"point":"ramp.admit","probability":0.01,"hang":{}}`, `{"point":"breaker.allow","probability":0.01,"hang":{}}`,
	`{"point":"breaker.done","probability":0.02,"drop":{}}`,
}

func randomCalls(t *testing.T, rules []string) {
	rnd := random(t)
	faults := faulttest.New(t)
	faultrules.Put(t, faults, rules...)
	noMoreGoroutines(t)
	outer := newLimit(t, limit.Config{Slots: 8, Queue: 4, Arriving: 8}, limit.WithFaults(faults))
	guard := newGroup(t, breaker.DefaultPolicy(), breaker.WithFaults[string](faults))
	s, _ := serving(t, Limit(outer, LimitOptions{})(Breaker(guard, func(*http.Request) string { return "x" }, BreakerOptions{})(Faults(faults, Caller{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/panic":
			panic("oops")
		case "/goexit":
			runtime.Goexit()
		case "/abort":
			io.WriteString(w, "begun")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/500":
			w.WriteHeader(500)
		case "/slow":
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Millisecond):
			}
		case "/hijack":
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				conn.Close()
			}
		default:
			io.Copy(w, r.Body)
			io.WriteString(w, strings.Repeat("x", 5000))
		}
	})))))
	p := breaker.DefaultPolicy()
	p.Open.First, p.Open.Most, p.ProbeTimeout = time.Millisecond, 2*time.Millisecond, 20*time.Millisecond
	f, err := NewFallback(FallbackOptions{Config: fallbackConfig()})
	if err != nil {
		t.Fatal(err)
	}
	j := joinBy(t, faults, s.Client().Transport, p, WithFallback(f), WithFaults(faults))
	paths := []string{"/panic", "/goexit", "/abort", "/500", "/slow", "/hijack", "/", "/", "/", "/"}
	var callers sync.WaitGroup
	var ok atomic.Int32
	for range 16 {
		seed := rnd.Uint64()
		callers.Go(func() {
			one := func(i int) {
				defer func() { recover() }() // from an injected panic
				random := func(n int) int { return int((seed>>(i%32) + uint64(i)*2654435761) % uint64(n)) }
				timeout := time.Second
				if random(5) == 0 {
					timeout = time.Duration(random(4000)) * time.Microsecond
				}
				ctx, cancel := context.WithTimeout(context.Background(), timeout)
				defer cancel()
				method, body := "GET", io.Reader(nil)
				if random(3) == 0 {
					method, body = "POST", strings.NewReader(strings.Repeat("b", random(200_000)))
				}
				req, _ := http.NewRequestWithContext(ctx, method, s.URL+paths[random(len(paths))], body)
				resp, err := j.Do(req)
				if err == nil {
					switch ok.Add(1); random(4) {
					case 0: // abandoned, until its context ends
					case 1:
						io.ReadFull(resp.Body, make([]byte, 10))
						resp.Body.Close()
					default:
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				}
			}
			for i := range 40 {
				one(i)
			}
		})
	}
	callers.Wait()
	faultrules.Put(t, faults)
	eventually(t, "no place is taken", func() bool { return j.limit.Stats().Admitted == 0 && outer.Stats().Admitted == 0 })
	t.Logf("%d of %d calls were answered; client %+v, server %+v", ok.Load(), 16*40, j.group.Snapshot().Circuits[0].Counts, guard.Snapshot().Circuits[0].Counts)
	if ok.Load() < 50 {
		t.Error("this tests little")
	}
	eventually(t, "the circuits close again", func() bool {
		resp, err := j.Post(s.URL, "", strings.NewReader("x"))
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200 && j.group.Snapshot().Circuits[0].State == breaker.Closed
	})
}

func TestCallsOverHTTP2AreCountedAlike(t *testing.T) {
	for name, want := range map[string]breaker.Counts{"whole": oneSuccess, "cut": oneFailure, "canceled": oneIgnored, "too slow": oneFailure} {
		t.Run(name, func(t *testing.T) {
			l, g := newLimit(t, limit.DefaultConfig()), newGroup(t, breaker.DefaultPolicy())
			s := httptest.NewUnstartedServer(Limit(l, LimitOptions{})(Breaker(g, func(*http.Request) string { return "x" }, BreakerOptions{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != 2 {
					t.Error(r.Proto)
				}
				switch name {
				case "whole":
					io.WriteString(w, "all")
				case "cut":
					partly(closed)(w, r)
				default:
					partly(nil)(w, r)
				}
			}))))
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.EnableHTTP2 = true
			s.StartTLS()
			defer s.Close()
			base, err := DefaultClientConfig().Transport()
			if err != nil {
				t.Fatal(err)
			}
			base.TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
			base.TLSClientConfig.NextProtos = nil
			own := newGroup(t, breaker.DefaultPolicy())
			c := http.Client{Transport: NewTransport(base, WithBreaker(own, ByHost))}
			defer c.CloseIdleConnections()
			ctx, cancel := context.WithCancel(t.Context())
			if name == "too slow" {
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
			}
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if name == "canceled" {
				cancel()
			}
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if (err == nil) != (name == "whole") {
				t.Error(err)
			}
			if got := counts(t, own); got != want {
				t.Errorf("client counted %+v, want %+v", got, want)
			}
			eventually(t, "no place is taken", func() bool { return l.Stats().Admitted == 0 })
		})
	}
}
