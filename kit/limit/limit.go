package limit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Limit is a number of slots with a bounded queue. This type is concurrency safe.
type Limit struct {
	crowded  atomic.Bool // somebody waits, or more slots are taken than there are; set by mark, far from what each request writes
	config   Config
	base     time.Time // times below are durations since base
	now      func() time.Time
	observer Observer
	points   points

	mu        sync.Mutex  // guards what follows; observers are called without it
	arriving  int         // places taken by requests between Admit and Start
	running   int         // slots taken; less than slots only while nobody may have one
	slots     int         // how many there are: Config.Slots, or what adapt found
	adapt     *controller // nil if the number is fixed
	waiting   queue
	marked    time.Duration // when crowded changed
	closed    bool
	hold      estimate
	longs     estimate // of long work, all its blocks together
	doubts    int      // how many were turned away by longs since one was measured
	rejected  map[Reason]uint64
	abandoned uint64
	free      *seat // seats that nobody sits on
}

// Option injects a collaborator.
type Option func(*Limit)

// WithNow replaces time.Now. Requests in the queue set their timers by it, but the timers themselves run on
// real time.
func WithNow(now func() time.Time) Option { return func(l *Limit) { l.now = now } }

// WithObserver has the limit report what happens, and how many slots there are if o is a [SlotsObserver].
func WithObserver(o Observer) Option { return func(l *Limit) { l.observer = o } }

// Observer is told what happens to requests, on the goroutine of the request and with no lock held. After
// Admitted comes exactly one of Rejected (refused while it waited, be it in Yield) and Done.
type Observer interface {
	Admitted()
	Started(waited time.Duration)
	Rejected(reason Reason)  // also without Admitted: refused at the door
	Done(held time.Duration) // without the time it waited in Yield, with that of extra slots; 0 if it never had a slot
}

// SlotsObserver is an [Observer] that is also told when an adaptive limit has changed. Of two changes that follow
// each other closely it may hear in either order; Stats has the last.
type SlotsObserver interface {
	Observer
	SlotsChanged(slots int)
}

// New returns a limit, or what is wrong with config.
func New(config Config, opts ...Option) (*Limit, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	if config.Arriving == 0 {
		config.Arriving = config.Slots + config.Queue
	}
	slots := config.Slots
	if config.Adaptive != nil {
		slots = max(slots, config.Adaptive.Max)
	}
	l := &Limit{config: config, slots: config.Slots, waiting: newQueue(config.Queue, slots)}
	l.rejected = map[Reason]uint64{QueueFull: 0, ArrivingFull: 0, TenantFull: 0, Displaced: 0, Deadline: 0, Closed: 0}
	if config.Adaptive != nil {
		l.adapt = newController(*config.Adaptive, config.Slots)
	}
	for _, opt := range opts {
		opt(l)
	}
	l.base = time.Now()
	if l.now != nil {
		l.base = l.now()
	}
	return l, nil
}

// Request is what a limit can know about a request. The zero value is one of normal priority that may take as
// long as it likes.
type Request struct {
	Deadline time.Time // when the work must be done; zero: whenever
	Priority Priority
	Tenant   string          // for whom it is; all that name none take turns as one tenant
	Ctx      context.Context // ends what an injected fault does to AdmitFor; nil: the deadline and the end of the rule do. Nothing else reads it
}

// Admit is AdmitFor with a deadline alone.
func (l *Limit) Admit(deadline time.Time) (Permit, error) {
	return l.AdmitFor(Request{Deadline: deadline})
}

