package fault

import (
	"time"

	"github.com/dougong-io/dougong/prove/fault/effect"
)

// ResultSchema names the form of Result's JSON.
const ResultSchema = "dougong.faults/1"

// Result is what a run found. It is plain data: its JSON is the published format, from which every report is made.
// Times in seconds count from Started.
type Result struct {
	Schema  string    `json:"schema"`
	Version string    `json:"version,omitempty"` // of the program that ran it
	Run     string    `json:"run"`               // names the run: rules, control groups and the journal carry it
	Started time.Time `json:"started"`           // when load began
	Seconds float64   `json:"seconds"`           // how long load was offered
	End     End       `json:"end"`
	Reason  string    `json:"reason,omitempty"` // why it ended so, unless it finished
	Seed    uint64    `json:"seed"`             // of the order of windows and of the load
	Machine Machine   `json:"machine"`
	Plan    *Plan     `json:"plan"` // as it ran: defaults filled in, without secrets of headers, queries and environments

	Rows     []Row    `json:"rows"`     // one a fault, in the order of the plan; the control, if there is one, comes first
	Timeline []Point  `json:"timeline"` // the whole run, in points of PointSeconds
	Events   []Event  `json:"events"`   // what was done, and what the service said of itself, in order
	Notes    []string `json:"notes"`    // what a reader has to know, such as a generator that ran late

	PointSeconds float64 `json:"point_seconds"`
}

// End says why a run ended.
type End string

const (
	EndFinished    End = "finished"
	EndInterrupted End = "interrupted" // the context ended first; rows cover the pairs that were whole
	EndBroken      End = "broken"      // the target did not come back, or could not be spoken to; later faults were not tried
)

// Kind says what a fault does.
type Kind string

const (
	KindControl Kind = "control" // nothing is done; what it claims is a false alarm
	KindRule    Kind = "rule"    // a rule of kit/fault, put at the admin port
	KindKill    Kind = "kill"    // SIGKILL at the beginning of the window; the process is started again at once
	KindStop    Kind = "stop"    // SIGSTOP, and SIGCONT at the end
	KindRestart Kind = "restart" // SIGTERM at the beginning of the window; started again when it has ended
	KindCPU     Kind = "cpu"     // a quota of processor time
	KindMemory  Kind = "memory"  // a limit of memory
)

// Row is what one fault did.
type Row struct {
	Name    string `json:"name"`
	Kind    Kind   `json:"kind"`
	Detail  string `json:"detail"` // the fault in words, such as "delay 5ms at inference.score"
	Service string `json:"service,omitempty"`
	Status  Status `json:"status"`
	Reason  string `json:"reason,omitempty"` // of a status other than measured

	Pairs  int           `json:"pairs"`  // whole pairs of windows, of which Effect is made
	Effect effect.Effect `json:"effect"` // on against off: latency, rates, lost requests, with intervals and the claim
	Off    effect.Window `json:"off"`    // all off-windows together
	On     effect.Window `json:"on"`     // all on-windows together

	// Hits counts what the rule hit while it was on, pauses before windows included; for faults of processes, how often the fault was applied.
	// A fault without a hit has no effect, whatever the windows say.
	Hits    uint64    `json:"hits"`
	Died    int       `json:"died,omitempty"` // on-windows in which the process ended by itself, and took with it what it had counted
	Detect  Reactions `json:"detect"`         // from the fault being put on until the service said so itself
	Recover Reactions `json:"recover"`        // from the fault being off until latency, errors and state were as before

	Windows []Window `json:"windows"` // in the order in which they ran
}

// Status says how far a fault was tried.
type Status string

const (
	StatusMeasured Status = "measured"
	StatusNotHit   Status = "not hit"   // the rule was on and hit nothing: no effect is claimed
	StatusRefused  Status = "refused"   // the fault could not be applied; Reason says why
	StatusTooFew   Status = "too few"   // fewer than two whole pairs
	StatusNotTried Status = "not tried" // the run ended before
)

// Reactions are times that were taken once an application of the fault.
type Reactions struct {
	Tries   int       `json:"tries"`        // how often it could have been seen, and it is known whether it was
	Seen    int       `json:"seen"`         // how often it was: Tries-Seen is "not detected" or "not recovered"
	Seconds []float64 `json:"seconds"`      // each that was seen, in order
	Median  float64   `json:"median_s"`     // of Seconds; 0 if there is none
	Worst   float64   `json:"worst_s"`      // of Seconds; 0 if there is none
	Bound   float64   `json:"bound_s"`      // how long was waited at most
	By      []string  `json:"by,omitempty"` // the signs by which it was seen, such as "state Degraded" or "circuit open"
	Step    float64   `json:"resolution_s"` // times are known to no better than this, in the worst case

	// Steps are the resolutions of each sign in By, as they were: a service that is silent is known to be after the time
	// that it may take to answer only.
	Steps map[string]float64 `json:"resolution_by_sign_s,omitempty"`

	Unknown int    `json:"unknown,omitempty"` // how often, beside Tries, nobody can tell, as it could not be read what the service says of itself
	Why     string `json:"why,omitempty"`     // why it could not
}

// Window is one window of a fault.
type Window struct {
	Pair      int     `json:"pair"` // from 0; both windows of a pair have the same
	On        bool    `json:"on"`
	From      float64 `json:"from"`
	To        float64 `json:"to"`
	Applied   float64 `json:"applied,omitempty"`   // on: when the fault was on for certain
	Lifted    float64 `json:"lifted,omitempty"`    // on: when it was off again
	Detected  float64 `json:"detected,omitempty"`  // on: when the service said so; 0 is never
	Sign      string  `json:"sign,omitempty"`      // on: by what
	Blind     string  `json:"blind,omitempty"`     // on: why it is not known whether the service said so
	Recovered float64 `json:"recovered,omitempty"` // on: when all was as before; 0 is never within the bound
	Hits      uint64  `json:"hits,omitempty"`
	Whole     bool    `json:"whole"`         // it ran to its end, and the generator was not late in it
	Why       string  `json:"why,omitempty"` // why it is not whole; its pair is left out
	LateMS    float64 `json:"late_ms"`       // the most by which the generator itself was late

	Counts effect.Window `json:"counts"`
}

// Point is a stretch of the timeline; its requests are those that were due within it.
type Point struct {
	At       float64 `json:"at"`
	Due      uint64  `json:"due"`
	OK       uint64  `json:"ok"`
	Errors   uint64  `json:"errors"` // of any class but time-outs
	Timeouts uint64  `json:"timeouts"`
	Degraded uint64  `json:"degraded"`
	P50      float64 `json:"p50_ms"` // over good answers and time-outs; 0 when there was none
	P99      float64 `json:"p99_ms"`
	Late     bool    `json:"late,omitempty"` // the generator itself was late
}

// Event is something that was done to the target, or that it said of itself.
type Event struct {
	At    float64 `json:"at"`
	Fault string  `json:"fault,omitempty"` // the row's name
	Kind  string  `json:"kind"`            // "fault on", "fault off", "state", "circuit", "process", "rule"
	Text  string  `json:"text"`
}

// Machine is where the run took place.
type Machine struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
}
