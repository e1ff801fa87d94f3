package worker

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// Engine loads one model. What it returns as a *wire.Failure is told with its code; any other error of Load is a
// refusal, any other of a call the engine's fault.
type Engine interface {
	// Load reads the model's bytes: load.Bytes of them, which has been checked, by ReadAt or mmap from offset 0. (Read
	// would not do: other workers may share the descriptor's position.) The file is closed when Load
	// returns. Options that it does not know it refuses, with UnknownOptions.
	Load(ctx context.Context, load wire.Load, model *os.File) (Model, wire.Loaded, error)
}

// Model is a loaded one. NewLane is called once for each lane before any call; Memory at any time, also during calls;
// Close once, after the last lane was closed.
type Model interface {
	NewLane() (Lane, error)
	Memory() Memory
	Close() error
}

// Memory is what the engine knows to hold, in bytes; 0: not known.
type Memory struct {
	Native int64
	Device int64
}

// Lane answers one call at a time. Its methods are called from one goroutine; those of different lanes at the same
// time if the model said that it is parallel, and one after another (Call, that is) if not.
type Lane interface {
	// Buffer returns at least n bytes, which begin at a multiple of 8, for the frame of the next call. They are the
	// caller's until the next Buffer or Close. What is too short says that there is no memory.
	Buffer(n int) []byte
	// Call computes. The call's names and data are views into the buffer; neither they nor answer may be used later.
	// ctx ends when the call's time is up or when it is cancelled; a call that ends with an error after that is told as
	// expired or cancelled.
	Call(ctx context.Context, call *wire.Call, answer *Answer) error
	Close()
}

// UnknownOptions refuses a LOAD whose options hold keys that are not in known, and names them. It is nil if there are none.
func UnknownOptions(load wire.Load, known ...string) error {
	var unknown []string
	for key := range load.Options {
		if !slices.Contains(known, key) {
			unknown = append(unknown, strconv.Quote(key))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return wire.Failf(wire.Refused, "unknown options: %s; there are: %s", strings.Join(unknown, ", "), strings.Join(known, ", "))
}
