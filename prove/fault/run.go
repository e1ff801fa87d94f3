package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	inject "github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/load/schedule"
)

// ErrTarget is wrapped by errors that say that a service could not be started or spoken to before anything was done
// to it.
var ErrTarget = errors.New("the target cannot be tried")

// ErrLeft is wrapped by errors that say what could not be undone. It stays in the journal, for Undo.
var ErrLeft = errors.New("not undone")

// Options are what a caller may add to a plan.
type Options struct {
	// Journal is the directory of journals; empty is DefaultJournal.
	Journal string
	// Progress, if set, is called a few times a second, by one goroutine at a time, until Run returns.
	Progress func(Progress)
	// Output, if set, gets what the processes write that the plan starts, from several goroutines.
	Output io.Writer
	// Version of the calling program, for the result.
	Version string

	trip    func()        // is called before and after each entry of the journal; for tests of what is left after a crash there
	anyLate bool          // windows count however late the generator was; for tests on machines that are busy
	loadFor time.Duration // load ends then, if it is set; for tests of what a run does that outlasts it
	orphans bool          // processes are not to end with the prover; for tests of what is left then
}

// Progress is a look at a run while it goes on.
type Progress struct {
	Elapsed  time.Duration
	Left     time.Duration // if everything recovers at once
	Phase    string        // "warm-up", "off", "on", "recovering"
	Fault    string        // the row's name
	Row      int           // from 0
	Rows     int
	Pair     int // from 0
	Pairs    int
	Requests load.Progress
}

// Run carries out a plan: it starts what the plan starts, offers load, switches faults on and off, and measures what
// each does. It returns an error, and no result, only when no fault was tried: the plan cannot be carried out
// (ErrPlan), the journal cannot be written (ErrJournal), or a service or the load could not be started (ErrTarget).
//
// When Run returns, whatever it did is undone, and everything that it started has ended; also when ctx ends before,
// and then the result covers what was measured. An error beside a result says what could not be undone: it stays in
// the journal, for Undo. After a crash Undo does it all.
func Run(ctx context.Context, plan Plan, opt Options) (*Result, error) {
	p, err := complete(plan)
	if err != nil {
		return nil, err
	}
	mark, err := p.Load.marker()
	if err != nil {
		return nil, err
	}
	if opt.Journal == "" {
		if opt.Journal, err = DefaultJournal(); err != nil {
			return nil, err
		}
	}
	r := &runner{
		plan: p, opt: opt, id: newRun(), mark: mark, rnd: rand.New(rand.NewPCG(p.Seed, 1)), children: map[string]*child{},
		rec: &recorder{settled: time.Duration(p.Load.Timeout)}, watchers: map[string]*watcher{}, began: make(chan struct{}),
		lateAt: map[float64]float64{},
		end:    EndInterrupted, reason: "interrupted",
	}
	if r.journal, err = createJournal(opt.Journal, r.id, time.Now(), opt.trip); err != nil {
		return nil, err
	}
	prune(opt.Journal)
	defer r.journal.close()
	r.revert = &reverter{journal: r.journal, run: r.id, thisBoot: true}
	err = r.carryOut(ctx)
	left := r.cleanUp()
	if left != nil {
		left = fmt.Errorf("%w: %w", ErrLeft, left)
	}
	transport.CloseIdleConnections()
	if err != nil {
		return nil, errors.Join(err, left)
	}
	return r.result(), left
}

// runner is a run of a plan. Its fields belong to the goroutine of Run, but for what has a lock.
type runner struct {
	plan    *Plan
	opt     Options
	id      string
	mark    markFunc
	rnd     *rand.Rand
	journal *journal
	revert  *reverter

	starter  *starter
	children map[string]*child
	watchers map[string]*watcher
	rec      *recorder
	rows     []*row
	normal   []stretch // of the run without a fault
	loaded   *load.Result
	reason   string
	end      End

	began chan struct{} // closed when load has begun
	zero  time.Time     // when that was; set before began is closed

	mu       sync.Mutex // guards what follows
	events   []event
	progress Progress
	lateAt   map[float64]float64 // by how much the generator was late in a second, in milliseconds, as far as is known
}

// stretch is a part of the run.
type stretch struct{ from, to time.Time }

// event is an Event whose time is not yet counted from the beginning of load.
type event struct {
	at                time.Time
	fault, kind, text string
}

// maxEvents bounds the events of a result.
const maxEvents = 10_000

func (r *runner) note(kind, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) < maxEvents {
		r.events = append(r.events, event{time.Now(), r.progress.Fault, kind, text})
	}
}

