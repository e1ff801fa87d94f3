package etcd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Source follows the keys below a prefix. This type is concurrency safe.
type Source struct {
	config   Config
	observer Observer
	points   points
	book     book
	settled  chan struct{} // closed when the first try is over
	settle   func()

	begin sync.Mutex // guards begun, and the bindings until it is set
	begun bool

	mu     sync.Mutex // guards what follows
	status Status     // without what the book knows
}

// Option injects a collaborator.
type Option func(*Source)

// WithObserver has the source report what happens.
func WithObserver(o Observer) Option { return func(s *Source) { s.observer = o } }

// New returns a source, or what is wrong with config. It reads no file and calls nobody: Run does.
func New(config Config, opts ...Option) (*Source, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	s := &Source{config: config, observer: nobody{}, settled: make(chan struct{})}
	s.settle = sync.OnceFunc(func() { close(s.settled) })
	for _, opt := range opts {
		opt(s)
	}
	s.book = book{
		prefix:   config.Prefix,
		maxKeys:  config.MaxKeys,
		maxBytes: config.MaxValueBytes,
		observer: reporter{s},
		entries:  make(map[string]*entry),
	}
	return s, nil
}

// Settled is closed when the values of etcd are in force or, after the first try failed, those of the cache. Who
// wants to begin with them waits for it, together with the end of its context: it takes no longer than DialTimeout
// and RequestTimeout for each of a few requests, whether etcd is there or not.
func (s *Source) Settled() <-chan struct{} { return s.settled }

// Run puts the values of the cache into force, then those of etcd, and follows them until ctx ends; it returns nil
// then, and everything it started has ended. That etcd is away, hangs or has lost its data is no reason to return:
// it tries again, and what is in force stays in force.
//
// A key counts as deleted when etcd tells of its deletion, also of one that happened while the connection or the
// process was away, as long as etcd has not compacted it. A key that is merely not there counts as missing, and its
// value stays in force: etcd may have lost its data. After a deletion the value stays in force too, unless OnDelete
// was given, but only until the process ends: it leaves the cache.
func (s *Source) Run(ctx context.Context) error {
	s.begin.Lock()
	again := s.begun
	s.begun = true
	s.begin.Unlock()
	if again {
		return ErrAlreadyRun
	}
	defer s.settle()
	report := reporter{s}
	var kept *keeper
	if s.config.Cache != "" {
		cache, err := s.points.readCache(ctx, s.config)
		if err != nil {
			report.Failed(err)
		}
		s.book.restore(cache)
		kept = &keeper{path: s.config.Cache, points: s.points, latest: make(chan []byte, 1), saved: s.book.changes, report: report.Failed}
		var writes sync.WaitGroup
		writes.Go(func() { kept.run(ctx) })
		defer writes.Wait()
		defer close(kept.latest)
		defer func() {
			// Also without a change: the next start follows the changes from here, and etcd may compact earlier ones.
			if s.book.heard.Cluster != 0 {
				kept.save(s.book.snapshot())
			}
		}()
	}
	for attempt := 0; ; attempt++ {
		began := time.Now()
		session := &session{Source: s, report: report, keeper: kept}
		err := session.run(ctx)
		report.Connected(false)
		s.settle()
		if ctx.Err() != nil {
			session.close()
			return nil
		}
		report.Failed(err)
		if time.Since(began) > s.config.CheckInterval+s.config.RequestTimeout {
			attempt = 0 // it was good for a while
		}
		session.pause(ctx, backoff(attempt, s.config.RetryMin, s.config.RetryMax, rand.Float64()))
		session.close()
		if ctx.Err() != nil {
			return nil
		}
	}
}
