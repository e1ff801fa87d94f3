package supervisor

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/dougong-io/dougong/kit/ramp"
)

// Config says how the workers of a model are kept.
type Config struct {
	Workers int `json:"workers" doc:"Worker processes of each model. Two, so that one can die while the other serves."`
	Lanes   int `json:"lanes" doc:"Calls, or batches of calls, that a worker is given at a time. With two, the next one is there when it ends the one before."`
	Threads int `json:"threads" doc:"Threads that the engine of one worker may compute with. 0: the processors that this process may use, shared by the workers."`
	Queue   int `json:"queue" doc:"Calls of one model that wait for its workers before more are refused with 503."`

	Batch Batch `json:"batch" doc:"Calls that are sent together."`

	StartTimeout time.Duration `json:"start_timeout" doc:"How long a worker may take from its start until it has answered the golden rows."`
	CallTimeout  time.Duration `json:"call_timeout" doc:"How long a call may take whose caller has no deadline."`
	HangAfter    time.Duration `json:"hang_after" doc:"A worker is replaced when a call goes on for so long, and past the deadlines of all who waited for it. Callers are let go at their deadlines, whatever this is."`
	Heartbeat    time.Duration `json:"heartbeat" doc:"How often a worker is asked whether it lives, and how much memory it has."`
	Silence      time.Duration `json:"silence" doc:"A worker that has not answered a heartbeat for so long is replaced. One that was stopped by a signal is at once."`
	Probe        time.Duration `json:"probe" doc:"How often the golden row is asked for, through the way of all calls. Two without an answer, and the model is not ready."`

	MaxMemory  int64         `json:"max_memory" unit:"bytes" doc:"A worker whose resident memory is larger is replaced, when another one has taken its place. 0: no bound."`
	MaxAge     time.Duration `json:"max_age" doc:"A worker that is older is replaced likewise. 0: no bound."`
	DrainAfter time.Duration `json:"drain_timeout" doc:"How long a worker that is replaced, or stopped, may take to end its calls."`

	Backoff    time.Duration `json:"backoff" doc:"How long to wait before a worker that died young is started again. Each further time twice as long, up to max_backoff."`
	MaxBackoff time.Duration `json:"max_backoff" doc:"The longest such wait."`

	Quarantine Quarantine `json:"quarantine" doc:"Inputs that killed two workers."`
}

// Batch bounds what is sent together.
type Batch struct {
	Rows  int           `json:"rows" doc:"Most rows of a batch. Requests with more rows are cut into pieces of this size. 1: no batches are made, and requests go whole."`
	Delay time.Duration `json:"delay" doc:"How long a call waits for others while a worker is free. 0: not at all; batches then form while all workers are busy, and cost no time."`
}

// Quarantine bounds what is remembered.
type Quarantine struct {
	Entries int           `json:"entries" doc:"Most inputs of a model that are remembered; beyond that the oldest is forgotten."`
	For     time.Duration `json:"for" doc:"How long an input is refused."`
}

// DefaultConfig is for models that answer within milliseconds.
func DefaultConfig() Config {
	return Config{
		Workers: 2, Lanes: 2, Queue: 1024,
		Batch:        Batch{Rows: 64},
		StartTimeout: 30 * time.Second, CallTimeout: 30 * time.Second, HangAfter: time.Second,
		Heartbeat: 250 * time.Millisecond, Silence: 2 * time.Second, Probe: time.Second,
		DrainAfter: 5 * time.Second,
		Backoff:    100 * time.Millisecond, MaxBackoff: 10 * time.Second,
		Quarantine: Quarantine{Entries: 1024, For: time.Hour},
	}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	atLeast := func(name string, value, least int) {
		if value < least {
			faults = append(faults, fmt.Errorf("%s: must be at least %d, is %d", name, least, value))
		}
	}
	positive := func(name string, d time.Duration) {
		if d <= 0 {
			faults = append(faults, fmt.Errorf("%s: must be positive, is %v", name, d))
		}
	}
	atLeast("workers", c.Workers, 1)
	atLeast("lanes", c.Lanes, 1)
	atLeast("threads", c.Threads, 0)
	atLeast("queue", c.Queue, 0)
	atLeast("batch.rows", c.Batch.Rows, 1)
	if c.Batch.Delay < 0 {
		faults = append(faults, fmt.Errorf("batch.delay: must not be negative, is %v", c.Batch.Delay))
	}
	positive("start_timeout", c.StartTimeout)
	positive("call_timeout", c.CallTimeout)
	positive("hang_after", c.HangAfter)
	positive("heartbeat", c.Heartbeat)
	positive("probe", c.Probe)
	if c.Silence < 2*c.Heartbeat {
		faults = append(faults, fmt.Errorf("silence: must be at least two heartbeats, is %v", c.Silence))
	}
	if c.MaxMemory < 0 {
		faults = append(faults, fmt.Errorf("max_memory: must not be negative, is %d", c.MaxMemory))
	}
	if c.MaxAge < 0 {
		faults = append(faults, fmt.Errorf("max_age: must not be negative, is %v", c.MaxAge))
	}
	positive("drain_timeout", c.DrainAfter)
	positive("backoff", c.Backoff)
	if c.MaxBackoff < c.Backoff {
		faults = append(faults, fmt.Errorf("max_backoff: must be at least backoff, is %v", c.MaxBackoff))
	}
	atLeast("quarantine.entries", c.Quarantine.Entries, 1)
	positive("quarantine.for", c.Quarantine.For)
	return errors.Join(faults...)
}

// backoffOf is how long to wait before try number attempt, which counts from 0, to start a worker again.
func (c Config) backoffOf(attempt int) time.Duration {
	return ramp.Backoff{First: c.Backoff, Factor: 2, Most: c.MaxBackoff}.Delay(attempt, 0)
}

// threads of the engine of one worker.
func (c Config) threads() int {
	if c.Threads > 0 {
		return c.Threads
	}
	return max(1, runtime.GOMAXPROCS(0)/c.Workers)
}
