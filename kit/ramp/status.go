package ramp

import "time"

// Observer is told of the changes of a ramp, on the goroutine whose call brought them about, with no lock held.
// Two goroutines may tell at once: what keeps the last change looks at its Number.
type Observer interface {
	Changed(Change)
}

// Change is the beginning of a stage, or a step of [Rising], which is a change from Rising to Rising.
type Change struct {
	Number  uint64 // counts from 1 without a gap
	From    Stage
	To      Stage
	Share   float64       // of the keys let in now: 1 in Full, 0 in Waiting and Testing
	Wait    time.Duration // in Waiting: for how long
	Attempt int           // of the back-off, 0 for the first
	Cause   error         // of a fall, never nil then; else nil
}

// Status is a picture of a ramp for a console.
type Status struct {
	Stage     Stage         `json:"stage"`
	For       time.Duration `json:"for"`       // how long it has been in this stage
	Next      time.Duration `json:"next"`      // until time changes the stage or the step; 0 if it will not
	Share     float64       `json:"share"`     // as in Change
	Attempt   int           `json:"attempt"`   // of the back-off, 0 for the first
	Probes    int           `json:"probes"`    // test calls in flight
	Successes int           `json:"successes"` // of test calls, while Testing
	Falls     uint64        `json:"falls"`     // since New
	Cause     string        `json:"cause"`     // of the last fall, "" if there was none
	Rejected  uint64        `json:"rejected"`  // calls since New
	Late      uint64        `json:"late"`      // results that came in a later stage, or of test calls after their time
}

// Status returns a consistent picture, after time has had its effect.
func (r *Ramp) Status() Status {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.unlock()
	st := r.advance(now)
	r.freePlaces(now)
	s := Status{
		Stage: st.stage, For: max(0, now-st.since), Share: st.share, Attempt: max(0, r.attempt), Probes: len(r.calls), Successes: r.successes,
		Falls: r.falls, Rejected: r.rejected.Load(), Late: r.late,
	}
	if st.until != never {
		s.Next = st.until - now
	}
	if r.cause != nil {
		s.Cause = r.cause.Error()
	}
	return s
}
