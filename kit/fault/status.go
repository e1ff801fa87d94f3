package fault

import (
	"cmp"
	"slices"
	"time"
)

// State is what has become of a rule.
type State string

// The states of rules; and, of a kill switch in a [Change], Killed and Released. A rule that begins is told with the
// state that it begins in.
const (
	Active     State = "active"
	Unmatched  State = "unmatched" // no point that there is now can be struck by it
	Exhausted  State = "exhausted" // its count is used up
	Expired    State = "expired"
	Overridden State = "overridden" // a source that comes first has a rule of this id
	Killed     State = "killed"     // a kill switch is thrown
	Removed    State = "removed"
	Released   State = "released"
)

// Status is what a set has and did.
type Status struct {
	Version     int            `json:"version"` // of documents
	CompiledOut bool           `json:"compiled_out,omitempty"`
	Killed      []string       `json:"killed"` // the sources whose switch is thrown
	Rules       []RuleStatus   `json:"rules"`  // in the order in which they strike
	Points      []PointStatus  `json:"points"` // by name
	Sources     []SourceStatus `json:"sources"`
	Recent      []Hit          `json:"recent"` // the last few, the newest first
	Held        HeldStatus     `json:"held"`
}

// RuleStatus is a rule and what it did.
type RuleStatus struct {
	Source string     `json:"source"`
	ID     string     `json:"id"`
	State  State      `json:"state"`
	Seen   int64      `json:"seen"`   // calls that it matched
	Hits   int64      `json:"hits"`   // calls that it struck
	Capped int64      `json:"capped"` // of these, those on which the ceiling let it have no effect
	Last   *time.Time `json:"last_hit,omitempty"`
	Points []string   `json:"points"` // that it can strike
	Rule   Rule       `json:"rule"`
}

// PointStatus is a point.
type PointStatus struct {
	Name       string   `json:"name"`
	Doc        string   `json:"doc"`
	Attributes []string `json:"attributes"`
	Effects    string   `json:"effects"`           // beyond those that every point has
	Guarded    bool     `json:"guarded,omitempty"` // a rule must name its package
	On         bool     `json:"on"`
	Hits       int64    `json:"hits"`
}

// SourceStatus is a source.
type SourceStatus struct {
	Name    string     `json:"name"`
	Kill    bool       `json:"kill"`
	Rules   int        `json:"rules"`
	Applied *time.Time `json:"applied,omitempty"` // when it last said something
}

// HeldStatus is what all rules hold at this moment.
type HeldStatus struct {
	Calls       int64 `json:"calls"`
	Burning     int64 `json:"burning"`
	Goroutines  int64 `json:"goroutines"`
	MemoryBytes int64 `json:"memory_bytes"`
}

// Status returns what the set has and did. The nil Set has nothing.
func (s *Set) Status() Status {
	st := Status{Version: Version, CompiledOut: compiledOut, Killed: []string{}, Rules: []RuleStatus{}, Points: []PointStatus{}, Sources: []SourceStatus{}, Recent: []Hit{}}
	if s == nil {
		return st
	}
	st.Recent = s.journal.list()
	st.Held = HeldStatus{
		Calls: s.room.held.Load(), Burning: s.room.burning.Load(), Goroutines: s.room.goroutines.Load(), MemoryBytes: s.room.memory.Load(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.config.Sources {
		l := s.layers[name]
		st.Sources = append(st.Sources, SourceStatus{Name: name, Kill: l.kill, Rules: len(l.rules), Applied: moment(l.applied)})
		if l.kill {
			st.Killed = append(st.Killed, name)
		}
		for _, t := range l.rules {
			st.Rules = append(st.Rules, s.ruleStatus(t))
		}
	}
	for _, p := range s.points {
		st.Points = append(st.Points, PointStatus{
			Name: p.def.Name, Doc: p.def.Doc, Attributes: slices.Clone(p.def.Attrs), Effects: p.def.Effects.String(), Guarded: p.def.Guarded, On: p.On(), Hits: p.hits.Load(),
		})
	}
	slices.SortFunc(st.Points, func(a, b PointStatus) int { return cmp.Compare(a.Name, b.Name) })
	return st
}

func (s *Set) ruleStatus(t *tally) RuleStatus {
	line := RuleStatus{
		Source: t.source, ID: t.rule.ID, Seen: t.seen.Load(), Hits: t.struck.Load(), Capped: t.capped.Load(), Points: s.reach(t), Rule: t.rule.own(),
	}
	if last := t.last.Load(); last != 0 {
		line.Last = new(time.Unix(0, last))
	}
	switch {
	case t.expired(s.now()):
		line.State = Expired
	case t.over():
		line.State = Removed
	case s.overridden(t):
		line.State = Overridden
	case t.exhausted():
		line.State = Exhausted
	case s.killed():
		line.State = Killed
	case len(line.Points) == 0:
		line.State = Unmatched
	default:
		line.State = Active
	}
	if line.Points == nil {
		line.Points = []string{}
	}
	return line
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
