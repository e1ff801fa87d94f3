package limit

import (
	"context"
	"errors"
	"time"
)

// Permit is one place in a [Limit], and a slot once Start has returned nil, until Yield waits. Copies are the same permit. The
// zero Permit has nothing to give back. This type is concurrency safe.
type Permit struct {
	limit  *Limit
	seat   *seat
	serial uint64 // of the seat when it was handed out; the next request on it has another
}

var errSpent = errors.New("limit: permit was started or given back before")

// Start says that the input is here, and waits for a slot: the more urgent first, tenants in turn, and the requests
// of one tenant in order of the calls of Start. It returns a [RejectedError] when the queue is full, when the
// request has to give its place in the queue to another, as soon as the deadline of Admit cannot be met any more,
// or when the limit is closed, and an error that wraps ctx.Err() when ctx is canceled. After an error the place has been
// given back.
func (p Permit) Start(ctx context.Context) error {
	if p.limit == nil {
		return errSpent
	}
	if p.limit.points.acquire.On() {
		if err := p.struckAtStart(ctx); err != nil {
			return err
		}
	}
	l, s, now := p.limit, p.seat, p.limit.elapsed()
	l.mu.Lock()
	if s.serial != p.serial || s.phase != arriving {
		l.mu.Unlock()
		return errSpent
	}
	if reason := l.refuses(now, s.due, s.class, s.tenant); reason != "" && ctx.Err() == nil {
		err := l.reject(reason)
		l.vacate(s)
		l.mu.Unlock()
		return l.report(err)
	}
	patience, err := l.enter(ctx, s, now)
	l.mu.Unlock()
	return l.follow(ctx, s, patience, err)
}

// runs is what enter returns instead of patience when there is nothing to wait for.
const runs = time.Duration(-1)

// enter gives a slot or a place in the queue to a request that arrived and is not refused, unless ctx has
// ended. It returns how patient it may be in the queue, or runs. The lock is held; follow does the rest
// without it.
func (l *Limit) enter(ctx context.Context, s *seat, now time.Duration) (patience time.Duration, err error) {
	if ctx.Err() != nil {
		err := l.abandon(ctx)
		l.vacate(s)
		return 0, err
	}
	l.leave(s)
	if l.running < l.slots && (s.owner == nil || !s.owner.parked) {
		l.takeSlot(s, running, now)
		return runs, nil
	}
	if l.waiting.length >= l.config.Queue { // refuses has seen that someone has to give way
		l.dismiss(l.waiting.victim(s.class, l.waiting.find(s.tenant)), l.reject(Displaced))
	}
	l.enqueue(s, now)
	return max(0, l.patience(s, now)), nil
}

// follow ends what enter began.
func (l *Limit) follow(ctx context.Context, s *seat, patience time.Duration, err error) error {
	switch {
	case err != nil:
		return l.report(err)
	case patience != runs:
		return l.wait(ctx, s, patience)
	case l.observer != nil:
		l.observer.Started(0)
	}
	return nil
}

func (l *Limit) enqueue(s *seat, now time.Duration) {
	if s.wake == nil {
		s.wake = make(chan struct{}, 1)
	}
	s.phase, s.since = queued, now
	l.waiting.push(s)
	l.mark(now)
}

// patience is for how long a request can wait and still be done in time. The lock is held.
func (l *Limit) patience(s *seat, now time.Duration) time.Duration {
	return s.due - now - l.least(s) + 1
}

// wait waits in the queue until the seat is woken, ctx ends, or the deadline can no longer be met.
func (l *Limit) wait(ctx context.Context, s *seat, patience time.Duration) error {
	var timer *time.Timer
	var impatient <-chan time.Time
	if s.due != never {
		timer = time.NewTimer(patience)
		defer timer.Stop()
		impatient = timer.C
	}
	for {
		select {
		case <-s.wake:
			return l.woken(s)
		case <-ctx.Done():
			return l.interrupted(ctx, s)
		case <-impatient:
			more, err := l.giveUp(s)
			if err != nil {
				return l.report(err)
			}
			timer.Reset(more)
		}
	}
}

