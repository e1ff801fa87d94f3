package effect

// Verdict is what may be said of a fault.
type Verdict string

const (
	Claimed    Verdict = "effect"     // it changed something: see Effect.Claims
	NotClaimed Verdict = "no_effect"  // nothing that chance does not explain; the intervals say how much may have been missed
	NeverHit   Verdict = "never_hit"  // no request met the fault, so whatever was measured is not its effect
	TooFew     Verdict = "too_little" // fewer than MinPairs pairs, of which chance explains anything
)

// MinPairs is how many pairs a claim needs: of five, all differences point the same way by chance once in sixteen.
const MinPairs = 6

// Effect is what a fault changed. It is plain data, without NaN and infinities.
type Effect struct {
	Verdict Verdict   `json:"verdict"`
	Claims  []Measure `json:"claims"` // of which measures a change is claimed; errors of the whole family are bounded
	Pairs   int       `json:"pairs"`  // that were given

	P50      Difference `json:"p50"`      // milliseconds
	P99      Difference `json:"p99"`      // milliseconds
	Timeouts Difference `json:"timeouts"` // share of those sent, 0 to 1
	Errors   Difference `json:"errors"`   // share of those sent
	Degraded Difference `json:"degraded"` // share of those answered
	Lost     Difference `json:"lost"`     // share of those sent
}

// Difference is how a measure differs with the fault on from what it is with the fault off.
type Difference struct {
	Known   bool    `json:"known"` // false when fewer than two pairs have enough to tell; all else is then zero
	Pairs   int     `json:"pairs"` // with enough to tell
	Off     float64 `json:"off"`   // latencies: the median of the windows; shares: of all windows together
	On      float64 `json:"on"`
	Value   float64 `json:"value"` // on less off; for latencies not quite On-Off, as it is made of the pairs
	Low     float64 `json:"low"`   // of the 95 % interval
	High    float64 `json:"high"`
	AtLeast bool    `json:"at_least"` // with the fault on the quantile is itself a time-out: the truth is Value or more, and High bounds nothing
	P       float64 `json:"p"`        // adjusted for all measures being looked at together
	Claimed bool    `json:"claimed"`
}

// Measure names one of the differences.
type Measure string

// The measures, in the order in which they are shown.
const (
	P50      Measure = "p50"
	P99      Measure = "p99"
	Timeouts Measure = "timeouts"
	Errors   Measure = "errors"
	Degraded Measure = "degraded"
	Lost     Measure = "lost"
)
