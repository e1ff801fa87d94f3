package breaker

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dougong-io/dougong/kit/internal/strictjson"
	"github.com/dougong-io/dougong/kit/ramp"
)

// Policy says when circuits open and how they come back. [ParsePolicy] reads it from JSON.
type Policy struct {
	Conditions []Condition `json:"conditions" doc:"What opens a circuit, or sheds a part of its calls. Each is looked at by itself."`

	SlowAfter time.Duration `json:"slow_after,omitempty" doc:"Calls that take as long count as slow, for the conditions of that kind. 0: the callers say which are slow."`

	Open         ramp.Backoff  `json:"open" doc:"How long a circuit stays open before the first probe; longer after each relapse."`
	Probes       int           `json:"probes" doc:"Calls that may try an open circuit at a time, once its time is over."`
	Successes    int           `json:"successes" doc:"Probes that must succeed before the circuit closes, or begins to rise."`
	ProbeTimeout time.Duration `json:"probe_timeout" doc:"A probe that says nothing for so long is given up, and its place is free."`
	MarkedFor    time.Duration `json:"marked_for,omitempty" doc:"For so long only calls that are marked as tests may be probes. Then others may too, so that a service without such calls comes back."`
	Rise         ramp.Schedule `json:"rise,omitempty" doc:"Shares of the keys that pass after the probes succeeded, each for its time. Empty: all at once."`

	Sampling Sampling `json:"sampling" doc:"How many calls are counted when there are many."`
}

// Kind is what a condition counts.
type Kind string

// The kinds.
const (
	Failures Kind = "failures"
	Slow     Kind = "slow"
)

// Condition opens the circuit, or sheds, when a rate is above a threshold.
type Condition struct {
	Of          Kind          `json:"of" doc:"failures or slow. Empty: failures."`
	Above       float64       `json:"above" doc:"The rate above which the condition holds, 0 to 1."`
	Over        time.Duration `json:"over" doc:"The time that is looked at. Shorter times up to now are looked at too, so that an outage is seen at once after a good minute."`
	MinRequests int           `json:"min_requests" doc:"Counted calls without which nothing is decided; times shorter than over need twice as many. 0: 20."`
	Level       float64       `json:"level" doc:"The condition holds when the lower bound of the rate at this level of confidence (Wilson, one-sided) is above the threshold. It is the level of one look, and there is one at each failure: much traffic needs a higher one. 0.5 takes the raw ratio. 0: 0.96."`
	WhileRPS    float64       `json:"while_rps,omitempty" doc:"The condition is asleep unless more calls a second arrive, those that are refused included."`

	Shed *Shed `json:"shed,omitempty" doc:"Refuse a part of the calls instead of opening the circuit."`
}

// Shed refuses a fraction of the calls that grows with the rate: none at Condition.Above, Most at Full, in
// proportion between. The rate is the lower bound over the whole of Condition.Over.
type Shed struct {
	Full float64 `json:"full" doc:"The rate at which most is shed."`
	Most float64 `json:"most" doc:"The largest fraction of calls that is refused, below 1: those that pass are what shows that it is over."`
}

// Sampling bounds what is counted of many calls: all of them up to Floor a second, then fewer, down to Least of
// them, and never fewer than Floor a second. Rates are weighted accordingly, and their bounds know how many were
// counted.
type Sampling struct {
	Least float64 `json:"least" doc:"The smallest share of calls that is counted; 1 counts each."`
	Floor float64 `json:"floor" doc:"Calls a second that are counted at least, if there are as many."`
}

// Numbers that callers may rely on.
const (
	Buckets = 60 // of a window, whatever its length

	// DefaultLevel and twice the requests for shorter times keep a key that fails 10 % of its calls from opening
	// at a threshold of 30 % for a month, and see half of the calls fail within 60 of them. It is a level of each
	// look, and there is a look at each failure: a threshold that is lower, or nearer to what is normal, or much
	// traffic, need a higher one, as presets have; `dougong breaker curve` shows it.
	DefaultLevel       = 0.96
	DefaultMinRequests = 20
	shortSpan          = 2

	maxProbes     = 64
	maxConditions = 8
	mostSpread    = 6 // a condition has ten buckets or more
	maxWait       = 24 * time.Hour
	minWindow     = Buckets * 10 * time.Millisecond
	maxWindow     = time.Hour
)

// DefaultPolicy opens when more than half of the calls of the last 30 s fail, for 5 s, then longer by half each time
// up to a minute; three probes must succeed.
func DefaultPolicy() Policy {
	return Policy{
		Conditions:   []Condition{{Of: Failures, Above: 0.5, Over: 30 * time.Second, MinRequests: DefaultMinRequests, Level: 0.999}},
		Open:         ramp.Backoff{First: 5 * time.Second, Factor: 1.5, Most: time.Minute, Jitter: 0.1, Calm: time.Minute},
		Probes:       1,
		Successes:    3,
		ProbeTimeout: 30 * time.Second,
		Sampling:     Sampling{Least: 0.05, Floor: 1000},
	}
}

