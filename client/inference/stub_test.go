package inferenceclient

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
)

// stub is a server without a network: do says what becomes of the n-th attempt there, from 0.
type stub struct {
	do func(ctx context.Context, n int) *Error

	n      atomic.Int64
	ended  atomic.Int64
	closed bool
}

func (s *stub) infer(ctx context.Context, _ *head, m *message) (*Response, *Error) {
	defer s.ended.Add(1)
	if failed := s.do(ctx, int(s.n.Add(1))-1); failed != nil {
		return nil, failed
	}
	return &Response{Model: m.model}, nil
}

func (s *stub) live(context.Context, *head) (bool, *Error)  { return true, nil }
func (s *stub) ready(context.Context, *head) (bool, *Error) { return true, nil }
func (s *stub) modelReady(context.Context, *head, string, string) (bool, *Error) {
	return true, nil
}
func (s *stub) metadata(context.Context, *head) (*ServerMetadata, *Error) {
	return &ServerMetadata{}, nil
}
func (s *stub) modelMetadata(context.Context, *head, string, string) (*ModelMetadata, *Error) {
	return &ModelMetadata{}, nil
}
func (s *stub) close() error {
	s.closed = true
	return nil
}

// withStubs is a client of as many servers, whose circuits never open unless cfg says otherwise.
func withStubs(t *testing.T, cfg Config, opts []Option, do ...func(ctx context.Context, n int) *Error) (*Client, []*stub) {
	t.Helper()
	var stubs []*stub
	for i, f := range do {
		cfg.URLs = append(cfg.URLs, fmt.Sprintf("http://server%d", i))
		stubs = append(stubs, &stub{do: f})
	}
	next := 0
	c, err := build(cfg, opts, func(*url.URL, *Client) (wire, error) {
		next++
		return stubs[next-1], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, stubs
}

func calm() Config {
	cfg := DefaultConfig()
	cfg.Breaker.Conditions = nil
	return cfg
}

func request() Request {
	return Request{Model: "m", Inputs: []Tensor{NewTensor("input", []float32{1})}}
}

func failing(context.Context, int) *Error    { return &Error{Kind: ErrUnavailable, retry: true} }
func succeeding(context.Context, int) *Error { return nil }

func hangs(ctx context.Context, _ int) *Error {
	<-ctx.Done()
	return broken(ctx, ctx.Err())
}

func takes(d time.Duration) func(context.Context, int) *Error {
	return func(ctx context.Context, _ int) *Error {
		if !sleep(ctx, d) {
			return broken(ctx, ctx.Err())
		}
		return nil
	}
}

func TestWaitsGrowWithinTheirBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := calm()
		cfg.Attempts, cfg.Backoff, cfg.MaxBackoff, cfg.Timeout = 6, 100*time.Millisecond, 400*time.Millisecond, time.Minute
		var at []time.Duration
		begun := time.Now()
		c, _ := withStubs(t, cfg, nil, func(ctx context.Context, n int) *Error {
			at = append(at, time.Since(begun))
			return failing(ctx, n)
		})
		c.random = func() float64 { return 0.5 }
		_, err := c.Infer(t.Context(), request())
		if failed, ok := errors.AsType[*Error](err); !ok || failed.Attempts != 6 {
			t.Fatal(err)
		}
		if want := "[0s 50ms 150ms 350ms 550ms 750ms]"; fmt.Sprint(at) != want {
			t.Errorf("attempts at %v, not %v", at, want)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := calm()
		told := func(ctx context.Context, n int) *Error {
			if n == 0 {
				return &Error{Kind: ErrOverloaded, RetryAfter: 2 * time.Second, retry: true}
			}
			return nil
		}
		c, _ := withStubs(t, cfg, nil, told)
		begun := time.Now()
		if _, err := c.Infer(t.Context(), request()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took < 2*time.Second || took > 2*time.Second+cfg.Backoff {
			t.Errorf("it came back after %v", took)
		}
	})
}

// TestNoUseInWaitingBeyondTheDeadline: a caller who has a fallback wants to know at once.
func TestNoUseInWaitingBeyondTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stubs := withStubs(t, calm(), nil, func(context.Context, int) *Error {
			return &Error{Kind: ErrOverloaded, RetryAfter: math.MaxInt64, retry: true}
		})
		begun := time.Now()
		_, err := c.Infer(t.Context(), request())
		if failed, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, ErrOverloaded) || failed.RetryAfter != farOff || time.Since(begun) != 0 || stubs[0].n.Load() != 1 {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

// TestAttemptThatRanOutOfTimeIsNotRepeatedWithLess: it could only run out again.
func TestAttemptThatRanOutOfTimeIsNotRepeatedWithLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := calm()
		cfg.Timeout = time.Second
		c, stubs := withStubs(t, cfg, nil, func(ctx context.Context, n int) *Error {
			sleep(ctx, 600*time.Millisecond)
			return &Error{Kind: ErrDeadline, Status: 504, retry: true}
		})
		if _, err := c.Infer(t.Context(), request()); !errors.Is(err, ErrDeadline) || stubs[0].n.Load() != 1 {
			t.Errorf("%v after %d attempts", err, stubs[0].n.Load())
		}
	})
}

func TestCallerMayLeaveWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := calm()
		cfg.Backoff, cfg.MaxBackoff = time.Second, time.Second
		c, _ := withStubs(t, cfg, nil, failing)
		c.random = func() float64 { return 0.9 }
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, leave)
		begun := time.Now()
		if _, err := c.Infer(ctx, request()); !errors.Is(err, context.Canceled) || time.Since(begun) != 100*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

func TestDeadlineTellsOfTheAttemptBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := withStubs(t, calm(), nil, func(ctx context.Context, n int) *Error {
			if n == 0 {
				return &Error{Kind: ErrOverloaded, Message: "too much", retry: true}
			}
			return hangs(ctx, n)
		})
		_, err := c.Infer(t.Context(), request())
		if !errors.Is(err, ErrDeadline) || errors.Is(err, ErrOverloaded) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "too much") {
			t.Error(err)
		}
	})
}

func TestRetriesTryEachServerFirst(t *testing.T) {
	for others := range 4 { // calls that begin between two attempts, and take their turns
		synctest.Test(t, func(t *testing.T) {
			cfg := calm()
			cfg.Attempts = 4
			var client *Client
			fails := func(ctx context.Context, n int) *Error {
				client.turn.Add(uint32(others))
				return failing(ctx, n)
			}
			client, stubs := withStubs(t, cfg, nil, fails, fails, fails, fails)
			if _, err := client.Infer(t.Context(), request()); !errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
			for i, s := range stubs {
				if s.n.Load() != 1 {
					t.Errorf("with %d others: server %d had %d attempts", others, i, s.n.Load())
				}
			}
		})
	}
}

func TestServerThatJustFailedIsTriedLast(t *testing.T) {
	for others := range 2 {
		synctest.Test(t, func(t *testing.T) {
			cfg := calm()
			cfg.Attempts = 4
			o := &remembers{}
			var client *Client
			fails := func(ctx context.Context, n int) *Error {
				client.turn.Add(uint32(others))
				return failing(ctx, n)
			}
			client, _ = withStubs(t, cfg, []Option{WithObserver(o)}, fails, fails)
			if _, err := client.Infer(t.Context(), request()); !errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
			for i := 1; i < len(o.attempts); i++ {
				if o.attempts[i].Endpoint == o.attempts[i-1].Endpoint {
					t.Errorf("with %d others: attempts %d and %d at %s", others, i, i+1, o.attempts[i].Endpoint)
				}
			}
		})
	}
}

