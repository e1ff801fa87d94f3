//go:build !dougong_nofault

package inference

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/services/inference/repository"
)

// requestPoints are the points that a request passes, what its attributes are for struckBody of tenant acme, and how the
// boundary answers when it fails by itself.
var requestPoints = map[string]requestPoint{
	"inference.admit":  {ofTenant, 503, CodeOverloaded},
	"inference.body":   {ofTenant, 400, CodeInvalidRequest},
	"inference.decode": {ofTenant, 400, CodeInvalidRequest},
	"inference.model":  {ofModel, 404, CodeModelNotFound},
	"inference.permit": {ofModel, 503, CodeModelFailing},
	"inference.score":  {ofModel, 500, CodeInternal},
	"inference.encode": {ofModel, 500, CodeInternal},
	"inference.write":  {ofTenant, 0, ""},
}

// limitPoints are those of kit/limit, which a request passes too.
var limitPoints = map[string]requestPoint{
	"limit.admit":   {ofTenant, 503, CodeOverloaded},
	"limit.acquire": {ofTenant, 503, CodeOverloaded},
}

type requestPoint struct {
	attrs  map[string]string
	status int // 0: the connection is cut
	code   string
}

// passed are all points that a request passes.
func passed() map[string]requestPoint {
	all := maps.Clone(requestPoints)
	maps.Copy(all, limitPoints)
	return all
}

// loadPoints are those that a repository passes while it is loaded, and their attributes for a rule that strikes once.
var loadPoints = map[string]map[string]string{
	"inference.repository.list":   {},
	"inference.repository.open":   {"file": "loan-mini/1/model.json"},
	"inference.repository.read":   {"file": "loan-mini/1/model.json"},
	"inference.repository.golden": {"model": "loan-mini", "version": "1"},
}

var (
	ofTenant = map[string]string{"tenant": "acme"}
	ofModel  = map[string]string{"tenant": "acme", "model": "loan-mini", "version": "1"}
)

const (
	struckBody   = `{"model":"loan-mini","version":"1","input":[0.1,0.9]}`
	struckAnswer = `{"model":"loan-mini","version":"1","output":[0.03645608]}` + "\n"
)

// definedPoints are the attributes of the points of the service and of its repository, by name.
func definedPoints(t *testing.T) map[string][]string {
	t.Helper()
	defined := map[string][]string{}
	for _, d := range append(faulttest.Defs(t, "."), faulttest.Defs(t, "repository")...) {
		defined[d.Name] = d.Attrs
	}
	return defined
}

func TestEachPointIsInTheTables(t *testing.T) {
	defined := definedPoints(t)
	tables := map[string][]string{}
	for name, p := range requestPoints {
		tables[name] = slices.Sorted(maps.Keys(p.attrs))
	}
	for name, attrs := range loadPoints {
		tables[name] = slices.Sorted(maps.Keys(attrs))
	}
	tables["inference.clock"] = nil // TestSkewedClockEndsTheOpenTimeOfACircuit
	for name, attrs := range defined {
		if got, ok := tables[name]; !ok || !slices.Equal(got, slices.Sorted(slices.Values(attrs))) {
			t.Errorf("point %s with attributes %q is not tried: the table has %q", name, attrs, got)
		}
	}
	if len(defined) != len(tables) {
		t.Errorf("%d points are defined, %d are tried", len(defined), len(tables))
	}
}

// put sets a rule with an id of its own, which it returns.
func put(t testing.TB, set *fault.Set, r fault.Rule) (id string) {
	t.Helper()
	r.ID = "test-" + strconv.FormatInt(ruleNumber.Add(1), 10)
	if err := set.Put(fault.Admin, r); err != nil {
		t.Fatal(err)
	}
	return r.ID
}

var ruleNumber atomic.Int64

