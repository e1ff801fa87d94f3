package prom

import (
	"context"

	"github.com/dougong-io/dougong/adapters/internal/totals"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/prometheus/client_golang/prometheus"
)

// Faults are the metrics of the fault injection of a process.
type Faults struct {
	hits    *prometheus.CounterVec
	changes *prometheus.CounterVec
	watched *pictures
}

// The metrics that are read from a status, as indices.
const (
	faultRules = iota
	faultKilled
	faultHeld
)

// NewFaults declares the metrics of kit/fault, once in a registry.
func NewFaults(r *Registry) *Faults {
	return &Faults{
		hits:    r.CounterVec(Opts{Name: "dougong_fault_hits_total", Help: "Calls that rules struck, by point and effect.", Labels: []string{"point", "effect"}}),
		changes: r.CounterVec(Opts{Name: "dougong_fault_changes_total", Help: "Rules that began, by the state in which they did, or changed it, and kill switches that were thrown (killed) or released.", Labels: []string{"source", "state"}}),
		watched: r.pictures(
			picture{"gauge", Opts{Name: "dougong_fault_rules", Help: "Rules in each state.", Labels: []string{"source", "state"}}},
			picture{"gauge", Opts{Name: "dougong_fault_killed", Help: "1 while the kill switch of the source is thrown.", Labels: []string{"source"}}},
			picture{"gauge", Opts{Name: "dougong_fault_held", Help: "What rules hold: calls that are delayed or hang, processors that are kept busy, parked goroutines, bytes of memory.", Labels: []string{"resource"}}},
		),
	}
}

// Observer returns the observer of the set.
func (m *Faults) Observer() fault.Observer { return faultObserver{m} }

type faultObserver struct{ *Faults }

func (o faultObserver) Struck(_ context.Context, h fault.Hit) {
	o.hits.WithLabelValues(h.Point, h.Effect).Inc()
}

func (o faultObserver) Changed(c fault.Change) {
	o.changes.WithLabelValues(c.Source, string(c.State)).Inc()
}

// Watch reports the rules of a set, and what they hold.
func (m *Faults) Watch(s *fault.Set) {
	m.watched.set("", func(report emit) {
		st := s.Status()
		rules := totals.Rules(st)
		for _, source := range st.Sources {
			for i, state := range totals.RuleStates {
				report(faultRules, float64(rules[source.Name][i]), source.Name, string(state))
			}
			killed := 0.0
			if source.Kill {
				killed = 1
			}
			report(faultKilled, killed, source.Name)
		}
		report(faultHeld, float64(st.Held.Calls), "calls")
		report(faultHeld, float64(st.Held.Burning), "processors")
		report(faultHeld, float64(st.Held.Goroutines), "goroutines")
		report(faultHeld, float64(st.Held.MemoryBytes), "memory_bytes")
	})
}