func TestCallsTakeTurns(t *testing.T) {
	c, stubs := withStubs(t, calm(), nil, succeeding, succeeding, succeeding)
	for range 30 {
		if _, err := c.Infer(t.Context(), request()); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range stubs {
		if s.n.Load() != 10 {
			t.Errorf("server %d had %d of 30", i, s.n.Load())
		}
	}
}

func TestServerWhoseCircuitIsOpenIsPassedOver(t *testing.T) {
	o := &remembers{}
	c, stubs := withStubs(t, DefaultConfig(), []Option{WithObserver(o)}, succeeding, succeeding)
	c.endpoints[0].circuit.Trip("test")
	for range 10 {
		if _, err := c.Infer(t.Context(), request()); err != nil {
			t.Fatal(err)
		}
	}
	if stubs[0].n.Load() != 0 || stubs[1].n.Load() != 10 {
		t.Errorf("%d and %d attempts", stubs[0].n.Load(), stubs[1].n.Load())
	}
	if len(o.attempts) != 10 || o.withheld[BreakerOpen] != 5 || o.attempts[0].Endpoint != "http://server1" {
		t.Errorf("%d attempts, withheld %v", len(o.attempts), o.withheld)
	}
}

// remembers is an Observer.
type remembers struct {
	mu       sync.Mutex
	attempts []Attempt
	withheld map[Reason]int
}

func (r *remembers) Attempted(a Attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts = append(r.attempts, a)
}

func (r *remembers) Withheld(w Withheld) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.withheld == nil {
		r.withheld = map[Reason]int{}
	}
	r.withheld[w.Why]++
}

func TestHedgeComesAfterTheDelayAndTheFirstAnswerCounts(t *testing.T) {
	for name, c := range map[string]struct {
		first, second func(context.Context, int) *Error
		took          time.Duration
		attempts      int
		lost          []int // numbers of the attempts that did not count
	}{
		"quick":           {takes(9 * time.Millisecond), succeeding, 9 * time.Millisecond, 1, nil},
		"hangs":           {hangs, takes(5 * time.Millisecond), 15 * time.Millisecond, 2, []int{1}},
		"slow, and first": {takes(20 * time.Millisecond), takes(50 * time.Millisecond), 20 * time.Millisecond, 1, []int{2}},
		"the hedge fails": {takes(20 * time.Millisecond), failing, 20 * time.Millisecond, 1, nil},
		"the first fails": {func(ctx context.Context, n int) *Error { sleep(ctx, 15*time.Millisecond); return failing(ctx, n) }, takes(20 * time.Millisecond), 30 * time.Millisecond, 2, nil},
		"breaks": {func(ctx context.Context, n int) *Error {
			sleep(ctx, 15*time.Millisecond)
			return &Error{Kind: ErrInternal}
		}, takes(20 * time.Millisecond), 30 * time.Millisecond, 2, nil},
		"refused for good": {hangs, func(context.Context, int) *Error { return invalid("it is") }, 10 * time.Millisecond, 2, []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := calm()
				cfg.Hedge.After = 10 * time.Millisecond
				o := &remembers{}
				client, stubs := withStubs(t, cfg, []Option{WithObserver(o)}, c.second, c.first) // the second in turn is first
				begun := time.Now()
				r, err := client.Infer(t.Context(), request())
				if took := time.Since(begun); took != c.took {
					t.Errorf("it took %v, not %v", took, c.took)
				}
				switch {
				case name == "refused for good":
					if !errors.Is(err, ErrInvalid) {
						t.Error(err)
					}
				case err != nil || r.Attempts != c.attempts:
					t.Errorf("%+v %v", r, err)
				}
				if err := client.Close(); err != nil {
					t.Error(err)
				}
				for i, s := range stubs {
					if s.n.Load() != s.ended.Load() || !s.closed {
						t.Errorf("server %d: %d attempts, %d ended when Close returned", i, s.n.Load(), s.ended.Load())
					}
				}
				var lost []int
				for _, a := range o.attempts {
					if a.Lost {
						lost = append(lost, a.Number)
					}
				}
				if fmt.Sprint(lost) != fmt.Sprint(c.lost) {
					t.Errorf("lost were %v, not %v", lost, c.lost)
				}
			})
		})
	}
}

func TestHedgesKeepTheirBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := calm()
		cfg.Hedge = Hedge{After: time.Millisecond, Budget: Budget{Ratio: 0.1, Burst: 3}}
		o := &remembers{}
		c, stubs := withStubs(t, cfg, []Option{WithObserver(o)}, takes(10*time.Millisecond), takes(10*time.Millisecond))
		for range 200 {
			if _, err := c.Infer(t.Context(), request()); err != nil {
				t.Fatal(err)
			}
		}
		all := stubs[0].n.Load() + stubs[1].n.Load()
		if all < 220 || all > 200+3+20 || o.withheld[HedgeBudget] != int(400-all) {
			t.Errorf("%d attempts of 200 calls; withheld %v", all, o.withheld)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestHedgeWaitsForTheQuantileSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := calm()
		cfg.Hedge.Quantile = 0.95
		var slow atomic.Bool
		serve := func(ctx context.Context, n int) *Error {
			if slow.Swap(false) {
				return hangs(ctx, n)
			}
			return takes(8*time.Millisecond)(ctx, n)
		}
		c, _ := withStubs(t, cfg, nil, serve, serve)
		for range 200 {
			if r, err := c.Infer(t.Context(), request()); err != nil || r.Attempts != 1 {
				t.Fatal(r, err)
			}
		}
		slow.Store(true)
		begun := time.Now()
		r, err := c.Infer(t.Context(), request())
		if took := time.Since(begun); err != nil || r.Attempts != 2 || took < 16*time.Millisecond || took > 18*time.Millisecond {
			t.Errorf("%+v %v after %v", r, err, took)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestHedgesDoNotShortenTheDelay: the attempts that they end early would have been the slow ones.
func TestHedgesDoNotShortenTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := calm()
		cfg.Hedge = Hedge{Quantile: 0.95, Budget: Budget{Ratio: 1, Burst: 1000}}
		var mu sync.Mutex
		rnd := rand.New(rand.NewPCG(1, 2))
		serve := func(ctx context.Context, n int) *Error { // 1 ms to 0.9 s
			mu.Lock()
			d := time.Duration(math.Pow(1.07, 100*rnd.Float64()) * float64(time.Millisecond))
			mu.Unlock()
			return takes(d)(ctx, n)
		}
		o := &remembers{}
		c, _ := withStubs(t, cfg, []Option{WithObserver(o)}, serve, serve)
		const calls = 5000
		for range calls {
			if _, err := c.Infer(t.Context(), request()); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		hedges := 0
		for _, a := range o.attempts {
			if a.Hedge {
				hedges++
			}
		}
		t.Logf("%d hedges of %d calls", hedges, calls)
		if share := float64(hedges) / calls; share < 0.01 || share > 0.08 {
			t.Errorf("%.3f of the calls were hedged", share)
		}
	})
}

var seedFlag = flag.Uint64("seed", 0, "replay a random test with this seed")

// TestExtraAttemptsNeverExceedTheirBudgets: whatever fails, and however many call at once.
func TestExtraAttemptsNeverExceedTheirBudgets(t *testing.T) {
	for range 40 {
		seed := *seedFlag
		if seed == 0 {
			seed = rand.Uint64()
		}
		synctest.Test(t, func(t *testing.T) { randomOutage(t, rand.New(rand.NewPCG(seed, 0))) })
		if t.Failed() {
			t.Fatalf("replay with -run=%s -args -seed=%d", t.Name(), seed)
		}
	}
}