// AdmitFor takes one of the places for requests whose input is on its way, or returns a [RejectedError]. It never
// blocks: only an injected fault can hold it, until Request.Ctx ends, which the error then wraps, or the deadline passes.
// The permit must be given back with Done or DoneWith.
//
// It also refuses what Start would refuse at this moment, so that nothing arrives in vain. A request that finds
// a slot free is tried unless its deadline has passed, whatever the estimate says: so an estimate that is wrong
// is always corrected. One that would have to wait is refused when the queue is full and nobody in it has to
// give way, and when the expected wait, plus a time that hardly any request stays below, ends after the
// deadline. Those that have not called Start yet are no part of that wait: their input may never come.
func (l *Limit) AdmitFor(r Request) (Permit, error) {
	if l.points.admit.On() {
		if err := l.struck(cmp.Or(r.Ctx, context.Background()), l.points.admit, r); err != nil {
			return Permit{}, err
		}
	}
	now, due, class := l.elapsed(), l.due(r.Deadline), r.Priority.class()
	l.mu.Lock()
	reason := l.refuses(now, due, class, r.Tenant)
	if reason == "" {
		reason = l.noRoomToArrive(r.Tenant)
	}
	if reason != "" {
		err := l.reject(reason)
		l.mu.Unlock()
		return Permit{}, l.report(err)
	}
	p := l.sit(due, class, r.Tenant)
	l.mu.Unlock()
	if l.observer != nil {
		l.observer.Admitted()
	}
	return p, nil
}

// Acquire is AcquireFor with the deadline of ctx alone.
func (l *Limit) Acquire(ctx context.Context) (Permit, error) { return l.AcquireFor(ctx, Request{}) }

// AcquireFor takes a slot, or a place in the queue and waits for a slot: AdmitFor and Start in one, for requests
// whose input is here. It needs no place among those that arrive. The deadline is that of r or of ctx, whichever
// is earlier.
func (l *Limit) AcquireFor(ctx context.Context, r Request) (Permit, error) {
	if deadline, ok := ctx.Deadline(); ok && (r.Deadline.IsZero() || deadline.Before(r.Deadline)) {
		r.Deadline = deadline
	}
	if l.points.acquire.On() {
		if err := l.struck(ctx, l.points.acquire, r); err != nil {
			return Permit{}, err
		}
	}
	now, due, class := l.elapsed(), l.due(r.Deadline), r.Priority.class()
	l.mu.Lock()
	if reason := l.refuses(now, due, class, r.Tenant); reason != "" {
		err := l.reject(reason)
		l.mu.Unlock()
		return Permit{}, l.report(err)
	}
	p := l.sit(due, class, r.Tenant) // and leaves the places of those that arrive before the lock does
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

// Close refuses all requests that have no slot, those in the queue and in Yield included. Those that have one are not
// waited for. It may be called more than once.
func (l *Limit) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for i := range l.waiting.classes {
		for c := &l.waiting.classes[i]; c.all() > 0; {
			l.dismiss(c.sizes.heap[0].next(), l.reject(Closed))
		}
	}
}

// Stats is what a limit says about itself.
type Stats struct {
	Admitted  int               // places taken now: the sum of the next four
	Arriving  int               // how many have not called Start, at most Config.Arriving
	Running   int               // how many slots are taken, those of Extra included: at most Slots, or until some are given back more after Slots fell
	Queued    int               // how many wait for a slot in Start or Acquire, at most Config.Queue
	Yielding  int               // how many wait for a slot in Yield, at most Config.Queue
	Slots     int               // how many slots there are now: Config.Slots if the limit is not adaptive
	Tenants   int               // that are known by name now: who waits, has waited for a slot that it holds, has a share to keep, or has had more than others that wait
	Rejected  map[Reason]uint64 // since New
	Abandoned uint64            // since New: left the queue because the caller went away
	Hold      time.Duration     // recent mean of how long a slot is held, in work that yields while others wait; 0 if not known
}

// Stats returns a consistent picture.
func (l *Limit) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{
		Admitted:  l.arriving + l.running + l.waiting.all(),
		Arriving:  l.arriving,
		Running:   l.running,
		Queued:    l.waiting.length,
		Yielding:  l.waiting.between,
		Rejected:  maps.Clone(l.rejected),
		Abandoned: l.abandoned,
		Slots:     l.slots,
		Tenants:   len(l.waiting.tenants),
		Hold:      l.hold.expected(),
	}
}

// sit takes a place for a request that arrives. The lock is held.
func (l *Limit) sit(due time.Duration, class uint8, tenant string) Permit {
	l.arriving++
	s := l.vacancy(due, class, tenant)
	s.phase = arriving
	if l.sharesOut(tenant) {
		l.waiting.refer(s).arriving++
	}
	return Permit{limit: l, seat: s, serial: s.serial}
}

