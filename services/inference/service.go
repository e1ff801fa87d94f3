package inference

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/pool"
	"github.com/dougong-io/dougong/kit/ramp"
	"github.com/dougong-io/dougong/services/inference/oip"
	"github.com/dougong-io/dougong/services/inference/repository"
	"github.com/dougong-io/dougong/services/inference/supervisor"
	"github.com/dougong-io/dougong/services/inference/tree"
)

// Deps are what the service is given. Models and Decode are needed, the rest may be nil.
type Deps struct {
	Models          fs.FS             // the repository that Config.Repository names
	Decode          repository.Decode // strict YAML
	Observer        Observer
	LimitObserver   limit.Observer
	BreakerObserver breaker.Observer
	StateObserver   lifecycle.Observer
	Tenant          func(ctx context.Context, remote string) string // who shares a limit with itself, of a caller at that address; nil: all are one
	Ready           func() (state string, ok bool)                  // of the process; nil: the service's own
	Version         string                                          // of the program
	Faults          *fault.Set                                      // whose rules may strike; nil: none can

	Program     func(name string) (path string, err error)                       // finds the program of a worker; nil: there are none
	StartWithin time.Duration                                                    // how long Run may wait for workers before requests are taken; 0: Config.Workers.StartTimeout
	Workers     func(model, version string) supervisor.Observer                  // of a version's workers
	Trace       func(context.Context) (trace [16]byte, span [8]byte, flags byte) // that a request belongs to
	Log         *slog.Logger
}

// Service answers predictions. It is safe for concurrent use.
type Service struct {
	cfg     Config
	deps    Deps
	state   *lifecycle.Machine
	limits  limit.Config
	limiter *limit.Limit
	breaker *breaker.Group[modelVersion]
	memory  budget
	points  points

	models  atomic.Pointer[loadedModels] // nil until loaded
	newPool func(supervisor.Config, supervisor.Command, supervisor.Model, supervisor.Deps) (workerPool, error)
	open    atomic.Bool // requests are taken
	opened  chan struct{}
	unnamed VersionObserver // for requests that no version could be found for
	scratch *pool.Pool[*scratch]
	buffers *pool.Buffers // of bodies and answers
}

// loadedModels is a snapshot with the observer of each version.
type loadedModels struct {
	*repository.Snapshot
	defaultModel string // "": a request must name one
	served       map[*repository.Version]*served
}

// served is a version with what goes with it.
type served struct {
	*repository.Version
	observer  VersionObserver
	circuit   *breaker.Circuit
	signature oip.Signature
	stats     stats
	named     []string // as the header says who answered
	fallback  *served  // answers while this one cannot; nil: nothing does

	pool     workerPool                // nil: it is scored here
	recovery *ramp.Ramp                // what it takes back from its fallback; nil without a pool or a fallback
	core     bool                      // the service is not ready without it
	away     atomic.Pointer[time.Time] // since when its workers do not answer; nil: they do
	ended    atomic.Pointer[error]     // why its pool is not run any more; nil while it is
	testing  atomic.Bool               // the service tests it
}

// modelVersion is what a circuit guards.
type modelVersion struct{ model, version string }

func (v modelVersion) String() string { return v.model + "/" + v.version }

// signatureOf is a version as the Open Inference Protocol sees it.
func signatureOf(v *repository.Version) oip.Signature {
	datatype := oip.FP64
	if v.Summary.Precision == tree.Float32 {
		datatype = oip.FP32
	}
	return oip.Signature{Model: v.Model, Version: v.Name, Features: v.Manifest.Inputs, Column: v.Column, Outputs: v.Outputs(), Datatype: datatype,
		Input: v.Manifest.Input, Output: v.Manifest.Output}
}

