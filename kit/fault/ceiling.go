package fault

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Ceiling bounds what rules may do, whoever sets them. A rule beyond it is refused. What adds up at run time
// (Held, Memory, Goroutines, Burning) is not: what would go beyond has no effect, and counts as capped.
type Ceiling struct {
	Lifetime   time.Duration `json:"lifetime" doc:"The furthest that the expiry of a rule may be away."`
	Share      float64       `json:"share" doc:"The greatest share of calls that one rule may strike, above 0 and at most 1. Rules add up."`
	Rules      int           `json:"rules" doc:"Rules that one source may have."`
	Delay      time.Duration `json:"delay" doc:"The longest that one rule may delay a call. Rules add up."`
	Burn       time.Duration `json:"burn" doc:"The longest that a rule may keep a processor busy for one call."`
	Burning    int           `json:"burning" doc:"Processors that rules may keep busy at one moment."`
	Held       int           `json:"held" doc:"Calls that rules may delay or hang at one moment."`
	Memory     int64         `json:"memory" unit:"bytes" doc:"Bytes that rules may hold at one moment."`
	Goroutines int           `json:"goroutines" doc:"Goroutines that rules may park at one moment."`
	Skew       time.Duration `json:"skew" doc:"The furthest that a rule may move a clock. One that was ahead takes twice as long to be right again."`
	Forbidden  []string      `json:"forbidden" doc:"Effects that no rule may have: delay, error, panic, hang, drop, truncate, corrupt, burn, memory, goroutines, skew."`
}

// Forever as Lifetime of a ceiling lets rules be without expiry. It is meant for tests: configuration cannot say it.
const Forever time.Duration = 1<<63 - 1

// mostLifetime is what configuration may say.
const mostLifetime = 24 * time.Hour

// DefaultCeiling allows every effect, for an hour at most, on every call.
func DefaultCeiling() Ceiling {
	return Ceiling{
		Lifetime:   time.Hour,
		Share:      1,
		Rules:      256,
		Delay:      time.Minute,
		Burn:       time.Second,
		Burning:    1,
		Held:       10_000,
		Memory:     256 << 20,
		Goroutines: 10_000,
		Skew:       time.Minute,
	}
}

var effects = []string{"delay", "error", "panic", "hang", "drop", "truncate", "corrupt", "burn", "memory", "goroutines", "skew"}

// Validate reports every fault at once.
func (c Ceiling) Validate() error {
	var faults []error
	if c.Lifetime != Forever && (c.Lifetime <= 0 || c.Lifetime > mostLifetime) {
		faults = append(faults, fmt.Errorf("lifetime: %v is not above 0 and at most %v", c.Lifetime, mostLifetime))
	}
	if !(c.Share > 0 && c.Share <= 1) {
		faults = append(faults, fmt.Errorf("share: %v is not above 0 and at most 1", c.Share))
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"rules", int64(c.Rules)}, {"delay", int64(c.Delay)}, {"burn", int64(c.Burn)}, {"burning", int64(c.Burning)}, {"held", int64(c.Held)},
		{"memory", c.Memory}, {"goroutines", int64(c.Goroutines)}, {"skew", int64(c.Skew)},
	} {
		if f.value < 0 {
			faults = append(faults, fmt.Errorf("%s: is negative; 0 allows none", f.name))
		}
	}
	for _, name := range c.Forbidden {
		if !slices.Contains(effects, name) {
			faults = append(faults, fmt.Errorf("forbidden: %q is no effect", shorten(name)))
		}
	}
	return errors.Join(faults...)
}

// Allows reports everything that the rules of a document have beyond the ceiling if they are taken now.
func (c Ceiling) Allows(d Document, now time.Time) error {
	var faults []error
	for i, r := range d.Rules {
		if r.For > 0 {
			r.Expires = now.Add(r.For)
		}
		if err := c.allows(&r, now); err != nil {
			faults = append(faults, in(fmt.Sprintf("rules[%d]", i), err)...)
		}
	}
	if len(d.Rules) > c.Rules {
		faults = append(faults, fmt.Errorf("rules: there are %d; at most %d", len(d.Rules), c.Rules))
	}
	return errors.Join(faults...)
}

// allows reports everything that a rule has beyond the ceiling. Its expiry is set.
func (c *Ceiling) allows(r *Rule, now time.Time) error {
	var faults []error
	beyond := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	switch away := r.Expires.Sub(now); {
	case r.Expires.IsZero() && c.Lifetime != Forever:
		beyond("expires: is missing: every rule ends by itself")
	case !r.Expires.IsZero() && away > c.Lifetime:
		beyond("expires: is %v away; the ceiling is %v", away.Round(time.Millisecond), c.Lifetime)
	}
	share := 1.0
	if r.Probability != nil {
		share = *r.Probability
	}
	if share /= float64(max(1, r.Every)); share > c.Share {
		beyond("probability: strikes a share of %.3g; the ceiling is %.3g", share, c.Share)
	}
	effect, _, _ := r.effect()
	if slices.Contains(c.Forbidden, effect) {
		beyond("%s: the ceiling forbids this effect", effect)
	}
	switch {
	case r.Delay != nil && max(r.Delay.most(c.Delay), r.Delay.Fixed) > c.Delay:
		beyond("delay: is up to %v; the ceiling is %v", max(r.Delay.most(c.Delay), r.Delay.Fixed), c.Delay)
	case r.Burn != nil && r.Burn.CPU > c.Burn:
		beyond("burn.cpu: is %v; the ceiling is %v", r.Burn.CPU, c.Burn)
	case r.Memory != nil && r.Memory.Bytes > c.Memory:
		beyond("memory.bytes: is %d; the ceiling is %d", r.Memory.Bytes, c.Memory)
	case r.Goroutines != nil && r.Goroutines.Count > c.Goroutines:
		beyond("goroutines.count: is %d; the ceiling is %d", r.Goroutines.Count, c.Goroutines)
	case r.Skew != nil && max(r.Skew.By, -r.Skew.By) > c.Skew:
		beyond("skew.by: is %v; the ceiling is %v", r.Skew.By, c.Skew)
	}
	return errors.Join(faults...)
}
