package prom

import (
	"slices"

	"github.com/dougong-io/dougong/adapters/internal/totals"
	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/prometheus/client_golang/prometheus"
)

// Breakers are the metrics of all groups of circuits of a process.
type Breakers struct {
	transitions *prometheus.CounterVec
	late        *prometheus.CounterVec
	abandoned   *prometheus.CounterVec
	watched     *pictures
}

// The metrics that are read from snapshots, as indices.
const (
	breakerCircuits = iota
	breakerCircuitState
	breakerShedding
	breakerCalls
	breakerSlow
	breakerRejected
	breakerEvicted
	breakerOverflown
)

// maxShownCircuits bounds the series of single circuits.
const maxShownCircuits = 100

// NewBreakers declares the metrics of kit/breaker, once in a registry.
func NewBreakers(r *Registry) *Breakers {
	group := []string{"group"}
	return &Breakers{
		transitions: r.CounterVec(Opts{Name: "dougong_breaker_transitions_total", Help: "Transitions of circuits into each state.", Labels: []string{"group", "to"}}),
		late:        r.CounterVec(Opts{Name: "dougong_breaker_late_total", Help: "Results that came after the state of their circuit had ended, or a second time; they were not counted.", Labels: group}),
		abandoned:   r.CounterVec(Opts{Name: "dougong_breaker_abandoned_total", Help: "Probes that said nothing in time.", Labels: group}),
		watched: r.pictures(
			picture{"gauge", Opts{Name: "dougong_breaker_circuits", Help: "Circuits in each state.", Labels: []string{"group", "state"}}},
			picture{"gauge", Opts{Name: "dougong_breaker_circuit_state", Help: "1 for the state of a circuit that is not closed; at most 100 circuits of a group, open ones first.", Labels: []string{"group", "circuit", "state"}}},
			picture{"gauge", Opts{Name: "dougong_breaker_shedding_circuits", Unit: "circuits", Help: "Closed circuits that refuse a part of their calls.", Labels: group}},
			picture{"counter", Opts{Name: "dougong_breaker_calls_total", Help: "Calls that were let in, by outcome: success, failure or ignored; of circuits that sample, estimates. What a circuit counted between the last scrape and its eviction is missing.", Labels: []string{"group", "outcome"}}},
			picture{"counter", Opts{Name: "dougong_breaker_slow_total", Help: "Those of the calls that were slow.", Labels: group}},
			picture{"counter", Opts{Name: "dougong_breaker_rejected_total", Help: "Calls that were refused.", Labels: group}},
			picture{"counter", Opts{Name: "dougong_breaker_evicted_total", Help: "Closed circuits that made room for another key.", Labels: group}},
			picture{"counter", Opts{Name: "dougong_breaker_overflown_total", Help: "Calls that passed uncounted because there was no room for their key.", Labels: group}},
		),
	}
}

var circuitStates = []breaker.State{breaker.Closed, breaker.Open, breaker.HalfOpen, breaker.Rising}

// Observer returns the observer of the group of that name.
func (m *Breakers) Observer(group string) breaker.Observer {
	o := &breakerObserver{
		late:        m.late.WithLabelValues(group),
		abandoned:   m.abandoned.WithLabelValues(group),
		transitions: make(map[breaker.State]prometheus.Counter),
	}
	for _, s := range circuitStates {
		o.transitions[s] = m.transitions.WithLabelValues(group, s.String())
	}
	return o
}

type breakerObserver struct {
	late, abandoned prometheus.Counter
	transitions     map[breaker.State]prometheus.Counter // read only
}

func (o *breakerObserver) Changed(c breaker.Change) {
	if n, ok := o.transitions[c.To]; ok { // an eviction is none
		n.Inc()
	}
}

func (o *breakerObserver) Late(string, breaker.Outcome) { o.late.Inc() }
func (o *breakerObserver) Abandoned(string)             { o.abandoned.Inc() }
func (o *breakerObserver) Evicted(string)               {} // snapshots count these
func (o *breakerObserver) Overflowed()                  {}

// Watch reports the circuits of the group of that name, once for each name; snapshot is the Snapshot of a
// breaker.Group.
//
// Names of circuits are labels while these are not closed: if clients choose keys, and what they choose fails, the
// series of a day can be many, though never more than 100 at a time.
func (m *Breakers) Watch(group string, snapshot func() breaker.GroupStatus) {
	total := &totals.Breakers{}
	m.watched.set(group, func(report emit) {
		s, counts := total.Look(snapshot)
		byState := make(map[breaker.State]int)
		shedding := 0
		var troubled []breaker.Status
		for _, c := range s.Circuits {
			byState[c.State]++
			if c.Shed > 0 {
				shedding++
			}
			if c.State != breaker.Closed {
				troubled = append(troubled, c)
			}
		}
		for _, state := range circuitStates {
			report(breakerCircuits, float64(byState[state]), group, state.String())
		}
		slices.SortStableFunc(troubled, func(a, b breaker.Status) int { return int(a.State) - int(b.State) })
		names := make(map[string]bool)
		for _, c := range troubled[:min(len(troubled), maxShownCircuits)] {
			if !names[c.Name] { // keys that are called alike would break the scrape
				names[c.Name] = true
				report(breakerCircuitState, 1, group, c.Name, c.State.String())
			}
		}
		report(breakerShedding, float64(shedding), group)
		report(breakerCalls, counts.Successes, group, "success")
		report(breakerCalls, counts.Failures, group, "failure")
		report(breakerCalls, float64(counts.Ignored), group, "ignored")
		report(breakerSlow, counts.Slow, group)
		report(breakerRejected, float64(counts.Rejected), group)
		report(breakerEvicted, float64(s.Evicted), group)
		report(breakerOverflown, float64(s.Overflown), group)
	})
}

// Forget removes a group that will not come back.
func (m *Breakers) Forget(group string) {
	m.watched.remove(group)
	for _, v := range []*prometheus.CounterVec{m.transitions, m.late, m.abandoned} {
		v.DeletePartialMatch(prometheus.Labels{"group": group})
	}
}