// New makes a service in state Initializing. It reads nothing: Run does.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("inference: %w", err)
	}
	if deps.Models == nil || deps.Decode == nil {
		return nil, errors.New("inference: Deps.Models and Deps.Decode are needed")
	}
	if deps.Observer == nil {
		deps.Observer = silent{}
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	var stateOptions []lifecycle.Option
	if deps.StateObserver != nil {
		stateOptions = append(stateOptions, lifecycle.WithObserver(deps.StateObserver))
	}
	limitOptions := []limit.Option{limit.WithFaults(deps.Faults)}
	if deps.LimitObserver != nil {
		limitOptions = append(limitOptions, limit.WithObserver(deps.LimitObserver))
	}
	limits := cfg.limits()
	limiter, err := limit.New(limits, limitOptions...)
	if err != nil {
		return nil, fmt.Errorf("inference: %w", err)
	}
	// The points of kit/breaker are not for it: they know neither a request's context nor its model. pointPermit does.
	var breakerOptions []breaker.Option[modelVersion]
	if deps.BreakerObserver != nil {
		breakerOptions = append(breakerOptions, breaker.WithObserver[modelVersion](deps.BreakerObserver))
	}
	if deps.Faults != nil { // exact, since breaker.slow_after is measured by it too
		skewed := clock.Skewed(clock.Exact(), deps.Faults.Point(pointClock).Skew)
		breakerOptions = append(breakerOptions, breaker.WithClock[modelVersion](skewed))
	}
	group, err := breaker.New(cfg.Breaker, breakerOptions...)
	if err != nil {
		return nil, fmt.Errorf("inference: %w", err)
	}
	scratches, err := pool.New[scratch](nil, scratchPool())
	if err != nil {
		return nil, fmt.Errorf("inference: %w", err)
	}
	buffers, err := pool.NewBuffers(pool.DefaultBuffersConfig())
	if err != nil {
		return nil, fmt.Errorf("inference: %w", err)
	}
	// As they are in a request's header, so that looking them up allocates nothing.
	cfg.PriorityHeader, cfg.TestHeader = http.CanonicalHeaderKey(cfg.PriorityHeader), http.CanonicalHeaderKey(cfg.TestHeader)
	return &Service{
		cfg:     cfg,
		deps:    deps,
		state:   lifecycle.NewMachine("inference", stateOptions...),
		limits:  limits,
		limiter: limiter,
		breaker: group,
		memory:  budget{limit: cfg.InFlightBytes},
		points:  newPoints(deps.Faults),
		unnamed: deps.Observer.Version("", ""),
		scratch: scratches,
		buffers: buffers,
		newPool: newWorkerPool,
		opened:  make(chan struct{}),
	}, nil
}

// Opened is closed when requests are taken. Most often the service is ready by then; it is not where no worker serves a
// core model, while all other models are served.
func (s *Service) Opened() <-chan struct{} { return s.opened }

// Lifecycle is the service's state.
func (s *Service) Lifecycle() *lifecycle.Machine { return s.state }

// Limit is what admits predictions, for those who watch it.
func (s *Service) Limit() *limit.Limit { return s.limiter }

// Breaker is a picture of the circuits, one for each version, for those who watch them.
func (s *Service) Breaker() breaker.GroupStatus { return s.breaker.Snapshot() }

// SetBreakerPolicy puts another policy in force while requests run.
func (s *Service) SetBreakerPolicy(p breaker.Policy) error { return s.breaker.SetPolicy(p) }

// Run loads the repository, starts the workers of models that need some, serves until ctx ends, and returns when
// everything that it started has ended. A model that cannot be vouched for is an error that names all such models. Workers
// that fail are none: their models are served by their fallback or not at all, the others all the same, and the state
// says so, Failed included, which is left when they are back.
func (s *Service) Run(ctx context.Context) error {
	team := &crew{service: s, changed: make(chan struct{}, 1)}
	if err := s.load(ctx, team); err != nil {
		if ctx.Err() != nil { // stopped meanwhile
			return s.stop(ctx, team)
		}
		return errors.Join(err, s.state.To(lifecycle.Failed, err))
	}
	team.start(ctx)
	if ctx.Err() != nil {
		return s.stop(ctx, team)
	}
	s.open.Store(true)
	team.opened()
	state, cause := team.state()
	s.moveTo(state, cause)
	close(s.opened)
	team.follow(ctx)
	return s.stop(ctx, team)
}

func (s *Service) stop(ctx context.Context, team *crew) error {
	err := s.state.To(lifecycle.Draining, context.Cause(ctx))
	s.open.Store(false)
	s.limiter.Close()
	team.running.Wait()
	return errors.Join(err, s.state.To(lifecycle.Stopped, nil))
}

