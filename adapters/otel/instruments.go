package otel

import (
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const scope = "github.com/dougong-io/dougong/adapters/otel"

// seconds suit what takes from half a millisecond to ten seconds.
var seconds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// instruments makes instruments and keeps what went wrong until the end.
type instruments struct {
	meter  metric.Meter
	faults []error
}

func newInstruments(p metric.MeterProvider) *instruments { return &instruments{meter: p.Meter(scope)} }

func (i *instruments) err() error { return errors.Join(i.faults...) }

func (i *instruments) counter(name, unit, description string) metric.Int64Counter {
	c, err := i.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
	i.faults = append(i.faults, err)
	return c
}

func (i *instruments) durations(name, description string) metric.Float64Histogram {
	h, err := i.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description), metric.WithExplicitBucketBoundaries(seconds...))
	i.faults = append(i.faults, err)
	return h
}

func (i *instruments) level(name, unit, description string) metric.Int64ObservableUpDownCounter {
	c, err := i.meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	i.faults = append(i.faults, err)
	return c
}

func (i *instruments) total(name, unit, description string) metric.Int64ObservableCounter {
	c, err := i.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	i.faults = append(i.faults, err)
	return c
}

// estimate is a total of which some is not counted but reckoned.
func (i *instruments) estimate(name, unit, description string) metric.Float64ObservableCounter {
	c, err := i.meter.Float64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	i.faults = append(i.faults, err)
	return c
}

func (i *instruments) share(name, description string) metric.Float64ObservableGauge {
	g, err := i.meter.Float64ObservableGauge(name, metric.WithUnit("1"), metric.WithDescription(description))
	i.faults = append(i.faults, err)
	return g
}

func with(kv ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(kv...))
}

// toAdd and toRecord keep a call from making a slice of its one option.
func toAdd(kv ...attribute.KeyValue) []metric.AddOption { return []metric.AddOption{with(kv...)} }

func toRecord(kv ...attribute.KeyValue) []metric.RecordOption {
	return []metric.RecordOption{with(kv...)}
}
