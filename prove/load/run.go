package load

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dougong-io/dougong/prove/load/schedule"
	"github.com/dougong-io/dougong/prove/load/script"
)

// ErrTarget is wrapped by errors that say that the target could not be spoken to before load began.
var ErrTarget = errors.New("the target cannot be loaded")

// Options are what a caller may add to a plan.
type Options struct {
	// Progress, if set, is called a few times a second, by one goroutine at a time, until Run returns.
	Progress func(Progress)
	// Began, if set, is called once, just before the first request is due, with the time from which the schedule
	// counts.
	Began func(time.Time)
	// Ended, if set, is called for each request when it has ended, by many goroutines at the same time, some of which
	// hold locks of the generator: it has to be quick and calls nothing of this package. A request whose connection
	// the target had closed idle, and which was sent again, ends once.
	Ended func(Ended)
	// Mark, if set, looks at each good answer, as Ended is told of it: whether it comes from a fallback, for instance.
	// It is called as Ended is, and keeps nothing of the answer.
	Mark func(*script.Answer) bool
	// Version of the calling program, for the result.
	Version string
}

// Run carries out a plan and returns what it found. It returns an error, and no result, only when nothing was
// sent: the plan cannot be carried out (ErrPlan) or the target cannot be spoken to (ErrTarget). Whatever happens
// afterwards is counted in the result.
//
// When ctx ends, no further request is sent, those in flight get the plan's drain time, and the result covers what
// ran, with End interrupted. Run returns when everything it started has ended.
func Run(ctx context.Context, plan Plan, opt Options) (*Result, error) {
	p, err := complete(plan)
	if err != nil {
		return nil, err
	}
	if p.Search != nil {
		return search(ctx, p, opt)
	}
	return execute(ctx, p, opt)
}

// complete copies a plan, fills in what it leaves open, and validates it.
func complete(plan Plan) (*Plan, error) {
	p := &plan
	p.Scenarios = slices.Clone(plan.Scenarios) // its names are filled in below; the rest is only read
	p.Drain = min(p.Drain, p.Timeout)
	if p.Rows.Order == "" {
		p.Rows.Order = RowsSequential
	}
	if len(p.Scenarios) == 0 && p.protocol() != GRPC && p.protocol() != WebSocket {
		p.Scenarios = []Scenario{{Steps: []Step{{Method: "GET"}}}}
	}
	if len(p.Scenarios) == 0 {
		return nil, fmt.Errorf("%w: scenarios: %s needs to know what to send", ErrPlan, p.protocol())
	}
	for i := range p.Scenarios {
		if p.Scenarios[i].Name == "" {
			p.Scenarios[i].Name = fmt.Sprintf("scenario %d", i+1)
		}
	}
	if p.Seed == 0 {
		p.Seed = rand.Uint64() >> 11 // a number that every reader of JSON reads exactly
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	p.Protocol = p.protocol()
	return p, nil
}

// run is one run of a plan.
type run struct {
	plan   *Plan
	proto  Protocol
	target *url.URL
	id     string
	seed   uint64

	table     *script.Table
	scenarios []*scenario
	weights   []float64 // cumulative
	steps     []*step
	variables int

	clock   *clock
	timeout int64
	stats   *stats
	pace    *pacer
	see     spectator
	mark    func(*script.Answer) bool
	users   []*user
	total   time.Duration // of the schedule or the closed loop
	parts   []schedule.Part

	saturated bool // requests waited while this process used all the processor time it may
}

func execute(ctx context.Context, p *Plan, opt Options) (*Result, error) {
	r, err := prepare(p)
	if err != nil {
		return nil, err
	}
	r.see.tell, r.mark = opt.Ended, opt.Mark
	if r.mark != nil {
		for _, s := range r.steps {
			s.looks = true
		}
	}
	if err := r.link(ctx); err != nil {
		r.unlink()
		return nil, err
	}
	return r.carryOut(ctx, opt)
}

// prepare does everything that needs no target.
func prepare(p *Plan) (*run, error) {
	target, err := parseTarget(p.Target)
	if err != nil {
		return nil, fmt.Errorf("%w: target: %w", ErrPlan, err)
	}
	r := &run{plan: p, proto: p.Protocol, target: target, seed: p.Seed, timeout: int64(p.Timeout), clock: newClock()}
	id := rand.Uint64()
	r.id = hex.EncodeToString([]byte{byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24), byte(id >> 32)})
	if limit := descriptors(); limit > 0 {
		const spare = 64
		if need := uint64(p.Connections) + spare; need > limit {
			return nil, fmt.Errorf("%w: connections: %d connections need %d open files, this process may have %d (ulimit -n)", ErrPlan, p.Connections, need, limit)
		}
	}
	if err := r.compile(); err != nil {
		return nil, err
	}
	var s *schedule.Schedule
	if p.Open != nil {
		if s, err = schedule.New(p.Open, p.Seed); err != nil {
			return nil, fmt.Errorf("%w: open: %w", ErrPlan, err)
		}
		r.parts, r.total = s.Parts(), s.Length()
	} else {
		r.total = time.Duration(p.Closed.Duration)
		r.parts = []schedule.Part{{Name: fmt.Sprintf("%d users", p.Closed.Users), To: r.total}}
	}
	var ends []int64
	for _, part := range r.parts {
		ends = append(ends, int64(part.To))
	}
	r.stats = newStats(ends, r.steps, p.MaxIntervals, time.Duration(p.LateAfter), time.Duration(p.Timeout))
	r.pace = newPacer(r, s)
	return r, nil
}

