package httpmw

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/adapters/internal/faultrules"
	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fallback"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/problem"
)

// struck is a client and a server with joints and points of their own.
type struck struct {
	client *joined
	server *breaker.Group[string]
	limit  *limit.Limit // of the server
	faults *fault.Set
	url    string
}

const said = "0123456789"

// strikable serves a handler that reads the body, and answers with it or with said.
func strikable(t *testing.T) *struck {
	t.Helper()
	return strikableBy(t, faulttest.New(t))
}

func strikableBy(t *testing.T, faults *fault.Set) *struck {
	t.Helper()
	s := &struck{faults: faults, server: newGroup(t, breaker.DefaultPolicy()), limit: newLimit(t, limit.DefaultConfig())}
	handler := Limit(s.limit, LimitOptions{ReadAhead: -1})(Breaker(s.server, ByPattern, BreakerOptions{})(Faults(s.faults, Caller{})(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				problem.Write(w, &problem.Problem{Status: http.StatusBadRequest, Code: "body_broken", Detail: err.Error()})
				return
			}
			if len(body) == 0 {
				body = []byte(said)
			}
			w.Write(body)
		}))))
	mux := http.NewServeMux()
	mux.Handle("/items/{id}", handler)
	// net/http hears that a client has left only once the body is read: before that a deadline ends what hangs.
	server, _ := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if timeout, err := time.ParseDuration(r.Header.Get("X-Request-Timeout")); err == nil {
			ctx, cancel := context.WithTimeout(r.Context(), timeout)
			defer cancel()
			r = r.WithContext(ctx)
		}
		mux.ServeHTTP(w, r)
	}))
	s.client, s.url = join(t, server, breaker.DefaultPolicy(), WithFaults(s.faults)), server.URL+"/items/7"
	return s
}