func (s *Service) load(ctx context.Context, team *crew) error {
	start := time.Now()
	snapshot, err := repository.Load(ctx, s.deps.Models, s.deps.Decode, s.cfg.Limits, s.deps.Faults)
	if err != nil {
		return fmt.Errorf("inference.repository %q: %w", s.cfg.Repository, err)
	}
	if s.cfg.Repository == DemoRepository {
		names, faults := s.programless(snapshot)
		for i, name := range names { // the demo is complete without it
			s.deps.Log.Info("model of the demo left out: make install-onnx installs what it needs", "model", name, "cause", faults[i])
		}
		snapshot = snapshot.Without(names...)
	}
	for _, name := range snapshot.Skipped {
		s.deps.Log.Warn("not a model: it has no policy.yaml", "error_code", "repository_entry_skipped", "repository", s.cfg.Repository, "entry", name)
	}
	defaultModel := s.cfg.DefaultModel
	switch {
	case defaultModel == "" && s.cfg.Repository == DemoRepository:
		defaultModel = demoModel
	case defaultModel == "" && len(snapshot.Models()) == 1:
		defaultModel = snapshot.Models()[0].Name
	}
	if defaultModel != "" {
		if _, err := snapshot.Model(defaultModel); err != nil {
			return fmt.Errorf("inference.default_model: %w", err)
		}
	}
	loaded := &loadedModels{Snapshot: snapshot, defaultModel: defaultModel, served: make(map[*repository.Version]*served)}
	for _, m := range snapshot.Models() {
		for _, v := range m.Versions {
			circuit, err := s.breaker.Circuit(modelVersion{m.Name, v.Name})
			if err != nil {
				return err
			}
			loaded.served[v] = &served{Version: v, observer: s.deps.Observer.Version(m.Name, v.Name), circuit: circuit, signature: signatureOf(v), named: []string{m.Name + "/" + v.Name}}
		}
		about := []any{"model", m.Name, "serving", m.Serving.Name, "versions", len(m.Versions),
			"features", m.Serving.Features(), "golden_rows", len(m.Serving.Manifest.Golden.Rows)}
		if engine := m.Serving.Engine(); engine != "" {
			about = append(about, "engine", engine)
		} else {
			about = append(about, "trees", m.Serving.Summary.Trees)
		}
		s.deps.Log.Info("model loaded", about...)
	}
	if err := loaded.hire(team); err != nil {
		return err
	}
	s.models.Store(loaded)
	s.deps.Log.Info("repository loaded", "repository", s.cfg.Repository, "models", len(snapshot.Models()), "took_ms", time.Since(start).Milliseconds())
	return nil
}

// hire links each version with its fallback, and makes the pools of those that workers serve.
func (m *loadedModels) hire(team *crew) error {
	var faults []error
	for _, model := range m.Models() {
		for _, v := range model.Versions {
			served := m.served[v]
			served.fallback = m.served[model.Fallback] // nil has none
			if v.Engine() != "" {
				faults = append(faults, team.hire(served, model.Core && v == model.Serving))
			}
		}
	}
	return errors.Join(faults...)
}

// Register hands each route to handle, with the role that its caller needs.
func (s *Service) Register(handle func(pattern, role string, handler http.Handler)) {
	handle("POST /v1/predict", "read", http.HandlerFunc(s.predict))
	handle("GET /v1/models", "read", http.HandlerFunc(s.listModels))
	handle("GET /v1/models/{model}", "read", http.HandlerFunc(s.describeModel))
	handle("GET /v1/models/{model}/quarantine", "read", http.HandlerFunc(s.listQuarantine))
	handle("DELETE /v1/models/{model}/quarantine/{reference}", "release", http.HandlerFunc(s.releaseQuarantined))
	s.registerV2(handle)
}

