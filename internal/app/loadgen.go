package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dougong-io/dougong/internal/config"
	"github.com/dougong-io/dougong/prove/live"
	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/load/schedule"
	provereport "github.com/dougong-io/dougong/prove/report"
)

// LoadArgs is what `dougong load` was told. Texts are as a person writes them.
type LoadArgs struct {
	Target string
	Plan   string // YAML file; what is told besides goes before it

	Rate, Ramp, Steps, Sine, Recorded string
	Speed                             float64
	Length                            time.Duration
	Poisson                           bool
	Users                             int
	Think                             time.Duration
	Search                            string // from:to
	Budget                            time.Duration

	Protocol             string
	Connections, Streams int
	Timeout, LateAfter   time.Duration
	AllowRemote          bool
	Confirm              string // the remote host, named again

	Method, Body, BodyFile string
	Binary                 bool
	Expect                 int
	Headers, Checks        []string
	Rows, RowsOrder        string
	SLO                    []string
	TLS                    load.TLS
	DescriptorSet          string
	Seed                   uint64

	HTML, JSON, CSV, JUnit string // files to write
	Plain, Quiet           bool
	Processors             int
}

// Verdict is the judgement over a run's objectives.
type Verdict = load.Verdict

// The verdicts that a caller tells apart.
const (
	VerdictFail         = load.VerdictFail
	VerdictInconclusive = load.VerdictInconclusive
)

// LoadVerdict is what a load run says to its caller.
type LoadVerdict struct {
	Verdict     Verdict
	Interrupted bool
	Notes       []string // what a reader has to know, if nobody has shown it
}

// ErrLoadArgs is wrapped by errors that say that the arguments, or a file that they name, are wrong. Nothing was sent.
var ErrLoadArgs = errors.New("nothing was sent")

// LoadCleanup undoes what a run that is cut off would leave: empty files beside its reports, a terminal without its
// cursor. It is safe for concurrent use.
type LoadCleanup struct {
	mu sync.Mutex
	do []func()
}

func (c *LoadCleanup) add(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.do = append(c.do, f)
}

// Run cleans up, but does not wait long for a terminal that takes nothing.
func (c *LoadCleanup) Run() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, f := range c.do {
			f()
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Second):
	}
}

// Load offers load to a target, shows it on out while it runs, and writes the reports. Who ends the process before it
// returns calls cleanup.Run.
func Load(ctx context.Context, args LoadArgs, out *os.File, cleanup *LoadCleanup) (LoadVerdict, error) {
	plan, err := args.plan()
	if err != nil {
		return LoadVerdict{}, fmt.Errorf("%w: %w", ErrLoadArgs, err)
	}
	reports, err := args.openReports()
	if err != nil {
		return LoadVerdict{}, fmt.Errorf("%w: %w", ErrLoadArgs, err)
	}
	defer reports.discard()
	cleanup.add(reports.discard)
	if args.Processors > 0 {
		runtime.GOMAXPROCS(args.Processors)
	}

	opt := load.Options{Version: Version()}
	var view *live.View
	if !args.Quiet {
		shown := live.Detect(out, os.Getenv)
		shown.Plain = shown.Plain || args.Plain
		shown.Target, shown.Protocol, shown.Loop = plan.Target, plan.Protocol, load.OpenLoop
		if plan.Closed != nil {
			shown.Loop = load.ClosedLoop
		}
		view = live.New(out, shown)
		opt.Progress = view.Show
		cleanup.add(func() { view.Close(nil) })
	}
	result, err := load.Run(ctx, plan, opt)
	if view != nil {
		view.Close(result)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return LoadVerdict{Interrupted: true}, nil
	case errors.Is(err, load.ErrPlan):
		return LoadVerdict{}, fmt.Errorf("%w: %w", ErrLoadArgs, err)
	case err != nil:
		return LoadVerdict{}, err
	}
	verdict := LoadVerdict{Verdict: result.Verdict, Interrupted: result.End == load.EndInterrupted}
	if view == nil {
		verdict.Notes = result.Notes
	}
	return verdict, reports.write(result)
}