// post makes a call with a body, which net/http does not send again.
func (s *struck) post(ctx context.Context) (status int, body string, header http.Header, err error) {
	req, err := http.NewRequestWithContext(ctx, "POST", s.url, strings.NewReader(said))
	if err != nil {
		return 0, "", nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		req.Header.Set("X-Request-Timeout", (2 * time.Until(deadline)).String()) // so that the caller's own is first
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(read), resp.Header, err
}

func (s *struck) idle(t *testing.T) {
	t.Helper()
	eventually(t, "no place is taken", func() bool { return s.client.limit.Stats().Admitted == 0 && s.limit.Stats().Admitted == 0 })
}

// TestEveryPointIsTripped strikes each point by name and looks at what comes of it.
func TestEveryPointIsTripped(t *testing.T) {
	counted := func(t *testing.T, g *breaker.Group[string], want breaker.Counts) {
		t.Helper()
		if got := counts(t, g); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
	}
	var cases []faultrules.Case
	for _, c := range []struct {
		point, effect  string
		status         int // 0: an error that is as
		body           string
		as             error
		client, server breaker.Counts // zero: not called
	}{
		{"httpmw.client", `"error":{"cause":"reset"}`, 0, "", syscall.ECONNRESET, oneFailure, breaker.Counts{}},
		{"httpmw.client", `"error":{"cause":"timeout"}`, 0, "", fault.ErrInjected, oneFailure, breaker.Counts{}},
		{"httpmw.client", `"error":{"cause":"canceled"}`, 0, "", context.Canceled, oneIgnored, breaker.Counts{}},
		{"httpmw.client", `"error":{"http_status":503,"retry_after":"2s"}`, 503, "injected fault", nil, oneFailure, breaker.Counts{}},
		{"httpmw.client", `"error":{"http_status":404}`, 404, "injected fault", nil, oneSuccess, breaker.Counts{}},
		{"httpmw.client", `"drop":{}`, 0, "", io.ErrUnexpectedEOF, oneFailure, oneSuccess},
		{"httpmw.client", `"truncate":{"after":4}`, 200, "0123", io.ErrUnexpectedEOF, oneFailure, oneSuccess},
		{"httpmw.client", `"corrupt":{"offset":4,"mode":"zero"}`, 200, "0123\x0056789", nil, oneSuccess, oneSuccess},
		{"httpmw.client.body", `"error":{"cause":"reset"}`, 200, "", syscall.ECONNRESET, oneFailure, oneSuccess},
		{"httpmw.server", `"error":{}`, 500, `"code":"injected_fault"`, nil, oneFailure, oneFailure},
		{"httpmw.server", `"error":{"http_status":503,"retry_after":"1500ms"}`, 503, `"code":"injected_fault"`, nil, oneFailure, oneFailure},
		{"httpmw.server", `"error":{"http_status":409}`, 409, `"code":"injected_fault"`, nil, oneSuccess, oneSuccess},
		{"httpmw.server", `"error":{"cause":"reset"}`, 0, "", io.EOF, oneFailure, oneFailure},
		{"httpmw.server", `"drop":{}`, 0, "", io.EOF, oneFailure, oneFailure},
		{"httpmw.server", `"truncate":{"after":4}`, 200, "0123", io.ErrUnexpectedEOF, oneFailure, oneFailure},
		{"httpmw.server", `"corrupt":{"offset":4,"mode":"zero"}`, 200, "0123\x0056789", nil, oneSuccess, oneSuccess},
		{"httpmw.server.body", `"error":{"cause":"reset"}`, 400, "body_broken", nil, oneSuccess, oneSuccess},
	} {
		cases = append(cases, faultrules.Case{Point: c.point, Effect: c.effect, Check: func(t *testing.T, set *fault.Set) {
			noMoreGoroutines(t)
			s := strikableBy(t, set)
			status, body, header, err := s.post(t.Context())
			if status != c.status || !strings.Contains(body, c.body) || !errors.Is(err, c.as) {
				t.Errorf("%d, %q, %v", status, body, err)
			}
			if after := strings.Contains(c.effect, "retry_after"); after != (header.Get("Retry-After") == "2") {
				t.Errorf("header %v", header)
			}
			counted(t, s.client.group, c.client)
			if c.server != (breaker.Counts{}) {
				counted(t, s.server, c.server)
			} else if len(s.server.Snapshot().Circuits) != 0 {
				t.Error("it was sent")
			}
			s.idle(t)
		}})
	}
	faultrules.Trip(t, cases)
}

// TestPanicAndHangLeaveNothingBehind strikes each point with the rules that nothing can be done about, then uses it.
func TestPanicAndHangLeaveNothingBehind(t *testing.T) {
	for _, p := range strikable(t).faults.Status().Points {
		t.Run(p.Name, func(t *testing.T) {
			noMoreGoroutines(t)
			s := strikable(t)
			use := func(ctx context.Context) (err error) {
				defer func() {
					if p := recover(); p != nil {
						err = p.(error)
					}
				}()
				status, body, _, err := s.post(ctx)
				if err == nil && status != http.StatusOK {
					err = errors.New(body) // of a handler whose read failed
				}
				return err
			}
			faultrules.Put(t, s.faults, `{"point":"`+p.Name+`","panic":{}}`)
			if err := use(t.Context()); err == nil {
				t.Error("neither a panic nor an error")
			}
			s.idle(t)

			faultrules.Put(t, s.faults, `{"point":"`+p.Name+`","hang":{}}`)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := use(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("hung: %v, want the deadline", err)
			}
			s.idle(t)

			ended := make(chan error)
			before := faulttest.Hits(s.faults, p.Name)
			go func() { ended <- use(t.Context()) }()
			eventually(t, "the call hangs", func() bool { return faulttest.Hits(s.faults, p.Name) > before })
			faultrules.Put(t, s.faults)
			if err := <-ended; err != nil {
				t.Errorf("let go: %v", err)
			}
			s.idle(t)
		})
	}
}

// TestInjectedErrorsOpenACircuit, as the failures that they stand for would.
func TestInjectedErrorsOpenACircuit(t *testing.T) {
	faults := faulttest.New(t)
	server, _ := serving(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	j := join(t, server, twoFailures(), WithFaults(faults))
	faultrules.Put(t, faults, `{"point":"httpmw.client","error":{"cause":"refused"}}`)
	for i := range 3 {
		_, err := j.Get(server.URL)
		if want := i == 2; errors.Is(err, breaker.ErrRejected) != want || errors.Is(err, syscall.ECONNREFUSED) == want {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

func TestFallbackAnswersInPlaceOfAnInjectedError(t *testing.T) {
	faults := faulttest.New(t)
	server, _ := serving(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, said) }))
	pages, err := NewFallback(FallbackOptions{Config: fallback.DefaultConfig()})
	if err != nil {
		t.Fatal(err)
	}
	client := join(t, server, breaker.DefaultPolicy(), WithFaults(faults), WithFallback(pages))
	for _, effect := range []string{``, `"error":{"cause":"reset"}`, `"error":{"http_status":502}`, `"truncate":{"after":3}`} {
		if effect != "" {
			faultrules.Put(t, faults, `{"point":"httpmw.client",`+effect+`}`)
		}
		resp, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != said || err != nil || effect != "" && resp.Header.Get(ServedByHeader) != "cached" {
			t.Errorf("%s: %q, %v, %v", effect, body, err, resp.Header)
		}
	}
}

// TestRulesChooseByRouteAndMark: test traffic can be struck while everybody else is spared.
func TestRulesChooseByRouteAndMark(t *testing.T) {
	s := strikable(t)
	for _, c := range []struct {
		point, where  string
		plain, marked bool // struck
	}{
		{"httpmw.client", `{"method":"GET","path":"/items/*"}`, true, true},
		{"httpmw.client", `{"test":"true"}`, false, true},
		{"httpmw.client", `{"host":"elsewhere"}`, false, false},
		{"httpmw.server", `{"route":"/items/{id}"}`, true, true},
		{"httpmw.server", `{"test":"true"}`, false, true},
		{"httpmw.server", `{"test":"false"}`, true, false},
	} {
		faultrules.Put(t, s.faults, `{"point":"`+c.point+`","where":`+c.where+`,"error":{"http_status":418}}`)
		for marked, want := range map[string]bool{"": c.plain, "true": c.marked} {
			req, _ := http.NewRequest("GET", s.url, nil)
			req.Header.Set("x-ai-test", marked)
			resp, err := s.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := resp.StatusCode == 418; got != want {
				t.Errorf("%s %s, marked %q: %d", c.point, c.where, marked, resp.StatusCode)
			}
		}
	}
}

func TestPointsThatAreOffCostNothing(t *testing.T) {
	base := roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	})
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	req, w := httptest.NewRequest("GET", "http://x/", nil), httptest.NewRecorder()
	allocations := func(rt http.RoundTripper, h http.Handler) (client, server float64) {
		return testing.AllocsPerRun(100, func() { _, _ = rt.RoundTrip(req) }), testing.AllocsPerRun(100, func() { h.ServeHTTP(w, req) })
	}
	faults := faulttest.New(t)
	client, server := allocations(NewTransport(base), handler)
	clientOff, serverOff := allocations(NewTransport(base, WithFaults(faults)), Faults(faults, Caller{})(handler))
	if client != clientOff || server != serverOff {
		t.Errorf("allocations of a client %v, with points %v; of a server %v, %v", client, clientOff, server, serverOff)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestWhatIsHeldAtTheEndOfACallTakesNoSlot: a rule that holds results, or fails them in whatever way, leaves the limit
// as it is.
func TestWhatIsHeldAtTheEndOfACallTakesNoSlot(t *testing.T) {
	for _, effect := range []string{`"hang":{}`, `"panic":{}`, `"error":{}`, `"drop":{}`} {
		t.Run(effect, func(t *testing.T) {
			faults := faulttest.New(t)
			j := joinBy(t, faults, roundTripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
			}), breaker.DefaultPolicy())
			faultrules.Put(t, faults, `{"point":"breaker.done",`+effect+`}`)
			var calls sync.WaitGroup
			for range 5 {
				calls.Go(func() { _, _ = j.Get("http://h/") })
			}
			eventually(t, "all are struck", func() bool { return faulttest.Hits(faults, "breaker.done") == 5 })
			eventually(t, "no place is taken", func() bool { return j.limit.Stats().Admitted == 0 })
			faultrules.Put(t, faults)
			calls.Wait()
		})
	}
}