func randomOutage(t *testing.T, rnd *rand.Rand) {
	cfg := calm()
	cfg.Attempts = 1 + rnd.IntN(6)
	cfg.RetryBudget = Budget{Ratio: rnd.Float64(), Burst: rnd.IntN(20)}
	if rnd.IntN(2) == 0 {
		cfg.Attempts = max(cfg.Attempts, 2)
		cfg.Hedge = Hedge{After: time.Duration(1 + rnd.IntN(20_000_000)), Budget: Budget{Ratio: rnd.Float64(), Burst: rnd.IntN(20)}}
	}
	if rnd.IntN(3) == 0 {
		cfg.AttemptTimeout = time.Duration(1 + rnd.IntN(50_000_000))
	}
	cfg.Timeout = time.Duration(1+rnd.IntN(200)) * time.Millisecond
	var mu sync.Mutex
	draw := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(n)
	}
	worst := 1 + draw(4)
	serve := func(ctx context.Context, n int) *Error {
		if !sleep(ctx, time.Duration(draw(30_000_000))) {
			return broken(ctx, ctx.Err())
		}
		switch draw(2 + 2*worst) {
		case 0, 1:
			return nil
		case 2:
			return &Error{Kind: ErrOverloaded, RetryAfter: time.Duration(draw(100_000_000)), retry: true}
		case 3:
			return invalid("chance")
		}
		return failing(ctx, n)
	}
	o := &remembers{}
	servers := make([]func(context.Context, int) *Error, 1+draw(3))
	for i := range servers {
		servers[i] = serve
	}
	c, _ := withStubs(t, cfg, []Option{WithObserver(o)}, servers...)
	calls := 0
	var callers sync.WaitGroup
	for range 1 + draw(20) {
		mine := 1 + draw(30)
		calls += mine
		leaves := draw(4) == 0
		callers.Go(func() {
			for range mine {
				ctx, cancel := context.WithCancel(t.Context())
				if leaves {
					time.AfterFunc(time.Duration(draw(100_000_000)), cancel)
				}
				begun := time.Now()
				r, err := c.Infer(ctx, request())
				if (r == nil) == (err == nil) {
					t.Errorf("%v and %v", r, err)
				}
				if failed, ok := errors.AsType[*Error](err); err != nil && (!ok || failed.Attempts > cfg.Attempts || failed.Kind == nil) {
					t.Errorf("%#v", err)
				}
				if took := time.Since(begun); took > cfg.Timeout {
					t.Errorf("a call took %v, and may take %v", took, cfg.Timeout)
				}
				cancel()
			}
		})
	}
	callers.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	retries, hedges := 0, 0
	for _, a := range o.attempts {
		switch {
		case a.Hedge:
			hedges++
		case a.Number > 1:
			retries++
		}
		if a.Number > cfg.Attempts {
			t.Errorf("attempt %d of %d", a.Number, cfg.Attempts)
		}
	}
	for _, b := range []struct {
		of   string
		made int
		Budget
	}{{"retries", retries, cfg.RetryBudget}, {"hedges", hedges, cfg.Hedge.Budget}} {
		if most := float64(b.Burst) + b.Ratio*float64(calls); float64(b.made) > most {
			t.Errorf("%d %s of %d calls, and %.1f were allowed", b.made, b.of, calls, most)
		}
	}
}

func TestOutageOfAllServersOpensTheirCircuitsAndAddsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stubs := withStubs(t, DefaultConfig(), nil, failing, failing)
		for range 1000 {
			if _, err := c.Infer(t.Context(), request()); !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
		}
		if all := stubs[0].n.Load() + stubs[1].n.Load(); all > 200 {
			t.Errorf("%d attempts of 1000 calls at servers that are gone", all)
		}
	})
}

func TestPanicOfACallersFunctionGivesThePermitBack(t *testing.T) {
	o := &remembers{}
	c, _ := withStubs(t, DefaultConfig(), []Option{WithObserver(o), WithHeaders(func(context.Context, func(string, string)) { panic("chance") })}, succeeding)
	func() {
		defer func() { _ = recover() }()
		_, _ = c.Infer(t.Context(), request())
	}()
	if err := c.Close(); err != nil { // would wait forever for the call
		t.Error(err)
	}
}

