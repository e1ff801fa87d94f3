package otel

import (
	"context"
	"time"

	"github.com/dougong-io/dougong/kit/fallback"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Fallbacks are the instruments of kit/fallback. This type is concurrency safe.
type Fallbacks struct {
	calls metric.Int64Counter
	age   metric.Float64Histogram
}

// NewFallbacks makes the instruments, once for a provider.
func NewFallbacks(p metric.MeterProvider) (*Fallbacks, error) {
	i := newInstruments(p)
	m := &Fallbacks{calls: i.counter("dougong.fallback.calls", "{call}", "Calls by the source of their answer: primary, cached, default, or none.")}
	age, err := i.meter.Float64Histogram("dougong.fallback.age", metric.WithUnit("s"), metric.WithDescription("Age of answers from the cache."),
		metric.WithExplicitBucketBoundaries(1, 2.5, 5, 10, 25, 50, 100, 200, 300, 600, 1200, 3600))
	m.age, i.faults = age, append(i.faults, err)
	return m, i.err()
}

// Observer returns the observer of the fallback of that name.
func (m *Fallbacks) Observer(name string) fallback.Observer {
	n := attribute.String("dougong.fallback.name", name)
	o := &fallbackObserver{Fallbacks: m, record: toRecord(n), sources: make(map[fallback.Source][]metric.AddOption)}
	for _, source := range []fallback.Source{fallback.Primary, fallback.Cached, fallback.Default, fallback.None} {
		o.sources[source] = toAdd(n, attribute.String("dougong.fallback.source", string(source)))
	}
	return o
}

type fallbackObserver struct {
	*Fallbacks
	record  []metric.RecordOption
	sources map[fallback.Source][]metric.AddOption // read only
}

func (o *fallbackObserver) Done(source fallback.Source, age time.Duration, _ error) {
	o.calls.Add(context.Background(), 1, o.sources[source]...)
	if source == fallback.Cached {
		o.age.Record(context.Background(), age.Seconds(), o.record...)
	}
}
