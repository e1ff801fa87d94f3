package fault

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The errors that callers tell apart.
var (
	ErrCompiledOut = errors.New("fault: this build has no fault points (tag dougong_nofault)")
	ErrNoRule      = errors.New("fault: no such rule")
	ErrCeiling     = errors.New("beyond the ceiling")
	ErrClosed      = errors.New("fault: the set is closed")
)

// Set holds the rules of all sources and the points that they strike. This type is concurrency safe. The nil Set has
// no rules: its points are always off.
type Set struct {
	config   Config
	observer Observer
	now      func() time.Time
	rand     source
	late     lateness
	room     room // what is held at this moment, by all rules
	journal  journal
	end      sync.WaitGroup // parked goroutines
	burnt    atomic.Uint64

	mu     sync.Mutex // guards what follows
	points map[string]*Point
	layers map[string]*layer
	timer  *time.Timer // of the next expiry
	closed bool
}

// layer is what one source says.
type layer struct {
	kill    bool
	rules   []*tally
	applied time.Time // zero: never
}

// New returns a set without rules.
func New(config Config, opts ...Option) (*Set, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("fault: %w", err)
	}
	config.Sources = slices.Clone(config.Sources)
	config.Ceiling.Forbidden = slices.Clone(config.Ceiling.Forbidden)
	s := &Set{config: config, observer: nobody{}, now: time.Now, points: map[string]*Point{}, layers: map[string]*layer{}}
	for _, name := range config.Sources {
		s.layers[name] = &layer{}
	}
	for _, opt := range opts {
		opt(s)
	}
	return s, nil
}

// Point returns the point that d describes, which is one for all who ask by that name. A process makes its points
// when it is put together; rules that came before strike it too. It panics if the name is none, or if points of two
// descriptions have it: both are faults of the program.
func (s *Set) Point(d Def) *Point {
	if s == nil || compiledOut {
		return nil
	}
	if err := checkID(d.Name); err != nil {
		panic("fault: point: " + err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.points[d.Name]; ok {
		if !reflect.DeepEqual(p.def, d) {
			panic("fault: point " + d.Name + " is defined twice")
		}
		return p
	}
	d.Attrs = slices.Clone(d.Attrs)
	p := &Point{set: s, def: d}
	s.points[d.Name] = p
	s.arm(p, s.inForce())
	return p
}

// Apply replaces all that a source said by a document. A rule that stays the same keeps its counts and goes on; the
// effects of one that is gone end at once. A rule that has expired already is taken, and has no effect. On an error
// nothing changes. [Rule.For] counts from now.
func (s *Set) Apply(source string, d Document) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("fault: %s: %w", source, err)
	}
	return s.change(source, func(*layer) (bool, []Rule, error) { return d.Kill, d.Rules, nil })
}

// Replace is Apply that leaves the kill switch of the source as it is.
func (s *Set) Replace(source string, rules []Rule) error {
	d := Document{Version: Version, Rules: rules}
	if err := d.Validate(); err != nil {
		return fmt.Errorf("fault: %s: %w", source, err)
	}
	return s.change(source, func(l *layer) (bool, []Rule, error) { return l.kill, rules, nil })
}

// Put adds one rule to those of a source, or replaces the one with its id. Where the source has as many rules as it
// may, those that have ended make room.
func (s *Set) Put(source string, r Rule) error {
	if err := r.Validate(); err != nil {
		return fmt.Errorf("fault: %s: %w", source, errors.Join(in("rule", err)...))
	}
	return s.change(source, func(l *layer) (bool, []Rule, error) {
		rules := l.list()
		if i := slices.IndexFunc(rules, func(other Rule) bool { return other.ID == r.ID }); i >= 0 {
			rules[i] = r
			return l.kill, rules, nil
		}
		for i := 0; len(rules) >= s.config.Ceiling.Rules && i < len(l.rules); i++ {
			if t := l.rules[i]; t.over() || t.expired(s.now()) {
				rules = slices.DeleteFunc(rules, func(r Rule) bool { return r.ID == t.rule.ID })
			}
		}
		return l.kill, append(rules, r), nil
	})
}