// serveStruck serves a repository with faults. Panics are answered as internal/httpserver answers them, and those that cut
// the connection leave no status.
func serveStruck(t testing.TB, repo fs.FS) (*Service, http.Handler, *fault.Set) {
	t.Helper()
	set := newFaults(t)
	s, mux := serveWith(t, miniConfig(), Deps{Models: repo, Decode: decode, Faults: set, Tenant: func(_ context.Context, remote string) string { return remote }})
	return s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch v := recover(); {
			case v == nil:
			case v == http.ErrAbortHandler:
				w.(*httptest.ResponseRecorder).Code = 0
			default:
				if err, ok := v.(error); !ok || !errors.Is(err, fault.ErrInjected) {
					panic(v)
				}
				w.WriteHeader(500)
			}
		}()
		mux.ServeHTTP(w, r)
	}), set
}

// postAs posts struckBody for a tenant, within a deadline if there is one.
func postAs(tenant string, h http.Handler, within time.Duration) *httptest.ResponseRecorder {
	ctx := context.Background()
	if within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, within)
		defer cancel()
	}
	r := httptest.NewRequestWithContext(ctx, "POST", "/v1/predict", strings.NewReader(struckBody))
	r.RemoteAddr = tenant
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// wantWhole checks that a request without faults is answered, and that nothing of those before it is held.
func wantWhole(t *testing.T, s *Service, h http.Handler) {
	t.Helper()
	if w := postAs("acme", h, 0); w.Code != 200 || w.Body.String() != struckAnswer {
		t.Errorf("without the fault: %d %s", w.Code, w.Body)
	}
	if got := s.Status(); got.Running+got.Queued+got.Arriving+got.Tenants != 0 || got.HeldBytes != 0 || got.Rows.InUse+got.Buffers.InUse != 0 {
		t.Errorf("something is held: %+v", got)
	}
	s.Invariants(func(name string, err error) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
}

func TestEachPointIsAnsweredAsItsBoundaryFails(t *testing.T) {
	s, h, set := serveStruck(t, mini(t))
	for name, p := range passed() {
		t.Run(name, func(t *testing.T) {
			id := put(t, set, fault.Rule{Point: name, Error: &fault.Failure{Message: "on purpose"}})
			w := postAs("acme", h, 0)
			if w.Code != p.status || !strings.Contains(w.Body.String(), p.code) {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, p.status, p.code)
			}
			if p.status != 0 {
				wantDetail(t, w, "injected fault at "+name+" (rule "+id+"): on purpose")
			}
			faulttest.Clear(t, set)
			wantWhole(t, s, h)

			id = put(t, set, fault.Rule{Point: name, Error: &fault.Failure{HTTPStatus: 429, RetryAfter: 7 * time.Second}})
			w = postAs("acme", h, 0)
			wantDetail(t, w, "injected fault at "+name+" (rule "+id+")")
			if w.Code != 429 || !strings.Contains(w.Body.String(), p.code) || w.Header().Get("Retry-After") != "7" {
				t.Errorf("%d %v %s, want 429 %s after 7 s", w.Code, w.Header(), w.Body, p.code)
			}
			faulttest.Clear(t, set)
			wantWhole(t, s, h)
		})
	}
}

// wantDetail checks what a problem tells a person.
func wantDetail(t *testing.T, w *httptest.ResponseRecorder, want string) {
	t.Helper()
	var p struct{ Detail string }
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Detail != want {
		t.Errorf("detail %q (%v), want %q", p.Detail, err, want)
	}
}

// TestInjectedErrorsOfTheConnectionAreToldToo: a body comes through points of others, whose errors have causes.
func TestInjectedErrorsOfTheConnectionAreToldToo(t *testing.T) {
	_, h, _ := serveStruck(t, mini(t))
	for name, c := range map[string]struct {
		cause  error
		status int
		code   string
	}{
		"timeout": {os.ErrDeadlineExceeded, 408, CodeBodyTimeout},
		"reset":   {syscall.ECONNRESET, 400, CodeInvalidRequest},
		"eof":     {io.EOF, 400, CodeInvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			ordered := &fault.Error{Point: "limit.read", Rule: "flaky", Cause: c.cause}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("POST", "/v1/predict", &failingBody{ordered}))
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.code) {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, c.status, c.code)
			}
			wantDetail(t, w, ordered.Error())
		})
	}
}

