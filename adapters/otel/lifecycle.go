package otel

import (
	"context"
	"maps"
	"sync"

	"github.com/dougong-io/dougong/kit/lifecycle"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

var states = []lifecycle.State{
	lifecycle.Initializing, lifecycle.Ready, lifecycle.Degraded, lifecycle.Recovering,
	lifecycle.Draining, lifecycle.Stopped, lifecycle.Failed,
}

// Lifecycle is the observer of all machines of a process. This type is concurrency safe.
type Lifecycle struct {
	transitions metric.Int64Counter

	mu  sync.Mutex
	now map[string]lifecycle.State // by name
}

var _ lifecycle.Observer = (*Lifecycle)(nil)

// NewLifecycle makes the instruments of kit/lifecycle, once for a provider.
func NewLifecycle(p metric.MeterProvider) (*Lifecycle, error) {
	i := newInstruments(p)
	l := &Lifecycle{now: make(map[string]lifecycle.State)}
	l.transitions = i.counter("dougong.lifecycle.transitions", "{transition}", "Transitions into each state.")
	state := i.level("dougong.lifecycle.state", "1", "1 for the state that the service, model or plugin is in, 0 for the others.")
	if err := i.err(); err != nil {
		return nil, err
	}
	_, err := i.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		l.mu.Lock()
		now := maps.Clone(l.now)
		l.mu.Unlock()
		for name, current := range now {
			for _, s := range states {
				value := int64(0)
				if s == current {
					value = 1
				}
				o.ObserveInt64(state, value, inState(name, s))
			}
		}
		return nil
	}, state)
	return l, err
}

func inState(name string, s lifecycle.State) metric.MeasurementOption {
	return with(attribute.String("dougong.lifecycle.name", name), attribute.String("dougong.lifecycle.state", s.String()))
}

// Begin shows a machine before its first transition.
func (l *Lifecycle) Begin(name string) { l.set(name, lifecycle.Initializing) }

// Transition implements [lifecycle.Observer].
func (l *Lifecycle) Transition(name string, _, to lifecycle.State, _ error) {
	l.set(name, to)
	l.transitions.Add(context.Background(), 1, inState(name, to))
}

// Forget ends the state of a machine that will not come back, such as that of a model version that was unloaded. Its
// transitions remain counted: OpenTelemetry forgets no counter.
func (l *Lifecycle) Forget(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.now, name)
}

func (l *Lifecycle) set(name string, s lifecycle.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now[name] = s
}