// link makes the users and connects them.
func (r *run) link(ctx context.Context) error {
	d, err := newDialer(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPlan, err)
	}
	if err := r.preflight(ctx, d); err != nil {
		return err
	}
	count := r.plan.Connections
	for id := range count * r.plan.Streams {
		r.users = append(r.users, newUser(r, id))
	}
	for c := range count {
		users := r.users[c*r.plan.Streams : (c+1)*r.plan.Streams]
		var links []link
		switch r.proto {
		case HTTP2:
			links = newHTTP2(users, d)
		case GRPC:
			links = newGRPC(users, d)
		case WebSocket:
			links = []link{newWebSocket(users[0], d)}
		default:
			links = []link{newH1(users[0], d)}
		}
		for i, l := range links {
			users[i].link = l
		}
	}
	return r.connect(ctx)
}

// preflight tells before load begins what would else fail each request: a target that is down, a wrong certificate,
// no HTTP/2. With gRPC it learns the types of messages.
func (r *run) preflight(ctx context.Context, d *dialer) error {
	ctx, cancel := context.WithTimeout(ctx, min(time.Duration(r.plan.Timeout), 10*time.Second))
	defer cancel()
	conn, err := d.open(ctx)
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("interrupted before load began: %w", ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrTarget, r.target.Host, err)
	}
	conn.Close()
	if r.proto == GRPC {
		return r.learn(ctx, d)
	}
	return nil
}

// connect sets up all connections, some at a time. That some fail is the target's affair and is counted when their
// users need them; that all fail ends the run before it begins.
func (r *run) connect(ctx context.Context) error {
	const atOnce = 64
	var group sync.WaitGroup
	var mu sync.Mutex
	var firstErr error
	failed := 0
	slots := make(chan struct{}, atOnce)
	for i, u := range r.users {
		if i%r.plan.Streams != 0 {
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, time.Duration(r.plan.Timeout))
			defer cancel()
			if err := u.link.connect(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if failed++; firstErr == nil {
					firstErr = err
				}
			}
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted before load began: %w", context.Cause(ctx))
	}
	if failed == r.plan.Connections {
		return fmt.Errorf("%w: %s: %w", ErrTarget, r.target.Host, firstErr)
	}
	return nil
}

// unlink ends all links.
func (r *run) unlink() {
	var group sync.WaitGroup
	for _, u := range r.users {
		if u.link != nil {
			group.Go(u.link.stop)
		}
	}
	group.Wait()
}

