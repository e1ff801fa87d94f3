package otel

import (
	"context"

	"github.com/dougong-io/dougong/kit/ramp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Ramps are the instruments of kit/ramp. This type is concurrency safe.
type Ramps struct {
	meter   metric.Meter
	entered metric.Int64Counter
	share   metric.Float64ObservableGauge
}

// NewRamps makes the instruments, once for a provider.
func NewRamps(p metric.MeterProvider) (*Ramps, error) {
	i := newInstruments(p)
	return &Ramps{
		meter:   i.meter,
		entered: i.counter("dougong.ramp.transitions", "{transition}", "Transitions into each stage of a recovery; into waiting they are falls."),
		share:   i.share("dougong.ramp.share", "Share of the keys that is let in now."),
	}, i.err()
}

func rampName(name string) attribute.KeyValue { return attribute.String("dougong.ramp.name", name) }

// Observer returns the observer of the ramp of that name.
func (m *Ramps) Observer(name string) ramp.Observer { return &rampObserver{m, rampName(name)} }

// Watch reports the share of the ramp of that name, until Unregister of what it returns.
func (m *Ramps) Watch(name string, r *ramp.Ramp) (metric.Registration, error) {
	attributes := with(rampName(name))
	return m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveFloat64(m.share, r.Status().Share, attributes)
		return nil
	}, m.share)
}

type rampObserver struct {
	*Ramps
	name attribute.KeyValue
}

func (o *rampObserver) Changed(c ramp.Change) {
	if c.From == c.To && c.To == ramp.Rising {
		return // a step
	}
	o.entered.Add(context.Background(), 1, with(o.name, attribute.String("dougong.ramp.stage", string(c.To))))
}
