package otel

import (
	"context"

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

// Watch reports how many circuits of the group of that name are in which state, until Unregister of what it returns.
// snapshot is the group's Snapshot.
func (m *Breakers) Watch(name string, snapshot func() breaker.GroupStatus) (metric.Registration, error) {
	states := []breaker.State{breaker.Closed, breaker.Open, breaker.HalfOpen, breaker.Rising}
	attributes := make([]metric.ObserveOption, len(states))
	for i, s := range states {
		attributes[i] = with(breakerName(name), breakerState(s))
	}
	return m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		count := make(map[breaker.State]int64)
		for _, c := range snapshot().Circuits {
			count[c.State]++
		}
		for i, s := range states {
			o.ObserveInt64(m.circuits, count[s], attributes[i])
		}
		return nil
	}, m.circuits)
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
