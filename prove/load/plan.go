package load

import (
	"time"

	"github.com/dougong-io/dougong/prove/load/schedule"
)

// Protocol is how a target is spoken to.
type Protocol string

const (
	HTTP1     Protocol = "http1" // HTTP/1.1 with keep-alive, one request at a time a connection
	HTTP2     Protocol = "http2" // over TLS, or in clear text with prior knowledge
	GRPC      Protocol = "grpc"
	WebSocket Protocol = "ws"
)

// Duration is a time.Duration that is written as "1.5s" in JSON and YAML.
type Duration = schedule.Duration

// Plan is what a run does. Fill in Target and an arrival, take the rest from DefaultPlan. It is data: a Plan can be
// written to a file, kept in a repository and run again.
type Plan struct {
	Target      string   `json:"target" doc:"URL of the target: http, https, ws, wss, grpc or grpcs"`
	Protocol    Protocol `json:"protocol" doc:"http1, http2, grpc or ws; empty takes it from the target's scheme"`
	AllowRemote string   `json:"allow_remote" doc:"host that may be loaded although it is not loopback; has to equal the target's host"`

	Open   *schedule.Spec `json:"open" doc:"open loop: requests are due by this schedule, whatever the target does"`
	Closed *Closed        `json:"closed" doc:"closed loop: each user waits for an answer before it goes on"`

	Connections int      `json:"connections" doc:"connections to the target"`
	Streams     int      `json:"streams" doc:"requests at the same time on each connection; above 1 with http2 and grpc only"`
	Timeout     Duration `json:"timeout" doc:"after it was due, a request without a whole answer fails"`
	Drain       Duration `json:"drain" doc:"how long the end of a run waits for answers that are still due; at most timeout"`
	MaxBody     int64    `json:"max_body" unit:"bytes" doc:"an answer that is longer breaks the protocol"`
	TLS         TLS      `json:"tls" doc:"for https, wss and grpcs"`

	Rows      Rows       `json:"rows" doc:"rows whose columns the templates name"`
	Scenarios []Scenario `json:"scenarios" doc:"what is asked; each arrival draws one by weight"`
	GRPC      GRPCSource `json:"grpc" doc:"where message types come from"`

	SLO          []string `json:"slo" doc:"objectives, such as p99<50ms, errors<0.1%, rate>990"`
	LateAfter    Duration `json:"late_after" doc:"a second in which the generator itself was later than this is marked and not judged"`
	MaxLate      float64  `json:"max_late" doc:"share of late seconds above which the verdict is inconclusive"`
	MaxIntervals int      `json:"max_intervals" doc:"intervals kept; a run with more seconds gets longer intervals, so memory is bounded"`
	Seed         uint64   `json:"seed" doc:"of all random choices; 0 draws one, which the result tells"`
	Search       *Search  `json:"search" doc:"look for the highest rate that holds the SLO, instead of following a schedule"`
}

// Closed is a closed loop.
type Closed struct {
	Users    int      `json:"users" doc:"users at the same time; at most connections × streams"`
	Think    Duration `json:"think" doc:"pause of a user after each scenario"`
	Duration Duration `json:"duration" doc:"how long"`
}

// TLS configures TLS to the target.
type TLS struct {
	CA         string `json:"ca" doc:"PEM file of the authorities to trust; empty trusts the system's"`
	ServerName string `json:"server_name" doc:"name to expect in the certificate; empty takes the target's host"`
	Cert       string `json:"cert" doc:"PEM file of the client's certificate"`
	Key        string `json:"key" doc:"PEM file of its key"`
	Insecure   bool   `json:"insecure" doc:"accept any certificate"`
}

// Rows are the data of templates.
type Rows struct {
	File  string `json:"file" doc:"CSV with a header, or JSONL with one object a line; by extension, or JSONL when the first byte is {"`
	Order string `json:"order" doc:"sequential (from the first again at the end), random, or once (the run ends with the last row)"`
}

// Scenario is a sequence of requests that one user makes, one after the other. A request that fails ends it.
type Scenario struct {
	Name   string  `json:"name"`
	Weight float64 `json:"weight" doc:"share among the scenarios; 0 counts as 1"`
	Steps  []Step  `json:"steps"`
}

// Step is one request. Its texts are templates; see package script.
type Step struct {
	Name    string            `json:"name" doc:"under which results are shown; empty takes the method and path"`
	Think   Duration          `json:"think" doc:"pause before this request, after the answer to the one before it"`
	Method  string            `json:"method" doc:"HTTP method, or package.Service/Method of gRPC"`
	Path    string            `json:"path" doc:"path and query below the target"`
	Headers map[string]string `json:"headers" doc:"header fields, metadata with gRPC"`
	Body    string            `json:"body" doc:"body; the message as JSON with gRPC; the text to send with ws"`
	File    string            `json:"file" doc:"file that holds the body template, instead of body"`
	Binary  bool              `json:"binary" doc:"ws: send body as a binary message"`
	Expect  int               `json:"expect" doc:"ws: messages to receive as the answer, 0 only sends; grpc: messages after which a stream is ended, 0 waits for its end"`
	Checks  []string          `json:"checks" doc:"what must hold of the answer; without a status check, HTTP statuses below 400 and gRPC OK are good"`
	Save    map[string]string `json:"save" doc:"variable to JSON path: taken from the answer, for later steps as {{name}}"`
}

// GRPCSource is where the types of messages come from.
type GRPCSource struct {
	DescriptorSet string `json:"descriptor_set" doc:"file written by protoc --descriptor_set_out --include_imports; empty asks the target's reflection service"`
}

// Search configures the search for the breakpoint.
type Search struct {
	From      float64  `json:"from" doc:"rate to begin with, requests a second"`
	To        float64  `json:"to" doc:"ceiling"`
	Precision float64  `json:"precision" doc:"ends when the highest good and the lowest bad rate are this close, relatively"`
	Trial     Duration `json:"trial" doc:"length of a trial"`
	Poisson   bool     `json:"poisson" doc:"random gaps between requests, as of many independent callers"`
	Budget    Duration `json:"budget" doc:"time for the whole search, the points beyond the knee included"`
	Beyond    bool     `json:"beyond" doc:"measure past the breakpoint too, for the curve"`
}

// Ceilings of a plan. They keep a slip of a finger from becoming an outage.
const (
	MaxRate        = schedule.MaxRate
	MaxConnections = 100_000
	MaxStreams     = 10_000
	MaxTimeout     = 10 * time.Minute
	MaxLength      = schedule.MaxLength
)

// DefaultSearch is a search from 50 a second up, within 5 %, in a minute.
func DefaultSearch() Search {
	return Search{From: 50, To: 100_000, Precision: 0.05, Trial: Duration(3 * time.Second), Budget: Duration(time.Minute), Beyond: true}
}

// DefaultPlan is a plan without target, arrival and requests.
func DefaultPlan() Plan {
	return Plan{
		Connections: 64, Streams: 1,
		Timeout: Duration(5 * time.Second), Drain: Duration(5 * time.Second),
		MaxBody:   16 << 20,
		Rows:      Rows{Order: "sequential"},
		LateAfter: Duration(10 * time.Millisecond), MaxLate: 0.2, MaxIntervals: 900,
	}
}
