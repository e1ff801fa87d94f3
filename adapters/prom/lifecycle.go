package prom

import (
	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/prometheus/client_golang/prometheus"
)

var states = []lifecycle.State{
	lifecycle.Initializing, lifecycle.Ready, lifecycle.Degraded, lifecycle.Recovering,
	lifecycle.Draining, lifecycle.Stopped, lifecycle.Failed,
}

// Lifecycle is the observer of all machines of a process.
type Lifecycle struct {
	state       *prometheus.GaugeVec
	transitions *prometheus.CounterVec
}

var _ lifecycle.Observer = (*Lifecycle)(nil)

// NewLifecycle declares the metrics of kit/lifecycle, once in a registry.
func NewLifecycle(r *Registry) *Lifecycle {
	return &Lifecycle{
		state:       r.GaugeVec(Opts{Name: "dougong_lifecycle_state", Help: "1 for the state that the service, model or plugin is in, 0 for the others.", Labels: []string{"name", "state"}}),
		transitions: r.CounterVec(Opts{Name: "dougong_lifecycle_transitions_total", Help: "Transitions into each state.", Labels: []string{"name", "state"}}),
	}
}

// Begin shows a machine before its first transition.
func (l *Lifecycle) Begin(name string) { l.show(name, lifecycle.Initializing) }

// Transition implements [lifecycle.Observer].
func (l *Lifecycle) Transition(name string, _, to lifecycle.State, _ error) {
	l.show(name, to)
	l.transitions.WithLabelValues(name, to.String()).Inc()
}

func (l *Lifecycle) show(name string, now lifecycle.State) {
	for _, s := range states {
		value := 0.0
		if s == now {
			value = 1
		}
		l.state.WithLabelValues(name, s.String()).Set(value)
	}
}

// Forget removes the series of a machine that will not come back, such as that
// of a model version that was unloaded.
func (l *Lifecycle) Forget(name string) {
	l.state.DeletePartialMatch(prometheus.Labels{"name": name})
	l.transitions.DeletePartialMatch(prometheus.Labels{"name": name})
}
