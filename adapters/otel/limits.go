package otel

import (
	"context"
	"time"

	"github.com/dougong-io/dougong/kit/limit"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Limits are the instruments of kit/limit. This type is concurrency safe.
type Limits struct {
	meter      metric.Meter
	admitted   metric.Int64Counter
	rejected   metric.Int64Counter
	wait, hold metric.Float64Histogram

	arriving, running, queued, yielding, slots metric.Int64ObservableUpDownCounter
	abandoned                                  metric.Int64ObservableCounter
}

// NewLimits makes the instruments, once for a provider.
func NewLimits(p metric.MeterProvider) (*Limits, error) {
	i := newInstruments(p)
	return &Limits{
		meter:     i.meter,
		admitted:  i.counter("dougong.limit.admitted", "{request}", "Requests that were given a place."),
		rejected:  i.counter("dougong.limit.rejected", "{request}", "Requests that were refused at the door or while they waited."),
		wait:      i.durations("dougong.limit.wait", "Time that requests waited for their slot; those that were refused do not count."),
		hold:      i.durations("dougong.limit.hold", "Time that requests held their slot."),
		arriving:  i.level("dougong.limit.arriving", "{request}", "Requests that were given a place and whose input is still on its way."),
		running:   i.level("dougong.limit.running", "{request}", "Requests that hold a slot now."),
		queued:    i.level("dougong.limit.queued", "{request}", "Requests that wait for a slot now."),
		yielding:  i.level("dougong.limit.yielding", "{request}", "Requests that gave their slot to others between two blocks of their work, and wait to go on."),
		slots:     i.level("dougong.limit.slots", "{slot}", "Slots that there are now."),
		abandoned: i.total("dougong.limit.abandoned", "{request}", "Requests that left the queue because their caller went away."),
	}, i.err()
}

func limitName(name string) attribute.KeyValue { return attribute.String("dougong.limit.name", name) }

// Observer returns the observer of the limit of that name.
func (m *Limits) Observer(name string) limit.Observer {
	o := &limitObserver{Limits: m, name: limitName(name), add: toAdd(limitName(name)), record: toRecord(limitName(name)), reasons: make(map[limit.Reason][]metric.AddOption)}
	for _, reason := range []limit.Reason{limit.QueueFull, limit.ArrivingFull, limit.TenantFull, limit.Displaced, limit.Deadline, limit.Closed} {
		o.reasons[reason] = o.because(reason)
	}
	return o
}

// Watch reports how full the limit of that name is, until Unregister of what it returns.
func (m *Limits) Watch(name string, l *limit.Limit) (metric.Registration, error) {
	attributes := with(limitName(name))
	return m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := l.Stats()
		o.ObserveInt64(m.arriving, int64(s.Arriving), attributes)
		o.ObserveInt64(m.running, int64(s.Running), attributes)
		o.ObserveInt64(m.queued, int64(s.Queued), attributes)
		o.ObserveInt64(m.yielding, int64(s.Yielding), attributes)
		o.ObserveInt64(m.slots, int64(s.Slots), attributes)
		o.ObserveInt64(m.abandoned, int64(s.Abandoned), attributes)
		return nil
	}, m.arriving, m.running, m.queued, m.yielding, m.slots, m.abandoned)
}

type limitObserver struct {
	*Limits
	name    attribute.KeyValue
	add     []metric.AddOption
	record  []metric.RecordOption
	reasons map[limit.Reason][]metric.AddOption // read only
}

func (o *limitObserver) because(reason limit.Reason) []metric.AddOption {
	return toAdd(o.name, attribute.String("dougong.limit.reason", string(reason)))
}

func (o *limitObserver) Admitted() { o.admitted.Add(context.Background(), 1, o.add...) }

func (o *limitObserver) Started(waited time.Duration) {
	o.wait.Record(context.Background(), waited.Seconds(), o.record...)
}

func (o *limitObserver) Rejected(reason limit.Reason) {
	add, ok := o.reasons[reason]
	if !ok {
		add = o.because(reason) // one that this package does not know yet
	}
	o.rejected.Add(context.Background(), 1, add...)
}

func (o *limitObserver) Done(held time.Duration) {
	if held > 0 {
		o.hold.Record(context.Background(), held.Seconds(), o.record...)
	}
}