func TestEachPointTellsItsAttributes(t *testing.T) {
	_, h, set := serveStruck(t, mini(t))
	for name, p := range passed() {
		t.Run(name, func(t *testing.T) {
			put(t, set, fault.Rule{Point: name, Where: p.attrs, Error: &fault.Failure{HTTPStatus: 418}})
			if w := postAs("acme", h, 0); w.Code != 418 {
				t.Errorf("%v is not struck: %d %s", p.attrs, w.Code, w.Body)
			}
			faulttest.Clear(t, set)
			for key := range p.attrs {
				others := maps.Clone(p.attrs)
				others[key] = "other"
				put(t, set, fault.Rule{Point: name, Where: others, Error: &fault.Failure{HTTPStatus: 418}})
			}
			if w := postAs("acme", h, 0); w.Code != 200 {
				t.Errorf("others are struck too: %d %s", w.Code, w.Body)
			}
			faulttest.Clear(t, set)
		})
	}
}

func TestPanicAtAnyPointLeavesAllWhole(t *testing.T) {
	s, h, set := serveStruck(t, mini(t))
	for name := range passed() {
		t.Run(name, func(t *testing.T) {
			put(t, set, fault.Rule{Point: name, Panic: &fault.Panicking{Message: "on purpose"}})
			for range 3 { // more than there are slots
				if w := postAs("acme", h, 0); w.Code != 500 {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			}
			faulttest.Clear(t, set)
			wantWhole(t, s, h)
		})
	}
}

// TestHangAtAnyPointEndsWithItsRequest also finds what is locked while a point is passed: everything else goes on.
func TestHangAtAnyPointEndsWithItsRequest(t *testing.T) {
	for name := range passed() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, h, set := serveStruck(t, mini(t))
				put(t, set, fault.Rule{Point: name, Where: map[string]string{"tenant": "acme"}, Hang: &fault.Hang{}})
				began := time.Now()
				ended := make(chan *httptest.ResponseRecorder)
				go func() { ended <- postAs("acme", h, 50*time.Millisecond) }()
				synctest.Wait() // it hangs
				if w := postAs("other", h, time.Second); w.Code != 200 {
					t.Errorf("another one: %d %s", w.Code, w.Body)
				}
				s.Status()
				s.Breaker()
				s.Invariants(func(string, error) {})
				if err := s.SetBreakerPolicy(s.cfg.Breaker); err != nil {
					t.Error(err)
				}
				w := <-ended
				if took := time.Since(began); w.Code != 504 || !strings.Contains(w.Body.String(), CodeDeadline) || took != 50*time.Millisecond {
					t.Errorf("%d %s after %v", w.Code, w.Body, took)
				}
				faulttest.Clear(t, set)
				wantWhole(t, s, h)
			})
		})
	}
}

func TestDelayIsAddedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, set := serveStruck(t, mini(t))
		put(t, set, fault.Rule{Point: "inference.score", Delay: &fault.Delay{Fixed: 5 * time.Millisecond}})
		began := time.Now()
		w := postAs("acme", h, time.Second)
		if took := time.Since(began); w.Code != 200 || took < 4*time.Millisecond || took > 6*time.Millisecond {
			t.Errorf("%d after %v", w.Code, took)
		}
	})
}

func TestBodyIsLostCutOrDamaged(t *testing.T) {
	s, h, set := serveStruck(t, mini(t))
	offset := int64(0)
	for says, rule := range map[string]fault.Rule{
		"the body is empty":                            {Drop: &fault.Drop{}},
		"the end of the string expected, the document": {Truncate: &fault.Truncate{After: 15}},
		"an object expected, not ":                     {Corrupt: &fault.Corrupt{Offset: &offset, Length: 1}},
	} {
		t.Run(says, func(t *testing.T) {
			rule.Point = "inference.body"
			put(t, set, rule)
			w := postAs("acme", h, 0)
			if w.Code != 400 || !strings.Contains(w.Body.String(), says) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			faulttest.Clear(t, set)
			wantWhole(t, s, h)
		})
	}
}

