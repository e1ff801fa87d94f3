package httpmw

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/problem"
	"github.com/dougong-io/dougong/kit/ramp"
)

func TestLimitRefusesWithRetryAfterAndKeepsTheConnection(t *testing.T) {
	l := newLimit(t, limit.Config{Slots: 1})
	s, c := serving(t, Limit(l, LimitOptions{})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	taken, err := l.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		var reused bool
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
		req, _ := http.NewRequestWithContext(ctx, "POST", s.URL, strings.NewReader(strings.Repeat("x", 10_000)))
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		p, err := problem.Read(resp, 1<<10)
		resp.Body.Close()
		if err != nil || p.Status != 503 || p.Code != CodeOverloaded || p.RetryAfter < time.Second || p.Extensions["reason"] != "queue_full" {
			t.Errorf("%+v, %v", p, err)
		}
		if reused != (i > 0) {
			t.Errorf("request %d: connection reused: %v", i, reused)
		}
	}
	taken.Done()
	resp, err := c.Get(s.URL)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	eventually(t, "no place is taken", func() bool { return l.Stats().Admitted == 0 })
}

// unread fails the test when it is read.
type unread struct{ *testing.T }

func (u unread) Read([]byte) (int, error) { u.Error("the body was read"); return 0, io.EOF }

func TestRefusalsDoNotReadTheBody(t *testing.T) {
	l := newLimit(t, limit.DefaultConfig())
	l.Close()
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/", unread{t})
	r.ContentLength = 100
	Limit(l, LimitOptions{})(nil).ServeHTTP(w, r)
	if p, err := problem.Read(w.Result(), 1<<10); err != nil || p.Extensions["reason"] != "closed" {
		t.Error(p, err)
	}
}

func TestTenantsAreToldThatTheyHaveTooMuch(t *testing.T) {
	l := newLimit(t, limit.Config{Slots: 2, Queue: 2, Arriving: 2, TenantShare: 0.5})
	h := Limit(l, LimitOptions{Request: func(r *http.Request) limit.Request {
		return limit.Request{Tenant: r.Header.Get("Tenant"), Priority: limit.Batch}
	}})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	arriving, err := l.AdmitFor(limit.Request{Tenant: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer arriving.Done()
	for tenant, want := range map[string]int{"a": 429, "b": 200} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/", strings.NewReader("x"))
		r.Header.Set("Tenant", tenant)
		h.ServeHTTP(w, r)
		if w.Code != want || (want == 429) != (w.Header().Get("Retry-After") != "") {
			t.Errorf("tenant %s: %d %v", tenant, w.Code, w.Header())
		}
	}
}

func TestSlowBodyHoldsNoSlot(t *testing.T) {
	l := newLimit(t, limit.Config{Slots: 1, Arriving: 10})
	s, c := serving(t, Limit(l, LimitOptions{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })))
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nsl")
	eventually(t, "the slow request arrives", func() bool { return l.Stats().Arriving == 1 })
	resp, err := c.Post(s.URL, "", strings.NewReader("quick"))
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(resp.Body); string(b) != "quick" {
		t.Errorf("%d %s", resp.StatusCode, b)
	}
	resp.Body.Close()
	fmt.Fprint(conn, "ow")
	resp, err = http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(resp.Body); string(b) != "slow" {
		t.Errorf("%d %s", resp.StatusCode, b)
	}
	eventually(t, "no place is taken", func() bool { return l.Stats().Admitted == 0 })
}

func TestHandlersReadWhatWasReadAhead(t *testing.T) {
	l := newLimit(t, limit.DefaultConfig())
	for _, size := range []int{0, 1, 99, 100, 101, 100_000} {
		for _, ahead := range []int64{-1, 100, 0} {
			want := bytes.Repeat([]byte("b"), size)
			h := Limit(l, LimitOptions{ReadAhead: ahead})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if got, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes, read ahead %d: got %d, %v", size, ahead, len(got), err)
				}
				if err := r.Body.Close(); err != nil {
					t.Error(err)
				}
			}))
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/", bytes.NewReader(want)))
		}
	}
	broken := errors.New("broken")
	h := Limit(l, LimitOptions{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got, err := io.ReadAll(r.Body); err != broken || string(got) != "begun" {
			t.Errorf("got %s, %v", got, err)
		}
	}))
	r := httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader("begun"), failing{broken}))
	r.ContentLength = 100
	h.ServeHTTP(httptest.NewRecorder(), r)
	if s := l.Stats(); s.Admitted != 0 {
		t.Errorf("%+v", s)
	}
}