// panicky panics when a circuit opens.
type panicky struct{ breaker.Observer }

func (panicky) Changed(breaker.Change) { panic("oops") }

func TestObserverThatPanicsLeavesNoSlotTaken(t *testing.T) {
	l := newLimit(t, limit.DefaultConfig())
	tr := NewTransport(roundTripper(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }),
		WithBreaker(newGroup(t, twoFailures(), breaker.WithObserver[string](panicky{})), ByHost),
		WithLimit(func(*http.Request) *limit.Limit { return l }, nil))
	panicked := false
	for range 2 {
		func() {
			defer func() { panicked = recover() != nil }()
			_, _ = tr.RoundTrip(httptest.NewRequest("GET", "http://h/", nil))
		}()
	}
	if n := l.Stats().Admitted; n != 0 || !panicked {
		t.Errorf("%d places are taken; panicked: %v", n, panicked)
	}
}

// TestWhatIsHeldAtAJointEndsWithItsCall, and gives back what it has.
func TestWhatIsHeldAtAJointEndsWithItsCall(t *testing.T) {
	for _, point := range []string{"ramp.admit", "breaker.allow"} {
		faults := faulttest.New(t)
		j := joinBy(t, faults, roundTripper(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }), breaker.DefaultPolicy())
		faultrules.Put(t, faults, `{"point":"`+point+`","hang":{}}`)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://h/", nil)
		if _, err := j.Do(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", point, err)
		}
		cancel()
		if n := j.limit.Stats().Admitted; n != 0 {
			t.Errorf("%s: %d places are taken", point, n)
		}
	}
}
