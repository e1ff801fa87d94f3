package supervisor

import (
	"context"
	"log/slog"

	"github.com/dougong-io/dougong/kit/fault"
)

// Command starts a worker.
type Command struct {
	Path string   // of the program
	Args []string // without its name
	Env  []string // all of its environment, name=value, beside what the protocol sets
}

// Model is what the workers of a pool serve: one tensor of rows in, one out.
type Model struct {
	Name, Version string
	Format        string            // of Bytes, as the worker knows it: onnx
	Bytes         []byte            // verified; the pool keeps its own copy, outside Go's heap
	Options       map[string]string // for the worker
	Input, Output string            // names of the tensors; "": the only ones that the model has
	Features      int               // of a row
	Outputs       int               // of an answer
	Golden        []GoldenRow       // at least one
	Tolerance     float64           // times the larger of 1 and the expected value
	FailFast      bool              // calls are not to wait while there is no worker: something else can answer them
}

// GoldenRow is an input and its answer.
type GoldenRow struct{ Input, Output []float64 }

// Deps are what a pool is given. Each may be nil.
type Deps struct {
	Observer Observer
	Log      *slog.Logger
	Faults   *fault.Set
	// Trace is the trace that a call belongs to.
	Trace func(context.Context) (trace [16]byte, span [8]byte, flags byte)
	// Healthy is told whenever the model begins or ceases to answer its golden row, with why it ceased. It is called from
	// one goroutine.
	Healthy func(why error)
}

// Observer is told what happens to workers and calls. It is called from many goroutines, with no lock held.
type Observer interface {
	// Started tells that a worker serves, so long after it was spawned.
	Started(seconds float64)
	// Ended tells why a worker is gone.
	Ended(End)
	// Ready tells how many workers serve, after each change.
	Ready(workers int)
	// Memory tells a worker's, at each heartbeat: resident, native and on the device.
	Memory(worker int, resident, native, device int64)
	// Sent tells that so many calls with so many rows went to a worker together, and how long it took.
	Sent(calls, rows int, seconds float64)
	// Retried tells that a call goes to another worker because its own has died.
	Retried()
	// Quarantined tells that an input was taken into quarantine.
	Quarantined()
	// Refused tells that one was refused which is in there.
	Refused()
}

// End is why a worker is gone.
type End uint8

const (
	EndStopped  End = iota // the pool was stopped
	EndRecycled            // it was too large or too old
	EndExited              // it ended by itself
	EndKilled              // by a signal
	EndSilent              // it did not answer heartbeats, or was stopped by a signal
	EndHung                // a call went on too long
	EndBreach              // it broke the protocol
	EndFailed              // it could not start, or did not reproduce the golden rows
	Ends                   // how many there are
)

func (e End) String() string {
	return [...]string{"stopped", "recycled", "exited", "killed", "silent", "hung", "breach", "failed"}[e]
}

type silent struct{}

func (silent) Started(float64)                 {}
func (silent) Ended(End)                       {}
func (silent) Ready(int)                       {}
func (silent) Memory(int, int64, int64, int64) {}
func (silent) Sent(int, int, float64)          {}
func (silent) Retried()                        {}
func (silent) Quarantined()                    {}
func (silent) Refused()                        {}
