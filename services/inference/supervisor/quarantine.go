package supervisor

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// content is what rows are known by: the first half of SHA-256 of what a worker is sent of them.
type content [16]byte

func (c content) String() string { return hex.EncodeToString(c[:]) }

func contentOf(encoded []byte) content {
	sum := sha256.Sum256(encoded)
	return content(sum[:16])
}

// contentOfRows is that of rows which are not encoded yet.
func contentOfRows(rows []float64, as wire.Datatype) content {
	h := sha256.New()
	var block [4096]byte
	for len(rows) > 0 {
		n := min(len(rows), len(block)/8)
		h.Write(appendValues(block[:0], rows[:n], as))
		rows = rows[n:]
	}
	var sum [sha256.Size]byte
	return content(h.Sum(sum[:0])[:16])
}

// quarantine knows the inputs under which workers died.
type quarantine struct {
	cfg     Quarantine
	known   atomic.Int64 // entries: what there is none of need not be looked up
	mu      sync.Mutex
	entries map[content]*entry
}

type entry struct {
	since   time.Time
	blame   int // for workers that died of it; 0: one died with it and with others
	refused int64
	cause   string
}

// What an input is blamed with for a worker that died while it had nothing else to do. A worker that a signal from outside has
// ended or stopped counts for less: it may be a person's, or the kernel's for want of memory. At fatal the input is refused.
const (
	crashed = 2
	struck  = 1
	fatal   = 2 * crashed
)

func newQuarantine(cfg Quarantine) *quarantine {
	return &quarantine{cfg: cfg, entries: make(map[content]*entry)}
}

// look tells what is known of an input: that it is refused, or suspected.
func (q *quarantine) look(c content, now time.Time) (refused *QuarantinedError, suspect bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[c]
	switch {
	case e == nil:
		return nil, false
	case now.Sub(e.since) >= q.cfg.For:
		q.remove(c)
		return nil, false
	case e.blame >= fatal:
		e.refused++
		return &QuarantinedError{Reference: c.String(), Since: e.since}, true
	}
	return nil, true
}

// blame adds to what is held against an input; an answer to it in between clears it. From fatal on it is refused.
func (q *quarantine) blame(c content, weight int, cause string, now time.Time) *QuarantinedError {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[c]
	if e == nil {
		if len(q.entries) >= q.cfg.Entries {
			q.forgetOldest()
		}
		e = &entry{}
		q.entries[c] = e
		q.known.Store(int64(len(q.entries)))
	}
	e.since, e.cause = now, cause
	if e.blame += weight; e.blame < fatal {
		return nil
	}
	return &QuarantinedError{Reference: c.String(), Since: now}
}

// clear forgets a suspicion, of an input that was answered.
func (q *quarantine) clear(c content) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.entries[c]; e != nil && e.blame < fatal {
		q.remove(c)
	}
}

func (q *quarantine) remove(c content) {
	delete(q.entries, c)
	q.known.Store(int64(len(q.entries)))
}

// forgetOldest prefers suspicions: to forget what is sure costs two workers.
func (q *quarantine) forgetOldest() {
	var oldest content
	var age time.Time
	for sure := range 2 {
		found := false
		for c, e := range q.entries {
			if (e.blame >= fatal) == (sure == 1) && (!found || e.since.Before(age)) {
				oldest, age, found = c, e.since, true
			}
		}
		if found {
			q.remove(oldest)
			return
		}
	}
}

func (q *quarantine) release(reference string) bool {
	b, err := hex.DecodeString(reference)
	if err != nil || len(b) != len(content{}) {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[content(b)]
	if e == nil || e.blame < fatal {
		return false
	}
	q.remove(content(b))
	return true
}

func (q *quarantine) list(now time.Time) []Quarantined {
	q.mu.Lock()
	defer q.mu.Unlock()
	var all []Quarantined
	for c, e := range q.entries {
		if e.blame >= fatal && now.Sub(e.since) < q.cfg.For {
			all = append(all, Quarantined{Reference: c.String(), Since: e.since, Cause: e.cause, Refused: e.refused})
		}
	}
	slices.SortFunc(all, func(a, b Quarantined) int {
		return cmp.Or(b.Since.Compare(a.Since), cmp.Compare(a.Reference, b.Reference))
	})
	return all
}