func TestAnswerIsLostCutOrDamaged(t *testing.T) {
	s, h, set := serveStruck(t, mini(t))
	offset := int64(0)
	for name, c := range map[string]struct {
		rule fault.Rule
		code int
		body string
	}{
		"lost":    {fault.Rule{Drop: &fault.Drop{}}, 0, ""},
		"cut":     {fault.Rule{Truncate: &fault.Truncate{After: 10}}, 200, struckAnswer[:10]},
		"damaged": {fault.Rule{Corrupt: &fault.Corrupt{Offset: &offset, Length: 1, Mode: fault.Zeroed}}, 200, "\x00" + struckAnswer[1:]},
	} {
		t.Run(name, func(t *testing.T) {
			c.rule.Point = "inference.write"
			put(t, set, c.rule)
			w := postAs("acme", h, 0)
			if w.Code != c.code || w.Body.String() != c.body {
				t.Errorf("%d %q", w.Code, w.Body)
			}
			if c.code == 200 && w.Header().Get("Content-Length") != strconv.Itoa(len(struckAnswer)) {
				t.Errorf("the caller cannot know that it was %s: %v", name, w.Header())
			}
			faulttest.Clear(t, set)
			wantWhole(t, s, h)
		})
	}
}

// TestCallerKnowsOfAnAnswerCutShort has net/http between.
func TestCallerKnowsOfAnAnswerCutShort(t *testing.T) {
	_, h, set := serveStruck(t, mini(t))
	server := httptest.NewServer(h)
	defer server.Close()
	put(t, set, fault.Rule{Point: "inference.write", Truncate: &fault.Truncate{After: 10}})
	answer, err := http.Post(server.URL+"/v1/predict", "", strings.NewReader(struckBody))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var v any
	if err := json.NewDecoder(answer.Body).Decode(&v); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Errorf("%v %v", v, err)
	}
}

func TestCircuitCountsInjectedFailures(t *testing.T) {
	for name, rule := range map[string]fault.Rule{
		"errors": {Error: &fault.Failure{Cause: "io"}},
		"panics": {Panic: &fault.Panicking{}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, h, set := serveStruck(t, mini(t))
				rule.Point = "inference.score"
				put(t, set, rule)
				failed := 0
				for ; failed < 1000 && postAs("acme", h, 0).Code == 500; failed++ {
				}
				if failed == 0 || failed > 50 {
					t.Errorf("%d failures until it opened", failed)
				}
				w := postAs("acme", h, 0)
				if w.Code != 503 || !strings.Contains(w.Body.String(), CodeModelFailing) {
					t.Fatal(w.Code, w.Body)
				}
				faulttest.Clear(t, set)
				for end := time.Now().Add(time.Hour); s.Breaker().Circuits[0].State != breaker.Closed; time.Sleep(time.Second) {
					if time.Now().After(end) {
						t.Fatal("it did not come back within an hour")
					}
					postAs("acme", h, 0)
				}
				wantWhole(t, s, h)
			})
		})
	}
}

func TestSkewedClockEndsTheOpenTimeOfACircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h, set := serveStruck(t, mini(t))
		put(t, set, fault.Rule{Point: "inference.score", Error: &fault.Failure{Cause: "io"}})
		for n := 0; postAs("acme", h, 0).Code == 500 && n < 1000; n++ {
		}
		faulttest.Clear(t, set)
		if w := postAs("acme", h, 0); w.Code != 503 {
			t.Fatalf("the circuit is not open: %d", w.Code)
		}
		put(t, set, fault.Rule{Point: "inference.clock", Skew: &fault.ClockSkew{By: time.Minute}})
		if w := postAs("acme", h, 0); w.Code != 200 {
			t.Errorf("a minute ahead it is still open: %d %s", w.Code, w.Body)
		}
		if got := s.Breaker().Circuits[0].State; got == breaker.Open {
			t.Errorf("state %v", got)
		}
	})
}

