package limit

import (
	"context"
	"errors"
	"time"
)

var errNoSlot = errors.New("limit: permit has no slot: call Start first, and Yield from one goroutine at a time")

// Yield is called between two blocks of long work. When nobody waits it costs next to nothing and returns nil.
// When somebody does, the slot goes to whoever is next, and Yield waits for one again: behind those of its tenant that
// wait by now and before those that come later, tenants in turn by the time they hold slots, the more urgent first. So
// each block counts as a request of its own would, and if the caller itself is next, it keeps the slot.
//
// As many may wait in Yield as in the queue; who would be one more keeps its slot. Of that room a tenant has at most as
// much as is left to others; who would be one more of it goes on before the rest of its tenant. So a tenant that floods
// with long work delays itself.
//
// Yield is not refused because the queue is full, nor is who waits there displaced. But it returns the errors of
// Start if it has to wait and its deadline passes, ctx ends or the limit is closed; then the permit has been given
// back, but for its extra slots, which are still worked on: their Keep says no. Neither deadline nor ctx is
// looked at when nobody waits. The time in Yield is no time that a slot is held.
//
// A permit that is [Permit.Long] gives its slot only to those that are not, and to those of its tenant that had one before
// it did: what began first ends first. It goes on before all others of its tenant. Where so little time is left to it that
// long work has hardly ever been done in it, it is turned away as soon as it would have a slot.
//
// It is not for work that holds what others need to go on, nor does it pass fault points.
func (p Permit) Yield(ctx context.Context) error {
	if p.limit != nil && !p.limit.crowded.Load() && p.seat.blocks.Load() == p.serial+1 {
		return nil
	}
	return p.yield(ctx)
}

// Long says that the work behind the permit is long, compared with what most come for. Its Yield gives the slot to short
// work alone, and to what its tenant began earlier: if long requests took turns at each block, all of a tenant would end late, and of more than can be borne each
// past its deadline. It is called before Start or with a slot, in neither case while another method of the permit runs.
func (p Permit) Long() {
	if p.limit == nil {
		return
	}
	p.limit.mu.Lock()
	defer p.limit.mu.Unlock()
	if s := p.seat; s.serial == p.serial && (s.phase == arriving || s.phase == running) {
		s.long = true
	}
}

func (p Permit) yield(ctx context.Context) error {
	if p.limit == nil {
		return errSpent
	}
	l, s, now := p.limit, p.seat, p.limit.elapsed()
	l.mu.Lock()
	if s.serial != p.serial || s.phase != running {
		err := errNoSlot
		if s.serial != p.serial {
			err = errSpent
		}
		l.mu.Unlock()
		return err
	}
	s.blocks.Store(p.serial + 1)
	if l.waiting.between >= l.config.Queue || !l.wanted(s) {
		l.mu.Unlock()
		return nil
	}
	piece := max(0, now-s.since)
	s.worked += piece
	s.between, s.paid = true, s.charge > 0
	l.learnHold(s, now)
	l.freeSlot(s, piece)
	if s.long {
		l.passFrom(s, now)
	}
	l.enqueue(s, now)
	if s.long && l.running < l.slots { // nobody whom it lets go could end in time
		l.give(s, now)
	}
	l.passOn(now)
	if s.phase == granted { // it is its own turn
		<-s.wake
		s.phase, s.between = running, false
		l.mu.Unlock()
		return nil
	}
	patience := max(0, l.patience(s, now))
	l.mu.Unlock()
	return l.wait(ctx, s, patience)
}

// wanted tells whether somebody would have the slot of the seat if it were given back. The lock is held.
func (l *Limit) wanted(s *seat) bool {
	if s.long {
		return l.waiting.firstShort(s) != nil || l.waiting.older(s) != nil
	}
	if l.waiting.first() != nil {
		return true
	}
	if s.owner == nil || !s.owner.parked {
		return false
	}
	for i := range s.owner.flows { // its tenant waits for a slot of its own
		if s.owner.flows[i].length() > 0 {
			return true
		}
	}
	return false
}

// passFrom gives a slot that a long request has given up to the first that is not long, else to the one that goes on before
// it. The lock is held.
func (l *Limit) passFrom(s *seat, now time.Duration) {
	for l.running < l.slots {
		next := l.waiting.firstShort(s)
		if next == nil {
			next = l.waiting.older(s)
		}
		if next == nil {
			return
		}
		if !l.hopeless(next, now) {
			l.give(next, now)
			return
		}
		l.dismiss(next, l.reject(Deadline))
	}
}

// learnHold takes in for how long a slot was held while others may have waited for it: of work in blocks, what was
// before somebody waited would have been given up for them, and says nothing of how long others wait. The lock is held.
func (l *Limit) learnHold(s *seat, now time.Duration) {
	since := s.since
	if s.blocks.Load() == s.serial+1 {
		if !l.crowded.Load() {
			return
		}
		since = max(since, l.marked)
	}
	l.hold.add(since, now)
}