// carryOut does all of the run, but leaves it to cleanUp to undo what is left.
func (r *runner) carryOut(ctx context.Context) error {
	if err := r.startServices(ctx); err != nil {
		return err
	}
	if err := r.checkPoints(ctx); err != nil {
		return err
	}
	watching, stopWatching := context.WithCancel(context.Background())
	var watchers sync.WaitGroup
	for _, w := range r.watchers {
		watchers.Go(func() { w.run(watching) })
	}
	defer watchers.Wait()
	defer stopWatching()

	loading, stopLoad := context.WithCancel(context.Background())
	defer stopLoad()
	var loadErr error
	loadEnded := make(chan struct{})
	// Without load there is nothing to measure: the faults end with it.
	ctx, endFaults := context.WithCancelCause(ctx)
	defer endFaults(nil)
	loadPlan := r.plan.loadPlan()
	if r.opt.loadFor > 0 {
		loadPlan.Open = schedule.Constant(r.plan.Load.Rate, r.opt.loadFor)
	}
	go func() {
		defer close(loadEnded)
		defer endFaults(errLoadEnded)
		r.loaded, loadErr = load.Run(loading, *loadPlan, load.Options{
			Version: r.opt.Version, Ended: r.rec.ended, Mark: r.mark, Progress: r.show,
			Began: func(at time.Time) {
				r.zero = at
				r.rec.begin(at)
				close(r.began)
			},
		})
	}()
	select {
	case <-r.began:
	case <-loadEnded:
	case <-ctx.Done():
	}
	if ctx.Err() == nil && loadErrOf(loadEnded, &loadErr) == nil {
		r.timeline(ctx)
	}
	stopLoad()
	<-loadEnded
	if loadErr != nil {
		if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errLoadEnded) {
			return fmt.Errorf("interrupted before a fault was tried: %w", ctx.Err())
		}
		return fmt.Errorf("%w: %w", ErrTarget, loadErr)
	}
	return nil
}

// loadErrOf is the error of the load if it has ended.
func loadErrOf(ended <-chan struct{}, err *error) error {
	select {
	case <-ended:
		return *err
	default:
		return nil
	}
}

// startServices starts what the plan starts, in order, and waits until each is ready.
func (r *runner) startServices(ctx context.Context) error {
	r.starter = newStarter()
	for i := range r.plan.Services {
		s := &r.plan.Services[i]
		admin := adminClient{base: s.Admin, tokenFile: s.TokenFile}
		w := &watcher{name: s.Name, admin: admin, tell: func(text string) { r.note("state", text) }}
		r.watchers[s.Name] = w
		if len(s.Command) == 0 {
			signs := admin.look(ctx, false).signs
			if ctx.Err() != nil {
				return fmt.Errorf("interrupted before a fault was tried: %w", ctx.Err())
			}
			if slices.Contains(signs, signSilent) || slices.Contains(signs, signNotReady) {
				return fmt.Errorf("%w: %s at %s: %s", ErrTarget, s.Name, s.Admin, strings.Join(signs, ", "))
			}
			if err := w.prepare(ctx); err != nil {
				return err
			}
			continue
		}
		c := &child{
			service: s, run: r.id, journal: r.journal, starter: r.starter, alone: r.opt.orphans, output: r.opt.Output,
			tell: func(text string) { r.note("process", text) },
		}
		if err := r.makeGroups(c, groupName(r.id, i)); err != nil {
			return err
		}
		r.children[s.Name] = c
		if err := c.begin(); err != nil {
			return fmt.Errorf("%w: %w", ErrTarget, err)
		}
		if err := r.ready(ctx, c, admin); err != nil {
			return err
		}
		if err := w.prepare(ctx); err != nil {
			return err
		}
	}
	return nil
}

// makeGroups makes the control groups that faults of a service need. One that cannot be made shows when its fault is
// applied: the others can be tried nevertheless.
func (r *runner) makeGroups(c *child, name string) error {
	c.limits, c.noLimit = map[Kind]place{}, map[Kind]error{}
	for i := range r.plan.Faults {
		f := &r.plan.Faults[i]
		kind := f.Kind()
		if f.Service != c.service.Name || kind != KindCPU && kind != KindMemory {
			continue
		}
		if _, err := c.group(kind); c.limits[kind] != (place{}) || err != nil {
			continue
		}
		g, err := makeGroup(r.journal, kind, name, c.groups)
		if errors.Is(err, ErrJournal) {
			return err
		}
		if err != nil {
			c.noLimit[kind] = fmt.Errorf("no control group for it: %w", err)
			continue
		}
		c.limits[kind] = g
		if !slices.Contains(c.groups, g) {
			c.groups = append(c.groups, g)
		}
	}
	return nil
}