// TestWhoLeavesWhileHeldIsNoFailure, whatever the reason that its context gives.
func TestWhoLeavesWhileHeldIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h, set := serveStruck(t, mini(t))
		put(t, set, fault.Rule{Point: "inference.score", Hang: &fault.Hang{}})
		ctx, leave := context.WithCancelCause(t.Context())
		w := httptest.NewRecorder()
		done := make(chan struct{})
		go func() {
			defer close(done)
			h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", "/v1/predict", strings.NewReader(struckBody)))
		}()
		synctest.Wait()
		leave(errors.New("went away"))
		<-done
		if w.Code != 504 || s.Breaker().Circuits[0].FailureRate != 0 {
			t.Errorf("%d %s, failure rate %v", w.Code, w.Body, s.Breaker().Circuits[0].FailureRate)
		}
		faulttest.Clear(t, set)
		wantWhole(t, s, h)
	})
}

// TestHangsOfCallersDoNotOpenTheCircuit: a deadline tells of the caller's patience, also if a rule used it up.
func TestHangsOfCallersDoNotOpenTheCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h, set := serveStruck(t, mini(t))
		put(t, set, fault.Rule{Point: "inference.score", Hang: &fault.Hang{}})
		for range 200 {
			w := postAs("acme", h, 10*time.Millisecond)
			if refused := w.Code == 503 && strings.Contains(w.Body.String(), CodeOverloaded); w.Code != 504 && !refused {
				t.Fatal(w.Code, w.Body)
			}
		}
		faulttest.Clear(t, set)
		wantWhole(t, s, h)
	})
}

// load runs a service on the demo until its load has ended.
func load(t *testing.T, set *fault.Set) (state lifecycle.State, err error) {
	t.Helper()
	s, err := New(miniConfig(), Deps{Models: mini(t), Decode: decode, Faults: set})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	state, _ = s.Lifecycle().Wait(ctx, func(s lifecycle.State) bool { return s != lifecycle.Initializing })
	cancel()
	return state, <-done
}

func TestEachPointOfLoadingFailsTheLoad(t *testing.T) {
	for name, attrs := range loadPoints {
		t.Run(name, func(t *testing.T) {
			set := newFaults(t)
			put(t, set, fault.Rule{Point: name, Where: attrs, Count: 1, Error: &fault.Failure{Cause: "io"}})
			state, err := load(t, set)
			if state != lifecycle.Failed || !errors.Is(err, fault.ErrInjected) {
				t.Errorf("%v: %v", state, err)
			}
			if name != "inference.repository.list" && !strings.Contains(err.Error(), "loan-mini") {
				t.Errorf("does not say which model: %v", err)
			}
			if state, err := load(t, set); state != lifecycle.Ready || err != nil {
				t.Errorf("without the fault: %v: %v", state, err)
			}
		})
	}
}

func TestDamagedModelFileIsRefused(t *testing.T) {
	offset := int64(100)
	for name, c := range map[string]struct {
		rule fault.Rule
		want error
	}{
		"zeroed":  {fault.Rule{Corrupt: &fault.Corrupt{Offset: &offset, Length: 1024, Mode: fault.Zeroed}}, repository.ErrDigest},
		"a byte":  {fault.Rule{Corrupt: &fault.Corrupt{}}, repository.ErrDigest},
		"cut":     {fault.Rule{Truncate: &fault.Truncate{After: 10_000}}, repository.ErrDigest},
		"empty":   {fault.Rule{Drop: &fault.Drop{}}, repository.ErrDigest},
		"missing": {fault.Rule{Error: &fault.Failure{Cause: "not_exist"}}, fs.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			set := newFaults(t)
			c.rule.Point, c.rule.Where = "inference.repository.read", map[string]string{"file": "loan-mini/1/model.json"}
			put(t, set, c.rule)
			state, err := load(t, set)
			if state != lifecycle.Failed || !errors.Is(err, c.want) || !strings.Contains(err.Error(), "model loan-mini version 1") {
				t.Errorf("%v: %v", state, err)
			}
		})
	}
}

