package httpmw

import (
	"flag"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/limit"
)

var seedFlag = flag.Uint64("seed", 0, "replay a random test with this seed")

// random returns a source, and says how to replay a failure.
func random(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay with -run=%s -args -seed=%d", t.Name(), seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// noMoreGoroutines checks at the end of the test that there are as many as now.
func noMoreGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				stacks := make([]byte, 1<<16)
				t.Errorf("%d goroutines, %d at the start\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}

// serving runs a real server that does not log panics.
func serving(t *testing.T, h http.Handler) (*httptest.Server, *http.Client) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	c := s.Client()
	c.Timeout = 20 * time.Second
	t.Cleanup(c.CloseIdleConnections)
	return s, c
}

func newLimit(t *testing.T, c limit.Config, opts ...limit.Option) *limit.Limit {
	t.Helper()
	l, err := limit.New(c, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// twoFailures opens a circuit after two.
func twoFailures() breaker.Policy {
	p := breaker.DefaultPolicy()
	p.Conditions[0].MinRequests, p.Conditions[0].Level = 2, 0.5
	return p
}

func newGroup(t *testing.T, p breaker.Policy, opts ...breaker.Option[string]) *breaker.Group[string] {
	t.Helper()
	g, err := breaker.New(p, append(opts, breaker.WithClock[string](clock.Exact()))...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// counts are those of the only circuit, as soon as a call is among them.
func counts(t *testing.T, g *breaker.Group[string]) breaker.Counts {
	t.Helper()
	var c breaker.Counts
	eventually(t, "a call is counted", func() bool {
		if s := g.Snapshot(); len(s.Circuits) == 1 {
			c = s.Circuits[0].Counts
		}
		return c != breaker.Counts{}
	})
	return c
}

var (
	oneSuccess = breaker.Counts{Successes: 1}
	oneFailure = breaker.Counts{Failures: 1}
	oneIgnored = breaker.Counts{Ignored: 1}
)
