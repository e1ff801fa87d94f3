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
	arriving  int        // places taken by requests between Admit and Start
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
	if config.Arriving == 0 {
		config.Arriving = config.Slots + config.Queue
	}
	l := &Limit{config: config, rejected: map[Reason]uint64{QueueFull: 0, ArrivingFull: 0, Deadline: 0, Closed: 0}}
	for _, opt := range opts {
		opt(l)
	}
	l.base = time.Now()
	if l.now != nil {
		l.base = l.now()
	}
	return l, nil
}

// Admit takes one of the places for requests whose input is on its way, or returns a [RejectedError]. It never
// blocks. deadline is when the work must be done; the zero time means whenever. The permit must be given back
// with Done.
//
// It also refuses what Start would refuse at this moment, so that nothing arrives in vain. A request that finds
// a slot free is tried unless its deadline has passed, whatever the estimate says: so an estimate that is wrong
// is always corrected. One that would have to wait is refused when the queue is full, and when the expected
// wait, plus a time that hardly any request stays below, ends after the deadline. Those that have not called
// Start yet are no part of that wait: their input may never come.
func (l *Limit) Admit(deadline time.Time) (Permit, error) {
	now, due := l.elapsed(), l.due(deadline)
	l.mu.Lock()
	reason := l.refuses(now, due)
	if reason == "" && l.arriving == l.config.Arriving {
		reason = ArrivingFull
	}
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

// Acquire takes a slot, or a place in the queue and waits for a slot: Admit and Start in one, with the deadline
// of ctx, for requests whose input is here. It needs no place among those that arrive.
func (l *Limit) Acquire(ctx context.Context) (Permit, error) {
	deadline, _ := ctx.Deadline()
	now, due := l.elapsed(), l.due(deadline)
	l.mu.Lock()
	if reason := l.refuses(now, due); reason != "" {
		err := l.reject(reason)
		l.mu.Unlock()
		return Permit{}, l.report(err)
	}
	p := l.sit(due) // and leaves the places of those that arrive before the lock does
	patience, err := l.enter(ctx, p.seat, now)
	l.mu.Unlock()
	if l.observer != nil {
		l.observer.Admitted()
	}
	if err := l.follow(ctx, p.seat, patience, err); err != nil {
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
	Admitted  int               // places taken now: the sum of the next three
	Arriving  int               // how many have not called Start, at most Config.Arriving
	Running   int               // how many have a slot, at most Config.Slots
	Queued    int               // how many wait for a slot, at most Config.Queue
	Rejected  map[Reason]uint64 // since New
	Abandoned uint64            // since New: left the queue because the caller went away
	Hold      time.Duration     // recent mean of how long a slot is held, 0 if not known
}

// Stats returns a consistent picture.
func (l *Limit) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{
		Admitted:  l.arriving + l.running + l.waiting.length,
		Arriving:  l.arriving,
		Running:   l.running,
		Queued:    l.waiting.length,
		Rejected:  maps.Clone(l.rejected),
		Abandoned: l.abandoned,
		Hold:      l.hold.mean,
	}
}

// sit takes a place for a request that arrives. The lock is held.
func (l *Limit) sit(due time.Duration) Permit {
	l.arriving++
	s := l.free
	if s == nil {
		s = &seat{}
	} else {
		l.free = s.next
	}
	s.phase, s.due, s.next = arriving, due, nil
	return Permit{limit: l, seat: s, serial: s.serial}
}

// refuses returns why a request can neither run nor wait now, or "". The lock is held.
func (l *Limit) refuses(now, due time.Duration) Reason {
	left := due - now
	switch {
	case l.closed:
		return Closed
	case left <= 0:
		return Deadline
	case l.running < l.config.Slots:
		return ""
	case l.waiting.length == l.config.Queue:
		return QueueFull
	case l.tooLate(left, l.waiting.length+1):
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
	after := l.hold.retryAfter(l.running+l.waiting.length, l.config.Slots)
	if reason == ArrivingFull {
		after = max(after, retryUnknown)
	}
	return &RejectedError{Reason: reason, RetryAfter: after}
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

// turnAway makes the permit of a request worthless that has left the queue and does not know it yet. The seat
// stays its own until it has read err. The lock is held.
func (l *Limit) turnAway(s *seat, err error) {
	s.serial++
	s.phase, s.err = turnedAway, err
}

// vacate takes the seat of a request that is not in the queue and has no slot any more, and makes its permit
// worthless. The lock is held.
func (l *Limit) vacate(s *seat) {
	if s.phase == arriving {
		l.arriving--
	}
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
	return max(0, l.now().Sub(l.base))
}

// due is never negative, nor is elapsed, so that their difference does not overflow.
func (l *Limit) due(deadline time.Time) time.Duration {
	if deadline.IsZero() {
		return never
	}
	return max(0, deadline.Sub(l.base))
}
