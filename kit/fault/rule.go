package fault

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rule says where, whom, how often and how long one effect strikes. Exactly one of the effects is set.
//
// A call that passes a matching point is struck after Skip others, then each Every-th, with Probability, until
// Count were struck or Expires has come.
type Rule struct {
	ID    string `json:"id"`    // unique in its document: letters, digits, ".", "_" and "-"
	Point string `json:"point"` // the name of a point, or a pattern with *

	// Where holds for each key the value that the attribute must have, or a pattern with *. A point that does not
	// tell the attribute is not struck.
	Where map[string]string `json:"where,omitempty"`

	Probability *float64 `json:"probability,omitempty"` // above 0 and at most 1; nil: always
	Every       int64    `json:"every,omitempty"`       // 0: each one
	Skip        int64    `json:"skip,omitempty"`
	Count       int64    `json:"count,omitempty"` // 0: without bound

	Expires time.Time     `json:"expires,omitempty"`
	For     time.Duration `json:"for,omitempty"` // in place of Expires, from the moment at which the rule is taken; only of calls

	Delay      *Delay      `json:"delay,omitempty"`
	Error      *Failure    `json:"error,omitempty"`
	Panic      *Panicking  `json:"panic,omitempty"`
	Hang       *Hang       `json:"hang,omitempty"`
	Drop       *Drop       `json:"drop,omitempty"`
	Truncate   *Truncate   `json:"truncate,omitempty"`
	Corrupt    *Corrupt    `json:"corrupt,omitempty"`
	Burn       *Burn       `json:"burn,omitempty"`
	Memory     *Memory     `json:"memory,omitempty"`
	Goroutines *Goroutines `json:"goroutines,omitempty"`
	Skew       *ClockSkew  `json:"skew,omitempty"`
}

// Panicking panics with a [*Panicked].
type Panicking struct {
	Message string `json:"message,omitempty"`
}

// Hang holds a call until its context ends, or the rule does.
type Hang struct{}

// Drop has the boundary do nothing and report success: a message that never arrives.
type Drop struct{}

// Truncate cuts off what comes after so many bytes.
type Truncate struct {
	After int64 `json:"after"`
}

// Corrupt damages bytes in the midst.
type Corrupt struct {
	Offset *int64      `json:"offset,omitempty"` // of the first damaged byte; nil: anywhere
	Length int64       `json:"length,omitempty"` // 0: one byte
	Mode   CorruptMode `json:"mode,omitempty"`
}

// CorruptMode is what becomes of a damaged byte.
type CorruptMode string

// The modes of corruption. Flipped is the default.
const (
	Flipped CorruptMode = "flip" // every bit is inverted
	Zeroed  CorruptMode = "zero"
	Random  CorruptMode = "random" // another byte than it was
)

// Burn keeps a processor busy for a time at each hit.
type Burn struct {
	CPU time.Duration `json:"cpu"`
}

// Memory holds memory, touched so that it is resident, until the rule ends.
type Memory struct {
	Bytes int64 `json:"bytes"`
	Leak  bool  `json:"leak,omitempty"` // that much more at each hit, up to the ceiling; else once
}

// Goroutines parks so many goroutines at each hit until the rule ends, up to the ceiling.
type Goroutines struct {
	Count int `json:"count"`
}

// ClockSkew has a clock be ahead (or behind, if negative) by a time. A clock that may not go back takes twice as long to
// be right again as it was ahead: see clock.Skewed.
type ClockSkew struct {
	By time.Duration `json:"by"`
}

// The bounds of rules, whatever the ceiling is.
const (
	maxName    = 128
	maxText    = 1024
	maxWhere   = 16
	maxPattern = 256
)

// effect is the name of the rule's effect, what a point must honour for it, and how many effects it has.
func (r *Rule) effect() (name string, needs Effects, n int) {
	for _, e := range []struct {
		set   bool
		name  string
		needs Effects
	}{
		{r.Delay != nil, "delay", 0}, {r.Error != nil, "error", Fail}, {r.Panic != nil, "panic", 0}, {r.Hang != nil, "hang", 0},
		{r.Drop != nil, "drop", Lose}, {r.Truncate != nil, "truncate", Mangle}, {r.Corrupt != nil, "corrupt", Mangle},
		{r.Burn != nil, "burn", 0}, {r.Memory != nil, "memory", 0}, {r.Goroutines != nil, "goroutines", 0}, {r.Skew != nil, "skew", Skew},
	} {
		if e.set {
			name, needs = e.name, e.needs
			n++
		}
	}
	return name, needs, n
}

// Effect is the name of the effect that the rule has, as documents have it.
func (r Rule) Effect() string {
	name, _, _ := r.effect()
	return name
}

