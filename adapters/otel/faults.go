package otel

import (
	"context"

	"github.com/dougong-io/dougong/adapters/internal/totals"
	"github.com/dougong-io/dougong/kit/fault"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

var pointCollect = fault.Def{
	Name: "otel.collect", Doc: "Metrics are collected, to be read or exported; the SDK holds its own lock meanwhile.",
	Effects: fault.Fail,
}

// Faults are the instruments of kit/fault. This type is concurrency safe.
type Faults struct {
	meter   metric.Meter
	hits    metric.Int64Counter
	changes metric.Int64Counter
	rules   metric.Int64ObservableUpDownCounter
	killed  metric.Int64ObservableUpDownCounter
	held    metric.Int64ObservableUpDownCounter
	memory  metric.Int64ObservableUpDownCounter
}

// NewFaults makes the instruments, once for a provider.
func NewFaults(p metric.MeterProvider) (*Faults, error) {
	i := newInstruments(p)
	return &Faults{
		meter:   i.meter,
		hits:    i.counter("dougong.fault.hits", "{call}", "Calls that rules struck, by point and effect."),
		changes: i.counter("dougong.fault.changes", "{change}", "Rules that began, by the state in which they did, or changed it, and kill switches that were thrown (killed) or released."),
		rules:   i.level("dougong.fault.rules", "{rule}", "Rules in each state now."),
		killed:  i.level("dougong.fault.killed", "1", "1 while the kill switch of the source is thrown."),
		held:    i.level("dougong.fault.held", "1", "What rules hold now: calls that are delayed or hang, processors that are kept busy, parked goroutines."),
		memory:  i.level("dougong.fault.memory", "By", "Memory that rules hold now."),
	}, i.err()
}

// Observer returns the observer of the set.
func (m *Faults) Observer() fault.Observer { return faultObserver{m} }

type faultObserver struct{ *Faults }

func (o faultObserver) Struck(ctx context.Context, h fault.Hit) {
	o.hits.Add(ctx, 1, with(attribute.String("dougong.fault.point", h.Point), attribute.String("dougong.fault.effect", h.Effect)))
}

func (o faultObserver) Changed(c fault.Change) {
	o.changes.Add(context.Background(), 1, ofRule(c.Source, c.State))
}

func ofSource(source string) attribute.KeyValue {
	return attribute.String("dougong.fault.source", source)
}

func ofRule(source string, state fault.State) metric.MeasurementOption {
	return with(ofSource(source), attribute.String("dougong.fault.state", string(state)))
}

func ofResource(name string) metric.MeasurementOption {
	return with(attribute.String("dougong.fault.resource", name))
}

// Watch reports the rules of a set and what they hold, until Unregister of what it returns. It also gives collections
// the fault point otel.collect: an error is one of the collection, and what hangs does so until its context ends. An
// injected panic is an error too: a reader that exports by itself has nobody above who could recover.
func (m *Faults) Watch(s *fault.Set) (metric.Registration, error) {
	point := s.Point(pointCollect)
	return m.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		m.observe(s, o)
		if point.On() {
			return strike(ctx, point)
		}
		return nil
	}, m.rules, m.killed, m.held, m.memory)
}

func (m *Faults) observe(s *fault.Set, o metric.Observer) {
	st := s.Status()
	rules := totals.Rules(st)
	for _, source := range st.Sources {
		for i, state := range totals.RuleStates {
			o.ObserveInt64(m.rules, rules[source.Name][i], ofRule(source.Name, state))
		}
		killed := int64(0)
		if source.Kill {
			killed = 1
		}
		o.ObserveInt64(m.killed, killed, with(ofSource(source.Name)))
	}
	o.ObserveInt64(m.held, st.Held.Calls, ofResource("calls"))
	o.ObserveInt64(m.held, st.Held.Burning, ofResource("processors"))
	o.ObserveInt64(m.held, st.Held.Goroutines, ofResource("goroutines"))
	o.ObserveInt64(m.memory, st.Held.MemoryBytes)
}

func strike(ctx context.Context, p *fault.Point) (err error) {
	defer fault.Contain(&err)
	return p.Hit(ctx)
}
