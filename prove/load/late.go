package load

import (
	"sync"

	"github.com/dougong-io/dougong/prove/hdr"
)

// lateness is how late the generator itself was: requests that it sent after they were due although a user was free,
// and a tick of its own that came late, which also tells when answers were read late.
type lateness struct {
	mu    sync.Mutex
	worst map[int]int64 // second → nanoseconds
	all   hdr.Histogram // of requests
}

// record counts a request that was due and could have been sent at due, and was sent at now.
func (l *lateness) record(due, now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Record(now - due)
	l.mark(due, now)
}

// tick counts a tick of the generator that was due at due.
func (l *lateness) tick(due, now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mark(due, now)
}

// mark charges a lateness to every second that it touched.
func (l *lateness) mark(due, now int64) {
	if l.worst == nil {
		l.worst = map[int]int64{}
	}
	for second := due / 1e9; second <= now/1e9; second++ {
		if now-due > l.worst[int(second)] {
			l.worst[int(second)] = now - due
		}
	}
}

// drain returns the worst of each second since the last call.
func (l *lateness) drain() map[int]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	worst := l.worst
	l.worst = nil
	return worst
}

func (l *lateness) histogram() *hdr.Histogram {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Clone()
}
