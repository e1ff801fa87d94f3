package otel

import (
	"context"

	"github.com/dougong-io/dougong/adapters/internal/totals"
	"github.com/dougong-io/dougong/kit/breaker"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Breakers are the instruments of kit/breaker. They know groups, not circuits: keys may be many, and a client may
// choose them. This type is concurrency safe.
type Breakers struct {
	meter       metric.Meter
	transitions metric.Int64Counter
	late        metric.Int64Counter
	abandoned   metric.Int64Counter
	evicted     metric.Int64Counter
	overflowed  metric.Int64Counter
	circuits    metric.Int64ObservableUpDownCounter
	shedding    metric.Int64ObservableUpDownCounter
	calls       metric.Float64ObservableCounter
	slow        metric.Float64ObservableCounter
	rejected    metric.Int64ObservableCounter
}

// NewBreakers makes the instruments, once for a provider.
func NewBreakers(p metric.MeterProvider) (*Breakers, error) {
	i := newInstruments(p)
	return &Breakers{
		meter:       i.meter,
		transitions: i.counter("dougong.breaker.transitions", "{transition}", "Transitions of circuits into each state."),
		late:        i.counter("dougong.breaker.late", "{result}", "Results that came after their state had ended, or a second time, and were not counted."),
		abandoned:   i.counter("dougong.breaker.abandoned", "{probe}", "Probes that said nothing in time."),
		evicted:     i.counter("dougong.breaker.evicted", "{circuit}", "Closed circuits that made room for another key."),
		overflowed:  i.counter("dougong.breaker.overflowed", "{call}", "Calls that passed uncounted, because no circuit could make room."),
		circuits:    i.level("dougong.breaker.circuits", "{circuit}", "Circuits in each state now."),
		shedding:    i.level("dougong.breaker.shedding", "{circuit}", "Closed circuits that refuse a part of their calls now."),
		calls:       i.estimate("dougong.breaker.calls", "{call}", "Calls that were let in, by outcome: success, failure or ignored; of circuits that sample, estimates. What a circuit counted between the last collection and its eviction is missing."),
		slow:        i.estimate("dougong.breaker.slow", "{call}", "Those of the calls that were slow."),
		rejected:    i.total("dougong.breaker.rejected", "{call}", "Calls that were refused."),
	}, i.err()
}

func breakerName(name string) attribute.KeyValue {
	return attribute.String("dougong.breaker.name", name)
}

func breakerState(s breaker.State) attribute.KeyValue {
	return attribute.String("dougong.breaker.state", s.String())
}

// Observer returns the observer of the group of that name.
func (m *Breakers) Observer(name string) breaker.Observer {
	return &breakerObserver{Breakers: m, name: breakerName(name), add: toAdd(breakerName(name))}
}

// Watch reports the circuits of the group of that name, in which states they are and what calls became of, until
// Unregister of what it returns. snapshot is the group's Snapshot; a collection takes one.
func (m *Breakers) Watch(name string, snapshot func() breaker.GroupStatus) (metric.Registration, error) {
	states := []breaker.State{breaker.Closed, breaker.Open, breaker.HalfOpen, breaker.Rising}
	attributes := make([]metric.ObserveOption, len(states))
	for i, s := range states {
		attributes[i] = with(breakerName(name), breakerState(s))
	}
	group := with(breakerName(name))
	success, failure, ignored := ofOutcome(name, breaker.Success), ofOutcome(name, breaker.Failure), ofOutcome(name, breaker.Ignored)
	total := &totals.Breakers{}
	return m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s, sum := total.Look(snapshot)
		count, shedding := make(map[breaker.State]int64), int64(0)
		for _, c := range s.Circuits {
			count[c.State]++
			if c.Shed > 0 {
				shedding++
			}
		}
		for i, state := range states {
			o.ObserveInt64(m.circuits, count[state], attributes[i])
		}
		o.ObserveInt64(m.shedding, shedding, group)
		o.ObserveFloat64(m.calls, sum.Successes, success)
		o.ObserveFloat64(m.calls, sum.Failures, failure)
		o.ObserveFloat64(m.calls, float64(sum.Ignored), ignored)
		o.ObserveFloat64(m.slow, sum.Slow, group)
		o.ObserveInt64(m.rejected, int64(sum.Rejected), group)
		return nil
	}, m.circuits, m.shedding, m.calls, m.slow, m.rejected)
}

func ofOutcome(name string, outcome breaker.Outcome) metric.MeasurementOption {
	return with(breakerName(name), attribute.String("dougong.breaker.outcome", outcome.String()))
}

type breakerObserver struct {
	*Breakers
	name attribute.KeyValue
	add  []metric.AddOption
}

func (o *breakerObserver) Changed(c breaker.Change) {
	o.transitions.Add(context.Background(), 1, with(o.name, breakerState(c.To)))
}

func (o *breakerObserver) Late(_ string, outcome breaker.Outcome) {
	o.late.Add(context.Background(), 1, with(o.name, attribute.String("dougong.breaker.outcome", outcome.String())))
}

func (o *breakerObserver) Abandoned(string) { o.abandoned.Add(context.Background(), 1, o.add...) }
func (o *breakerObserver) Evicted(string)   { o.evicted.Add(context.Background(), 1, o.add...) }
func (o *breakerObserver) Overflowed()      { o.overflowed.Add(context.Background(), 1, o.add...) }
