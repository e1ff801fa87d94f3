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

	arriving, running, queued, slots, tenants, abandoned *FuncVec
}

// NewLimits declares the metrics of kit/limit, once in a registry.
func NewLimits(r *Registry) *Limits {
	name := []string{"limit"}
	return &Limits{
		admitted:  r.CounterVec(Opts{Name: "dougong_limit_admitted_total", Help: "Requests that were given a place.", Labels: name}),
		rejected:  r.CounterVec(Opts{Name: "dougong_limit_rejected_total", Help: "Requests that were refused at the door or while they waited, by reason: queue_full, arriving_full, tenant_full, displaced, deadline or closed.", Labels: []string{"limit", "reason"}}),
		wait:      r.HistogramVec(Opts{Name: "dougong_limit_wait_seconds", Unit: "seconds", Help: "Time that requests waited for their slot; those that were refused do not count.", Labels: name}),
		hold:      r.HistogramVec(Opts{Name: "dougong_limit_hold_seconds", Unit: "seconds", Help: "Time that requests held their slot.", Labels: name}),
		arriving:  r.GaugeFuncVec(Opts{Name: "dougong_limit_arriving_requests", Unit: "requests", Help: "Requests that were given a place and whose input is still on its way.", Labels: name}),
		running:   r.GaugeFuncVec(Opts{Name: "dougong_limit_running_requests", Unit: "requests", Help: "Requests that hold a slot now.", Labels: name}),
		queued:    r.GaugeFuncVec(Opts{Name: "dougong_limit_queued_requests", Unit: "requests", Help: "Requests that wait for a slot now.", Labels: name}),
		slots:     r.GaugeFuncVec(Opts{Name: "dougong_limit_slots", Help: "Slots that there are; an adaptive limit changes them.", Labels: name}),
		tenants:   r.GaugeFuncVec(Opts{Name: "dougong_limit_tenants", Help: "Tenants that have a request here.", Labels: name}),
		abandoned: r.CounterFuncVec(Opts{Name: "dougong_limit_abandoned_total", Help: "Requests that left the queue because their caller went away.", Labels: name}),
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

// Watch reports how full the limit of that name is, once for each name.
func (m *Limits) Watch(name string, l *limit.Limit) {
	m.arriving.Add(func() float64 { return float64(l.Stats().Arriving) }, name)
	m.running.Add(func() float64 { return float64(l.Stats().Running) }, name)
	m.queued.Add(func() float64 { return float64(l.Stats().Queued) }, name)
	m.slots.Add(func() float64 { return float64(l.Stats().Slots) }, name)
	m.tenants.Add(func() float64 { return float64(l.Stats().Tenants) }, name)
	m.abandoned.Add(func() float64 { return float64(l.Stats().Abandoned) }, name)
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
