package workercheck

import (
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// Command starts the worker.
type Command struct {
	Path string
	Args []string // without the program's name
	Env  []string // "NAME=value", beside PATH, HOME, LANG and TZ, which are handed on
	// Log, if set, gets each line of the worker's output; at once, from another goroutine than Run's.
	Log func(line string)
	// LoadWithin bounds a LOAD; 0: a minute. Whatever else the worker is asked must be answered within ten seconds.
	LoadWithin time.Duration
}

// Model is what the worker is given, and what must come out.
type Model struct {
	Name, Version string // as LOAD tells them; empty: "checked" and "1"
	Format        string
	Data          []byte
	Threads       int // 0: 1
	Options       map[string]string
	Cases
}

// Cases are calls with the right answers.
type Cases struct {
	Tolerance float64 // of numbers, absolute; 0: 1e-5
	Cases     []Case  // at least one
	// Slow, if there is one, is a call that computes for a second or more, so that cancelling and ending in the
	// middle of a call is surely in its middle. Without it, ordinary calls are used, many at once.
	Slow []wire.Tensor
}

// Case is a call and its answer. Outputs that are not listed may be there.
type Case struct {
	Inputs, Outputs []wire.Tensor
}

// Verdict of a check.
type Verdict string

// The verdicts.
const (
	Pass    Verdict = "pass"
	Fail    Verdict = "FAIL"
	Skipped Verdict = "skip" // does not apply to this model or system; Detail says why
)

// Result is what one check found.
type Result struct {
	Name    string // "load/unknown-option"
	Why     string // what the rule is for, in a line
	Verdict Verdict
	Detail  string // of a failure: what came instead, and the worker's last lines
	Took    time.Duration
}

// Failures are those of results that failed.
func Failures(results []Result) []Result {
	var failed []Result
	for _, r := range results {
		if r.Verdict == Fail {
			failed = append(failed, r)
		}
	}
	return failed
}
