package otel

import (
	"context"

	"github.com/dougong-io/dougong/kit/limit"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Conns are the instruments of limit.Listener. This type is concurrency safe.
type Conns struct {
	meter           metric.Meter
	opened          metric.Int64Counter
	refused, closed metric.Int64Counter
	open, clients   metric.Int64ObservableUpDownCounter
}

// NewConns makes the instruments, once for a provider.
func NewConns(p metric.MeterProvider) (*Conns, error) {
	i := newInstruments(p)
	return &Conns{
		meter:   i.meter,
		opened:  i.counter("dougong.limit.conns.opened", "{connection}", "Connections that there was room for."),
		refused: i.counter("dougong.limit.conns.refused", "{connection}", "Connections that were closed at once, by reason."),
		closed:  i.counter("dougong.limit.conns.closed", "{connection}", "Connections that ended, by reason: by their owner, as too slow, or idle when another needed the place."),
		open:    i.level("dougong.limit.conns.open", "{connection}", "Connections that are open now."),
		clients: i.level("dougong.limit.conns.clients", "{client}", "Clients that they are from, where they are bounded by client."),
	}, i.err()
}

func listenerName(name string) attribute.KeyValue {
	return attribute.String("dougong.limit.listener", name)
}

// Observer returns the observer of the listener of that name.
func (m *Conns) Observer(name string) limit.ConnObserver {
	o := &connObserver{Conns: m, name: listenerName(name), add: toAdd(listenerName(name)), reasons: make(map[limit.ConnReason][]metric.AddOption)}
	for _, reason := range []limit.ConnReason{limit.ConnsFull, limit.ClientFull, limit.Ended, limit.SlowRead, limit.SlowWrite, limit.Idle} {
		o.reasons[reason] = o.because(reason)
	}
	return o
}

// Watch reports the connections of the listener of that name, until Unregister of what it returns. stats is the Stats
// of a limit.Listener.
func (m *Conns) Watch(name string, stats func() limit.ListenerStats) (metric.Registration, error) {
	attributes := with(listenerName(name))
	return m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := stats()
		o.ObserveInt64(m.open, int64(s.Open), attributes)
		o.ObserveInt64(m.clients, int64(s.Clients), attributes)
		return nil
	}, m.open, m.clients)
}

type connObserver struct {
	*Conns
	name    attribute.KeyValue
	add     []metric.AddOption
	reasons map[limit.ConnReason][]metric.AddOption // read only
}

func (o *connObserver) because(reason limit.ConnReason) []metric.AddOption {
	return toAdd(o.name, attribute.String("dougong.limit.reason", string(reason)))
}

func (o *connObserver) of(reason limit.ConnReason) []metric.AddOption {
	if add, ok := o.reasons[reason]; ok {
		return add
	}
	return o.because(reason) // one that this package does not know yet
}

func (o *connObserver) Opened() { o.opened.Add(context.Background(), 1, o.add...) }

func (o *connObserver) Refused(reason limit.ConnReason) {
	o.refused.Add(context.Background(), 1, o.of(reason)...)
}

func (o *connObserver) Closed(reason limit.ConnReason) {
	o.closed.Add(context.Background(), 1, o.of(reason)...)
}