// ready waits until a service that was just started says so.
func (r *runner) ready(ctx context.Context, c *child, admin adminClient) error {
	bound := or(time.Duration(c.service.Start), defaultStart)
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for {
		signs := admin.look(ctx, false).signs
		if !slices.Contains(signs, signSilent) && !slices.Contains(signs, signNotReady) {
			return nil
		}
		if _, ends := c.started(); ends >= 3 {
			return fmt.Errorf("%w: %s ends as soon as it is started; it wrote:\n%s", ErrTarget, c.service.Name, &c.tail)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("%w: %s is not ready after %s (%s); it wrote:\n%s", ErrTarget, c.service.Name, bound, strings.Join(signs, ", "), &c.tail)
			}
			return fmt.Errorf("interrupted before a fault was tried: %w", err)
		}
	}
}

// cleanUp ends what the run started and undoes what is still to be undone, whatever became of the run.
func (r *runner) cleanUp() error {
	var errs []error
	ctx := context.Background()
	for _, e := range r.journal.open() {
		if e.Op == opRule || e.Op == opQuota || e.Op == opStop { // a stopped process does not end politely
			_ = r.revert.one(ctx, e) // it is tried once more below
		}
	}
	for i := len(r.plan.Services) - 1; i >= 0; i-- {
		c := r.children[r.plan.Services[i].Name]
		if c == nil {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, or(time.Duration(c.service.Stop), defaultStop))
		errs = append(errs, c.end(bounded))
		cancel()
	}
	if r.starter != nil {
		r.starter.close()
	}
	errs = append(errs, r.revert.all(ctx))
	err := errors.Join(errs...)
	if err == nil {
		_, err = r.journal.write(entry{Op: opDone})
	}
	return err
}

// show passes progress on.
func (r *runner) show(p load.Progress) {
	r.mu.Lock()
	now := r.progress
	if second := p.Last; second.LateMax > 0 {
		r.lateAt[second.From] = max(r.lateAt[second.From], second.LateMax)
	}
	r.mu.Unlock()
	if r.opt.Progress == nil {
		return
	}
	now.Elapsed, now.Requests = p.Elapsed, p
	left := (now.Rows-now.Row)*r.plan.Pairs - now.Pair
	now.Left = time.Duration(max(left, 0)) * r.plan.pair()
	r.opt.Progress(now)
}

func (r *runner) at(change func(*Progress)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.progress)
}

// lever makes the lever of a fault, and says in words what it does.
func (r *runner) lever(i int, f *Fault) (lever, string, error) {
	service, child := r.service(f.Service), r.children[f.Service]
	switch f.Kind() {
	case KindRule:
		rule := inject.Rule(*f.Rule)
		lasts := time.Duration(r.plan.Window+r.plan.Guard) + 30*time.Second
		admin := adminClient{base: service.Admin, tokenFile: service.TokenFile}
		intent := 0
		if child != nil {
			intent = child.intent
		}
		return &ruleLever{r: r, admin: admin, rule: rule, intent: intent, name: fmt.Sprint(i + 1), lasts: lasts}, f.Rule.inWords(), nil
	case KindKill:
		return &killLever{child: child}, "SIGKILL, then started again", nil
	case KindRestart:
		return &killLever{child: child, softly: true}, "SIGTERM, then started again", nil
	case KindStop:
		return &stopLever{r: r, child: child}, "SIGSTOP", nil
	case KindCPU:
		detail := fmt.Sprintf("%v processors", f.CPU)
		g, err := child.group(KindCPU)
		if err != nil {
			return nil, detail, err
		}
		file, value := g.cpuLimit(f.CPU)
		return &limitLever{r: r, file: file, value: value}, detail, nil
	default:
		detail := fmt.Sprintf("%d bytes of memory", f.Memory)
		g, err := child.group(KindMemory)
		if err != nil {
			return nil, detail, err
		}
		file, value := g.memoryLimit(f.Memory)
		return &limitLever{r: r, file: file, value: value}, detail, nil
	}
}

func (r *runner) service(name string) *Service {
	for i := range r.plan.Services {
		if r.plan.Services[i].Name == name {
			return &r.plan.Services[i]
		}
	}
	return nil
}

func machine() Machine {
	return Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()}
}
