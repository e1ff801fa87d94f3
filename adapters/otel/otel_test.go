package otel

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/fallback"
	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/ramp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// meters is an SDK that is read by hand.
type meters struct {
	*sdk.MeterProvider
	reader *sdk.ManualReader
}

func newMeters() meters {
	reader := sdk.NewManualReader()
	return meters{sdk.NewMeterProvider(sdk.WithReader(reader)), reader}
}

// read returns a line for each series whose name begins with prefix, in order: name, unit, attribute values, value.
// Of histograms the value is count and sum.
func (m meters) read(t *testing.T, prefix string) []string {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := m.reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range data.ScopeMetrics {
		for _, metric := range s.Metrics {
			line := func(set attribute.Set, value string) {
				if !strings.HasPrefix(metric.Name, prefix) {
					return
				}
				var values []string
				for _, kv := range set.ToSlice() {
					values = append(values, kv.Value.String())
				}
				lines = append(lines, fmt.Sprintf("%s %s %s %s", metric.Name, metric.Unit, strings.Join(values, ","), value))
			}
			switch d := metric.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					line(p.Attributes, fmt.Sprintf("%d monotonic=%v", p.Value, d.IsMonotonic))
				}
			case metricdata.Sum[float64]:
				for _, p := range d.DataPoints {
					line(p.Attributes, fmt.Sprintf("%v monotonic=%v", p.Value, d.IsMonotonic))
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					line(p.Attributes, fmt.Sprint(p.Value))
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					line(p.Attributes, fmt.Sprintf("%d %.3f", p.Count, p.Sum))
				}
			default:
				t.Fatalf("%s is a %T", metric.Name, d)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func (m meters) want(t *testing.T, prefix string, want ...string) {
	t.Helper()
	if got := m.read(t, prefix); !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// must takes what a constructor returns.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestLimits(t *testing.T) {
	m := newMeters()
	limits := must(NewLimits(m))
	l := must(limit.New(limit.Config{Slots: 1, Queue: 1, Arriving: 1}, limit.WithObserver(limits.Observer("scoring"))))
	registration := must(limits.Watch("scoring", l))

	running := must(l.Acquire(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if _, err := l.Acquire(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	for l.Stats().Queued == 0 {
		runtime.Gosched()
	}
	if _, err := l.Acquire(t.Context()); !errors.Is(err, limit.ErrRejected) {
		t.Errorf("got %v", err)
	}
	if got := m.read(t, "dougong.limit.queued"); !slices.Equal(got, []string{"dougong.limit.queued {request} scoring 1 monotonic=false"}) {
		t.Errorf("got %v", got)
	}
	cancel()
	waiting.Wait()
	m.want(t, "dougong.limit.a",
		"dougong.limit.abandoned {request} scoring 1 monotonic=true",
		"dougong.limit.admitted {request} scoring 2 monotonic=true",
		"dougong.limit.arriving {request} scoring 0 monotonic=false")
	m.want(t, "dougong.limit.r",
		"dougong.limit.rejected {request} scoring,queue_full 1 monotonic=true",
		"dougong.limit.running {request} scoring 1 monotonic=false")
	m.want(t, "dougong.limit.slots", "dougong.limit.slots {slot} scoring 1 monotonic=false")
	running.Done()

	o := limits.Observer("other")
	o.Started(250 * time.Millisecond)
	o.Started(0)
	o.Done(2 * time.Second)
	o.Done(0) // never had a slot
	o.Rejected("news")
	if got := m.read(t, "dougong.limit.hold"); !slices.Contains(got, "dougong.limit.hold s other 1 2.000") {
		t.Errorf("got %v", got)
	}
	if got := m.read(t, "dougong.limit.wait"); !slices.Contains(got, "dougong.limit.wait s other 2 0.250") {
		t.Errorf("got %v", got)
	}
	if got := m.read(t, "dougong.limit.rejected"); !slices.Contains(got, "dougong.limit.rejected {request} other,news 1 monotonic=true") {
		t.Errorf("got %v", got)
	}
	if err := registration.Unregister(); err != nil {
		t.Error(err)
	}
	m.want(t, "dougong.limit.running")
}

func TestLifecycle(t *testing.T) {
	m := newMeters()
	l := must(NewLifecycle(m))
	l.Begin("shop")
	machine := lifecycle.NewMachine("shop", lifecycle.WithObserver(l))
	states := func(current string) (want []string) {
		for _, s := range []string{"Degraded", "Draining", "Failed", "Initializing", "Ready", "Recovering", "Stopped"} {
			value := 0
			if s == current {
				value = 1
			}
			want = append(want, fmt.Sprintf("dougong.lifecycle.state 1 shop,%s %d monotonic=false", s, value))
		}
		return want
	}
	m.want(t, "dougong.lifecycle.state", states("Initializing")...)
	for _, s := range []lifecycle.State{lifecycle.Ready, lifecycle.Degraded, lifecycle.Recovering, lifecycle.Ready} {
		if err := machine.To(s, nil); err != nil {
			t.Fatal(err)
		}
	}
	m.want(t, "dougong.lifecycle.state", states("Ready")...)
	m.want(t, "dougong.lifecycle.transitions",
		"dougong.lifecycle.transitions {transition} shop,Degraded 1 monotonic=true",
		"dougong.lifecycle.transitions {transition} shop,Ready 2 monotonic=true",
		"dougong.lifecycle.transitions {transition} shop,Recovering 1 monotonic=true")
	l.Forget("shop")
	m.want(t, "dougong.lifecycle.state")
}

func TestBreakers(t *testing.T) {
	m := newMeters()
	breakers := must(NewBreakers(m))
	o := breakers.Observer("search")
	for range 2 {
		o.Changed(breaker.Change{Circuit: "a", From: breaker.Closed, To: breaker.Open})
	}
	o.Changed(breaker.Change{Circuit: "a", From: breaker.Open, To: breaker.HalfOpen})
	o.Late("a", breaker.Failure)
	o.Abandoned("a")
	o.Evicted("b")
	o.Overflowed()
	group := must(breaker.New(breaker.DefaultPolicy(), breaker.WithObserver[string](o)))
	for _, key := range []string{"a", "b"} {
		p := must(group.Allow(key))
		p.Done(breaker.Success)
	}
	for _, outcome := range []breaker.Outcome{breaker.Failure, breaker.Ignored, breaker.SlowCall} {
		p := must(group.Allow("a"))
		p.Done(outcome)
	}
	must(group.Circuit("c")).Trip("test")
	if _, err := group.Allow("c"); !errors.Is(err, breaker.ErrRejected) {
		t.Errorf("got %v", err)
	}
	registration := must(breakers.Watch("search", group.Snapshot))
	m.want(t, "dougong.breaker.",
		"dougong.breaker.abandoned {probe} search 1 monotonic=true",
		"dougong.breaker.calls {call} search,failure 1 monotonic=true",
		"dougong.breaker.calls {call} search,ignored 1 monotonic=true",
		"dougong.breaker.calls {call} search,success 3 monotonic=true",
		"dougong.breaker.circuits {circuit} search,closed 2 monotonic=false",
		"dougong.breaker.circuits {circuit} search,half-open 0 monotonic=false",
		"dougong.breaker.circuits {circuit} search,open 1 monotonic=false",
		"dougong.breaker.circuits {circuit} search,rising 0 monotonic=false",
		"dougong.breaker.evicted {circuit} search 1 monotonic=true",
		"dougong.breaker.late {result} search,failure 1 monotonic=true",
		"dougong.breaker.overflowed {call} search 1 monotonic=true",
		"dougong.breaker.rejected {call} search 1 monotonic=true",
		"dougong.breaker.shedding {circuit} search 0 monotonic=false",
		"dougong.breaker.slow {call} search 1 monotonic=true",
		"dougong.breaker.transitions {transition} search,half-open 1 monotonic=true",
		"dougong.breaker.transitions {transition} search,open 3 monotonic=true")
	group.Forget("b") // what it counted stays
	if got := m.read(t, "dougong.breaker.calls"); !slices.Contains(got, "dougong.breaker.calls {call} search,success 3 monotonic=true") {
		t.Errorf("got %v", got)
	}
	if err := registration.Unregister(); err != nil {
		t.Error(err)
	}
	m.want(t, "dougong.breaker.circuits")
}

func TestSheddingCircuits(t *testing.T) {
	m := newMeters()
	p := breaker.DefaultPolicy()
	p.Conditions = []breaker.Condition{{Above: 0.1, Over: 10 * time.Second, MinRequests: 2, Level: 0.5, Shed: &breaker.Shed{Full: 0.2, Most: 0.5}}}
	manual := clock.NewManual()
	group := must(breaker.New(p, breaker.WithClock[string](manual.Clock())))
	must(must(NewBreakers(m)).Watch("search", group.Snapshot))
	for range 20 {
		manual.Advance(100 * time.Millisecond)
		_ = group.Do(t.Context(), "a", func(context.Context) error { return errBroken })
	}
	m.want(t, "dougong.breaker.shedding", "dougong.breaker.shedding {circuit} search 1 monotonic=false")
}

func TestConns(t *testing.T) {
	m := newMeters()
	conns := must(NewConns(m))
	o := conns.Observer("http")
	for range 3 {
		o.Opened()
	}
	o.Refused(limit.ClientFull)
	o.Closed(limit.Ended)
	o.Closed("news")
	stats := limit.ListenerStats{Open: 2, Clients: 1}
	registration := must(conns.Watch("http", func() limit.ListenerStats { return stats }))
	m.want(t, "dougong.limit.conns.",
		"dougong.limit.conns.clients {client} http 1 monotonic=false",
		"dougong.limit.conns.closed {connection} http,ended 1 monotonic=true",
		"dougong.limit.conns.closed {connection} http,news 1 monotonic=true",
		"dougong.limit.conns.open {connection} http 2 monotonic=false",
		"dougong.limit.conns.opened {connection} http 3 monotonic=true",
		"dougong.limit.conns.refused {connection} http,client_full 1 monotonic=true")
	if err := registration.Unregister(); err != nil {
		t.Error(err)
	}
	m.want(t, "dougong.limit.conns.open ")
}

func TestRamps(t *testing.T) {
	m := newMeters()
	ramps := must(NewRamps(m))
	r := must(ramp.New(ramp.DefaultConfig(), ramp.WithObserver(ramps.Observer("search"))))
	registration := must(ramps.Watch("search", r))
	m.want(t, "dougong.ramp.", "dougong.ramp.share 1 search 1")
	r.Fall(errors.New("away"))
	ramps.Observer("search").Changed(ramp.Change{From: ramp.Rising, To: ramp.Rising, Share: .5}) // a step
	m.want(t, "dougong.ramp.",
		"dougong.ramp.share 1 search 0",
		"dougong.ramp.transitions {transition} search,waiting 1 monotonic=true")
	if err := registration.Unregister(); err != nil {
		t.Error(err)
	}
}

func TestFallbacks(t *testing.T) {
	m := newMeters()
	f := must(fallback.New(fallback.DefaultConfig(), fallback.WithObserver[string, int](must(NewFallbacks(m)).Observer("search"))))
	away := errors.New("away")
	for _, c := range []struct {
		key string
		err error
	}{{"a", nil}, {"a", away}, {"b", away}} {
		_, _ = f.Do(t.Context(), c.key, func(context.Context) (int, error) { return 1, c.err })
	}
	got := m.read(t, "dougong.fallback.")
	if len(got) != 4 || !strings.HasPrefix(got[0], "dougong.fallback.age s search 1 ") || !slices.Equal(got[1:], []string{
		"dougong.fallback.calls {call} search,cached 1 monotonic=true",
		"dougong.fallback.calls {call} search,none 1 monotonic=true",
		"dougong.fallback.calls {call} search,primary 1 monotonic=true",
	}) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// TestObserversAllocateNothing with the SDK behind them.
func TestObserversAllocateNothing(t *testing.T) {
	m := newMeters()
	l := must(NewLimits(m)).Observer("scoring")
	f := must(NewFallbacks(m)).Observer("search")
	c := must(NewConns(m)).Observer("http")
	if n := testing.AllocsPerRun(1000, func() {
		l.Admitted()
		l.Started(time.Millisecond)
		l.Rejected(limit.QueueFull)
		l.Done(time.Millisecond)
		f.Done(fallback.Cached, time.Second, nil)
		c.Opened()
		c.Closed(limit.Ended)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestFaultsOfAProviderAreReported, all of them, with a provider whose instruments fail.
func TestFaultsOfAProviderAreReported(t *testing.T) {
	for name, make := range map[string]func(metric.MeterProvider) error{
		"limits":    func(p metric.MeterProvider) error { _, err := NewLimits(p); return err },
		"lifecycle": func(p metric.MeterProvider) error { _, err := NewLifecycle(p); return err },
		"conns":     func(p metric.MeterProvider) error { _, err := NewConns(p); return err },
		"breakers":  func(p metric.MeterProvider) error { _, err := NewBreakers(p); return err },
		"ramps":     func(p metric.MeterProvider) error { _, err := NewRamps(p); return err },
		"fallbacks": func(p metric.MeterProvider) error { _, err := NewFallbacks(p); return err },
	} {
		if err := make(broken{newMeters()}); !errors.Is(err, errBroken) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

var errBroken = errors.New("broken")

type broken struct{ metric.MeterProvider }

func (p broken) Meter(name string, opts ...metric.MeterOption) metric.Meter {
	return brokenMeter{p.MeterProvider.Meter(name, opts...)}
}

type brokenMeter struct{ metric.Meter }

func (m brokenMeter) Int64Counter(name string, opts ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	c, _ := m.Meter.Int64Counter(name, opts...)
	return c, errBroken
}
