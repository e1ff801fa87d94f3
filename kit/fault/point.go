package fault

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Point is a place where rules strike. It is made by [Set.Point]. This type is concurrency safe; a nil Point is off.
type Point struct {
	set   *Set
	def   Def
	hits  atomic.Int64
	armed atomic.Pointer[[]*tally] // nil: off
}

// On reports whether any rule may strike. It is inlined, and costs a comparison and a load: ask it before what the
// attributes cost.
func (p *Point) On() bool { return !compiledOut && p != nil && p.armed.Load() != nil }

// Hit has the rules that match strike the call, in order: it waits, burns, holds or panics as they say, and returns
// the first error, which is an [*Error], or the cause of ctx if that ended while the call was held. A rule
// that asks for an attribute which the point's Def does not name never strikes.
//
// Call it with no lock held, and where an error can be returned as the boundary would return its own. Where bytes pass
// or messages can be lost, call Damage instead: Hit leaves those effects out.
func (p *Point) Hit(ctx context.Context, attrs ...Attr) error {
	armed := p.meeting(attrs)
	if armed == nil {
		return nil
	}
	_, err := p.strike(ctx, armed, attrs, false)
	return err
}

// Damage is Hit for a boundary that bytes or messages pass. What it returns says what happens to one message, or to one
// stream.
func (p *Point) Damage(ctx context.Context, attrs ...Attr) (Damage, error) {
	armed := p.meeting(attrs)
	if armed == nil {
		return Damage{}, nil
	}
	return p.strike(ctx, armed, attrs, true)
}

// meeting returns the rules from the first on that a call meets; nil if there is none, as is usual.
func (p *Point) meeting(attrs []Attr) []*tally {
	if !p.On() {
		return nil
	}
	armed := p.armed.Load()
	if armed == nil {
		return nil
	}
	for i, t := range *armed {
		if t.meets(attrs) {
			return (*armed)[i:]
		}
	}
	return nil
}

// Skew is by how much a clock is to be wrong now. A clock is read often: the hit that is counted and told is the first
// reading under each rule.
func (p *Point) Skew() time.Duration {
	if !p.On() {
		return 0
	}
	armed := p.armed.Load()
	if armed == nil {
		return 0
	}
	var by time.Duration
	for _, t := range *armed {
		if t.rule.Skew == nil || !t.stands.Load() {
			continue
		}
		t.seen.Add(1)
		if !t.skewing.Swap(true) {
			t.struck.Add(1)
			if !p.record(context.Background(), t, nil) {
				continue
			}
		}
		by += t.rule.Skew.By
	}
	return by
}

func (p *Point) strike(ctx context.Context, armed []*tally, attrs []Attr, bytes bool) (Damage, error) {
	if ctx == nil {
		ctx = context.Background()
	}
	var d Damage
	for _, t := range armed {
		if !t.meets(attrs) || t.needs&Skew != 0 || !bytes && t.needs&(Lose|Mangle) != 0 || !t.draw(&p.set.rand) {
			continue
		}
		if !p.record(ctx, t, attrs) {
			continue
		}
		if err := p.perform(ctx, t, &d); err != nil {
			return Damage{}, err
		}
		if d.Drop {
			return d, nil
		}
	}
	return d, nil
}

// record counts a hit and tells of it. It is false if the rule ended meanwhile.
func (p *Point) record(ctx context.Context, t *tally, attrs []Attr) bool {
	s := p.set
	now := s.now()
	if !t.stands.Load() || t.expired(now) { // a call that one rule held passes the next when a kill switch lets it go
		t.struck.Add(-1)
		return false
	}
	p.hits.Add(1)
	t.last.Store(now.UnixNano())
	// The attributes belong to the caller: what is kept is a copy.
	h := Hit{At: now, Point: p.def.Name, Source: t.source, Rule: t.rule.ID, Effect: t.effect}
	if len(attrs) > 0 {
		h.Attributes = make(map[string]string, len(attrs))
		for _, a := range attrs {
			h.Attributes[a.Key] = strings.Clone(shorten(a.Value))
		}
	}
	s.journal.add(h)
	s.observer.Struck(ctx, h)
	if t.rule.Count > 0 && t.struck.Load() == t.rule.Count && !t.retired.Swap(true) {
		s.exhaust(t)
	}
	return true
}

func (p *Point) perform(ctx context.Context, t *tally, d *Damage) error {
	s, r := p.set, &t.rule
	switch {
	case r.Delay != nil:
		return s.wait(ctx, t, r.Delay.draw(s.config.Ceiling.Delay, &s.rand))
	case r.Hang != nil:
		return s.wait(ctx, t, -1)
	case r.Error != nil:
		return r.Error.at(p.def.Name, r.ID)
	case r.Panic != nil:
		panic(&Panicked{Point: p.def.Name, Rule: r.ID, Message: r.Panic.Message})
	case r.Drop != nil:
		d.Drop, d.dropper = true, t
	case r.Truncate != nil:
		d.cuts = append(d.cuts, cut{r.Truncate.After, t})
	case r.Corrupt != nil:
		d.corruptions = append(d.corruptions, newCorruption(t, r.Corrupt, &s.rand))
	case r.Burn != nil:
		s.burn(ctx, t, r.Burn.CPU)
	case r.Memory != nil:
		s.hold(t, r.Memory)
	case r.Goroutines != nil:
		s.park(t, r.Goroutines.Count)
	}
	return nil
}

// reach lists the names of points that a rule may strike.
func (s *Set) reach(t *tally) []string {
	var names []string
	for name, p := range s.points {
		if t.reaches(p.def) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
