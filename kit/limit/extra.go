package limit

import "time"

// Slot is one that work has beside its own; see [Permit.Extra]. The zero Slot has nothing to give back. This type is
// concurrency safe.
type Slot struct{ permit Permit }

// Extra takes one more slot for the work of the permit, if one is free at this moment, nobody waits for it, and it is
// within its tenant's share. It never waits. The slot is given back by its Done or Keep, and with the permit by DoneWith.
//
// Others who come may wait for it for one block: ask Keep after each. An extra slot is no request: observers do not hear
// of it, but for its part of what Done says.
func (p Permit) Extra() (Slot, bool) {
	if p.limit == nil {
		return Slot{}, false
	}
	l, s, now := p.limit, p.seat, p.limit.elapsed()
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.serial != p.serial || s.phase != running || l.closed || l.running >= l.slots || s.owner != nil && s.owner.parked {
		return Slot{}, false
	}
	e := l.vacancy(s.due, s.class, s.tenant)
	if l.sharesOut(s.tenant) {
		l.waiting.refer(e)
	}
	l.takeSlot(e, running, now)
	e.parent = s
	s.extras.push(e)
	e.blocks.Store(e.serial + 1)
	return Slot{Permit{limit: l, seat: e, serial: e.serial}}, true
}

// Keep reports whether the slot may be kept for one more block. When somebody waits for it, there are fewer slots than
// are taken, or Yield of the permit has failed, it gives the slot back and returns false. It costs as little as Yield.
func (s Slot) Keep() bool {
	l, e := s.permit.limit, s.permit.seat
	return l != nil && (!l.crowded.Load() && e.blocks.Load() == s.permit.serial+1 || !s.giveBack(true))
}

// Done gives the slot back, unless that has been done.
func (s Slot) Done() {
	if s.permit.limit != nil {
		s.giveBack(false)
	}
}

// giveBack gives the slot back, or only if somebody else wants it, and reports whether it is gone.
func (s Slot) giveBack(onlyIfWanted bool) bool {
	l, e, now := s.permit.limit, s.permit.seat, s.permit.limit.elapsed()
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.serial != s.permit.serial {
		return true
	}
	if onlyIfWanted && e.parent != nil && l.running <= l.slots && !l.wanted(e) {
		return false
	}
	l.dropExtra(e, now)
	l.passOn(now)
	return true
}

// dropExtra gives an extra slot back. The lock is held; passOn must follow.
func (l *Limit) dropExtra(e *seat, now time.Duration) {
	held := max(0, now-e.since)
	if s := e.parent; s != nil {
		s.worked += held
		s.extras.remove(e)
		e.parent = nil
	}
	l.freeSlot(e, held)
	l.vacate(e)
}

// detachExtras lets extra slots be held for the block that they work at, though the permit is over: what is taken must
// not be given to others.
func (s *seat) detachExtras() {
	for s.extras.first != nil {
		e := s.extras.first
		s.extras.remove(e)
		e.parent = nil
		e.blocks.Store(0)
	}
}

// extraWork is for how long the extra slots have been held that are held now.
func (s *seat) extraWork(now time.Duration) (sum time.Duration) {
	for e := s.extras.first; e != nil; e = e.next {
		sum += max(0, now-e.since)
	}
	return sum
}
