package load

import (
	"slices"
	"time"

	"github.com/dougong-io/dougong/prove/hdr"
)

// ResultSchema names the form of Result's JSON. The schema itself is prove/report/load-result.schema.json.
const ResultSchema = "dougong.load/1"

// Result is what a run found. It is plain data: its JSON is the published result format, from which every report
// is made.
type Result struct {
	Schema   string    `json:"schema"`
	Version  string    `json:"version,omitempty"` // of the program that ran it
	Started  time.Time `json:"started"`
	Seconds  float64   `json:"seconds"` // how long load was offered
	End      End       `json:"end"`
	Target   string    `json:"target"`
	Protocol Protocol  `json:"protocol"`
	Loop     Loop      `json:"loop"`
	Machine  Machine   `json:"machine"`
	Client   Client    `json:"client"`
	Plan     *Plan     `json:"plan"` // as it ran: defaults filled in; secrets in headers and queries left out, those in bodies not

	Total     Window          `json:"total"`
	Judged    Window          `json:"judged"` // Total without the late intervals: what SLOs are held against
	Stages    []Stage         `json:"stages"`
	Requests  []RequestResult `json:"requests"` // by name, in the order of the plan
	Intervals []Interval      `json:"intervals"`
	// LateSeconds is the length of the intervals in which the generator itself ran late.
	LateSeconds float64 `json:"late_seconds"`

	Breakpoint *Breakpoint   `json:"breakpoint,omitempty"`
	SLO        []SLOResult   `json:"slo"`
	Verdict    Verdict       `json:"verdict"`
	Notes      []string      `json:"notes"`  // what a reader has to know, such as a generator that ran late
	Errors     []ErrorSample `json:"errors"` // the first few messages of each class
}

// End says why a run ended.
type End string

const (
	EndFinished    End = "finished"    // the plan was carried out
	EndInterrupted End = "interrupted" // the context ended first; the result covers what ran
)

// Loop says how requests come to be due.
type Loop string

const (
	OpenLoop   Loop = "open"   // by a schedule, whatever the target does
	ClosedLoop Loop = "closed" // each user waits for its answer, then thinks, then asks again
)

// Verdict is the judgement over all SLOs.
type Verdict string

const (
	VerdictNone         Verdict = "none" // no SLO was given
	VerdictPass         Verdict = "pass"
	VerdictFail         Verdict = "fail"
	VerdictInconclusive Verdict = "inconclusive" // too little was measured, or the generator was too late to judge the target
)

// Machine is where the generator ran.
type Machine struct {
	OS    string `json:"os"`
	Arch  string `json:"arch"`
	CPUs  int    `json:"cpus"`
	Procs int    `json:"procs"` // GOMAXPROCS of the generator
	Go    string `json:"go"`
}

// Client is what the generator itself used.
type Client struct {
	CPUSeconds    float64        `json:"cpu_seconds"`
	CPUPerRequest float64        `json:"cpu_per_request_us"` // microseconds
	PeakMemory    uint64         `json:"peak_memory_bytes"`  // resident, where the system tells
	Replays       uint64         `json:"replays"`            // requests sent again on a new connection, as the target had closed the old one idle or asked for another
	Connections   int            `json:"connections"`
	Late          *hdr.Histogram `json:"late"` // of each request sent: how much later than it could have been, by the generator's own fault
}

// Window is what happened to the requests that were due within it. Every request that was due is in exactly one of
// OK, Failed and Unfinished.
type Window struct {
	Seconds    float64           `json:"seconds"`
	Due        uint64            `json:"due"`        // requests that had to be sent
	OK         uint64            `json:"ok"`         // answered, and every check held
	Good       uint64            `json:"good"`       // good answers that came within the window, whenever they were due: what a rate is made of
	Failed     map[Class]uint64  `json:"failed"`     // by class; classes without a failure are left out
	Unfinished uint64            `json:"unfinished"` // no answer yet when the run was ended; neither good nor bad
	Status     map[string]uint64 `json:"status"`     // answers by status: an HTTP code or a gRPC code's name
	Messages   uint64            `json:"messages"`   // received on streams and WebSockets
	BytesOut   uint64            `json:"bytes_out"`  // on the wire above TLS; without framing for HTTP/2 and gRPC
	BytesIn    uint64            `json:"bytes_in"`
	Connects   uint64            `json:"connects"` // connections set up, TLS included

	// Latency runs from the time at which a request was due to its whole answer, over good answers and over
	// time-outs: the latter count with the time that was waited, or a stall would hide among the errors.
	Latency *hdr.Histogram `json:"latency"`
	// Service is the same from the time at which the request was sent: what a tool reports that lets a slow
	// target slow down the questions (coordinated omission). Compare; do not judge by it.
	Service *hdr.Histogram `json:"service"`
	// Rejected is the latency, from due, of all other failures; a fast refusal must not flatter Latency.
	Rejected *hdr.Histogram `json:"rejected,omitempty"`
	// Connect is the time to set up a connection, TLS included.
	Connect *hdr.Histogram `json:"connect,omitempty"`
}

// Class is a kind of failure. A request has at most one.
type Class string

