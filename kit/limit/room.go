package limit

import (
	"cmp"
	"slices"
	"time"
)

const (
	// Nobody is closed to make room who was heard or answered so short a time ago: the next request may be on its way.
	onItsWay = time.Second / 4

	// Nor who may have a request here, for all we can see, before all has been silent for so long.
	longQuiet = 2 * time.Second

	// So many may have to make room each time that they are looked for, or a quarter of all if that is more. A flood of
	// new ones must not make the search for them the main work.
	leastCandidates = 64
)

// candidate is a connection that may be closed to make room.
type candidate struct {
	conn   *Conn
	reason ConnReason
	rate   float64       // of one that owes, bytes a second
	last   time.Duration // of one that is idle: since when
	guess  bool          // it may have a request here
}

// before orders candidates: the slow by their rate, then the idle, the longest first, then those who only seem so.
func (a candidate) before(b candidate) int {
	return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.rate, b.rate), cmp.Compare(a.last, b.last))
}

func (a candidate) rank() int {
	switch {
	case a.guess:
		return 2
	case a.reason == Idle:
		return 1
	}
	return 0
}

// firstOf orders candidates and returns those who may have to go, of so many connections that there may be.
func firstOf(all []candidate, places int) []candidate {
	slices.SortFunc(all, candidate.before)
	most := min(len(all), max(leastCandidates, places/4))
	clear(all[most:])
	return all[:most]
}

// room is who may be closed for another, the first first.
type room struct {
	candidates []candidate
	looked     time.Duration // when it was empty, and somebody looked for more
}

func (r *room) fill(found []candidate) {
	clear(r.candidates)
	r.candidates = append(r.candidates[:0], found...)
}

// take returns the next. If there is none it looks for more, once a tick.
func (r *room) take(now time.Duration, look func() []candidate) (candidate, bool) {
	if len(r.candidates) == 0 && r.looked != now {
		r.looked = now
		r.candidates = look()
	}
	if len(r.candidates) == 0 {
		return candidate{}, false
	}
	next := r.candidates[0]
	r.candidates[0] = candidate{}
	r.candidates = r.candidates[1:]
	return next, true
}

// makeRoom closes one connection for that of a client that was refused for that reason, and reports false if there is
// none that may be closed. Who has its share makes room for itself.
func (l *Listener) makeRoom(c *Conn, reason ConnReason) bool {
	for {
		next, ok := l.nextToGo(c, reason)
		if !ok {
			return false
		}
		if next.conn.goes(next) {
			next.conn.evict(next.reason)
			return true
		}
	}
}

func (l *Listener) nextToGo(c *Conn, reason ConnReason) (candidate, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.coarse()
	if reason == ConnsFull {
		return l.room.take(now, func() []candidate {
			var found []candidate
			for c := range l.conns {
				if _, may := c.judge(now); may.reason != "" {
					found = append(found, may)
				}
			}
			return firstOf(found, l.config.MaxConns)
		})
	}
	own := l.clients[c.client]
	if own == nil { // all have gone meanwhile
		return candidate{}, false
	}
	if own.room.looked != now {
		own.room.candidates = nil
	}
	return own.room.take(now, func() []candidate {
		var found []candidate
		for c := range own.conns {
			if _, may := c.judge(now); may.reason == Idle && !may.guess {
				found = append(found, may)
			}
		}
		return firstOf(found, l.config.MaxPerClient)
	})
}

// client is what one has open.
type client struct {
	conns map[*Conn]struct{}
	room  room
}