func TestBodyThatPanicsGivesItsPlaceBack(t *testing.T) {
	l := newLimit(t, limit.DefaultConfig())
	func() {
		defer func() { recover() }()
		r := httptest.NewRequest("POST", "/", panicking{})
		r.ContentLength = 100
		Limit(l, LimitOptions{})(nil).ServeHTTP(httptest.NewRecorder(), r)
	}()
	if s := l.Stats(); s.Admitted != 0 {
		t.Errorf("%+v", s)
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("oops") }

// Handlers that end in every way, with the outcome for a breaker and whether the client sees an answer.
var endings = map[string]struct {
	handler  http.HandlerFunc
	want     breaker.Counts
	answered bool
}{
	"ok":          {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }, oneSuccess, true},
	"nothing":     {func(w http.ResponseWriter, r *http.Request) {}, oneSuccess, true},
	"not found":   {http.NotFound, oneSuccess, true},
	"failed":      {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(502) }, oneFailure, true},
	"early hints": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(103); w.WriteHeader(500) }, oneFailure, true},
	"panics":      {func(w http.ResponseWriter, r *http.Request) { panic("oops") }, oneFailure, false},
	"panics late": {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "x"); panic("oops") }, oneFailure, false},
	"aborts":      {func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, oneFailure, false},
	"ends":        {func(w http.ResponseWriter, r *http.Request) { runtime.Goexit() }, oneFailure, false},
	"streams": {func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			io.WriteString(w, "part")
			w.(http.Flusher).Flush()
		}
	}, oneSuccess, true},
	"hijacks": {func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		conn.Close()
	}, oneSuccess, true},
	"refuses itself": {func(w http.ResponseWriter, r *http.Request) { refuse(w, &limit.RejectedError{Reason: limit.QueueFull}) }, oneIgnored, true},
	"too late": {func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 0)
		defer cancel()
		*r = *r.WithContext(ctx)
	}, oneFailure, true},
}

func TestEveryEndingIsCountedAndGivesItsPlaceBack(t *testing.T) {
	for name, e := range endings {
		t.Run(name, func(t *testing.T) {
			noMoreGoroutines(t)
			l, g := newLimit(t, limit.DefaultConfig()), newGroup(t, breaker.DefaultPolicy())
			rm, _ := ramp.New(ramp.DefaultConfig())
			mux := http.NewServeMux()
			mux.Handle("GET /x", Limit(l, LimitOptions{})(Ramp(rm, Caller{})(Breaker(g, ByPattern, BreakerOptions{})(e.handler))))
			s, c := serving(t, mux)
			resp, err := c.Get(s.URL + "/x")
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			if (err == nil) != e.answered {
				t.Errorf("client saw %v", err)
			}
			if got := counts(t, g); got != e.want {
				t.Errorf("counted %+v, want %+v", got, e.want)
			}
			if name := g.Snapshot().Circuits[0].Name; name != "GET /x" {
				t.Errorf("circuit %q", name)
			}
			eventually(t, "no place is taken", func() bool { return l.Stats().Admitted == 0 })
		})
	}
}

func TestClientThatLeavesIsNoFailure(t *testing.T) {
	for name, end := range map[string]func(w http.ResponseWriter){
		"fails":   func(w http.ResponseWriter) { w.WriteHeader(500) },
		"aborts":  func(w http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"answers": func(w http.ResponseWriter) {},
	} {
		t.Run(name, func(t *testing.T) {
			noMoreGoroutines(t)
			g := newGroup(t, breaker.DefaultPolicy())
			ctx, leave := context.WithCancel(t.Context())
			s, c := serving(t, Breaker(g, func(*http.Request) string { return "x" }, BreakerOptions{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				leave()
				<-r.Context().Done()
				end(w)
			})))
			req, _ := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
			if resp, err := c.Do(req); err == nil {
				resp.Body.Close()
				t.Error("answered")
			}
			if got := counts(t, g); got != oneIgnored {
				t.Errorf("counted %+v", got)
			}
		})
	}
}

