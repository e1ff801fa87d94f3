package fault

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// tally is a rule that a source has set, with what it did.
type tally struct {
	source string
	rule   Rule
	effect string
	needs  Effects
	point  pattern
	where  []condition
	ends   time.Time // the same moment as rule.Expires, on a clock that nobody sets back; zero: never

	seen    atomic.Int64 // calls that it matched
	struck  atomic.Int64
	capped  atomic.Int64 // that the ceiling let go
	last    atomic.Int64 // when it struck last, Unix nanoseconds
	stands  atomic.Bool  // it is in force, or holds what it took while it was
	ended   atomic.Bool  // for ever: expired, or taken away
	loaded  atomic.Bool  // it has its ballast, or is about to
	skewing atomic.Bool  // a clock was read under it
	retired atomic.Bool  // that its count is used up has been told

	mu      sync.Mutex    // guards what follows; never held while something waits
	until   chan struct{} // closed when what the rule holds is let go; nil: it does not stand
	ballast [][]byte
	room    *room // that the ballast counts in
}

type condition struct {
	key   string
	value pattern
}

func newTally(source string, r Rule, now time.Time) *tally {
	t := &tally{source: source, rule: r, point: compile(r.Point)}
	if !r.Expires.IsZero() {
		t.ends = now.Add(r.Expires.Sub(now)) // with the monotonic reading of now
	}
	t.effect, t.needs, _ = r.effect()
	for key, value := range r.Where {
		t.where = append(t.where, condition{key, compile(value)})
	}
	slices.SortFunc(t.where, func(a, b condition) int { // what is exact fails fastest
		return len(a.value.rest) - len(b.value.rest)
	})
	return t
}

// reaches reports whether the rule may strike a point: its name matches, it can do what the rule wants, and it tells
// the attributes that the rule asks for.
func (t *tally) reaches(d Def) bool {
	for i := range t.where {
		if !slices.Contains(d.Attrs, t.where[i].key) {
			return false
		}
	}
	if d.Guarded {
		if pkg, _, _ := strings.Cut(d.Name, "."); !strings.HasPrefix(t.point.first, pkg+".") {
			return false
		}
	}
	return d.Effects&t.needs == t.needs && t.point.matches(d.Name)
}

// meets reports whether a call has the attributes that the rule asks for.
func (t *tally) meets(attrs []Attr) bool {
	for i := range t.where {
		if !t.where[i].holds(attrs) {
			return false
		}
	}
	return true
}

func (c *condition) holds(attrs []Attr) bool {
	for i := range attrs {
		if attrs[i].Key == c.key {
			return c.value.matches(attrs[i].Value)
		}
	}
	return false
}

// draw reports whether the rule strikes a call that it matches.
func (t *tally) draw(r *source) bool {
	n := t.seen.Add(1) - t.rule.Skip
	if n <= 0 || t.rule.Every > 1 && (n-1)%t.rule.Every != 0 {
		return false
	}
	if p := t.rule.Probability; p != nil && r.float64() >= *p {
		return false
	}
	if t.rule.Count > 0 {
		return take(&t.struck, 1, t.rule.Count)
	}
	t.struck.Add(1)
	return true
}

func (t *tally) exhausted() bool { return t.rule.Count > 0 && t.struck.Load() >= t.rule.Count }

// expired reports whether the rule's time is over by the wall, or would be if nobody had set that back.
func (t *tally) expired(now time.Time) bool { return !t.ends.IsZero() && t.left(now) <= 0 }

// left is how long a rule that expires has yet, by whichever clock says less.
func (t *tally) left(now time.Time) time.Duration {
	return min(t.ends.Sub(now), t.rule.Expires.Sub(now.Round(0)))
}

func (t *tally) over() bool { return t.ended.Load() }

// holds reports whether a rule still stands; of none it does.
func (t *tally) holds() bool { return t == nil || t.stands.Load() }

// stop ends the rule for ever.
func (t *tally) stop() {
	t.ended.Store(true)
	t.release()
}

// begin lets the rule hold calls and resources.
func (t *tally) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.until == nil {
		t.until = make(chan struct{})
		t.stands.Store(true)
	}
}

// release lets go all that the rule holds. It may begin anew.
func (t *tally) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.until == nil {
		return
	}
	t.stands.Store(false)
	close(t.until)
	t.until = nil
	for _, b := range t.ballast {
		t.room.memory.Add(-int64(len(b)))
	}
	t.ballast = nil
	t.loaded.Store(false)
	t.skewing.Store(false)
}

// held is closed when the rule lets go; nil if it has.
func (t *tally) held() chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.until
}
