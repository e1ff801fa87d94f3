package prom

import (
	"time"

	"github.com/dougong-io/dougong/kit/limit"
	"github.com/prometheus/client_golang/prometheus"
)

// Limits are the metrics of all limits of a process.
type Limits struct {
	admitted *prometheus.CounterVec
	rejected *prometheus.CounterVec
	wait     *prometheus.HistogramVec
	hold     *prometheus.HistogramVec

	watched *pictures
}

// The metrics that are read from stats, as indices.
const (
	limitArriving = iota
	limitRunning
	limitQueued
	limitYielding
	limitSlots
	limitTenants
	limitAbandoned
)

// NewLimits declares the metrics of kit/limit, once in a registry.
func NewLimits(r *Registry) *Limits {
	name := []string{"limit"}
	return &Limits{
		admitted: r.CounterVec(Opts{Name: "dougong_limit_admitted_total", Help: "Requests that were given a place.", Labels: name}),
		rejected: r.CounterVec(Opts{Name: "dougong_limit_rejected_total", Help: "Requests that were refused at the door or while they waited, by reason: queue_full, arriving_full, tenant_full, displaced, deadline or closed.", Labels: []string{"limit", "reason"}}),
		wait:     r.HistogramVec(Opts{Name: "dougong_limit_wait_seconds", Unit: "seconds", Help: "Time that requests waited for their slot; those that were refused do not count.", Labels: name}),
		hold:     r.HistogramVec(Opts{Name: "dougong_limit_hold_seconds", Unit: "seconds", Help: "Time that requests held their slot.", Labels: name}),
		watched: r.pictures(
			picture{"gauge", Opts{Name: "dougong_limit_arriving_requests", Unit: "requests", Help: "Requests that were given a place and whose input is still on its way.", Labels: name}},
			picture{"gauge", Opts{Name: "dougong_limit_running_requests", Unit: "requests", Help: "Requests that hold a slot now.", Labels: name}},
			picture{"gauge", Opts{Name: "dougong_limit_queued_requests", Unit: "requests", Help: "Requests that wait for a slot now.", Labels: name}},
			picture{"gauge", Opts{Name: "dougong_limit_yielding_requests", Unit: "requests", Help: "Requests that gave their slot to others between two blocks of their work, and wait to go on.", Labels: name}},
			picture{"gauge", Opts{Name: "dougong_limit_slots", Help: "Slots that there are; an adaptive limit changes them.", Labels: name}},
			picture{"gauge", Opts{Name: "dougong_limit_tenants", Help: "Tenants that have a request here.", Labels: name}},
			picture{"counter", Opts{Name: "dougong_limit_abandoned_total", Help: "Requests that left the queue because their caller went away.", Labels: name}},
		),
	}
}

// Observer returns the observer of the limit of that name. Labels are resolved
// here: a call of the observer costs a few atomic operations.
func (m *Limits) Observer(name string) limit.Observer {
	o := &limitObserver{
		admitted: m.admitted.WithLabelValues(name),
		wait:     m.wait.WithLabelValues(name),
		hold:     m.hold.WithLabelValues(name),
		rejected: make(map[limit.Reason]prometheus.Counter),
	}
	for _, reason := range []limit.Reason{limit.QueueFull, limit.ArrivingFull, limit.TenantFull, limit.Displaced, limit.Deadline, limit.Closed} {
		o.rejected[reason] = m.rejected.WithLabelValues(name, string(reason))
	}
	return o
}

// Watch reports how full the limit of that name is, and how many slots it has, once for each name. A scrape takes one
// picture of it, so that its numbers fit each other.
func (m *Limits) Watch(name string, l *limit.Limit) { m.watch(name, l.Stats) }

func (m *Limits) watch(name string, stats func() limit.Stats) {
	m.watched.set(name, func(report emit) {
		s := stats()
		report(limitArriving, float64(s.Arriving), name)
		report(limitRunning, float64(s.Running), name)
		report(limitQueued, float64(s.Queued), name)
		report(limitYielding, float64(s.Yielding), name)
		report(limitSlots, float64(s.Slots), name)
		report(limitTenants, float64(s.Tenants), name)
		report(limitAbandoned, float64(s.Abandoned), name)
	})
}

type limitObserver struct {
	admitted prometheus.Counter
	wait     prometheus.Observer
	hold     prometheus.Observer
	rejected map[limit.Reason]prometheus.Counter // read only
}

func (o *limitObserver) Admitted()                    { o.admitted.Inc() }
func (o *limitObserver) Started(waited time.Duration) { o.wait.Observe(waited.Seconds()) }

func (o *limitObserver) Rejected(reason limit.Reason) {
	if c, ok := o.rejected[reason]; ok {
		c.Inc()
	}
}

func (o *limitObserver) Done(held time.Duration) {
	if held > 0 {
		o.hold.Observe(held.Seconds())
	}
}