// Remove takes away one rule of a source, and ends its effects. If there is none it is [ErrNoRule].
func (s *Set) Remove(source, id string) error {
	return s.change(source, func(l *layer) (bool, []Rule, error) {
		rules := l.list()
		i := slices.IndexFunc(rules, func(r Rule) bool { return r.ID == id })
		if i < 0 {
			return false, nil, fmt.Errorf("%w: %q of %s", ErrNoRule, shorten(id), source)
		}
		return l.kill, slices.Delete(rules, i, i+1), nil
	})
}

// Kill throws the switch of a source (or releases it): while that of any source is thrown, no rule is in force, and
// whatever rules hold is let go. Rules that have not expired come back when the last switch is released.
func (s *Set) Kill(source string, thrown bool) error {
	return s.change(source, func(l *layer) (bool, []Rule, error) { return thrown, l.list(), nil })
}

// Close ends all rules and waits for the goroutines that they parked. The set takes no more.
func (s *Set) Close() {
	s.mu.Lock()
	s.closed = true
	for _, l := range s.layers {
		for _, t := range l.rules {
			t.stop()
		}
		l.rules = nil
	}
	s.rearm()
	s.mu.Unlock()
	s.end.Wait()
}

// change has edit say what a source says from now on, and puts it into force.
func (s *Set) change(source string, edit func(*layer) (kill bool, rules []Rule, err error)) error {
	s.mu.Lock()
	changes, err := s.changeLocked(source, edit)
	s.mu.Unlock()
	for _, c := range changes {
		s.observer.Changed(c)
	}
	return err
}

func (s *Set) changeLocked(source string, edit func(*layer) (bool, []Rule, error)) ([]Change, error) {
	l, ok := s.layers[source]
	switch {
	case s.closed:
		return nil, ErrClosed
	case !ok:
		return nil, fmt.Errorf("fault: %q is no source; there are %s", shorten(source), strings.Join(s.config.Sources, ", "))
	}
	kill, rules, err := edit(l)
	if err != nil {
		return nil, err
	}
	if compiledOut && len(rules) > 0 {
		return nil, ErrCompiledOut
	}
	next, err := s.admit(source, l, rules)
	if err != nil {
		return nil, fmt.Errorf("fault: %s: %w", source, err)
	}
	var changes []Change
	for _, t := range l.rules {
		if !slices.Contains(next, t) && !t.over() {
			t.stop()
			changes = append(changes, Change{Source: source, Rule: t.rule.ID, State: Removed})
		}
	}
	before := *l
	l.kill, l.rules, l.applied = kill, next, s.now()
	s.rearm()
	for _, t := range next {
		if !slices.Contains(before.rules, t) {
			state := s.ruleStatus(t).State
			changes = append(changes, Change{Source: source, Rule: t.rule.ID, State: state})
			if state == Expired {
				t.stop() // it has been told
			}
		}
	}
	if kill != before.kill {
		state := Released
		if kill {
			state = Killed
		}
		changes = append(changes, Change{Source: source, State: state})
	}
	return changes, nil
}

// admit turns rules into tallies: that of a rule which the source has already stays.
func (s *Set) admit(source string, l *layer, rules []Rule) ([]*tally, error) {
	if len(rules) > s.config.Ceiling.Rules {
		return nil, fmt.Errorf("%w: rules: there are %d; at most %d", ErrCeiling, len(rules), s.config.Ceiling.Rules)
	}
	now := s.now()
	var faults []error
	next := make([]*tally, 0, len(rules))
	for i, r := range rules {
		if same := slices.IndexFunc(l.rules, func(t *tally) bool { return t.rule.ID == r.ID && reflect.DeepEqual(t.rule, r) }); same >= 0 {
			next = append(next, l.rules[same])
			continue
		}
		r = r.own()
		if r.For > 0 {
			r.Expires, r.For = now.Add(r.For).Round(0), 0
		}
		if err := s.config.Ceiling.allows(&r, now); err != nil {
			faults = append(faults, in(fmt.Sprintf("rules[%d]", i), err)...)
			continue
		}
		next = append(next, newTally(source, r, now))
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrCeiling, errors.Join(faults...))
	}
	return next, nil
}

