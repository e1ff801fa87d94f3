package load

import (
	"sync"

	"github.com/dougong-io/dougong/prove/hdr"
)

// rowKey says where requests are counted: every view of a result is a sum of rows.
type rowKey struct {
	second int // in which they were due
	part   int
	step   *step
}

// row counts the requests of one second, stage and step.
type row struct {
	ok, unfinished            uint64
	done, good                uint64 // answers, and good ones, that came in this second and stage
	failed                    [classes]uint64
	codes                     map[string]uint64
	lastCode                  string // the status of the last answer, counted in lastCount until another comes
	lastCount                 uint64
	messages, in, out         uint64
	latency, service, rejects hdr.Histogram
}

// stripe counts for some of the users, so that many processors do not meet at one lock.
type stripe struct {
	mu    sync.Mutex
	rows  map[rowKey]*row
	key   rowKey // of last
	last  *row
	parts []int64 // when each stage ends
	free  []*row
}

// afterEnd is the stage of answers that came when nothing was due any more.
const afterEnd = -1

// partAt is the stage in which a time lies that is not before the one given.
func (s *stripe) partAt(from int, at int64) int {
	for ; from < len(s.parts); from++ {
		if at < s.parts[from] {
			return from
		}
	}
	return afterEnd
}

// answered counts an answer when it came. s.mu is held.
func (s *stripe) answered(end int64, from int, step *step, good bool) {
	r := s.row(rowKey{int(end / 1e9), s.partAt(from, end), step})
	r.done++
	if good {
		r.good++
	}
}

// row returns the row of key. s.mu is held.
func (s *stripe) row(key rowKey) *row {
	if s.last != nil && s.key == key {
		return s.last
	}
	r := s.rows[key]
	if r == nil {
		if n := len(s.free); n > 0 {
			r, s.free = s.free[n-1], s.free[:n-1]
		} else {
			r = new(row)
		}
		s.rows[key] = r
	}
	s.key, s.last = key, r
	return r
}

// record counts how the current request of u ended.
func (s *stripe) record(u *user, o *outcome) {
	second, part, step := int(u.due/1e9), u.part, u.current()
	fromDue, fromSent := o.end-u.due, o.end-u.sent
	if u.sent == 0 {
		fromSent = fromDue
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.row(rowKey{second, part, step})
	switch o.class {
	case "":
		r.ok++
		r.latency.Record(fromDue)
		r.service.Record(fromSent)
	case ClassTimeout:
		r.failed[classIndex(o.class)]++
		r.latency.Record(fromDue)
		r.service.Record(fromSent)
	default:
		r.failed[classIndex(o.class)]++
		r.rejects.Record(fromDue)
	}
	if o.status != "" {
		if o.status != r.lastCode {
			r.flushCode()
			r.lastCode = o.status
		}
		r.lastCount++
	}
	r.in += o.in
	r.out += o.out
	r.messages += o.messages
	s.answered(o.end, part, step, o.class == "")
}

// missed counts a request that waited for a user until its time-out.
func (s *stripe) missed(due int64, part int, step *step, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.row(rowKey{int(due / 1e9), part, step})
	r.failed[classIndex(ClassTimeout)]++
	r.latency.Record(now - due)
	r.service.Record(now - due)
	s.answered(now, part, step, false)
}

// unsent counts a request as neither good nor bad.
func (s *stripe) unsent(due int64, part int, step *step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.row(rowKey{int(due / 1e9), part, step}).unfinished++
}

func (r *row) flushCode() {
	if r.lastCount > 0 {
		if r.codes == nil {
			r.codes = map[string]uint64{}
		}
		r.codes[r.lastCode] += r.lastCount
		r.lastCount = 0
	}
}

// drain takes what was counted since the last call. The caller gives the rows back when it has read them.
func (s *stripe) drain() (rows map[rowKey]*row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows = s.rows
	s.rows, s.last = make(map[rowKey]*row, len(rows)), nil
	return rows
}

// giveBack takes rows that drain gave out for use again.
func (s *stripe) giveBack(rows map[rowKey]*row) {
	for _, r := range rows {
		r.reset()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rows {
		if len(s.free) < 16 {
			s.free = append(s.free, r)
		}
	}
}

func (r *row) reset() {
	r.latency.Reset()
	r.service.Reset()
	r.rejects.Reset()
	clear(r.codes)
	*r = row{codes: r.codes, latency: r.latency, service: r.service, rejects: r.rejects}
}

// pushed counts a message that came although no request waited for one.
func (s *stripe) pushed(now int64, size int, step *step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.row(rowKey{max(int(now/1e9), 0), max(s.partAt(0, now), 0), step})
	r.messages++
	r.in += uint64(size)
}
