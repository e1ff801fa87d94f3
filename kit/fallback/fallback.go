package fallback

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dougong-io/dougong/kit/clock"
)

// Fallback answers calls of one kind, whose results differ by key only. This type is concurrency safe. Functions
// of the user are called on the goroutine of the caller, with no lock held; a panic in one goes to the caller.
//
// Values are shared: what a call returned is kept, and given to others later. Nobody may change it, unless
// [WithClone] makes copies.
type Fallback[K comparable, V any] struct {
	config   Config
	clock    *clock.Clock
	compute  func(ctx context.Context, key K, cause error) (V, error)
	when     func(error) bool
	size     func(K, V) int64
	clone    func(V) V
	observer Observer
	points   points

	mu     sync.Mutex // guards what follows
	last   lru[K, V]
	counts Snapshot
}

// Option injects a collaborator.
type Option[K comparable, V any] func(*Fallback[K, V])

// WithDefault gives an answer where there is no last good result: a constant, or something computed, for which
// ctx has Config.DefaultTimeout, or the time to the deadline of the caller if that is less. When that deadline
// has passed, ctx has ended already, and only what needs no time can answer. cause is the error of the call.
func WithDefault[K comparable, V any](compute func(ctx context.Context, key K, cause error) (V, error)) Option[K, V] {
	return func(f *Fallback[K, V]) { f.compute = compute }
}

// WithWhen says which errors lead to a fallback; without it all do. Errors that are answers, such as "not
// found", should not. It is not asked when the caller has canceled: nobody reads the answer.
func WithWhen[K comparable, V any](when func(error) bool) Option[K, V] {
	return func(f *Fallback[K, V]) { f.when = when }
}

// WithSize says how many bytes a result takes, for Config.Bytes. What is larger than all that may be kept is not
// kept.
func WithSize[K comparable, V any](size func(K, V) int64) Option[K, V] {
	return func(f *Fallback[K, V]) { f.size = size }
}

// WithClone has each result copied before it is kept, and again before it is served, so that a caller may change
// what it gets.
func WithClone[K comparable, V any](clone func(V) V) Option[K, V] {
	return func(f *Fallback[K, V]) { f.clone = clone }
}

// WithClock has ages measured by c instead of an exact clock. Deadlines run on real time.
func WithClock[K comparable, V any](c *clock.Clock) Option[K, V] {
	return func(f *Fallback[K, V]) { f.clock = c }
}

// WithObserver has each call reported.
func WithObserver[K comparable, V any](o Observer) Option[K, V] {
	return func(f *Fallback[K, V]) { f.observer = o }
}

// New returns a fallback, or what is wrong with config.
func New[K comparable, V any](config Config, opts ...Option[K, V]) (*Fallback[K, V], error) {
	f := &Fallback[K, V]{config: config, last: lru[K, V]{entries: config.Entries, bytes: config.Bytes}}
	for _, opt := range opts {
		opt(f)
	}
	err := config.Validate()
	if config.Bytes > 0 && f.size == nil {
		err = errors.Join(err, errors.New("bytes: needs a size function; give WithSize, or set it to 0"))
	}
	if err != nil {
		return nil, fmt.Errorf("fallback: %w", err)
	}
	if f.clock == nil {
		f.clock = clock.Exact()
	}
	return f, nil
}