// plan joins the plan's file and the arguments.
func (a *LoadArgs) plan() (load.Plan, error) {
	plan := load.DefaultPlan()
	if a.Plan != "" {
		data, err := os.ReadFile(a.Plan)
		if err != nil {
			return plan, err
		}
		type file load.Plan // judged once it is whole
		if err := config.Decode(a.Plan, data, (*file)(&plan)); err != nil {
			return plan, err
		}
	}
	if a.Target != "" {
		plan.Target = a.Target
	}
	if plan.Target == "" {
		return plan, errors.New("no target: give a URL such as http://127.0.0.1:8080/healthz, or a plan that has one")
	}
	set(&plan.Protocol, load.Protocol(a.Protocol))
	set(&plan.Connections, a.Connections)
	set(&plan.Streams, a.Streams)
	if a.Timeout != 0 {
		plan.Timeout = schedule.Duration(a.Timeout)
		plan.Drain = plan.Timeout
	}
	set(&plan.Rows.File, a.Rows)
	set(&plan.Rows.Order, a.RowsOrder)
	set(&plan.GRPC.DescriptorSet, a.DescriptorSet)
	set(&plan.Seed, a.Seed)
	set(&plan.TLS, a.TLS)
	set(&plan.LateAfter, schedule.Duration(a.LateAfter))
	plan.SLO = append(plan.SLO, a.SLO...)
	if err := a.arrival(&plan); err != nil {
		return plan, err
	}
	if err := a.request(&plan); err != nil {
		return plan, err
	}
	return plan, a.remote(&plan)
}

// set takes over what was told.
func set[T comparable](into *T, told T) {
	var zero T
	if told != zero {
		*into = told
	}
}

// arrival reads the schedule, of which there is at most one.
func (a *LoadArgs) arrival(plan *load.Plan) error {
	type way struct {
		flag string
		told bool
		read func() (*schedule.Spec, error)
	}
	ways := []way{
		{"--rate", a.Rate != "", func() (*schedule.Spec, error) {
			rate, err := strconv.ParseFloat(strings.TrimSuffix(a.Rate, "/s"), 64)
			if err != nil || rate <= 0 {
				return nil, fmt.Errorf("%q is no rate in requests a second", a.Rate)
			}
			return schedule.Constant(rate, a.length()), nil
		}},
		{"--ramp", a.Ramp != "", func() (*schedule.Spec, error) { return schedule.Ramp(a.Ramp) }},
		{"--steps", a.Steps != "", func() (*schedule.Spec, error) { return schedule.Steps(a.Steps) }},
		{"--sine", a.Sine != "", func() (*schedule.Spec, error) { return schedule.Sine(a.Sine, a.length()) }},
		{"--recorded", a.Recorded != "", func() (*schedule.Spec, error) {
			return &schedule.Spec{Recorded: a.Recorded, Speed: a.Speed}, nil
		}},
		{"--users", a.Users != 0, nil},
		{"--search", a.Search != "", nil},
	}
	var told []string
	for _, w := range ways {
		if !w.told {
			continue
		}
		told = append(told, w.flag)
		if w.read == nil {
			continue
		}
		spec, err := w.read()
		if err != nil {
			return fmt.Errorf("%s: %w", w.flag, err)
		}
		spec.Poisson = a.Poisson
		plan.Open, plan.Closed, plan.Search = spec, nil, nil
	}
	switch {
	case len(told) > 1:
		return fmt.Errorf("%s: one of them", strings.Join(told, " and "))
	case a.Poisson && (a.Users != 0 || a.Recorded != "" || len(told) == 0):
		return errors.New("--poisson: goes with --rate, --ramp, --steps, --sine and --search")
	case a.Think != 0 && a.Users == 0:
		return errors.New("--think: goes with --users")
	case a.Speed != 0 && a.Recorded == "":
		return errors.New("--speed: goes with --recorded")
	case a.Length != 0 && a.Rate == "" && a.Sine == "" && a.Users == 0:
		return errors.New("--for: goes with --rate, --sine and --users; the others say themselves how long they are")
	case a.Budget != 0 && a.Search == "":
		return errors.New("--budget: goes with --search")
	case a.Users != 0:
		plan.Open, plan.Search = nil, nil
		plan.Closed = &load.Closed{Users: a.Users, Think: schedule.Duration(a.Think), Duration: schedule.Duration(a.length())}
		if a.Connections == 0 && a.Streams == 0 && a.Plan == "" {
			plan.Connections = a.Users
		}
	case a.Search != "":
		from, to, ok := strings.Cut(a.Search, ":")
		search := load.DefaultSearch()
		var errFrom, errTo error
		search.From, errFrom = strconv.ParseFloat(from, 64)
		search.To, errTo = strconv.ParseFloat(to, 64)
		if !ok || errFrom != nil || errTo != nil {
			return fmt.Errorf("--search: %q is no range of rates such as 50:5000", a.Search)
		}
		search.Poisson = a.Poisson
		set(&search.Budget, schedule.Duration(a.Budget))
		plan.Open, plan.Closed, plan.Search = nil, nil, &search
	case len(told) == 0 && plan.Open == nil && plan.Closed == nil && plan.Search == nil:
		return errors.New("no load: give --rate, --ramp, --steps, --sine, --recorded, --users or --search")
	}
	return nil
}