const (
	ClassRefused  Class = "refused"  // the target refused the connection, or could not be reached
	ClassReset    Class = "reset"    // the connection was reset
	ClassClosed   Class = "closed"   // the connection was closed before the answer was whole
	ClassTimeout  Class = "timeout"  // no whole answer within the time-out
	ClassTLS      Class = "tls"      // no TLS: certificate, version, handshake
	ClassProtocol Class = "protocol" // an answer that breaks its protocol or a limit
	ClassStatus   Class = "status"   // an answer with a status that is not wanted
	ClassCheck    Class = "check"    // a good status, but a check did not hold
	ClassLocal    Class = "local"    // the generator's own fault: no descriptor or port left; no failure of the target
)

const classes = 9

// classOrder is the order in which classes are shown.
var classOrder = [classes]Class{ClassRefused, ClassReset, ClassClosed, ClassTimeout, ClassTLS, ClassProtocol, ClassStatus, ClassCheck, ClassLocal}

// Classes returns all classes, in the order in which reports show them.
func Classes() []Class { return slices.Clone(classOrder[:]) }

func classIndex(class Class) int {
	for i, c := range classOrder {
		if c == class {
			return i
		}
	}
	panic("load: " + string(class) + " is no class of failure")
}

// Stage is a part of the schedule: a step, a ramp. Its requests are those that were due within it.
type Stage struct {
	Name string  `json:"name"`
	From float64 `json:"from"` // seconds since the start
	Rate float64 `json:"rate"` // requests a second that the schedule asks for, on average; 0 in a closed loop
	Window
}

// RequestResult is the part of one named request of the plan.
type RequestResult struct {
	Name string `json:"name"`
	Window
}

// Interval is one second of the run, or more when the run is long: see Plan.MaxIntervals. Its requests are those
// that were due within it; Done counts by the time of the answer.
type Interval struct {
	From        float64 `json:"from"`        // seconds since the start
	Done        uint64  `json:"done"`        // answers and failures that came in this interval, whenever they were due
	Late        bool    `json:"late"`        // the generator itself was late by more than Plan.LateAfter in more than a tenth of it: not judged
	LateSeconds float64 `json:"late_s"`      // seconds of it in which the generator was so late
	LateMax     float64 `json:"late_max_ms"` // by how much at most, in milliseconds
	InFlight    int     `json:"in_flight"`   // requests in flight at the end of the interval
	Window
}

// Breakpoint is the outcome of a search for the highest rate that holds the SLO.
type Breakpoint struct {
	Rate      float64 `json:"rate"`      // highest rate at which every SLO held, requests a second; 0 when none did
	Above     float64 `json:"above"`     // lowest rate at which one did not; 0 when the search ended at its ceiling
	Precision float64 `json:"precision"` // (Above-Rate)/Rate
	Trials    []Trial `json:"trials"`    // in the order in which they ran
	Limit     string  `json:"limit"`     // what ended the search: "slo", "ceiling", "generator", "time", "target", "interrupted"
}

// Trial is a run at one rate.
type Trial struct {
	Rate    float64 `json:"rate"`
	Goodput float64 `json:"goodput"` // good answers a second, those within the SLO's latency where there is one
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason"` // the SLO that did not hold
	Phase   string  `json:"phase"`  // "search", "confirm" or "beyond": past the knee, for the curve
	Window
}

// SLOResult is one objective and whether it held.
type SLOResult struct {
	SLO     string  `json:"slo"`   // as given, such as p99<50ms
	Value   float64 `json:"value"` // as measured, in Unit
	Bound   float64 `json:"bound"`
	Unit    string  `json:"unit"` // "ms", "share", "rps"
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason,omitempty"` // when it is inconclusive
}

// ErrorSample is one message of a class, as the first request met it.
type ErrorSample struct {
	Class   Class   `json:"class"`
	At      float64 `json:"at"` // seconds since the start
	Request string  `json:"request"`
	Message string  `json:"message"`
}

// Failures returns how many requests failed, those of ClassLocal left out: they say nothing about the target.
func (w *Window) Failures() uint64 {
	var n uint64
	for class, count := range w.Failed {
		if class != ClassLocal {
			n += count
		}
	}
	return n
}

// ErrorShare returns the share of finished requests that failed, 0 to 1.
func (w *Window) ErrorShare() float64 {
	failed := w.Failures()
	if failed+w.OK == 0 {
		return 0
	}
	return float64(failed) / float64(failed+w.OK)
}

// Progress is a look at a run while it goes on.
type Progress struct {
	Elapsed   time.Duration
	Total     time.Duration // 0 when it is not known, as in a search
	Phase     string        // a stage's name, "draining" or "search 400/s"
	Rate      float64       // that the schedule asks for now; 0 in a closed loop
	InFlight  int
	Waiting   uint64    // due, but without a free connection yet
	Connected int       // connections of the plan
	Last      Interval  // the last whole second, of which late answers may still be missing
	Sum       Window    // so far
	Done      []float64 // answers in each of the last seconds, at most 120, oldest first
	P99       []float64 // p99 of the requests due in each of those seconds, milliseconds
	LateNow   bool
	LateSum   float64 // seconds marked late so far
}