// carryOut offers the load, waits for what is in flight, and reports.
func (r *run) carryOut(ctx context.Context, opt Options) (*Result, error) {
	cpu, _ := usage()
	wake, err := newAlarm(r.clock)
	if err != nil {
		r.unlink()
		return nil, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	r.pace.alarm = wake
	started := r.clock.begin()
	r.see.zero = started
	if opt.Began != nil {
		opt.Began(started)
	}
	helpers, stopHelpers := context.WithCancel(context.Background())
	var group, dispatcher sync.WaitGroup
	dispatcher.Go(func() { wake.run(r.pace.dispatch) })
	group.Go(func() { r.sweep(helpers) })
	group.Go(func() { r.watch(helpers, opt.Progress) })

	r.pace.start(r.users[:r.active()])
	end, offered := r.await(ctx)
	wake.close()
	dispatcher.Wait()
	r.unlink()
	stopHelpers()
	group.Wait()
	r.stats.collect(&r.pace.late, r.clock.now())
	cpuAfter, peak := usage()
	result := r.result(started, offered, end)
	result.Version = opt.Version
	result.Client.CPUSeconds = (cpuAfter - cpu).Seconds()
	if n := result.Total.Due; n > 0 {
		result.Client.CPUPerRequest = result.Client.CPUSeconds / float64(n) * 1e6
	}
	result.Client.PeakMemory = peak
	return result, nil
}

// active is how many users the run needs.
func (r *run) active() int {
	if r.plan.Closed != nil {
		return r.plan.Closed.Users
	}
	return len(r.users)
}

// await returns once nothing is in flight any more, or the drain time is over, and says how long load was offered.
func (r *run) await(ctx context.Context) (End, time.Duration) {
	over := time.NewTimer(r.total)
	defer over.Stop()
	end, offered := EndFinished, r.total
	select {
	case <-r.pace.settled:
		offered = r.pace.offered(r.total, r.clock.now())
	case <-ctx.Done():
		now := r.clock.now()
		end, offered = EndInterrupted, min(offered, time.Duration(now))
		r.pace.stop(now)
	case <-over.C:
	}
	drain := time.NewTimer(time.Duration(r.plan.Drain))
	defer drain.Stop()
	select {
	case <-r.pace.settled:
	case <-drain.C:
		r.pace.stop(r.clock.now())
	case <-interruptedLater(ctx, end):
		end = EndInterrupted
		r.pace.stop(r.clock.now())
		select {
		case <-r.pace.settled:
		case <-drain.C:
		}
	}
	return end, offered
}

// interruptedLater is ctx's end, unless that has been dealt with.
func interruptedLater(ctx context.Context, end End) <-chan struct{} {
	if end == EndInterrupted {
		return nil
	}
	return ctx.Done()
}

// sweep ends requests that are past their deadline, and notices when the generator itself does not get to run.
func (r *run) sweep(ctx context.Context) {
	period := min(max(time.Duration(r.timeout)/100, 5*time.Millisecond), 50*time.Millisecond)
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	last := r.clock.now()
	late, catchingUp := &r.pace.late, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := r.clock.now()
		if due := last + int64(period); now-due > int64(2*time.Millisecond) {
			late.tick(due, now)
			if now-due > r.stats.lateAfter {
				// Answers to what was in flight may have been read late, and what was due meanwhile waits.
				late.tick(min(due, r.oldest()), now)
				catchingUp = true
			}
		}
		last = now
		if catchingUp {
			behind := r.pace.behind(now)
			if catchingUp = behind > r.stats.lateAfter; catchingUp {
				late.tick(now-behind, now)
			}
		}
		for _, u := range r.users {
			if u.expired(now) {
				u.link.expire()
			}
		}
	}
}

// oldest is when the request was due that has been in flight longest; far in the future when there is none.
func (r *run) oldest() int64 {
	oldest := never
	for _, u := range r.users {
		if deadline := u.deadline.Load(); deadline != 0 {
			oldest = min(oldest, max(deadline-r.timeout, 0))
		}
	}
	return oldest
}

// watch joins the counts a few times a second and shows them.
func (r *run) watch(ctx context.Context, show func(Progress)) {
	const period = 250 * time.Millisecond
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	used, _ := usage()
	last := r.clock.now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := r.clock.now()
		flying, waiting := r.pace.look(now)
		if cpu, _ := usage(); waiting > 0 && cpu-used > time.Duration(0.9*float64(now-last)*float64(runtime.GOMAXPROCS(0))) {
			// Requests wait, and this process has no processor left: who is slow, it or the target, cannot be told.
			r.pace.late.tick(last, now)
			r.saturated = true
		}
		used, _ = usage()
		last = now
		r.stats.collect(&r.pace.late, now)
		r.stats.inFlight(now, flying)
		if show != nil {
			show(r.progress(now, flying, waiting))
		}
	}
}

