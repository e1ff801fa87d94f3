package prom

import (
	"maps"
	"sync"

	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/prometheus/client_golang/prometheus"
)

var states = []lifecycle.State{
	lifecycle.Initializing, lifecycle.Ready, lifecycle.Degraded, lifecycle.Recovering,
	lifecycle.Draining, lifecycle.Stopped, lifecycle.Failed,
}

// Lifecycle is the observer of all machines of a process.
type Lifecycle struct {
	states      *stateVec
	transitions *prometheus.CounterVec
}

var _ lifecycle.Observer = (*Lifecycle)(nil)

// NewLifecycle declares the metrics of kit/lifecycle, once in a registry.
func NewLifecycle(r *Registry) *Lifecycle {
	o := Opts{Name: "dougong_lifecycle_state", Help: "1 for the state that the service, model or plugin is in, 0 for the others.", Labels: []string{"name", "state"}}
	v := &stateVec{desc: prometheus.NewDesc(o.Name, o.Help, o.Labels, nil), now: make(map[string]lifecycle.State)}
	r.declare("gauge", o, true, v)
	return &Lifecycle{
		states:      v,
		transitions: r.CounterVec(Opts{Name: "dougong_lifecycle_transitions_total", Help: "Transitions into each state.", Labels: []string{"name", "state"}}),
	}
}

// Begin shows a machine before its first transition.
func (l *Lifecycle) Begin(name string) { l.states.set(name, lifecycle.Initializing) }

// Transition implements [lifecycle.Observer].
func (l *Lifecycle) Transition(name string, _, to lifecycle.State, _ error) {
	l.states.set(name, to)
	l.transitions.WithLabelValues(name, to.String()).Inc()
}

// Forget removes the series of a machine that will not come back, such as that
// of a model version that was unloaded.
func (l *Lifecycle) Forget(name string) {
	l.states.remove(name)
	l.transitions.DeletePartialMatch(prometheus.Labels{"name": name})
}

// stateVec makes all series of a machine from its one state, so that a scrape
// sees it in exactly one.
type stateVec struct {
	desc *prometheus.Desc
	mu   sync.Mutex
	now  map[string]lifecycle.State // by name
}

func (v *stateVec) set(name string, s lifecycle.State) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now[name] = s
}

func (v *stateVec) remove(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.now, name)
}

// Describe implements prometheus.Collector.
func (v *stateVec) Describe(c chan<- *prometheus.Desc) { c <- v.desc }

// Collect implements prometheus.Collector.
func (v *stateVec) Collect(c chan<- prometheus.Metric) {
	v.mu.Lock()
	now := maps.Clone(v.now)
	v.mu.Unlock()
	for name, current := range now {
		for _, s := range states {
			value := 0.0
			if s == current {
				value = 1
			}
			m, err := prometheus.NewConstMetric(v.desc, prometheus.GaugeValue, value, name, s.String())
			if err != nil {
				m = prometheus.NewInvalidMetric(v.desc, err)
			}
			c <- m
		}
	}
}
