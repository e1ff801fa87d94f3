package inference

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/ramp"
	"github.com/dougong-io/dougong/services/inference/repository"
	"github.com/dougong-io/dougong/services/inference/supervisor"
)

// workerPool is what the service asks of a supervisor.Pool.
type workerPool interface {
	Run(ctx context.Context) error
	Limit() *limit.Limit
	Predict(ctx context.Context, answers, rows []float64) error
	Healthy() error
	Quarantined() []supervisor.Quarantined
	Release(reference string) bool
	Status() supervisor.Status
}

func newWorkerPool(cfg supervisor.Config, command supervisor.Command, model supervisor.Model, deps supervisor.Deps) (workerPool, error) {
	return supervisor.New(cfg, command, model, deps)
}

// testsTake is after how long the result of a test call counts no more.
const testsTake = 5 * time.Second

// comeback is how a version that workers serve takes its calls back from its fallback. The test calls are those that are
// marked, and golden rows that the service sends: a version that nobody calls comes back as well.
func comeback() ramp.Config {
	return ramp.Config{
		Backoff: ramp.Backoff{First: 200 * time.Millisecond, Factor: 2, Most: 10 * time.Second, Jitter: 0.2, Calm: time.Minute},
		Probing: ramp.Probing{Successes: 3, AtOnce: 3, Timeout: testsTake},
		Schedule: ramp.Schedule{Steps: []ramp.Step{
			{Share: 0.1, For: time.Second}, {Share: 0.3, For: time.Second}, {Share: 0.6, For: time.Second},
		}},
		Relapse: ramp.Relapse{Failures: 5, Of: 50},
	}
}

// crew keeps the workers of all versions that have some, and the service's state as they do.
type crew struct {
	service  *Service
	versions []*served
	changed  chan struct{} // has room for one: something about a version is another than it was
	running  sync.WaitGroup
}

// hire makes the pool of a version. It starts nothing.
func (c *crew) hire(v *served, core bool) error {
	s := c.service
	engine := v.Engine()
	command, err := s.command(engine)
	if err != nil { // it may be installed while we run
		s.deps.Log.Warn("no program for the workers of a model", "error_code", "worker_program_missing", "model", v.Model, "version", v.Name, "error", err)
	}
	golden := make([]supervisor.GoldenRow, len(v.Manifest.Golden.Rows))
	for i, row := range v.Manifest.Golden.Rows {
		golden[i] = supervisor.GoldenRow(row)
	}
	if v.fallback != nil {
		if v.recovery, err = ramp.New(comeback()); err != nil {
			return err
		}
	}
	deps := supervisor.Deps{
		Log: s.deps.Log, Faults: s.deps.Faults, Trace: s.deps.Trace,
		Healthy: func(why error) { c.health(v, why) },
	}
	if s.deps.Workers != nil {
		deps.Observer = s.deps.Workers(v.Model, v.Name)
	}
	v.core = core
	v.pool, err = s.newPool(s.cfg.Workers, command, supervisor.Model{
		Name: v.Model, Version: v.Name, Format: v.Manifest.Format(), Bytes: v.TakeBytes(), Options: s.cfg.Engines[engine].options(v.Manifest.Options),
		Input: v.Manifest.Input, Output: v.Manifest.Output, Features: v.Features(), Outputs: v.Outputs(),
		Golden: golden, Tolerance: v.Manifest.Golden.Tolerance, FailFast: v.fallback != nil,
	}, deps)
	if err != nil {
		return fmt.Errorf("model %s version %s: %w", v.Model, v.Name, err)
	}
	c.versions = append(c.versions, v)
	return nil
}

// health is told whenever a version begins or ceases to answer its golden row.
func (c *crew) health(v *served, why error) {
	v.is(why)
	if why != nil && v.recovery != nil && c.service.open.Load() { // its start is no fall
		v.recovery.Fall(why)
	}
	c.wake()
}

