package limit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"
)

// Limit is a fixed number of slots with a bounded queue in order of arrival. This type is concurrency safe.
type Limit struct {
	config   Config
	base     time.Time // times below are durations since base
	now      func() time.Time
	observer Observer

	mu        sync.Mutex // guards what follows; observers are called without it
	admitted  int        // places taken: running, waiting, or between Admit and Start
	running   int        // slots taken; less than Slots only while nobody waits
	waiting   fifo
	closed    bool
	hold      estimate
	rejected  map[Reason]uint64
	abandoned uint64
	free      *seat // seats that nobody sits on
}

// Option injects a collaborator.
type Option func(*Limit)

// WithNow replaces time.Now. Requests in the queue set their timers by it, but the timers themselves run on
// real time.
func WithNow(now func() time.Time) Option { return func(l *Limit) { l.now = now } }

// WithObserver has the limit report what happens.
func WithObserver(o Observer) Option { return func(l *Limit) { l.observer = o } }

// Observer is told what happens to requests, on the goroutine of the request and with no lock held. After
// Admitted comes exactly one of Rejected (refused while it waited) and Done.
type Observer interface {
	Admitted()
	Started(waited time.Duration)
	Rejected(reason Reason)  // also without Admitted: refused at the door
	Done(held time.Duration) // 0 if it never had a slot
}

// New returns a limit, or what is wrong with config.
func New(config Config, opts ...Option) (*Limit, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	l := &Limit{config: config, rejected: map[Reason]uint64{QueueFull: 0, Deadline: 0, Closed: 0}}
	for _, opt := range opts {
		opt(l)
	}
	l.base = time.Now()
	if l.now != nil {
		l.base = l.now()
	}
	return l, nil
}

// Admit takes a place, or returns a [RejectedError]. It never blocks. deadline is when the work must be done;
// the zero time means whenever. The permit must be given back with Done.
//
// A request that finds a slot free is tried unless its deadline has passed, whatever the estimate says: so an
// estimate that is wrong is always corrected. One that would have to wait is refused when the expected wait,
// plus a time that hardly any request stays below, ends after the deadline.
func (l *Limit) Admit(deadline time.Time) (Permit, error) {
	return l.admit(l.elapsed(), l.due(deadline))
}

// Acquire takes a place and waits for a slot: Admit, with the deadline of ctx, and Start.
func (l *Limit) Acquire(ctx context.Context) (Permit, error) {
	deadline, _ := ctx.Deadline()
	now, due := l.elapsed(), l.due(deadline)
	if p, ok := l.acquireFree(ctx, now, due); ok {
		return p, nil
	}
	p, err := l.admit(now, due)
	if err != nil {
		return Permit{}, err
	}
	if err := p.start(ctx, now); err != nil {
		return Permit{}, err
	}
	return p, nil
}

// Close refuses all requests that have no slot yet, those in the queue included. Those that have one are not
// waited for. It may be called more than once.
func (l *Limit) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for s := l.waiting.pop(); s != nil; s = l.waiting.pop() {
		l.turnAway(s, l.reject(Closed))
		s.wake <- struct{}{}
	}
}

// Stats is what a limit says about itself.
type Stats struct {
	Admitted  int               // places taken now, at most Slots+Queue
	Running   int               // of these, how many have a slot
	Queued    int               // of these, how many wait for a slot; the rest has not called Start
	Rejected  map[Reason]uint64 // since New
	Abandoned uint64            // since New: left the queue because the caller went away
	Hold      time.Duration     // recent mean of how long a slot is held, 0 if not known
}

// Stats returns a consistent picture.
func (l *Limit) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{
		Admitted:  l.admitted,
		Running:   l.running,
		Queued:    l.waiting.length,
		Rejected:  maps.Clone(l.rejected),
		Abandoned: l.abandoned,
		Hold:      l.hold.mean,
	}
}

// acquireFree is Acquire for when a slot is free and nothing is in the way, with one turn of the lock instead
// of two.
func (l *Limit) acquireFree(ctx context.Context, now, due time.Duration) (Permit, bool) {
	if ctx.Err() != nil {
		return Permit{}, false
	}
	l.mu.Lock()
	if l.running == l.config.Slots || l.doorRefuses(now, due) != "" {
		l.mu.Unlock()
		return Permit{}, false
	}
	p := l.sit(due)
	l.takeSlot(p.seat, running, now)
	l.mu.Unlock()
	if l.observer != nil {
		l.observer.Admitted()
		l.observer.Started(0)
	}
	return p, true
}

