package prom

import (
	"github.com/dougong-io/dougong/kit/ramp"
	"github.com/prometheus/client_golang/prometheus"
)

// Ramps are the metrics of all ramps of a process.
type Ramps struct {
	transitions *prometheus.CounterVec
	watched     *pictures
}

// The metrics that are read from a status, as indices.
const (
	rampStage = iota
	rampShare
	rampFalls
	rampRejected
	rampLate
)

var rampStages = []ramp.Stage{ramp.Full, ramp.Waiting, ramp.Testing, ramp.Rising}

// NewRamps declares the metrics of kit/ramp, once in a registry.
func NewRamps(r *Registry) *Ramps {
	name := []string{"ramp"}
	return &Ramps{
		transitions: r.CounterVec(Opts{Name: "dougong_ramp_transitions_total", Help: "Beginnings of each stage.", Labels: []string{"ramp", "to"}}),
		watched: r.pictures(
			picture{"gauge", Opts{Name: "dougong_ramp_stage", Help: "1 for the stage that the ramp is in, 0 for the others.", Labels: []string{"ramp", "stage"}}},
			picture{"gauge", Opts{Name: "dougong_ramp_share", Help: "Share of the keys that is let in, 0 to 1.", Labels: name}},
			picture{"counter", Opts{Name: "dougong_ramp_falls_total", Help: "Failures and relapses.", Labels: name}},
			picture{"counter", Opts{Name: "dougong_ramp_rejected_total", Help: "Calls that were refused.", Labels: name}},
			picture{"counter", Opts{Name: "dougong_ramp_late_total", Help: "Results that came in a later stage, or of test calls after their time.", Labels: name}},
		),
	}
}

// Observer returns the observer of the ramp of that name.
func (m *Ramps) Observer(name string) ramp.Observer {
	o := make(rampObserver)
	for _, stage := range rampStages {
		o[stage] = m.transitions.WithLabelValues(name, string(stage))
	}
	return o
}

type rampObserver map[ramp.Stage]prometheus.Counter // read only

func (o rampObserver) Changed(c ramp.Change) {
	if c.From != c.To { // a step of Rising is no stage
		o[c.To].Inc()
	}
}

// Watch reports where the ramp of that name is, once for each name.
func (m *Ramps) Watch(name string, r *ramp.Ramp) {
	m.watched.set(name, func(report emit) {
		s := r.Status()
		for _, stage := range rampStages {
			value := 0.0
			if stage == s.Stage {
				value = 1
			}
			report(rampStage, value, name, string(stage))
		}
		report(rampShare, s.Share, name)
		report(rampFalls, float64(s.Falls), name)
		report(rampRejected, float64(s.Rejected), name)
		report(rampLate, float64(s.Late), name)
	})
}

// Forget removes a ramp that will not come back.
func (m *Ramps) Forget(name string) {
	m.watched.remove(name)
	m.transitions.DeletePartialMatch(prometheus.Labels{"ramp": name})
}