// Invariants tells what must always hold, each with nil or what is wrong. It recomputes, so it costs a
// few predictions.
func (s *Service) Invariants(report func(name string, err error)) {
	loaded := s.models.Load()
	if loaded == nil {
		return
	}
	for _, m := range loaded.Models() {
		for _, v := range m.Versions {
			var err error
			if served := loaded.served[v]; served.pool != nil {
				err = served.health() // which its workers' last probes say
			} else {
				_, err = v.CheckGolden()
			}
			report("golden rows of "+m.Name+" version "+v.Name, err)
		}
	}
	stats := s.limiter.Stats()
	var err error
	most := s.limits.Slots
	if a := s.limits.Adaptive; a != nil {
		most = a.Max
	}
	if l := s.limits; stats.Running > most || stats.Queued > l.Queue || stats.Yielding > l.Queue || stats.Arriving > l.Arriving {
		err = fmt.Errorf("%d run, %d wait, %d of them between blocks, and %d arrive, of %d, %d and %d", stats.Running, stats.Queued+stats.Yielding, stats.Yielding, stats.Arriving, most, l.Queue, l.Arriving)
	}
	report("no more run, wait and arrive than may", err)
	err = nil
	if scratches, buffers := s.scratch.Snapshot().Leaked, s.buffers.Snapshot().Leaked; scratches+buffers > 0 {
		err = fmt.Errorf("%d times that of rows, %d times that of a body or an answer", scratches, buffers)
	}
	report("no memory of a request was forgotten", err)
}

// Status is what /statusz shows of the service.
type Status struct {
	Models       []ModelStatus `json:"models"`
	Slots        int           `json:"slots"`
	Tenants      int           `json:"tenants"`
	Arriving     int           `json:"arriving"`
	Running      int           `json:"running"`
	Queued       int           `json:"queued"`
	Yielding     int           `json:"yielding"`   // large requests that let others go first between two blocks
	HeldBytes    int64         `json:"held_bytes"` // by bodies that arrive or wait, and answers that are being sent
	DefaultModel string        `json:"default_model"`
	Rows         pool.Stats    `json:"rows"`    // memory that requests use again: of rows and outputs,
	Buffers      pool.Stats    `json:"buffers"` // and of bodies and answers
}

// ModelStatus is a line of Status.
type ModelStatus struct {
	Name     string          `json:"name"`
	Serving  string          `json:"serving"`
	Versions []VersionStatus `json:"versions"`
}

// VersionStatus says how a version fares.
type VersionStatus struct {
	Version     string        `json:"version"`
	Breaker     breaker.State `json:"breaker"`
	Cause       string        `json:"cause,omitempty"` // of the breaker's state
	RetryIn     string        `json:"retry_in,omitempty"`
	Share       float64       `json:"share"` // of the requests that pass the breaker
	FailureRate float64       `json:"failure_rate"`
	PerSecond   float64       `json:"per_second"`

	Engine   string             `json:"engine,omitempty"`   // whose workers serve it
	Workers  *supervisor.Status `json:"workers,omitempty"`  // which
	Fallback string             `json:"fallback,omitempty"` // what answers while it cannot
	Recovery ramp.Stage         `json:"recovery,omitempty"` // how far it has come back from its fallback
}

func (v *served) status() VersionStatus {
	c := v.circuit.Snapshot()
	status := VersionStatus{Version: v.Name, Engine: v.Engine(), Breaker: c.State, Cause: c.Cause, Share: c.Share * (1 - c.Shed), FailureRate: c.FailureRate, PerSecond: math.Round(c.PerSecond*10) / 10}
	if c.State == breaker.Open {
		status.RetryIn = c.RetryIn.Round(time.Millisecond).String()
	}
	if v.fallback != nil {
		status.Fallback = v.fallback.named[0]
	}
	if v.pool != nil {
		workers := v.pool.Status()
		status.Workers = &workers
	}
	if v.recovery != nil {
		status.Recovery = v.recovery.Status().Stage
	}
	return status
}

// Status is a picture of the moment.
func (s *Service) Status() Status {
	stats := s.limiter.Stats()
	status := Status{
		Slots: stats.Slots, Tenants: stats.Tenants, Arriving: stats.Arriving, Running: stats.Running, Queued: stats.Queued, Yielding: stats.Yielding,
		HeldBytes: s.memory.used.Load(), Rows: s.scratch.Snapshot(), Buffers: s.buffers.Snapshot(),
	}
	if loaded := s.models.Load(); loaded != nil {
		status.DefaultModel = loaded.defaultModel
		for _, m := range loaded.Models() {
			line := ModelStatus{Name: m.Name, Serving: m.Serving.Name}
			for _, v := range m.Versions {
				line.Versions = append(line.Versions, loaded.served[v].status())
			}
			status.Models = append(status.Models, line)
		}
	}
	return status
}
