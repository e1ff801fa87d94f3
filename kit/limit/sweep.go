package limit

import (
	"cmp"
	"slices"
	"time"
)

const (
	tickLeast = 5 * time.Millisecond
	tickMost  = time.Second / 4

	// Nobody is closed to make room who was heard or answered so short a time ago: the next request may be on its way.
	onItsWay = time.Second / 4

	// So many may have to make room between two sweeps. A flood of new ones must not make the search for them the
	// main work.
	mostCandidates = 64
)

// candidate is a connection that may be closed to make room.
type candidate struct {
	conn   *Conn
	reason ConnReason
	rate   float64       // of one that owes, bytes a second
	last   time.Duration // of one that is idle: since when
}

// before orders candidates: the slow by their rate, then the idle, the longest first.
func (a candidate) before(b candidate) int {
	if (a.reason == Idle) != (b.reason == Idle) {
		if a.reason == Idle {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(a.rate, b.rate), cmp.Compare(a.last, b.last))
}

// sweep moves the clock, closes the slow, and looks for those who could make room, until Close.
func (l *Listener) sweep() {
	defer close(l.swept)
	ticker := time.NewTicker(l.tick)
	defer ticker.Stop()
	var slow, found []candidate
	for {
		select {
		case <-l.stop:
			return
		case <-ticker.C:
		}
		now := time.Since(l.epoch)
		l.now.Store(int64(now))
		slow, found = slow[:0], found[:0]
		l.mu.Lock()
		crowded := l.config.MaxConns > 0 && len(l.conns) >= l.config.MaxConns-l.config.MaxConns/8
		for c := range l.conns {
			verdict, may := c.judge(now)
			switch {
			case may.reason == "":
			case verdict:
				slow = append(slow, may)
			case crowded:
				found = append(found, may)
			}
		}
		l.mu.Unlock()
		for _, s := range slow {
			s.conn.evict(s.reason)
		}
		slices.SortFunc(found, candidate.before)
		clear(found[min(len(found), mostCandidates):])
		l.mu.Lock()
		clear(l.candidates)
		l.candidates = append(l.candidates[:0], found[:min(len(found), mostCandidates)]...)
		l.mu.Unlock()
		clear(slow)
		clear(found)
	}
}

// makeRoom closes one connection, and reports false if there is none that may be.
func (l *Listener) makeRoom() bool {
	for {
		l.mu.Lock()
		if len(l.candidates) == 0 {
			l.mu.Unlock()
			return false
		}
		next := l.candidates[0]
		l.candidates[0] = candidate{}
		l.candidates = l.candidates[1:]
		l.mu.Unlock()
		if next.conn.goes(next) {
			next.conn.evict(next.reason)
			return true
		}
	}
}