// vacancy is a seat that nobody sits on. The lock is held.
func (l *Limit) vacancy(due time.Duration, class uint8, tenant string) *seat {
	s := l.free
	if s == nil {
		s = &seat{}
	} else {
		l.free = s.next
	}
	s.due, s.next, s.class = due, nil, class
	if s.tenant != tenant { // writing a pointer costs more
		s.tenant = tenant
	}
	return s
}

// sharesOut reports whether the tenant must not have more than its share.
func (l *Limit) sharesOut(tenant string) bool { return l.config.TenantShare > 0 && tenant != "" }

// ceiling is a tenant's share of that many.
func (l *Limit) ceiling(of int) int { return max(1, int(l.config.TenantShare*float64(of))) }

// refuses returns why a request can neither run nor wait now, or "". The lock is held.
func (l *Limit) refuses(now, due time.Duration, class uint8, tenant string) Reason {
	left := due - now
	switch {
	case l.closed:
		return Closed
	case left <= 0:
		return Deadline
	case l.running < l.slots && !l.sharesOut(tenant):
		return ""
	}
	t := l.waiting.find(tenant)
	wait, slots := 0, l.slots
	switch held := t != nil && t.parked; {
	case l.running < l.slots && !held:
		return ""
	case held: // only slots of its own help it
		wait, slots = t.flows[class].length()+1, l.ceiling(l.slots)
	default:
		wait = l.waiting.turn(class, t)
	}
	switch {
	case l.waiting.length >= l.config.Queue && l.waiting.victim(class, t) == nil:
		return QueueFull
	case l.hold.forCompletions(wait, slots)+l.hold.atLeast() > left:
		return Deadline
	}
	return ""
}

// noRoomToArrive returns why one more request of the tenant cannot arrive, or "". The lock is held.
func (l *Limit) noRoomToArrive(tenant string) Reason {
	if l.arriving == l.config.Arriving {
		return ArrivingFull
	}
	if l.sharesOut(tenant) {
		if t := l.waiting.find(tenant); t != nil && t.arriving >= l.ceiling(l.config.Arriving) {
			return TenantFull
		}
	}
	return ""
}