// ParsePolicy reads a policy from JSON, strictly: what is absent has its default, what is unknown is an error.
// Durations are strings such as "30s".
func ParsePolicy(data []byte) (Policy, error) {
	p := DefaultPolicy()
	if err := strictjson.Decode(data, &p); err != nil {
		return Policy{}, fmt.Errorf("breaker: policy: %w", err)
	}
	if err := p.Validate(); err != nil {
		return Policy{}, fmt.Errorf("breaker: policy: %w", err)
	}
	return p.own(), nil
}

// JSON is the policy as ParsePolicy reads it.
func (p Policy) JSON() ([]byte, error) { return strictjson.Encode(p) }

// own is the policy with nothing that its caller could still change, and with the defaults of conditions filled in.
func (p Policy) own() Policy {
	p.Conditions = slices.Clone(p.Conditions)
	p.Rise.Steps = slices.Clone(p.Rise.Steps)
	for i := range p.Conditions {
		c := &p.Conditions[i]
		c.Of = cmp.Or(c.Of, Failures)
		c.Level = cmp.Or(c.Level, DefaultLevel)
		c.MinRequests = cmp.Or(c.MinRequests, DefaultMinRequests)
		if c.Shed != nil {
			shed := *c.Shed
			c.Shed = &shed
		}
	}
	return p
}

// Validate reports every fault at once.
func (p Policy) Validate() error {
	var faults []error
	bad := func(field, format string, args ...any) {
		faults = append(faults, fmt.Errorf(field+": "+format, args...))
	}
	if len(p.Conditions) > maxConditions {
		bad("conditions", "must be at most %d, are %d", maxConditions, len(p.Conditions))
	}
	longest := time.Duration(0)
	for _, c := range p.Conditions {
		longest = max(longest, c.Over)
	}
	for i, c := range p.own().Conditions {
		at := fmt.Sprintf("conditions[%d].", i)
		c.validate(at, bad)
		if c.Over < longest/mostSpread {
			bad(at+"over", "must be at least a %dth of the longest, %v: they share %d buckets; is %v", mostSpread, longest, Buckets, c.Over)
		}
	}
	if p.SlowAfter < 0 {
		bad("slow_after", "must be at least 0s, is %v", p.SlowAfter)
	}
	below("open.", p.Open.Validate(), bad)
	if p.Probes < 1 || p.Probes > maxProbes {
		bad("probes", "must be between 1 and %d, is %d", maxProbes, p.Probes)
	}
	if p.Successes < 1 {
		bad("successes", "must be at least 1, is %d", p.Successes)
	}
	if p.ProbeTimeout <= 0 || p.ProbeTimeout > maxWait {
		bad("probe_timeout", "must be positive and at most %v, is %v", maxWait, p.ProbeTimeout)
	}
	if p.MarkedFor < 0 || p.MarkedFor > maxWait {
		bad("marked_for", "must be between 0s and %v, is %v", maxWait, p.MarkedFor)
	}
	below("rise.", p.Rise.Validate(), bad)
	if !(p.Sampling.Least > 0 && p.Sampling.Least <= 1) {
		bad("sampling.least", "must be above 0 and at most 1, is %v", p.Sampling.Least)
	}
	if !(p.Sampling.Floor >= 1) || math.IsInf(p.Sampling.Floor, 0) {
		bad("sampling.floor", "must be at least 1, is %v", p.Sampling.Floor)
	}
	return errors.Join(faults...)
}

// below reports the faults of a section under its path.
func below(path string, err error, bad func(field, format string, args ...any)) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, fault := range joined.Unwrap() {
			field, what, _ := strings.Cut(fault.Error(), ": ")
			bad(path+field, "%s", what)
		}
	}
}

func (c Condition) validate(at string, bad func(field, format string, args ...any)) {
	if c.Of != Failures && c.Of != Slow {
		bad(at+"of", "must be failures or slow, is %q", string(c.Of))
	}
	if !(c.Above > 0 && c.Above < 1) {
		bad(at+"above", "must be above 0 and below 1, is %v", c.Above)
	}
	if c.Over < minWindow || c.Over > maxWindow {
		bad(at+"over", "must be between %v and %v, is %v", minWindow, maxWindow, c.Over)
	}
	if c.MinRequests < 1 {
		bad(at+"min_requests", "must be at least 1, is %d", c.MinRequests)
	}
	if !(c.Level >= 0.5 && c.Level < 1) {
		bad(at+"level", "must be at least 0.5 and below 1, is %v", c.Level)
	}
	if !(c.WhileRPS >= 0) || math.IsInf(c.WhileRPS, 0) {
		bad(at+"while_rps", "must be at least 0, is %v", c.WhileRPS)
	}
	if c.Shed == nil {
		return
	}
	if !(c.Shed.Full > c.Above && c.Shed.Full <= 1) {
		bad(at+"shed.full", "must be above the threshold and at most 1, is %v", c.Shed.Full)
	}
	if !(c.Shed.Most > 0 && c.Shed.Most < 1) {
		bad(at+"shed.most", "must be above 0 and below 1, is %v", c.Shed.Most)
	}
}
