package breaker

import "time"

// Change is a transition of a circuit.
type Change struct {
	Circuit  string // its name
	From, To State
	Number   uint64        // of the transition in its circuit: observers may be called out of order
	Cause    string        // in words
	For      time.Duration // how long it stays open, if it opens
}

// Observer is told what happens rarely. Calls that pass are not reported one by one: see [Circuit.Snapshot]. It is
// called on the goroutine whose call made it happen, with no lock held.
type Observer interface {
	Changed(Change)
	Late(circuit string, o Outcome) // a result came after its state had ended, or a second time; it was not counted
	Abandoned(circuit string)       // a probe said nothing within Policy.ProbeTimeout
	Evicted(circuit string)         // a closed circuit made room for another key
	Overflowed()                    // a call had no circuit, because none could make room: it passes uncounted
}

// event is what an observer is told once the lock is released.
type event func(Observer)
