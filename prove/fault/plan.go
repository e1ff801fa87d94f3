package fault

import (
	"time"

	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/load/schedule"
)

// Duration is a time.Duration that is written as "1.5s" in JSON and YAML.
type Duration = schedule.Duration

// Plan is what a run does. Take DefaultPlan, and fill in services, load and faults. It is data: a Plan can be written
// to a file, kept in a repository and run again.
//
// Texts may hold {port:NAME}, which becomes a free port of this machine, the same for the same name, and {self},
// which becomes the path of this program: in load.target, in services' admin, command and environment.
type Plan struct {
	Name     string    `json:"name" doc:"shown in reports"`
	Services []Service `json:"services" doc:"who takes part; a fault that names none is of the first"`
	Load     Load      `json:"load" doc:"what is offered all the time, at a steady rate"`

	Warmup  Duration `json:"warmup" doc:"load before the first window; its second half is the first measure of what is normal"`
	Window  Duration `json:"window" doc:"length of a window, in which the fault is on, or off"`
	Guard   Duration `json:"guard" doc:"pause before each window and after each fault, so that what changes has changed"`
	Recover Duration `json:"recover" doc:"how long to wait for recovery at most"`
	Pairs   int      `json:"pairs" doc:"pairs of windows for each fault, one on and one off, in random order"`
	Control bool     `json:"control" doc:"begin with a row in which nothing is done: what it claims is a false alarm"`
	Seed    uint64   `json:"seed" doc:"of the order of windows and of the load; 0 draws one, which the result tells"`

	AllowRemote string  `json:"allow_remote" doc:"host that may be loaded and have rules put although it is not loopback"`
	Faults      []Fault `json:"faults" doc:"one after the other"`
}

// Service is a process that takes part.
type Service struct {
	Name      string `json:"name" doc:"by which faults name it"`
	Admin     string `json:"admin" doc:"URL of its admin port, for rules and for what it says of itself"`
	TokenFile string `json:"token_file" doc:"file with the bearer token for the admin port, of roles read and fault; is read when it is needed"`

	PlainToken bool `json:"plain_token" doc:"the token may go to another machine over http, where whoever is on the way can read it"`

	Command     []string          `json:"command" doc:"starts it, program first; empty: it runs already, and only rules can be tried on it"`
	Environment map[string]string `json:"environment" doc:"variables beside those of this program"`
	Dir         string            `json:"dir" doc:"working directory"`

	Start        Duration `json:"start" doc:"how long it may take until /readyz of the admin port says 200; 0: 30s"`
	Stop         Duration `json:"stop" doc:"how long it may take to end after SIGTERM, before SIGKILL; 0: 30s"`
	RestartDelay Duration `json:"restart_delay" doc:"how long it stays down after it was killed, as a supervisor would take to see it"`
}

// Load is the load, open and at one rate.
type Load struct {
	Target   string        `json:"target" doc:"URL: http, https, ws, wss, grpc or grpcs"`
	Protocol load.Protocol `json:"protocol" doc:"http1, http2, grpc or ws; empty takes it from the target's scheme"`
	Rate     float64       `json:"rate" doc:"requests a second"`
	Poisson  bool          `json:"poisson" doc:"random gaps between requests, as of many independent callers, instead of even ones"`

	Connections int      `json:"connections" doc:"connections to the target; a fault that holds requests needs one for each that it holds"`
	Streams     int      `json:"streams" doc:"requests at the same time on each connection; above 1 with http2 and grpc only"`
	Timeout     Duration `json:"timeout" doc:"after it was due, a request without a whole answer fails"`

	TLS       load.TLS        `json:"tls" doc:"for https, wss and grpcs"`
	Rows      load.Rows       `json:"rows" doc:"rows whose columns the templates name"`
	Scenarios []load.Scenario `json:"scenarios" doc:"what is asked; each arrival draws one by weight"`
	GRPC      load.GRPCSource `json:"grpc" doc:"where message types come from"`

	Degraded  []string `json:"degraded" doc:"checks, without templates: a good answer of which one holds comes from a fallback, such as 'header x-degraded == fallback'"`
	LateAfter Duration `json:"late_after" doc:"a second in which the generator itself was later than this is marked"`
}

// Fault is one row of the table: a name, and one of the rest but service.
type Fault struct {
	Name    string  `json:"name"`
	Service string  `json:"service" doc:"whose; empty: the first"`
	Rule    *Rule   `json:"rule" doc:"a rule for the admin port, without id and expiry"`
	Kill    bool    `json:"kill" doc:"SIGKILL at the start of the window; started again after restart_delay"`
	Stop    bool    `json:"stop" doc:"SIGSTOP, and SIGCONT at the end"`
	Restart bool    `json:"restart" doc:"SIGTERM at the start of the window; started again when it has ended"`
	CPU     float64 `json:"cpu" doc:"quota of processor time, in processors, such as 0.25"`
	Memory  int64   `json:"memory" unit:"bytes" doc:"limit of memory"`
}

// DefaultPlan is a plan without services, load and faults.
func DefaultPlan() Plan {
	return Plan{
		Load:   DefaultLoad(),
		Warmup: Duration(4 * time.Second), Window: Duration(3 * time.Second), Guard: Duration(500 * time.Millisecond),
		Recover: Duration(20 * time.Second), Pairs: 8, Control: true,
	}
}

// DefaultLoad is 200 requests a second with a time-out of a second.
func DefaultLoad() Load {
	return Load{
		Rate: 200, Connections: 256, Streams: 1, Timeout: Duration(time.Second),
		Rows: load.Rows{Order: load.RowsSequential}, LateAfter: Duration(20 * time.Millisecond),
	}
}

// The bounds of a plan.
const (
	maxFaults   = 200
	maxPairs    = 1000
	maxServices = 50
	maxRate     = 20_000 // requests a second: each is kept account of
	maxLength   = 12 * time.Hour

	minWindow = 200 * time.Millisecond
	minPairs  = 2
)

// Kind says which of its effects the fault has; "" if it has none or several.
func (f *Fault) Kind() Kind {
	kinds := f.kinds()
	if len(kinds) != 1 {
		return ""
	}
	return kinds[0]
}

func (f *Fault) kinds() (kinds []Kind) {
	for _, k := range []struct {
		set  bool
		kind Kind
	}{
		{f.Rule != nil, KindRule}, {f.Kill, KindKill}, {f.Stop, KindStop}, {f.Restart, KindRestart},
		{f.CPU != 0, KindCPU}, {f.Memory != 0, KindMemory},
	} {
		if k.set {
			kinds = append(kinds, k.kind)
		}
	}
	return kinds
}

// once tells whether a fault of this kind happens at one instant, at the start of its window.
func (k Kind) once() bool { return k == KindKill || k == KindRestart }

// Length estimates how long the faults take, if everything recovers at once.
func (p *Plan) Length() time.Duration {
	rows := len(p.Faults)
	if p.Control {
		rows++
	}
	return time.Duration(p.Warmup) + time.Duration(rows*p.Pairs)*p.pair()
}

// pair is how long a pair takes, if everything recovers at once.
func (p *Plan) pair() time.Duration {
	return 2*time.Duration(p.Window+p.Guard) + time.Duration(spansInBand*spanBins(max(p.Load.Rate, 1)))*binLength
}
