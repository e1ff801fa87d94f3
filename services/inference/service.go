package inference

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/services/inference/repository"
)

// Deps are what the service is given. Models and Decode are needed, the rest may be nil.
type Deps struct {
	Models   fs.FS             // the repository that Config.Repository names
	Decode   repository.Decode // strict YAML
	Observer Observer
	Limit    limit.Observer
	State    lifecycle.Observer
	Log      *slog.Logger
}

// Service answers predictions. It is safe for concurrent use.
type Service struct {
	cfg     Config
	deps    Deps
	state   *lifecycle.Machine
	limiter *limit.Limit
	memory  budget

	models  atomic.Pointer[loadedModels] // nil until loaded
	nobody  VersionObserver              // for requests that no version could be found for
	scratch sync.Pool                    // of *scratch
}

// loadedModels is a snapshot with the observer of each version.
type loadedModels struct {
	*repository.Snapshot
	observers map[*repository.Version]VersionObserver
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
	if deps.State != nil {
		stateOptions = append(stateOptions, lifecycle.WithObserver(deps.State))
	}
	var limitOptions []limit.Option
	if deps.Limit != nil {
		limitOptions = append(limitOptions, limit.WithObserver(deps.Limit))
	}
	limiter, err := limit.New(cfg.limiter(), limitOptions...)
	if err != nil {
		return nil, fmt.Errorf("inference: %w", err)
	}
	s := &Service{
		cfg:     cfg,
		deps:    deps,
		state:   lifecycle.NewMachine("inference", stateOptions...),
		limiter: limiter,
		memory:  budget{limit: cfg.InFlightBytes},
		nobody:  deps.Observer.Version("", ""),
		scratch: sync.Pool{New: func() any { return new(scratch) }},
	}
	return s, nil
}

// Lifecycle is the service's state.
func (s *Service) Lifecycle() *lifecycle.Machine { return s.state }

// Limit is what admits predictions, for those who watch it.
func (s *Service) Limit() *limit.Limit { return s.limiter }

// Run loads the repository, serves until ctx ends, and returns when everything that it started has
// ended. A model that cannot be vouched for is an error that names all such models.
func (s *Service) Run(ctx context.Context) error {
	if err := s.load(ctx); err != nil {
		return errors.Join(err, s.state.To(lifecycle.Failed, err))
	}
	if err := s.state.To(lifecycle.Ready, nil); err != nil {
		return err
	}
	<-ctx.Done()
	err := s.state.To(lifecycle.Draining, context.Cause(ctx))
	s.limiter.Close()
	return errors.Join(err, s.state.To(lifecycle.Stopped, nil))
}

func (s *Service) load(ctx context.Context) error {
	start := time.Now()
	snapshot, err := repository.Load(ctx, s.deps.Models, s.deps.Decode, s.cfg.Limits)
	if err != nil {
		return err
	}
	if name := s.cfg.DefaultModel; name != "" {
		if _, err := snapshot.Model(name); err != nil {
			return fmt.Errorf("inference.default_model: %w", err)
		}
	}
	loaded := &loadedModels{Snapshot: snapshot, observers: make(map[*repository.Version]VersionObserver)}
	for _, m := range snapshot.Models() {
		for _, v := range m.Versions {
			loaded.observers[v] = s.deps.Observer.Version(m.Name, v.Name)
		}
		s.deps.Log.Info("model loaded", "model", m.Name, "serving", m.Serving.Name, "versions", len(m.Versions),
			"trees", m.Serving.Summary.Trees, "features", m.Serving.Features(), "golden_rows", len(m.Serving.Manifest.Golden.Rows))
	}
	s.models.Store(loaded)
	s.deps.Log.Info("repository loaded", "repository", s.cfg.Repository, "models", len(snapshot.Models()), "took_ms", time.Since(start).Milliseconds())
	return nil
}

// Register hands each route to handle, with the role that its caller needs.
func (s *Service) Register(handle func(pattern, role string, handler http.Handler)) {
	handle("POST /v1/predict", "read", http.HandlerFunc(s.predict))
	handle("GET /v1/models", "read", http.HandlerFunc(s.listModels))
	handle("GET /v1/models/{model}", "read", http.HandlerFunc(s.describeModel))
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
			_, err := v.CheckGolden()
			report("golden rows of "+m.Name+" version "+v.Name, err)
		}
	}
	stats := s.limiter.Stats()
	var err error
	if limits := s.cfg.limiter(); stats.Running > limits.Slots || stats.Admitted > limits.Slots+limits.Queue {
		err = fmt.Errorf("%d run and %d are admitted, of %d slots and %d places", stats.Running, stats.Admitted, limits.Slots, limits.Queue)
	}
	report("no more than slots run and no more than the queue wait", err)
}

// Status is what /statusz shows of the service.
type Status struct {
	Models      []ModelStatus `json:"models"`
	Slots       int           `json:"slots"`
	Admitted    int           `json:"admitted"`
	Running     int           `json:"running"`
	Queued      int           `json:"queued"`
	BodyBytes   int64         `json:"body_bytes"`
	DefaultName string        `json:"default_model"`
}

// ModelStatus is a line of Status.
type ModelStatus struct {
	Name     string   `json:"name"`
	Serving  string   `json:"serving"`
	Versions []string `json:"versions"`
}

// Status is a picture of the moment.
func (s *Service) Status() Status {
	stats := s.limiter.Stats()
	status := Status{
		Slots: s.cfg.limiter().Slots, Admitted: stats.Admitted, Running: stats.Running, Queued: stats.Queued,
		BodyBytes: s.memory.used.Load(), DefaultName: s.cfg.DefaultModel,
	}
	if loaded := s.models.Load(); loaded != nil {
		for _, m := range loaded.Models() {
			line := ModelStatus{Name: m.Name, Serving: m.Serving.Name}
			for _, v := range m.Versions {
				line.Versions = append(line.Versions, v.Name)
			}
			status.Models = append(status.Models, line)
		}
	}
	return status
}