func (c *crew) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// start runs the pools, and waits for those of core models, but not for ever.
func (c *crew) start(ctx context.Context) {
	for _, v := range c.versions {
		v.is(errStarting)
		c.running.Go(func() {
			if err := v.pool.Run(ctx); ctx.Err() == nil {
				err = errors.Join(errors.New("its workers are not kept any more"), err)
				v.ended.Store(&err)
				c.service.deps.Log.Error("a pool of workers ended", "error_code", "worker_pool_ended", "model", v.Model, "version", v.Name, "error", err)
				c.wake()
			}
		})
	}
	patience := c.service.cfg.Workers.StartTimeout
	if most := c.service.deps.StartWithin; most > 0 {
		patience = min(patience, most)
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	for c.awaited() {
		select {
		case <-c.changed:
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// awaited tells whether a core model has not answered its golden row yet.
func (c *crew) awaited() bool {
	for _, v := range c.versions {
		if v.core && v.ended.Load() == nil && v.pool.Healthy() != nil {
			return true
		}
	}
	return false
}

// opened is called when requests are taken. What does not answer by then comes back by degrees.
func (c *crew) opened() {
	for _, v := range c.versions {
		if why := v.health(); why != nil && v.recovery != nil {
			v.recovery.Fall(why)
		}
	}
}

// betweenTests is how often a version that comes back is looked at.
const betweenTests = 250 * time.Millisecond

// follow keeps the service's state as the core models do, until ctx ends.
func (c *crew) follow(ctx context.Context) {
	for {
		state, cause := c.state()
		if state != c.service.state.State() {
			c.service.moveTo(state, cause)
		}
		var look <-chan time.Time
		if c.test(ctx) {
			look = time.After(betweenTests)
		}
		select {
		case <-c.changed:
		case <-look:
		case <-ctx.Done():
			return
		}
	}
}

// state is that of the core model which does worst, and why.
func (c *crew) state() (worst lifecycle.State, cause error) {
	worst = lifecycle.Ready
	badness := map[lifecycle.State]int{lifecycle.Ready: 0, lifecycle.Recovering: 1, lifecycle.Degraded: 2, lifecycle.Failed: 3}
	for _, v := range c.versions {
		if state, why := v.state(); v.core && badness[state] > badness[worst] {
			worst, cause = state, why
			if why != nil && !errors.Is(why, supervisor.ErrUnavailable) { // which names it
				cause = fmt.Errorf("model %s version %s: %w", v.Model, v.Name, why)
			}
		}
	}
	return worst, cause
}

// test has versions that come back answer a golden row, as any marked call would, and tells whether there are such.
func (c *crew) test(ctx context.Context) (any bool) {
	for _, v := range c.versions {
		if v.recovery == nil || v.recovery.Status().Stage == ramp.Full {
			continue
		}
		any = true
		if v.health() != nil || v.recovery.Status().Stage != ramp.Testing || v.testing.Swap(true) {
			continue
		}
		permit, err := v.recovery.Allow(ramp.Call{Ctx: ctx, Marked: true})
		if err != nil { // marked calls are on their way
			v.testing.Store(false)
			continue
		}
		c.running.Go(func() {
			defer c.wake()
			defer v.testing.Store(false)
			ctx, cancel := context.WithTimeout(ctx, c.service.cfg.Workers.Probe)
			defer cancel()
			permit.Done(v.answersGolden(ctx) == nil)
		})
	}
	return any
}

// answersGolden sends a golden row the way of all calls.
func (v *served) answersGolden(ctx context.Context) error {
	permit, err := v.pool.Limit().AcquireFor(ctx, limit.Request{Ctx: ctx, Priority: limit.Critical})
	if err != nil {
		return err
	}
	defer permit.Done()
	row := v.Manifest.Golden.Rows[0]
	answer := make([]float64, v.Outputs())
	if err := v.pool.Predict(ctx, answer, row.Input); err != nil {
		return err
	}
	_, err = v.Manifest.Golden.Compare(0, answer)
	return err
}

var errStarting = errors.New("its workers start")

// is notes since when the version's workers do not answer.
func (v *served) is(why error) {
	if why == nil {
		v.away.Store(nil)
		return
	}
	now := time.Now()
	v.away.CompareAndSwap(nil, &now)
}

// patience is how long calls wait for a worker where there is none, from when there was one last: most are back by then.
const patience = 2 * time.Second

// patienceLeft is how long a call may wait for a worker, if there is none.
func (v *served) patienceLeft() time.Duration {
	if since := v.away.Load(); since != nil {
		return patience - time.Since(*since)
	}
	return patience
}

// health is nil while the version's workers answer.
func (v *served) health() error {
	if err := v.ended.Load(); err != nil {
		return *err
	}
	return v.pool.Healthy()
}

// state is that of a version which workers serve.
func (v *served) state() (lifecycle.State, error) {
	why := v.health()
	switch {
	case why == nil && v.recovery == nil:
		return lifecycle.Ready, nil
	case why != nil && v.fallback == nil:
		return lifecycle.Failed, why
	case why != nil:
		return lifecycle.Degraded, why
	}
	switch r := v.recovery.Status(); r.Stage {
	case ramp.Full:
		return lifecycle.Ready, nil
	case ramp.Waiting:
		return lifecycle.Degraded, errors.New(r.Cause)
	}
	return lifecycle.Recovering, nil
}

// moveTo goes to a state by the way that the table of transitions allows.
func (s *Service) moveTo(target lifecycle.State, cause error) {
	for {
		from := s.state.State()
		step := target
		switch {
		case from == target:
			return
		case from == lifecycle.Failed:
			step = lifecycle.Initializing
		case from == lifecycle.Degraded && target == lifecycle.Ready:
			step = lifecycle.Recovering
		case (from == lifecycle.Initializing || from == lifecycle.Ready) && target == lifecycle.Recovering:
			step = lifecycle.Degraded
		}
		if err := s.state.To(step, cause); err != nil { // the table has another way: say so, and stay
			s.deps.Log.Error("state not entered", "error_code", "state_not_entered", "error", err)
			return
		}
	}
}

// programless are the models of a repository for whose workers there is no program, with the errors that say so.
func (s *Service) programless(snapshot *repository.Snapshot) (names []string, faults []error) {
	for _, m := range snapshot.Models() {
		for _, v := range m.Versions {
			if v.Engine() == "" {
				continue
			}
			if _, err := s.command(v.Engine()); err != nil {
				names, faults = append(names, m.Name), append(faults, err)
				break
			}
		}
	}
	return names, faults
}
