package pool

import (
	"sync"
	"sync/atomic"
)

// ledger has the cells of a pool's values, bounds what is kept, and adds up. Nothing here is written in steady state,
// when values only come and go: mu is taken when one is made, collected, or looked at.
type ledger struct {
	maxBytes, maxValue int64

	room      atomic.Int64 // bytes of the values that belong to the pool, in use or not
	discarded atomic.Uint64

	mu     sync.Mutex
	cells  []*cell // of values that the garbage collector has not taken
	closed Stats   // of those that it has
	leaks  leaks
}

func newLedger(maxBytes, maxValue int64) *ledger {
	return &ledger{maxBytes: maxBytes, maxValue: maxValue}
}

// open returns the cell for a new value.
func (l *ledger) open() *cell {
	c := &cell{}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.index = len(l.cells)
	l.cells = append(l.cells, c)
	return c
}

// close is what the garbage collector calls when it has taken a value.
func (l *ledger) close(c *cell) {
	size := c.bytes.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.cells[len(l.cells)-1]
	l.cells[c.index], last.index = last, c.index
	l.cells[len(l.cells)-1] = nil
	l.cells = l.cells[:len(l.cells)-1]
	l.room.Add(-max(0, size)) // after it, so that no snapshot has those that share the room and those that had it
	l.closed.add(c)
	l.closed.InUse, l.closed.Kept, l.closed.Bytes = 0, 0, 0
	switch state := c.state.Load(); {
	case state%2 == 1:
		l.closed.Leaked++
		l.leaks.add(c.trace.stacks(state))
	case size != dropped:
		l.closed.Collected++
	}
}

// keep tells whether a value that was released, and takes size bytes, is to lie in the pool. A value that is kept
// belongs to the pool from then on, and its bytes are taken from the room until it is dropped or collected: so the
// room is shared by those that first found one, and under more load than it was made for these go on being used
// again, instead of all being dropped in turn.
func (l *ledger) keep(c *cell, size int64) bool {
	size = max(1, size)
	had := c.bytes.Load()
	if size == had {
		return true
	}
	if size <= l.maxValue && l.take(size-had) {
		c.bytes.Store(size)
		return true
	}
	l.room.Add(-had)
	c.bytes.Store(dropped)
	l.discarded.Add(1)
	return false
}

// take takes n bytes of the room, if they are there; n may be negative.
func (l *ledger) take(n int64) bool {
	for {
		room := l.room.Load()
		if n > 0 && n > l.maxBytes-room {
			return false
		}
		if l.room.CompareAndSwap(room, room+n) {
			return true
		}
	}
}

func (l *ledger) snapshot() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.closed
	for _, c := range l.cells {
		s.add(c)
	}
	s.Discarded = l.discarded.Load()
	s.Hits = s.Gets - min(s.Gets, s.News) // a value that is being made has no get yet
	return s
}
