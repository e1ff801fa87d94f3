package ramp

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/fault"
)

// Ramp is the recovery of one thing. It begins in [Full]. This type is concurrency safe.
//
// Time moves it on when it is called, and only then: no goroutine waits.
type Ramp struct {
	clock    *clock.Clock
	random   func() uint64
	observer Observer
	point    *fault.Point

	state     atomic.Pointer[state]
	rejected  atomic.Uint64
	unmarked  atomic.Int64 // while testing: since when no marked call had a result
	busyUntil atomic.Int64 // while testing: no place for a test call is free until then

	mu        sync.Mutex // guards what follows, and publishing a state
	attempt   int        // of the back-off; -1 before the first fall
	calls     []*call    // test calls in flight, those of earlier stages too
	successes int        // of test calls in this stage
	results   results    // of the calls in Rising
	falls     uint64
	late      uint64
	cause     error    // of the last fall
	changes   uint64   // how many there were
	untold    []Change // told by unlock
}

// Option injects a collaborator.
type Option func(*Ramp)

// WithClock has the ramp read c instead of an exact clock.
func WithClock(c *clock.Clock) Option { return func(r *Ramp) { r.clock = c } }

// WithRandom replaces the source of the jitter, 64 random bits a call. It must be concurrency safe.
func WithRandom(random func() uint64) Option { return func(r *Ramp) { r.random = random } }

// WithObserver has the ramp report its changes.
func WithObserver(o Observer) Option { return func(r *Ramp) { r.observer = o } }

// New returns a ramp that lets everything pass, or what is wrong with config.
func New(config Config, opts ...Option) (*Ramp, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("ramp: %w", err)
	}
	r := &Ramp{random: rand.Uint64, attempt: -1}
	for _, opt := range opts {
		opt(r)
	}
	if r.clock == nil {
		r.clock = clock.Exact()
	}
	r.state.Store(&state{config: own(config), stage: Full, full: true, since: r.clock.Now(), until: never, share: 1})
	return r, nil
}

// own copies what the caller may change later.
func own(c Config) *Config {
	c.Schedule.Steps = slices.Clone(c.Schedule.Steps)
	return &c
}

// Fall says that what recovers, or what was healthy, has failed: nothing passes for the next wait. In Waiting
// it does nothing, so that many calls that failed together are one fall. cause is for people.
func (r *Ramp) Fall(cause error) {
	now, random := r.clock.Now(), r.random()
	r.mu.Lock()
	defer r.unlock()
	if r.advance(now).stage != Waiting {
		r.fall(now, random, cause)
	}
}

// SetConfig changes the configuration of a running ramp, or returns what is wrong with it and changes nothing.
// The stage, the results and the calls in flight stay; time already spent counts in the new schedule, and a
// wait is cut to the new longest one. Bounds that became smaller are met as calls end.
func (r *Ramp) SetConfig(config Config) error {
	if err := config.Validate(); err != nil {
		return fmt.Errorf("ramp: %w", err)
	}
	now := r.clock.Now()
	r.mu.Lock()
	defer r.unlock()
	st := *r.advance(now)
	if st.config.Relapse.Of != config.Relapse.Of {
		r.results = results{}
	}
	st.config = own(config)
	switch st.stage {
	case Waiting:
		st.until = min(st.until, after(now, config.Backoff.Most))
	case Rising:
		st.until = now // looks at the new schedule
	}
	r.state.Store(&st)
	r.busyUntil.Store(0)
	if st.stage == Testing && r.successes >= config.Probing.Successes {
		r.enter(Rising, now, nil)
	}
	r.advance(now)
	return nil
}

// after is a time plus a duration, or never.
func after(now, d time.Duration) time.Duration {
	if d > never-now {
		return never
	}
	return now + d
}