// Do makes a call, and answers in its stead if it returns an error: with the last good result of the key, if
// there is one that is not too old, or else with the default, if there is one. It returns an error when there
// is neither, or when the error is none to fall back on: then it is that of the call, unchanged. When the
// default failed too it wraps both errors.
//
// The context of primary ends Config.Reserve before that of the caller. Do waits for primary, which therefore
// has to heed its context. While a call succeeds and its key is known, Do allocates nothing unless it sets such
// a deadline. Only what primary returned without an error is ever kept.
func (f *Fallback[K, V]) Do(ctx context.Context, key K, primary func(ctx context.Context) (V, error)) (Result[V], error) {
	value, err := f.call(ctx, key, primary)
	if err == nil {
		f.keep(key, value)
		return f.answer(Result[V]{Value: value, Source: Primary})
	}
	if errors.Is(ctx.Err(), context.Canceled) || f.when != nil && !f.when(err) {
		return f.fail(err, err)
	}
	if value, age, ok := f.cached(ctx, key); ok {
		return f.answer(Result[V]{Value: value, Source: Cached, Age: age, Err: err})
	}
	if f.compute == nil {
		return f.fail(err, err)
	}
	value, failed := f.callDefault(ctx, key, err)
	if failed != nil {
		return f.fail(err, failed)
	}
	return f.answer(Result[V]{Value: value, Source: Default, Err: err})
}

// Forget removes the last good result of a key, because what it tells of is no more. A call that is on its way
// may bring it back.
func (f *Fallback[K, V]) Forget(key K) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last.forget(key)
}

func (f *Fallback[K, V]) call(ctx context.Context, key K, primary func(ctx context.Context) (V, error)) (V, error) {
	deadline, ok := ctx.Deadline()
	if !ok || f.config.Reserve == 0 {
		return f.primary(ctx, key, primary)
	}
	reserve := min(f.config.Reserve, time.Until(deadline)/2)
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(-max(0, reserve)))
	defer cancel()
	return f.primary(ctx, key, primary)
}

func (f *Fallback[K, V]) primary(ctx context.Context, key K, primary func(ctx context.Context) (V, error)) (value V, err error) {
	if err := hit(ctx, f.points.primary, key); err != nil {
		return value, err
	}
	return primary(ctx)
}

// keep counts a success and keeps its result.
func (f *Fallback[K, V]) keep(key K, value V) {
	var size int64
	var now time.Duration
	if f.config.Entries > 0 {
		if f.size != nil {
			size = max(0, f.size(key, value))
		}
		if f.clone != nil {
			value = f.clone(value)
		}
		now = f.clock.Now()
	}
	f.mu.Lock()
	f.counts.Primary++
	f.last.put(key, value, size, now)
	f.mu.Unlock()
}

func (f *Fallback[K, V]) cached(ctx context.Context, key K) (value V, age time.Duration, ok bool) {
	if !f.finds(ctx, key) {
		return value, 0, false
	}
	now := f.clock.Now()
	f.mu.Lock()
	value, age, ok = f.last.get(key, now, f.config.TTL)
	if ok {
		f.counts.Cached++
	}
	f.mu.Unlock()
	if ok && f.clone != nil {
		value = f.clone(value)
	}
	return value, age, ok
}

func (f *Fallback[K, V]) callDefault(ctx context.Context, key K, cause error) (V, error) {
	ctx, cancel := context.WithTimeout(ctx, f.config.DefaultTimeout)
	defer cancel()
	value, err := f.secondary(ctx, key, cause)
	if err != nil {
		return value, fmt.Errorf("fallback: default failed: %w; after: %w", err, cause)
	}
	f.mu.Lock()
	f.counts.Default++
	f.mu.Unlock()
	return value, nil
}

func (f *Fallback[K, V]) secondary(ctx context.Context, key K, cause error) (value V, err error) {
	if err := hit(ctx, f.points.fallback, key); err != nil {
		return value, err
	}
	return f.compute(ctx, key, cause)
}

func (f *Fallback[K, V]) answer(r Result[V]) (Result[V], error) {
	if f.observer != nil {
		f.observer.Done(r.Source, r.Age, r.Err)
	}
	return r, nil
}

func (f *Fallback[K, V]) fail(cause, err error) (Result[V], error) {
	f.mu.Lock()
	f.counts.Failed++
	f.mu.Unlock()
	if f.observer != nil {
		f.observer.Done(None, 0, cause)
	}
	return Result[V]{Source: None, Err: cause}, err
}