// length is how long a schedule is that does not say so itself.
func (a *LoadArgs) length() time.Duration {
	if a.Length != 0 {
		return a.Length
	}
	return 10 * time.Second
}

// request makes the one step that flags describe, if they do.
func (a *LoadArgs) request(plan *load.Plan) error {
	if a.Method == "" && a.Body == "" && a.BodyFile == "" && len(a.Headers) == 0 && len(a.Checks) == 0 && a.Expect == 0 && !a.Binary && (a.Rows == "" || len(plan.Scenarios) > 0) {
		return nil
	}
	if len(plan.Scenarios) > 0 {
		return errors.New("the plan's file says what is sent; leave out --method, --body, --body-file, --header, --check, --expect and --binary")
	}
	step := load.Step{Method: a.Method, Body: a.Body, File: a.BodyFile, Binary: a.Binary, Expect: a.Expect, Checks: a.Checks}
	if step.Body == "" && step.File == "" && a.Rows != "" && a.Method == "" {
		step.Body = "{{row}}"
	}
	for _, text := range a.Headers {
		name, value, ok := strings.Cut(text, ":")
		if !ok {
			return fmt.Errorf("--header: %q is no header such as 'x-tenant: a'", text)
		}
		if step.Headers == nil {
			step.Headers = map[string]string{}
		}
		step.Headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	plan.Scenarios = []load.Scenario{{Name: "command line", Steps: []load.Step{step}}}
	return nil
}

// remote lets load leave this machine only when it was said twice: that it may, and to whom.
func (a *LoadArgs) remote(plan *load.Plan) error {
	fromFile := plan.AllowRemote
	plan.AllowRemote = ""
	target, err := url.Parse(plan.Target)
	if err != nil || target.Hostname() == "" {
		return nil // the plan is judged later, and says it better
	}
	if !a.AllowRemote {
		return nil
	}
	confirmed := a.Confirm
	if confirmed == "" {
		confirmed = fromFile
	}
	if !strings.EqualFold(confirmed, target.Hostname()) {
		return fmt.Errorf("--allow-remote: confirm the host that is to bear the load with --confirm %s", target.Hostname())
	}
	plan.AllowRemote = confirmed
	return nil
}

func (a *LoadArgs) openReports() (reports[*load.Result], error) {
	return openReports([]pendingReport[*load.Result]{
		{path: a.HTML, write: provereport.WriteHTML},
		{path: a.JSON, write: provereport.WriteJSON},
		{path: a.CSV, write: provereport.WriteCSV},
		{path: a.JUnit, write: provereport.WriteJUnit},
	})
}

// LoadSchema is the JSON schema of results.
func LoadSchema() []byte { return provereport.Schema() }

// RenderLoad writes the reports that args name from a result that was kept as JSON.
func RenderLoad(file string, args LoadArgs) error {
	result, err := readResult(file, provereport.ReadJSON)
	if err != nil {
		return err
	}
	rs, err := args.openReports()
	if err != nil {
		return err
	}
	defer rs.discard()
	return rs.write(result)
}

// PrintLoadPlan writes a plan with every field and its meaning.
func PrintLoadPlan(w io.Writer) error {
	type file load.Plan // a plan that is not judged
	plan := file(load.DefaultPlan())
	plan.Target = "http://127.0.0.1:8080/healthz"
	plan.Open = schedule.Constant(200, 10*time.Second)
	return config.Default(w, &plan)
}
