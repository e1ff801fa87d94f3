package lifecycle

import (
	"errors"
	"fmt"
)

// State is where a service, a model or a plugin is in its life.
type State uint8

// The states. The zero value is Initializing.
const (
	Initializing State = iota // not yet able to serve
	Ready                     // serves
	Degraded                  // serves from its fallback
	Recovering                // the primary is back and takes a growing share
	Draining                  // takes nothing new, ends what is in flight
	Stopped                   // ended, for good
	Failed                    // cannot serve and knows why
)

var stateNames = [...]string{"Initializing", "Ready", "Degraded", "Recovering", "Draining", "Stopped", "Failed"}

// next lists, as a bit set for each state, the states that may follow it.
var next = [...]uint8{
	Initializing: 1<<Ready | 1<<Degraded | 1<<Failed | 1<<Draining,
	Ready:        1<<Degraded | 1<<Draining | 1<<Failed,
	Degraded:     1<<Recovering | 1<<Draining | 1<<Failed,
	Recovering:   1<<Ready | 1<<Degraded | 1<<Draining | 1<<Failed,
	Draining:     1 << Stopped,
	Stopped:      0,
	Failed:       1<<Initializing | 1<<Draining,
}

// String returns the name of the state, such as "Ready".
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// MarshalText returns the name of the state.
func (s State) MarshalText() ([]byte, error) {
	if int(s) < len(stateNames) {
		return []byte(stateNames[s]), nil
	}
	return nil, fmt.Errorf("lifecycle: no state has the number %d", uint8(s))
}

// Serving reports whether requests are answered in this state: Ready, Degraded and Recovering. Readiness
// endpoints answer by it.
func (s State) Serving() bool {
	return s == Ready || s == Degraded || s == Recovering
}

func (s State) allows(to State) bool {
	return int(s) < len(next) && to <= Failed && next[s]&(1<<to) != 0
}

// ErrIllegalTransition matches every [TransitionError].
var ErrIllegalTransition = errors.New("lifecycle: illegal transition")

// TransitionError says which transition was refused. The state was left as it was.
type TransitionError struct {
	Name     string
	From, To State
}

func (e *TransitionError) Error() string {
	return fmt.Sprintf("lifecycle: %s: illegal transition from %v to %v", e.Name, e.From, e.To)
}

// Is reports whether target is [ErrIllegalTransition].
func (e *TransitionError) Is(target error) bool { return target == ErrIllegalTransition }
