package effect

import "github.com/dougong-io/dougong/prove/hdr"

// Window is what happened to the requests that were due within a stretch of time in which the fault was on
// throughout, or off throughout. The counts need not add up: a request that timed out may be lost, too.
type Window struct {
	// Latency runs from the time at which a request was due to its whole answer, of good answers and of time-outs;
	// the latter count with the time that was waited. nil is none.
	Latency  *hdr.Histogram `json:"latency"`
	Sent     uint64         `json:"sent"`     // what Timeouts, Errors and Lost are a share of
	Answered uint64         `json:"answered"` // good answers: what Degraded is a share of
	Timeouts uint64         `json:"timeouts"`
	Errors   uint64         `json:"errors"` // failures of any other kind
	Degraded uint64         `json:"degraded"`
	Lost     uint64         `json:"lost"` // never answered at all
}

// Pair is two windows that lie beside each other in time. Which of them came first is to be drawn by lot.
type Pair struct {
	Off Window `json:"off"`
	On  Window `json:"on"`
}
