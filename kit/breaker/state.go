package breaker

import "fmt"

// State is where a circuit is.
type State uint8

// The states.
const (
	Closed   State = iota // calls pass and are counted
	Open                  // calls are refused until its time is over
	HalfOpen              // some calls may try
	Rising                // the probes succeeded: a growing share of the keys passes
	evicted               // the circuit belongs to no key any more
)

var stateNames = [...]string{"closed", "open", "half-open", "rising", "evicted"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText is String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// The word of a circuit is its state, its flags, and above them the generation: the number of transitions, by
// which a late result is known. It changes under the lock of the circuit only.
const (
	stateBits  = 1<<4 - 1
	shedding   = 1 << 4 // a fraction of the calls is refused
	timed      = 1 << 5 // calls are timed
	struck     = 1 << 6 // of a permit alone: its result passes a point
	flagBits   = 1<<8 - 1
	generation = 1 << 8
)
