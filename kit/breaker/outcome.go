package breaker

import (
	"context"
	"errors"
)

// Outcome is what became of a call.
type Outcome uint8

// The outcomes.
const (
	Success  Outcome = iota
	Failure          // counts against the circuit
	SlowCall         // succeeded, and took too long; Policy.SlowAfter says so by itself
	Ignored          // says nothing about the other side: the caller went away, or had asked for nonsense
)

func (o Outcome) String() string {
	switch o {
	case Success:
		return "success"
	case Failure:
		return "failure"
	case SlowCall:
		return "slow"
	}
	return "ignored"
}

// OutcomeOf reads an error: nil is a Success, what wraps context.Canceled is Ignored, the rest are Failures, a
// deadline that passed among them. Whose cancellation it was it cannot know.
func OutcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return Success
	case errors.Is(err, context.Canceled):
		return Ignored
	}
	return Failure
}