// sweep ends what has expired.
func (s *Set) sweep() {
	s.mu.Lock()
	var changes []Change
	now := s.now()
	for _, name := range s.config.Sources {
		for _, t := range s.layers[name].rules {
			if t.expired(now) && !t.over() {
				t.stop()
				changes = append(changes, Change{Source: name, Rule: t.rule.ID, State: Expired})
			}
		}
	}
	s.rearm()
	s.mu.Unlock()
	for _, c := range changes {
		s.observer.Changed(c)
	}
}

// exhaust ends a rule whose count is used up. What it holds stays until it expires or is removed.
func (s *Set) exhaust(t *tally) {
	s.mu.Lock()
	s.rearm()
	s.mu.Unlock()
	s.observer.Changed(Change{Source: t.source, Rule: t.rule.ID, State: Exhausted})
}

// inForce are the rules that strike, in order.
func (s *Set) inForce() []*tally {
	var list []*tally
	for _, name := range s.config.Sources {
		for _, t := range s.layers[name].rules {
			if s.stands(t) && !t.exhausted() {
				list = append(list, t)
			}
		}
	}
	return list
}

// stands reports whether a rule may hold what it holds. One whose count is used up still may.
func (s *Set) stands(t *tally) bool {
	return !s.closed && !t.over() && !t.expired(s.now()) && !s.killed() && !s.overridden(t)
}

// rearm gives every point the rules that strike it, has the others let go what they hold, and sets the timer for
// the next expiry.
func (s *Set) rearm() {
	active := s.inForce()
	for _, l := range s.layers {
		for _, t := range l.rules {
			if !s.stands(t) {
				t.release()
			}
		}
	}
	for _, t := range active {
		t.begin()
	}
	for _, p := range s.points {
		s.arm(p, active)
	}
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if s.closed {
		return
	}
	now, next := s.now(), Forever
	for _, l := range s.layers {
		for _, t := range l.rules {
			if !t.ends.IsZero() && !t.over() {
				next = min(next, t.left(now))
			}
		}
	}
	if next != Forever {
		s.timer = time.AfterFunc(max(0, next), s.sweep)
	}
}

func (s *Set) arm(p *Point, active []*tally) {
	var armed []*tally
	for _, t := range active {
		if t.reaches(p.def) {
			armed = append(armed, t)
		}
	}
	if armed == nil {
		p.armed.Store(nil)
		return
	}
	p.armed.Store(&armed)
}

func (s *Set) killed() bool {
	for _, l := range s.layers {
		if l.kill {
			return true
		}
	}
	return false
}

// overridden reports whether a source that comes first has a rule of the same id that has not ended.
func (s *Set) overridden(t *tally) bool {
	for _, name := range s.config.Sources {
		if name == t.source {
			return false
		}
		if slices.ContainsFunc(s.layers[name].rules, func(other *tally) bool {
			return other.rule.ID == t.rule.ID && !other.over() && !other.expired(s.now())
		}) {
			return true
		}
	}
	return false
}

func (l *layer) list() []Rule {
	rules := make([]Rule, len(l.rules))
	for i, t := range l.rules {
		rules[i] = t.rule
	}
	return rules
}

// room counts what all rules together hold at this moment.
type room struct {
	held, burning, goroutines, memory atomic.Int64
}

// take adds n if that is within most.
func take(counter *atomic.Int64, n, most int64) bool {
	for {
		now := counter.Load()
		if n > most-now {
			return false
		}
		if counter.CompareAndSwap(now, now+n) {
			return true
		}
	}
}