func TestStopEndsALoadThatHangs(t *testing.T) {
	for name, attrs := range loadPoints {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set := newFaults(t)
				put(t, set, fault.Rule{Point: name, Where: attrs, Hang: &fault.Hang{}})
				s, err := New(miniConfig(), Deps{Models: mini(t), Decode: decode, Faults: set})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- s.Run(ctx) }()
				synctest.Wait()
				if state := s.Lifecycle().State(); state != lifecycle.Initializing {
					t.Errorf("it does not hang: %v", state)
				}
				cancel()
				if err := <-done; err != nil || s.Lifecycle().State() != lifecycle.Stopped {
					t.Errorf("%v: %v", s.Lifecycle().State(), err)
				}
			})
		})
	}
}

// TestStopEndsWhileRequestsHang: they end with their deadlines, whether or not anybody lets them go.
func TestStopEndsWhileRequestsHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := newFaults(t)
		s, err := New(miniConfig(), Deps{Models: mini(t), Decode: decode, Faults: set})
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		s.Register(func(pattern, _ string, h http.Handler) { mux.Handle(pattern, h) })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		if _, err := s.Lifecycle().Wait(ctx, lifecycle.State.Serving); err != nil {
			t.Fatal(err)
		}
		answers := make(chan int)
		for name := range passed() {
			put(t, set, fault.Rule{Point: name, Hang: &fault.Hang{}, Count: 1})
			go func() { answers <- postAs("acme", mux, time.Second).Code }()
			synctest.Wait()
		}
		began := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the service waited %v", took)
		}
		for range passed() {
			if code := <-answers; code != 504 && code != 503 {
				t.Error(code)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the last one ended after %v", took)
		}
		if got := s.Status(); got.Running+got.Queued+got.Arriving != 0 || got.HeldBytes != 0 {
			t.Errorf("something is held: %+v", got)
		}
	})
}

// TestFallbackAnswersForTreesToo: in the same slot.
func TestFallbackAnswersForTreesToo(t *testing.T) {
	repo := mini(t).(fstest.MapFS)
	for _, file := range []string{"/1/model.yaml", "/1/model.json"} {
		repo["twin"+file] = repo["loan-mini"+file]
	}
	repo["twin/policy.yaml"] = &fstest.MapFile{Data: []byte("serve: \"1\"\nfallback: {model: loan-mini, version: \"1\"}\n")}
	cfg, set := miniConfig(), newFaults(t)
	cfg.Slots, cfg.DefaultModel = 1, "twin"
	seen := &counts{seen: map[string]int{}}
	s, h := serveWith(t, cfg, Deps{Models: repo, Decode: decode, Observer: seen, Faults: set})
	if w := post(h, `{"input":[0.1,0.9]}`); w.Code != 200 || w.Header().Get(servedByHeader) != "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	put(t, set, fault.Rule{Point: pointScore.Name, Where: map[string]string{"model": "twin"}, Error: &fault.Failure{}})
	for range 100 {
		if w := post(h, `{"input":[0.1,0.9]}`); w.Code != 200 || w.Header().Get(servedByHeader) != "loan-mini/1" || strings.TrimSpace(w.Body.String()) != byMini {
			t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
		}
	}
	if seen.of("twin/1 by loan-mini/1 failed") == 0 || seen.of("twin/1 by loan-mini/1 failing") == 0 || s.limiter.Stats().Running != 0 {
		t.Errorf("%v", seen.seen)
	}
	put(t, set, fault.Rule{Point: pointScore.Name, Where: map[string]string{"model": "loan-mini"}, Error: &fault.Failure{}})
	if w := post(h, `{"input":[0.1,0.9]}`); w.Code != 503 && w.Code != 500 {
		t.Errorf("both fail: %d %s", w.Code, w.Body)
	}
}