func TestOpenCircuitAnswersWithRetryAfterWithoutTheHandler(t *testing.T) {
	g := newGroup(t, twoFailures())
	calls := 0
	h := Breaker(g, func(*http.Request) string { return "x" }, BreakerOptions{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		w.WriteHeader(500)
	}))
	for range 5 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if calls == 2 && w.Code == 503 {
			if p, err := problem.Read(w.Result(), 1<<10); err != nil || p.Code != CodeCircuitOpen || p.Extensions["reason"] != "open" || p.RetryAfter < 4*time.Second || p.RetryAfter > 6*time.Second {
				t.Errorf("%+v, %v", p, err)
			}
		}
	}
	if calls != 2 {
		t.Errorf("%d calls reached the handler", calls)
	}
}

func TestRampLetsTestsInFirst(t *testing.T) {
	manual := clock.NewManual()
	config := ramp.DefaultConfig()
	config.Probing.UnmarkedAfter = 0
	rm, err := ramp.New(config, ramp.WithClock(manual.Clock()))
	if err != nil {
		t.Fatal(err)
	}
	user := func(r *http.Request) string { return r.URL.Path }
	h := Ramp(rm, Caller{Key: user})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	get := func(path, mark string) int {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		if mark != "" {
			r.Header.Set("X-Ai-Test", mark)
		}
		h.ServeHTTP(w, r)
		if w.Code == 503 {
			if p, err := problem.Read(w.Result(), 1<<10); err != nil || p.Code != CodeRecovering || p.RetryAfter < time.Second {
				t.Errorf("%+v, %v", p, err)
			}
		}
		return w.Code
	}
	if get("/a", "") != 200 {
		t.Error("refused while full")
	}
	rm.Fall(errors.New("down"))
	if get("/a", "true") != 503 {
		t.Error("passed while waiting")
	}
	manual.Advance(config.Backoff.Most)
	if get("/a", "") != 503 || get("/a", "yes") != 503 {
		t.Error("an unmarked request was a test")
	}
	for range config.Probing.Successes {
		if get("/a", "true") != 200 {
			t.Error("a test was refused")
		}
	}
	passed := 0
	for i := range 2000 {
		path := fmt.Sprintf("/%d", i)
		first := get(path, "")
		if first == 200 {
			passed++
		}
		if get(path, "") != first {
			t.Fatal("a user was let in and then not")
		}
	}
	if passed < 60 || passed > 140 { // 5 %
		t.Errorf("%d of 2000 users passed", passed)
	}
}

func TestHandlersReachWhatTheServerOffers(t *testing.T) {
	g := newGroup(t, breaker.DefaultPolicy())
	s, c := serving(t, Breaker(g, func(*http.Request) string { return "x" }, BreakerOptions{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		for what, err := range map[string]error{
			"read deadline": control.SetReadDeadline(time.Now().Add(time.Minute)), "write deadline": control.SetWriteDeadline(time.Now().Add(time.Minute)),
			"full duplex": control.EnableFullDuplex(), "flush": control.Flush(),
		} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if n, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("abc")); n != 3 || err != nil {
			t.Error(n, err)
		}
		io.WriteString(w, "def")
	})))
	resp, err := c.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); string(b) != "abcdef" {
		t.Errorf("%s, %v", b, err)
	}
	a := watch(struct{ http.ResponseWriter }{httptest.NewRecorder()})
	if err := a.FlushError(); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("flush: %v", err)
	}
	if _, _, err := a.Hijack(); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("hijack: %v", err)
	}
	if n, err := a.ReadFrom(strings.NewReader("abc")); n != 3 || err != nil || a.status != 200 {
		t.Error(n, err, a.status)
	}
}

func TestRequestThatEndsWhileItWaitsIsAnswered(t *testing.T) {
	l := newLimit(t, limit.Config{Slots: 1, Queue: 1})
	taken, _ := l.Acquire(t.Context())
	defer taken.Done()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	Limit(l, LimitOptions{})(nil).ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
	if p, err := problem.Read(w.Result(), 1<<10); err != nil || p.Code != CodeCanceled || p.Status != 503 {
		t.Errorf("%+v, %v", p, err)
	}
}