// reject counts a rejection. The lock is held.
func (l *Limit) reject(reason Reason) error {
	l.rejected[reason]++
	after := l.hold.retryAfter(l.running+l.waiting.all(), l.slots)
	if reason == ArrivingFull || reason == TenantFull {
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
func (l *Limit) report(err error) error { return l.reportEnd(err, 0) }

// reportEnd is report for one that has held slots for so long.
func (l *Limit) reportEnd(err error, held time.Duration) error {
	if l.observer == nil {
		return err
	}
	if rejected, ok := err.(*RejectedError); ok {
		l.observer.Rejected(rejected.Reason)
	} else if err != errSpent { // which Done has told of
		l.observer.Done(held)
	}
	return err
}

// passOn gives free slots to those whose turn it is and who can still be done in time. The lock is held.
func (l *Limit) passOn(now time.Duration) {
	for l.running < l.slots && l.waiting.all() > 0 {
		s := l.waiting.first()
		if s == nil { // who waits has its share
			break
		}
		if l.hopeless(s, now) {
			l.dismiss(s, l.reject(Deadline))
			continue
		}
		l.give(s, now)
	}
	l.mark(now)
}

// give ends the wait of a request with a slot, of which there is one. The lock is held.
func (l *Limit) give(s *seat, now time.Duration) {
	l.waiting.grant(s, l.hold.mean)
	s.waited = max(0, now-s.since)
	l.takeSlot(s, granted, now)
	s.wake <- struct{}{}
}

// mostDoubts is how many may be turned away by what was learned of long work before that is believed less. Else work that has
// become shorter would not be done, and so not be measured, for as long as there is too much of it.
const mostDoubts = 128

// hopeless tells whether the work of a seat that is next can't end in time. The lock is held.
func (l *Limit) hopeless(s *seat, now time.Duration) bool {
	left := s.due - now
	if left > 0 && left >= l.least(s) {
		return false
	}
	l.doubt(s, left)
	return true
}

// doubt counts who is turned away by an estimate, with so much time left. The lock is held.
func (l *Limit) doubt(s *seat, left time.Duration) {
	if left <= 0 || !s.between {
		return
	}
	if l.doubts++; l.doubts > mostDoubts {
		l.longs.mean -= l.longs.mean / 8
		l.doubts = 0
	}
}

// least is the time that what is left of the seat's work hardly stays below. Of what has begun anything may be left, unless
// it is long: what it has done is lost if it can't end in time, and what it would still do is time of others that can. The
// lock is held.
func (l *Limit) least(s *seat) time.Duration {
	switch {
	case !s.between:
		return l.hold.atLeast()
	case s.long && s.extras.first == nil: // with extra slots, less time than work may be left
		return max(0, l.longs.atLeast()-s.worked)
	}
	return 0
}

// mark lets those who hold slots see whether they are asked to let others pass. The lock is held.
func (l *Limit) mark(now time.Duration) {
	crowded := l.waiting.all() > 0 || l.running > l.slots
	if crowded != l.crowded.Load() {
		l.crowded.Store(crowded)
		l.marked = now
	}
}

// takeSlot gives a free slot to the seat. The lock is held.
func (l *Limit) takeSlot(s *seat, p phase, now time.Duration) {
	l.running++
	if s.begun == 0 {
		l.waiting.begun++
		s.begun = l.waiting.begun
	}
	if l.adapt != nil && l.running >= l.slots {
		l.adapt.full = true
	}
	s.phase, s.since = p, now
	if t := s.owner; t != nil {
		t.running++
		l.keepShare(t)
	}
}

// freeSlot takes the slot of a seat away, for which its tenant pays the time. The lock is held.
func (l *Limit) freeSlot(s *seat, held time.Duration) {
	l.running--
	if t := s.owner; t != nil {
		l.waiting.settle(s, held)
		t.running--
		l.keepShare(t)
	}
}

// keepShare gives the tenant no further slot while it has its share. The lock is held.
func (l *Limit) keepShare(t *tenant) {
	if l.sharesOut(t.name) {
		l.waiting.park(t, t.running >= l.ceiling(l.slots))
	}
}

// resize makes it so many slots. The lock is held.
func (l *Limit) resize(slots int, now time.Duration) {
	before := l.ceiling(l.slots)
	l.slots = slots
	if l.config.TenantShare > 0 && l.ceiling(slots) != before {
		for _, t := range l.waiting.tenants {
			l.keepShare(t)
		}
	}
	l.passOn(now)
}

// dismiss ends the wait of a request with err. The lock is held.
func (l *Limit) dismiss(s *seat, err error) {
	l.waiting.remove(s)
	l.turnAway(s, err)
	l.mark(l.marked) // nobody new waits
	s.wake <- struct{}{}
}

// turnAway makes the permit of a request worthless that has left the queue and does not know it yet. The seat
// stays its own until it has read err. The lock is held.
func (l *Limit) turnAway(s *seat, err error) {
	if s.extras.first != nil {
		s.detachExtras()
	}
	if s.owner != nil {
		l.waiting.forget(s)
	}
	s.expire()
	s.phase, s.err = turnedAway, err
}

// leave ends the arrival of a request. The lock is held.
func (l *Limit) leave(s *seat) {
	l.arriving--
	if s.owner != nil {
		s.owner.arriving--
	}
}

// vacate takes the seat of a request that is not in the queue and has no slot any more, and makes its permit
// worthless. The lock is held.
func (l *Limit) vacate(s *seat) {
	if s.phase == arriving {
		l.leave(s)
	}
	if s.extras.first != nil {
		s.detachExtras()
	}
	if s.owner != nil {
		l.waiting.forget(s)
	}
	s.expire()
	l.recycle(s)
}

func (l *Limit) recycle(s *seat) {
	s.phase, s.err = vacant, nil
	s.between, s.ahead, s.long, s.paid, s.worked, s.begun = false, false, false, false, 0, 0
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
