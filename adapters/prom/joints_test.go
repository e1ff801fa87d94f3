package prom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/adapters/internal/totals"
	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/fallback"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/ramp"
)

var errDown = errors.New("down")

// lines compares what is scraped below each prefix.
func lines(t *testing.T, r *Registry, want map[string]string) {
	t.Helper()
	for prefix, want := range want {
		if got := scrape(t, r, prefix); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
}

func watchedGroup(t *testing.T, m *Breakers, keys int) *breaker.Group[string] {
	t.Helper()
	p := breaker.DefaultPolicy()
	p.Conditions[0].MinRequests, p.Conditions[0].Level = 2, 0.5
	g, err := breaker.New(p, breaker.WithObserver[string](m.Observer("search")), breaker.WithKeys[string](keys), breaker.WithClock[string](clock.NewManual().Clock()))
	if err != nil {
		t.Fatal(err)
	}
	m.Watch("search", g.Snapshot)
	return g
}

func TestBreakersAreReported(t *testing.T) {
	r := New()
	m := NewBreakers(r)
	g := watchedGroup(t, m, 10)
	do := func(key string, err error) {
		g.Do(context.Background(), key, func(context.Context) error { return err })
	}
	do("a", nil)
	ignored, _ := g.Allow("a")
	ignored.Done(breaker.Ignored)
	do("bad\xff", errDown)
	do("bad\xff", errDown)
	do("bad\xff", nil) // refused
	p, _ := g.Allow("a")
	p.Done(breaker.SlowCall)
	p.Done(breaker.Success) // too late
	lines(t, r, map[string]string{
		"dougong_breaker_transitions_total": "dougong_breaker_transitions_total{group=\"search\",to=\"closed\"} 0\ndougong_breaker_transitions_total{group=\"search\",to=\"half-open\"} 0\n" +
			"dougong_breaker_transitions_total{group=\"search\",to=\"open\"} 1\ndougong_breaker_transitions_total{group=\"search\",to=\"rising\"} 0\n",
		"dougong_breaker_circuits": "dougong_breaker_circuits{group=\"search\",state=\"closed\"} 1\ndougong_breaker_circuits{group=\"search\",state=\"half-open\"} 0\n" +
			"dougong_breaker_circuits{group=\"search\",state=\"open\"} 1\ndougong_breaker_circuits{group=\"search\",state=\"rising\"} 0\n",
		"dougong_breaker_circuit_state": "dougong_breaker_circuit_state{circuit=\"bad\uFFFD\",group=\"search\",state=\"open\"} 1\n",
		"dougong_breaker_calls_total":   "dougong_breaker_calls_total{group=\"search\",outcome=\"failure\"} 2\ndougong_breaker_calls_total{group=\"search\",outcome=\"ignored\"} 1\ndougong_breaker_calls_total{group=\"search\",outcome=\"success\"} 2\n",
		"dougong_breaker_slow":          "dougong_breaker_slow_total{group=\"search\"} 1\n",
		"dougong_breaker_rejected":      "dougong_breaker_rejected_total{group=\"search\"} 1\n",
		"dougong_breaker_late":          "dougong_breaker_late_total{group=\"search\"} 1\n",
		"dougong_breaker_abandoned":     "dougong_breaker_abandoned_total{group=\"search\"} 0\n",
		"dougong_breaker_evicted":       "dougong_breaker_evicted_total{group=\"search\"} 0\n",
		"dougong_breaker_overflown":     "dougong_breaker_overflown_total{group=\"search\"} 0\n",
		"dougong_breaker_shedding":      "dougong_breaker_shedding_circuits{group=\"search\"} 0\n",
	})
	m.Forget("search")
	if got := scrape(t, r, "dougong_breaker"); got != "" {
		t.Errorf("forgotten, but\n%s", got)
	}
}

func TestCallsOfCircuitsThatWereEvictedStayCounted(t *testing.T) {
	r := New()
	m := NewBreakers(r)
	g := watchedGroup(t, m, 3)
	for i := range 30 {
		for range 1 + i%3 {
			g.Do(context.Background(), fmt.Sprint(i%7), func(context.Context) error { return nil })
		}
		sum := 0.0
		for n := range i + 1 {
			sum += float64(1 + n%3)
		}
		if got := scrape(t, r, "dougong_breaker_calls_total{group=\"search\",outcome=\"success\""); !strings.HasSuffix(got, fmt.Sprintf(" %v\n", sum)) {
			t.Fatalf("after %v calls: %s", sum, got)
		}
	}
	if n := g.Snapshot().Evicted; n < 10 {
		t.Errorf("only %d evictions: this tests little", n)
	}
}

func TestCallsNeverFallWhenACircuitComesBackBetweenScrapes(t *testing.T) {
	r := New()
	m := NewBreakers(r)
	g := watchedGroup(t, m, 1)
	do := func(key string, n int) {
		for range n {
			g.Do(context.Background(), key, func(context.Context) error { return nil })
		}
	}
	do("a", 5)
	for _, want := range []string{" 5\n", " 7\n"} {
		if got := scrape(t, r, "dougong_breaker_calls_total{group=\"search\",outcome=\"success\""); !strings.HasSuffix(got, want) {
			t.Errorf("%s, want%s", got, want)
		}
		do("b", 1) // evicts a
		do("a", 2)
	}
}

func TestTotalsOfKeysThatAreCalledAlikeStandStill(t *testing.T) {
	type key struct{ a, b string }
	r := New()
	m := NewBreakers(r)
	g, err := breaker.New[key](breaker.DefaultPolicy(), breaker.WithKeys[key](2))
	if err != nil {
		t.Fatal(err)
	}
	m.Watch("alike", g.Snapshot)
	do := func(k key, n int) {
		for range n {
			g.Do(context.Background(), k, func(context.Context) error { return nil })
		}
	}
	total := func(want string) {
		t.Helper()
		for range 3 {
			if got := scrape(t, r, "dougong_breaker_calls_total{group=\"alike\",outcome=\"success\""); !strings.HasSuffix(got, want) {
				t.Errorf("%s, want%s", got, want)
			}
		}
	}
	do(key{"a b", "c"}, 10)
	do(key{"a", "b c"}, 5)
	total(" 15\n")
	do(key{"a", "b c"}, 2)
	total(" 17\n")
	g.Forget(key{"a b", "c"}) // whose of the 17 remain nobody knows
	total(" 17\n")
	do(key{"a", "b c"}, 3)
	total(" 20\n")
}

func TestScrapesAtOnceCountEachCallOnce(t *testing.T) {
	picture := func(calls uint64) breaker.GroupStatus {
		return breaker.GroupStatus{Circuits: []breaker.Status{{Name: "a", Counts: breaker.Counts{Ignored: calls}}}}
	}
	total := &totals.Breakers{}
	total.Look(func() breaker.GroupStatus { return picture(5) })
	began, later := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(later)
		<-began
		total.Look(func() breaker.GroupStatus { return picture(20) })
	}()
	total.Look(func() breaker.GroupStatus {
		close(began)
		select { // the later picture must not overtake this one
		case <-later:
		case <-time.After(50 * time.Millisecond):
		}
		return picture(10)
	})
	<-later
	if _, sum := total.Look(func() breaker.GroupStatus { return picture(20) }); sum.Ignored != 20 {
		t.Errorf("20 calls are %d", sum.Ignored)
	}
}

