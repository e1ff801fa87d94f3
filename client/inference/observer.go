package inferenceclient

import "time"

// Observer is told what calls are made of. It is called on the goroutine of the attempt, with no lock held, and must
// not wait.
type Observer interface {
	Attempted(Attempt) // an attempt has ended
	Withheld(Withheld) // an attempt was not made
}

// Attempt is one that has ended.
type Attempt struct {
	Call     string // what was asked, such as "infer loan-default"
	Endpoint string // the URL
	Number   int    // in its call, from 1
	Hedge    bool   // made beside another; other attempts from the second on are retries
	Lost     bool   // another attempt of the call answered first, or the caller left; Err says nothing about the server
	Err      *Error // nil: it was answered
	Took     time.Duration
}

// Withheld is an attempt that was not made.
type Withheld struct {
	Call     string
	Endpoint string // of a circuit, else ""
	Why      Reason
}

// Reason says why an attempt was not made.
type Reason string

// The reasons.
const (
	BreakerOpen Reason = "breaker"      // the circuit of a server refused it; another server may have taken it
	RetryBudget Reason = "retry_budget" // there were too many retries already
	HedgeBudget Reason = "hedge_budget" // there were too many hedges already
)

type silent struct{}

func (silent) Attempted(Attempt) {}
func (silent) Withheld(Withheld) {}