func (l *Limit) admit(now, due time.Duration) (Permit, error) {
	l.mu.Lock()
	reason := l.doorRefuses(now, due)
	if reason != "" {
		err := l.reject(reason)
		l.mu.Unlock()
		return Permit{}, l.report(err)
	}
	p := l.sit(due)
	l.mu.Unlock()
	if l.observer != nil {
		l.observer.Admitted()
	}
	return p, nil
}

// sit takes a place. The lock is held.
func (l *Limit) sit(due time.Duration) Permit {
	l.admitted++
	s := l.free
	if s == nil {
		s = &seat{}
	} else {
		l.free = s.next
	}
	s.phase, s.due, s.next = seated, due, nil
	return Permit{limit: l, seat: s, serial: s.serial}
}

// doorRefuses returns why a request cannot be admitted, or "". The lock is held.
func (l *Limit) doorRefuses(now, due time.Duration) Reason {
	left := due - now
	switch {
	case l.closed:
		return Closed
	case l.admitted >= l.config.Slots+l.config.Queue:
		return QueueFull
	case left <= 0:
		return Deadline
	case l.running == l.config.Slots && l.tooLate(left, l.admitted-l.running+1):
		return Deadline
	}
	return ""
}

// tooLate reports whether a request with so much time left cannot be done after a wait for n slots to be
// given back. The lock is held.
func (l *Limit) tooLate(left time.Duration, n int) bool {
	return l.hold.forCompletions(n, l.config.Slots)+l.hold.atLeast() > left
}

// reject counts a rejection. The lock is held.
func (l *Limit) reject(reason Reason) error {
	l.rejected[reason]++
	return &RejectedError{Reason: reason, RetryAfter: l.hold.retryAfter(l.admitted, l.config.Slots)}
}

// abandon counts a request whose ctx has ended. That its deadline did it is no different from a deadline that
// the limit saw coming. The lock is held.
func (l *Limit) abandon(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return l.reject(Deadline)
	}
	l.abandoned++
	return fmt.Errorf("limit: wait for a slot: %w", ctx.Err())
}

// report tells the observer that a request got err instead of a place or a slot, and returns err.
func (l *Limit) report(err error) error {
	if l.observer == nil {
		return err
	}
	if rejected, ok := err.(*RejectedError); ok {
		l.observer.Rejected(rejected.Reason)
	} else if err != errSpent { // which Done has told of
		l.observer.Done(0)
	}
	return err
}

// passOn gives free slots to those who have waited longest and can still be done in time. The lock is held.
func (l *Limit) passOn(now time.Duration) {
	for l.running < l.config.Slots {
		s := l.waiting.pop()
		if s == nil {
			return
		}
		if left := s.due - now; left <= 0 || left < l.hold.atLeast() {
			l.turnAway(s, l.reject(Deadline))
		} else {
			s.waited = max(0, now-s.since)
			l.takeSlot(s, granted, now)
		}
		s.wake <- struct{}{}
	}
}

func (l *Limit) takeSlot(s *seat, p phase, now time.Duration) {
	l.running++
	s.phase, s.since = p, now
}

// turnAway takes the place of a request that has left the queue and does not know it yet. The seat stays its
// own until it has read err. The lock is held.
func (l *Limit) turnAway(s *seat, err error) {
	l.admitted--
	s.serial++
	s.phase, s.err = turnedAway, err
}

// vacate takes the place of a request that is not in the queue, and makes its permit worthless. The lock is held.
func (l *Limit) vacate(s *seat) {
	l.admitted--
	s.serial++
	l.recycle(s)
}

func (l *Limit) recycle(s *seat) {
	s.phase, s.err = vacant, nil
	s.next, l.free = l.free, s
}

func (l *Limit) elapsed() time.Duration {
	if l.now == nil {
		return time.Since(l.base) // half the price of time.Now
	}
	return l.now().Sub(l.base)
}

func (l *Limit) due(deadline time.Time) time.Duration {
	if deadline.IsZero() {
		return never
	}
	return deadline.Sub(l.base)
}