func (r *run) progress(now int64, flying int, waiting uint64) Progress {
	p := Progress{Elapsed: time.Duration(now), Total: r.total, InFlight: flying, Waiting: waiting, Connected: r.plan.Connections}
	part := len(r.parts) - 1
	for i, candidate := range r.parts {
		if time.Duration(now) < candidate.To {
			part = i
			break
		}
	}
	p.Phase = r.parts[part].Name
	if time.Duration(now) >= r.total {
		p.Phase = "draining"
	} else if r.plan.Open != nil {
		p.Rate = r.pace.rate(now)
	}
	r.stats.look(&p, now)
	return p
}

// result reads what was counted. Everything has ended.
func (r *run) result(started time.Time, offered time.Duration, end End) *Result {
	s := r.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	seconds := offered.Seconds()
	res := &Result{
		Schema: ResultSchema, Started: started.UTC(), Seconds: seconds, End: end,
		Target: withoutSecrets(r.target.String()), Protocol: r.proto, Loop: OpenLoop,
		Machine: Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Procs: runtime.GOMAXPROCS(0), Go: runtime.Version()},
		Client:  Client{Connections: r.plan.Connections, Late: r.pace.late.histogram()},
		Plan:    redacted(r.plan),
		Errors:  []ErrorSample{}, Notes: []string{}, Stages: []Stage{}, Requests: []RequestResult{}, Intervals: []Interval{},
	}
	if r.plan.Closed != nil {
		res.Loop = ClosedLoop
	}
	res.Total = s.total.clone()
	res.Total.Seconds = seconds
	res.Total.Connects = s.connected
	res.Client.Replays = s.replays.Load()
	res.Total.Connect = s.connect.Clone()
	for i, part := range r.parts {
		length := min(part.To.Seconds(), seconds) - part.From.Seconds()
		if length <= 0 {
			break
		}
		stage := Stage{Name: part.Name, From: part.From.Seconds(), Rate: part.Rate, Window: s.parts[i].clone()}
		stage.Seconds = length
		res.Stages = append(res.Stages, stage)
	}
	names := map[string]int{}
	for _, step := range s.steps {
		i, ok := names[step.name]
		if !ok {
			i = len(res.Requests)
			names[step.name] = i
			res.Requests = append(res.Requests, RequestResult{Name: step.name, Window: (&Window{Seconds: seconds}).clone()})
		}
		res.Requests[i].add(s.bySteps[step])
	}
	judged := Window{}
	for _, in := range s.intervals {
		whole := in
		whole.Window = in.Window.clone()
		if whole.From < seconds {
			whole.Seconds = min(whole.Seconds, seconds-whole.From)
			res.LateSeconds += min(whole.LateSeconds, whole.Seconds)
			if !whole.Late {
				judged.Seconds += whole.Seconds
				judged.add(&whole.Window)
			}
		} else {
			whole.Late = false        // the schedule asked for nothing any more
			judged.add(&whole.Window) // but later steps of scenarios may have been due
		}
		res.Intervals = append(res.Intervals, whole)
	}
	for n := len(res.Intervals); n > 0 && res.Intervals[n-1].Due == 0 && res.Intervals[n-1].Done == 0; n-- {
		res.Intervals = res.Intervals[:n-1] // only the drain was looked at
	}
	res.Judged = judged.clone()
	for _, class := range classOrder {
		res.Errors = append(res.Errors, s.samples[class]...)
	}
	r.conclude(res)
	return res
}