// Validate reports every fault at once. Whether the rule is within a [Ceiling], and when it ends, is judged where it is taken.
func (r Rule) Validate() error {
	var faults []error
	report := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if err := checkID(r.ID); err != nil {
		report("id: %w", err)
	}
	switch {
	case r.Point == "":
		report("point: is missing; * is every point")
	case !isPattern(r.Point):
		report("point: %q is no name of points: letters, digits, dots, _, - and *, %d at most", shorten(r.Point), maxPattern)
	}
	if len(r.Where) > maxWhere {
		report("where: has %d attributes; at most %d", len(r.Where), maxWhere)
	}
	for _, key := range slices.Sorted(maps.Keys(r.Where)) {
		if key == "" || len(key) > maxName || len(r.Where[key]) > maxPattern {
			report("where.%s: a key has 1 to %d bytes, a value %d at most", shorten(key), maxName, maxPattern)
		}
	}
	if p := r.Probability; p != nil && !(*p > 0 && *p <= 1) {
		report("probability: %v is not above 0 and at most 1; leave it out for always", *p)
	}
	for _, f := range []struct {
		name  string
		value int64
	}{{"every", r.Every}, {"skip", r.Skip}, {"count", r.Count}, {"for", int64(r.For)}} {
		if f.value < 0 {
			report("%s: is negative", f.name)
		}
	}
	if r.For > 0 && !r.Expires.IsZero() {
		report("for: expires is there too; give one")
	}
	switch _, _, n := r.effect(); {
	case n == 0:
		report("effect: none; give one of delay, error, panic, hang, drop, truncate, corrupt, burn, memory, goroutines, skew")
	case n > 1:
		report("effect: %d of them; give each a rule of its own", n)
	}
	r.validateEffect(report)
	return errors.Join(faults...)
}

func (r *Rule) validateEffect(report func(format string, args ...any)) {
	if r.Delay != nil {
		r.Delay.validate(report)
	}
	if r.Error != nil {
		r.Error.validate(report)
	}
	if r.Panic != nil && len(r.Panic.Message) > maxText {
		report("panic.message: has %d bytes; at most %d", len(r.Panic.Message), maxText)
	}
	if r.Truncate != nil && r.Truncate.After < 0 {
		report("truncate.after: is negative")
	}
	if c := r.Corrupt; c != nil {
		if c.Offset != nil && *c.Offset < 0 {
			report("corrupt.offset: is negative; leave it out for anywhere")
		}
		if c.Length < 0 {
			report("corrupt.length: is negative")
		}
		if !slices.Contains([]CorruptMode{"", Flipped, Zeroed, Random}, c.Mode) {
			report("corrupt.mode: %q is none of flip, zero, random", shorten(string(c.Mode)))
		}
	}
	if r.Burn != nil && r.Burn.CPU <= 0 {
		report("burn.cpu: must be above 0")
	}
	if r.Memory != nil && r.Memory.Bytes <= 0 {
		report("memory.bytes: must be above 0")
	}
	if r.Goroutines != nil && r.Goroutines.Count <= 0 {
		report("goroutines.count: must be above 0")
	}
	if r.Skew != nil && r.Skew.By == 0 {
		report("skew.by: is 0")
	}
	if r.Skew != nil && (r.Probability != nil || r.Every != 0 || r.Skip != 0 || r.Count != 0 || len(r.Where) > 0) {
		report("skew: takes no where, probability, every, skip and count: a clock is wrong for all who read it")
	}
}

// own is the rule with nothing that its caller could still change.
func (r Rule) own() Rule {
	r.Where = maps.Clone(r.Where)
	r.Probability = copied(r.Probability)
	r.Delay, r.Error, r.Panic = copied(r.Delay), copied(r.Error), copied(r.Panic)
	r.Hang, r.Drop, r.Truncate = copied(r.Hang), copied(r.Drop), copied(r.Truncate)
	r.Corrupt, r.Burn, r.Memory = copied(r.Corrupt), copied(r.Burn), copied(r.Memory)
	r.Goroutines, r.Skew = copied(r.Goroutines), copied(r.Skew)
	if r.Corrupt != nil {
		r.Corrupt.Offset = copied(r.Corrupt.Offset)
	}
	return r
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	return new(*p)
}

func checkID(id string) error {
	if strings.Trim(id, ".") == "" || len(id) > maxName || strings.ContainsFunc(id, func(c rune) bool { return !nameByte(c) }) {
		return fmt.Errorf("%q is no name: 1 to %d letters, digits, dots, _ and -, and not dots alone", shorten(id), maxName)
	}
	return nil
}

func isPattern(s string) bool {
	return len(s) <= maxPattern && !strings.ContainsFunc(s, func(c rune) bool { return c != '*' && !nameByte(c) })
}

func nameByte(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}

func shorten(s string) string {
	if len(s) <= 64 {
		return s
	}
	return strings.ToValidUTF8(s[:64], "") + "… (" + strconv.Itoa(len(s)) + " bytes)"
}
