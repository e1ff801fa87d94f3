package inference

import "time"

// Result is how a prediction request ended.
type Result uint8

const (
	// OK: answered.
	OK Result = iota
	// Invalid: the caller's fault, answered with a 4xx.
	Invalid
	// Rejected: refused before work began, for lack of room or of time.
	Rejected
	// Expired: the deadline passed or the caller left after work had begun.
	Expired
	// Failed: our fault, answered with a 500.
	Failed
	// Results is the number of results.
	Results
)

func (r Result) String() string {
	return [...]string{"ok", "invalid", "rejected", "expired", "failed"}[r]
}

// Observer is told of each prediction request. It is called from many goroutines.
type Observer interface {
	// Version returns the observer for a version; both are empty for requests that no version could be
	// found for. It is called once a version when models are loaded, and must accept repeats.
	Version(model, version string) VersionObserver
}

// VersionObserver is told of a version's requests.
type VersionObserver interface {
	// Begin tells that a request asks for this version; Predicted follows. Requests that no version could
	// be found for do not begin.
	Begin()
	// Predicted tells how a request with so many rows ended, and how long it took from admission to
	// answer. Rows is 0 where they were not counted.
	Predicted(result Result, rows int, took time.Duration)
	// FellBack tells that a fallback, which is named as model/version, answers a request for this version, and why:
	// one of the Reasons. Predicted follows.
	FellBack(by, reason string)
}

type silent struct{}

func (silent) Version(string, string) VersionObserver { return silent{} }
func (silent) Predicted(Result, int, time.Duration)   {}
func (silent) FellBack(string, string)                {}
func (silent) Begin()                                 {}