func TestSheddingIsReported(t *testing.T) {
	r := New()
	m := NewBreakers(r)
	p := breaker.DefaultPolicy()
	p.Conditions = []breaker.Condition{{Above: 0.1, Over: 10 * time.Second, MinRequests: 2, Level: 0.5, Shed: &breaker.Shed{Full: 0.2, Most: 0.5}}}
	manual := clock.NewManual()
	g, err := breaker.New(p, breaker.WithClock[string](manual.Clock()))
	if err != nil {
		t.Fatal(err)
	}
	m.Watch("search", g.Snapshot)
	for range 20 {
		manual.Advance(100 * time.Millisecond)
		g.Do(context.Background(), "a", func(context.Context) error { return errDown })
		g.Do(context.Background(), "b", func(context.Context) error { return nil })
	}
	lines(t, r, map[string]string{"dougong_breaker_shedding": "dougong_breaker_shedding_circuits{group=\"search\"} 1\n"})
}

func TestSingleCircuitsAreBounded(t *testing.T) {
	r := New()
	m := NewBreakers(r)
	g := watchedGroup(t, m, 1000)
	for i := range 300 {
		c, err := g.Circuit(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		c.Trip("test")
	}
	if n := strings.Count(scrape(t, r, "dougong_breaker_circuit_state"), "\n"); n != maxShownCircuits {
		t.Errorf("%d series", n)
	}
	if got := scrape(t, r, "dougong_breaker_circuits{group=\"search\",state=\"open\""); !strings.HasSuffix(got, " 300\n") {
		t.Error(got)
	}
}

func TestRampsAreReported(t *testing.T) {
	r := New()
	m := NewRamps(r)
	manual := clock.NewManual()
	config := ramp.DefaultConfig()
	config.Probing.Successes = 0
	rm, err := ramp.New(config, ramp.WithObserver(m.Observer("model")), ramp.WithClock(manual.Clock()))
	if err != nil {
		t.Fatal(err)
	}
	m.Watch("model", rm)
	stages := func(now ramp.Stage, share string) {
		t.Helper()
		want := ""
		for _, s := range []ramp.Stage{ramp.Full, ramp.Rising, ramp.Testing, ramp.Waiting} {
			value := 0
			if s == now {
				value = 1
			}
			want += fmt.Sprintf("dougong_ramp_stage{ramp=\"model\",stage=%q} %d\n", s, value)
		}
		lines(t, r, map[string]string{"dougong_ramp_stage": want, "dougong_ramp_share": "dougong_ramp_share{ramp=\"model\"} " + share + "\n"})
	}
	stages(ramp.Full, "1")
	rm.Fall(errDown)
	rm.Allow(ramp.Call{})
	stages(ramp.Waiting, "0")
	manual.Advance(config.Backoff.Most)
	rm.Status()
	stages(ramp.Rising, "0.05")
	manual.Advance(time.Minute)
	stages(ramp.Rising, "0.1")
	lines(t, r, map[string]string{
		"dougong_ramp_transitions_total{ramp=\"model\",to=\"rising\"}": "dougong_ramp_transitions_total{ramp=\"model\",to=\"rising\"} 1\n",
		"dougong_ramp_falls":    "dougong_ramp_falls_total{ramp=\"model\"} 1\n",
		"dougong_ramp_rejected": "dougong_ramp_rejected_total{ramp=\"model\"} 1\n",
		"dougong_ramp_late":     "dougong_ramp_late_total{ramp=\"model\"} 0\n",
	})
	m.Forget("model")
	if got := scrape(t, r, "dougong_ramp"); got != "" {
		t.Errorf("forgotten, but\n%s", got)
	}
}

func TestFallbacksAreReported(t *testing.T) {
	r := New()
	m := NewFallbacks(r)
	f, err := fallback.New(fallback.DefaultConfig(), fallback.WithObserver[string, string](m.Observer("pages")), fallback.WithSize(func(k, v string) int64 { return int64(len(k) + len(v)) }))
	if err != nil {
		t.Fatal(err)
	}
	m.Watch("pages", f.Snapshot)
	do := func(key string, err error) {
		f.Do(context.Background(), key, func(context.Context) (string, error) { return "page", err })
	}
	do("a", nil)
	do("a", errDown)
	do("a", errDown)
	do("b", errDown)
	lines(t, r, map[string]string{
		"dougong_fallback_answers": "dougong_fallback_answers_total{fallback=\"pages\",source=\"cached\"} 2\ndougong_fallback_answers_total{fallback=\"pages\",source=\"default\"} 0\n" +
			"dougong_fallback_answers_total{fallback=\"pages\",source=\"none\"} 1\ndougong_fallback_answers_total{fallback=\"pages\",source=\"primary\"} 1\n",
		"dougong_fallback_age_seconds_count": "dougong_fallback_age_seconds_count{fallback=\"pages\"} 2\n",
		"dougong_fallback_entries":           "dougong_fallback_entries{fallback=\"pages\"} 1\n",
		"dougong_fallback_kept_bytes":        "dougong_fallback_kept_bytes{fallback=\"pages\"} 5\n",
		"dougong_fallback_evicted":           "dougong_fallback_evicted_total{fallback=\"pages\"} 0\n",
	})
}

func TestJointsAreDescribed(t *testing.T) {
	r := New()
	NewBreakers(r)
	NewRamps(r)
	NewFallbacks(r)
	NewConns(r)
	described := map[string]bool{}
	for _, d := range r.Descriptions() {
		described[d.Name] = true
		if len(d.Labels) == 0 || d.Help == "" {
			t.Errorf("%+v", d)
		}
	}
	if len(described) != 3+8+1+5+2+3+3+2 {
		t.Errorf("%d metrics are described", len(described))
	}
}

func TestConnectionsAreReported(t *testing.T) {
	r := New()
	m := NewConns(r)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := limit.NewListener(inner, limit.ConnConfig{MaxPerClient: 1}, limit.WithConnObserver(m.Observer("http")))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m.Watch("http", l.Stats)
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial()
	first := <-accepted
	io.ReadAll(dial()) // until it is closed
	lines(t, r, map[string]string{
		"dougong_limit_conns_opened":                            "dougong_limit_conns_opened_total{listener=\"http\"} 1\n",
		"dougong_limit_conns_refused_total{listener=\"http\",r": "dougong_limit_conns_refused_total{listener=\"http\",reason=\"client_full\"} 1\ndougong_limit_conns_refused_total{listener=\"http\",reason=\"conns_full\"} 0\n",
		"dougong_limit_open_connections":                        "dougong_limit_open_connections{listener=\"http\"} 1\n",
		"dougong_limit_connected_clients":                       "dougong_limit_connected_clients{listener=\"http\"} 1\n",
	})
	first.Close()
	lines(t, r, map[string]string{
		"dougong_limit_conns_closed_total{listener=\"http\",reason=\"ended\"": "dougong_limit_conns_closed_total{listener=\"http\",reason=\"ended\"} 1\n",
		"dougong_limit_open_connections":                                      "dougong_limit_open_connections{listener=\"http\"} 0\n",
	})
	l.Close()
	<-accepted
}
