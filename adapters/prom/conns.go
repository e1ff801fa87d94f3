package prom

import (
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/prometheus/client_golang/prometheus"
)

// Conns are the metrics of all listeners of a process that bound their connections.
type Conns struct {
	opened  *prometheus.CounterVec
	refused *prometheus.CounterVec
	closed  *prometheus.CounterVec
	watched *pictures
}

// The metrics that are read from stats, as indices.
const (
	connsOpen = iota
	connsClients
)

// NewConns declares the metrics of limit.Listener, once in a registry.
func NewConns(r *Registry) *Conns {
	name := []string{"listener"}
	reason := []string{"listener", "reason"}
	return &Conns{
		opened:  r.CounterVec(Opts{Name: "dougong_limit_conns_opened_total", Help: "Connections that there was room for.", Labels: name}),
		refused: r.CounterVec(Opts{Name: "dougong_limit_conns_refused_total", Help: "Connections that were closed at once, by reason: conns_full or client_full.", Labels: reason}),
		closed:  r.CounterVec(Opts{Name: "dougong_limit_conns_closed_total", Help: "Connections that ended, by reason: ended (by their owner), slow_read, slow_write, or idle when another needed the place.", Labels: reason}),
		watched: r.pictures(
			picture{"gauge", Opts{Name: "dougong_limit_open_connections", Unit: "connections", Help: "Connections that are open.", Labels: name}},
			picture{"gauge", Opts{Name: "dougong_limit_connected_clients", Unit: "clients", Help: "Clients that they are from, where they are bounded by client.", Labels: name}},
		),
	}
}

// Observer returns the observer of the listener of that name.
func (m *Conns) Observer(name string) limit.ConnObserver {
	o := &connObserver{opened: m.opened.WithLabelValues(name), byReason: make(map[limit.ConnReason]prometheus.Counter)}
	for _, reason := range []limit.ConnReason{limit.ConnsFull, limit.ClientFull} {
		o.byReason[reason] = m.refused.WithLabelValues(name, string(reason))
	}
	for _, reason := range []limit.ConnReason{limit.Ended, limit.SlowRead, limit.SlowWrite, limit.Idle} {
		o.byReason[reason] = m.closed.WithLabelValues(name, string(reason))
	}
	return o
}

type connObserver struct {
	opened   prometheus.Counter
	byReason map[limit.ConnReason]prometheus.Counter // read only
}

func (o *connObserver) Opened()                         { o.opened.Inc() }
func (o *connObserver) Refused(reason limit.ConnReason) { o.count(reason) }
func (o *connObserver) Closed(reason limit.ConnReason)  { o.count(reason) }

func (o *connObserver) count(reason limit.ConnReason) {
	if c, ok := o.byReason[reason]; ok {
		c.Inc()
	}
}

// Watch reports the connections of the listener of that name, once for each name; stats is the Stats of a
// limit.Listener.
func (m *Conns) Watch(name string, stats func() limit.ListenerStats) {
	m.watched.set(name, func(report emit) {
		s := stats()
		report(connsOpen, float64(s.Open), name)
		report(connsClients, float64(s.Clients), name)
	})
}