// conclude judges a result and says what its reader has to know.
func (r *run) conclude(res *Result) {
	res.SLO, res.Verdict = judge(objectives(r.plan), &res.Judged)
	if res.LateSeconds > 0 {
		res.Notes = append(res.Notes, fmt.Sprintf(
			"the generator itself was late by more than %s in %.0f of %.0f s (p99 of all requests %s, at most %s): these seconds are marked and are not held against the target",
			r.plan.LateAfter, res.LateSeconds, res.Seconds,
			time.Duration(res.Client.Late.Quantile(0.99)).Round(time.Microsecond), time.Duration(res.Client.Late.Max()).Round(time.Microsecond)))
	}
	if res.LateSeconds > r.plan.MaxLate*res.Seconds && res.Verdict != VerdictNone {
		res.Verdict = VerdictInconclusive
		res.Notes = append(res.Notes, fmt.Sprintf("no verdict: the generator was late in more than %.0f %% of the time; give it a quieter machine, a lower rate or a larger late_after", 100*r.plan.MaxLate))
	}
	if r.saturated {
		res.Notes = append(res.Notes, "requests waited while the generator used all the processor time that it may have: those seconds are marked as late; give it more processors or a lower rate")
	}
	if r.pace.starved {
		res.Notes = append(res.Notes, "requests waited for a connection while users were thinking between two steps: those seconds are marked as late; give it more connections")
	}
	if n := res.Client.Replays; n > 0 {
		res.Notes = append(res.Notes, fmt.Sprintf("%d requests were sent again on a new connection, as the target had closed the old one idle or asked for another", n))
	}
	if n := res.Total.Failed[ClassLocal]; n > 0 {
		if float64(n) > maxLocal*float64(res.Total.Due) && res.Verdict != VerdictNone {
			res.Verdict = VerdictInconclusive
		}
		res.Notes = append(res.Notes, fmt.Sprintf("%d requests could not be sent for want of descriptors or ports on this machine, or because a rendered header broke; they do not count against the target", n))
	}
	if res.Total.Unfinished > 0 {
		res.Notes = append(res.Notes, fmt.Sprintf("%d requests had no answer yet when the run was ended; they count neither as good nor as failed", res.Total.Unfinished))
	}
}

// maxLocal is the share of requests that could not be sent above which nothing is said about the target.
const maxLocal = 0.01

func objectives(p *Plan) []SLO {
	var slos []SLO
	for _, text := range p.SLO {
		if s, err := ParseSLO(text); err == nil { // Validate has refused the others
			slos = append(slos, s)
		}
	}
	return slos
}

const leftOut = "(left out)"

var (
	secretName  = regexp.MustCompile(`(?i)auth|token|key|secret|cookie|session|password|signature`)
	queryValues = regexp.MustCompile(`([?&])([^=&#]*)=([^&#]*)`)
)

// withoutSecrets leaves out the values of a URL's query whose names speak of secrets.
func withoutSecrets(url string) string {
	return queryValues.ReplaceAllStringFunc(url, func(pair string) string {
		name, _, _ := strings.Cut(pair, "=")
		if secretName.MatchString(name) {
			return name + "=" + leftOut
		}
		return pair
	})
}

// redacted is a plan without what only its author should know.
func redacted(p *Plan) *Plan {
	c := *p
	c.Target = withoutSecrets(p.Target)
	c.Scenarios = nil
	for _, s := range p.Scenarios {
		steps := s.Steps
		s.Steps = nil
		for _, step := range steps {
			headers := step.Headers
			step.Headers = nil
			for name, value := range headers {
				if step.Headers == nil {
					step.Headers = map[string]string{}
				}
				if secretName.MatchString(name) {
					value = leftOut
				}
				step.Headers[name] = value
			}
			step.Path = withoutSecrets(step.Path)
			s.Steps = append(s.Steps, step)
		}
		c.Scenarios = append(c.Scenarios, s)
	}
	return &c
}

// inFlight notes how many requests are in flight.
func (s *stats) inFlight(now int64, flying int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intervals[s.at(int(now/1e9))].InFlight = flying
}

// look fills in what a spectator sees.
func (s *stats) look(p *Progress, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Sum = s.total.clone()
	p.Sum.Seconds = min(time.Duration(now), p.Total).Seconds()
	p.Sum.Connects = s.connected
	last := int(now/1e9)/s.length - 1
	if last < 0 || last >= len(s.intervals) {
		last = max(min(last, len(s.intervals)-1), 0)
	}
	if len(s.intervals) == 0 {
		return
	}
	p.Last = s.intervals[last]
	p.Last.Window = s.intervals[last].Window.clone()
	p.LateNow = p.Last.Late
	for i := max(0, last+1-sparkSeconds); i <= last; i++ {
		in := &s.intervals[i]
		p.Done = append(p.Done, float64(in.Done)/float64(s.length))
		p.P99 = append(p.P99, float64(in.Latency.Quantile(0.99))/1e6)
	}
	for i := range s.intervals[:last+1] {
		if s.intervals[i].Late {
			p.LateSum += float64(s.length)
		}
	}
}