// woken learns what the one who woke the seat has decided.
func (l *Limit) woken(s *seat) error {
	l.mu.Lock()
	if s.phase == granted {
		waited, again := s.waited, s.between
		s.phase, s.between = running, false
		l.mu.Unlock()
		if l.observer != nil && !again {
			l.observer.Started(waited)
		}
		return nil
	}
	err, held := s.err, s.worked
	l.recycle(s)
	l.mu.Unlock()
	return l.reportEnd(err, held)
}

// interrupted leaves the queue because ctx has ended. If the slot came at the same moment, it goes to the next.
func (l *Limit) interrupted(ctx context.Context, s *seat) error {
	now := l.elapsed()
	l.mu.Lock()
	if s.phase == turnedAway {
		l.mu.Unlock()
		<-s.wake
		return l.woken(s)
	}
	if s.phase == granted {
		<-s.wake
		l.freeSlot(s, 0)
	} else {
		l.waiting.remove(s)
	}
	err, held := l.abandon(ctx), s.worked+s.extraWork(now)
	l.vacate(s)
	l.passOn(now)
	l.mu.Unlock()
	return l.reportEnd(err, held)
}

// giveUp leaves the queue if too little time is left, and otherwise says for how long to be patient: the
// estimate may have changed since.
func (l *Limit) giveUp(s *seat) (patience time.Duration, err error) {
	now := l.elapsed()
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.phase != queued { // was woken at this moment
		return never, nil
	}
	if patience := l.patience(s, now); patience > 0 {
		return patience, nil
	}
	l.doubt(s, s.due-now)
	l.waiting.remove(s)
	err = l.reject(Deadline)
	l.vacate(s)
	l.mark(now)
	return 0, err
}

// Outcome says what the time for which a slot was held tells about the work.
type Outcome uint8

// The outcomes.
const (
	Finished   Outcome = iota // the work was done: the time counts
	Ignored                   // it says nothing: the caller went away, the answer came from a cache, the work failed early
	Overloaded                // what is behind the limit said that it has too much to do: an adaptive limit shrinks at once
)

// Done is DoneWith for work that has Finished.
func (p Permit) Done() { p.DoneWith(Finished) }

// DoneWith gives back the place, the slot if there is one, and extra ones. Only the first call of Done or DoneWith has
// an effect; later ones never touch what was given to someone else. It may be called instead of Start, and while
// Start or Yield waits, which then returns an error.
func (p Permit) DoneWith(outcome Outcome) {
	if p.limit == nil {
		return
	}
	l, s, now := p.limit, p.seat, p.limit.elapsed()
	l.mu.Lock()
	if s.serial != p.serial {
		l.mu.Unlock()
		return
	}
	for s.extras.first != nil {
		l.dropExtra(s.extras.first, now)
	}
	held, resized := s.worked, 0
	switch s.phase {
	case running:
		piece := max(0, now-s.since)
		held += piece
		if s.long && outcome == Finished {
			l.longs.add(now-held, now)
			l.doubts = 0
		}
		resized = l.learn(outcome, s, held, now)
		l.freeSlot(s, piece)
		l.vacate(s)
		switch {
		case resized != 0:
			l.resize(resized, now)
		case l.crowded.Load():
			l.passOn(now)
		}
	case granted: // Start has not seen it yet, and has a token to read
		l.freeSlot(s, 0)
		l.turnAway(s, errSpent)
		l.passOn(now)
	case queued:
		l.dismiss(s, errSpent)
		l.passOn(now) // if it had extra slots
	default:
		l.vacate(s)
	}
	l.mu.Unlock()
	if l.observer == nil {
		return
	}
	l.observer.Done(held)
	if o, ok := l.observer.(SlotsObserver); ok && resized != 0 {
		o.SlotsChanged(resized)
	}
}

// learn takes in what became of work that held slots for so long, and returns how many slots there must be from now on,
// 0 for as many as before. The lock is held.
func (l *Limit) learn(outcome Outcome, s *seat, held, now time.Duration) int {
	if outcome == Finished {
		l.learnHold(s, now)
	}
	if l.adapt == nil || outcome == Ignored {
		return 0
	}
	if outcome == Overloaded {
		l.adapt.overloaded(s.since, now)
	} else {
		l.adapt.add(now-held, now)
	}
	if slots := l.adapt.slots(); slots != l.slots {
		return slots
	}
	return 0
}