func TestConfigReportsEveryFaultAtOnce(t *testing.T) {
	good := DefaultConfig()
	good.URLs = []string{"http://a"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{
		URLs:        []string{"http://a", "grpc://b:1", "http://a", "ftp://c", "grpcs://d", "https://u:secret@e", "%", "http://"},
		RetryBudget: Budget{Ratio: 2, Burst: -1}, Hedge: Hedge{After: -1, Quantile: 1}, Backoff: -1, MaxBackoff: -2, AttemptTimeout: -1,
		TLS: TLSConfig{CertFile: "x"},
	}
	err := bad.Validate()
	for _, want := range []string{
		"urls: 1: all must have one scheme", "urls: 2: http://a is there twice", "urls: 3: the scheme", `urls: 4: "grpcs://d" has no port`, "urls: 5: must have no user", `urls: 6: "%" has no scheme`, `urls: 7: "http://" has no host`,
		"timeout: ", "attempt_timeout: ", "attempts: ", "backoff: ", "max_backoff: ", "retry_budget.ratio: ", "retry_budget.burst: ", "hedge.after: ", "hedge.quantile: ", "breaker.open.first: ", "breaker.probes: ",
		"max_response_bytes: ", "max_conns: ", "idle_timeout: ", "tls: ",
	} {
		if !strings.Contains("\n"+err.Error(), "\n"+want) {
			t.Errorf("nothing begins with %q in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Error("a password is repeated:", err)
	}
	alone := good
	alone.Attempts, alone.Hedge.After = 1, time.Second
	if err := alone.Validate(); err == nil || !strings.HasPrefix(err.Error(), "hedge: ") {
		t.Error("a hedge without room for it:", err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("the zero Config was taken")
	}
}

func TestURLThatIsNoneIsShownWithWhatItLacks(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:8080":             `urls: 0: "127.0.0.1:8080" has no scheme: it must begin with http://, https://, grpc:// or grpcs://`,
		"localhost:8080":             `urls: 0: "localhost:8080" has no scheme: it must begin with http://, https://, grpc:// or grpcs://`,
		"":                           `urls: 0: "" has no scheme: it must begin with http://, https://, grpc:// or grpcs://`,
		"http:/a":                    `urls: 0: "http:/a" has no scheme: it must begin with http://, https://, grpc:// or grpcs://`,
		"http://a:b":                 `urls: 0: is no URL: parse "http://a:b": invalid port ":b" after host`,
		"ftp://a":                    `urls: 0: the scheme must be http, https, grpc or grpcs, is "ftp"`,
		"grpc://a":                   `urls: 0: "grpc://a" has no port, such as :8081`,
		"grpc://a:1/b":               `urls: 0: "grpc://a:1/b": gRPC has no path`,
		"user:secret@127.0.0.1:8080": `urls: 0: has no scheme: it must begin with http://, https://, grpc:// or grpcs://`,
		"127.0.0.1:8080?key=secret":  `urls: 0: has no scheme: it must begin with http://, https://, grpc:// or grpcs://`,
		"http://user:secret@a:b":     `urls: 0: is no URL`,
		"http://user:secret@":        `urls: 0: has no host`,
		"http://a:b?key=secret":      `urls: 0: is no URL`,
		"http://a?key=secret":        `urls: 0: must have no user, query or fragment; a token comes from token_file or WithToken`,
	} {
		cfg := DefaultConfig()
		cfg.URLs = []string{text}
		if err := cfg.Validate(); err == nil || err.Error() != want {
			t.Errorf("%s: %v\nand should be\n%s", text, err, want)
		}
	}
}

func TestTokensDoNotTravelInTheClear(t *testing.T) {
	token := WithToken(func(context.Context) (string, error) { return "secret", nil })
	for _, c := range []struct {
		url       string
		plaintext bool
		ok        bool
	}{
		{"http://model:8080", false, false}, {"grpc://10.0.0.1:8081", false, false}, {"http://model", true, true}, {"https://model", false, true}, {"grpcs://model:1", false, true},
		{"http://127.0.0.1:8080", false, true}, {"grpc://localhost:8081", false, true}, {"grpc://LocalHost:8081", false, true}, {"http://[::1]:8080", false, true},
	} {
		cfg := DefaultConfig()
		cfg.URLs, cfg.PlaintextToken = []string{c.url}, c.plaintext
		if client, err := New(cfg, token); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		} else if err == nil {
			client.Close()
		}
		if cfg.TokenFile = "/token"; (cfg.Validate() == nil) != c.ok {
			t.Errorf("%+v with a file: %v", c, cfg.Validate())
		}
	}
}

func TestCircuitsAreThoseOfTheURLs(t *testing.T) {
	c, _ := withStubs(t, DefaultConfig(), []Option{WithBreaker(breaker.WithKeys[string](8))}, failing)
	_, _ = c.Infer(t.Context(), request())
	if s := c.Circuits(); len(s.Circuits) != 1 || s.Circuits[0].Name != "http://server0" || s.Keys != 8 || s.Circuits[0].Counts.Failures != 3 {
		t.Errorf("%+v", s)
	}
}
