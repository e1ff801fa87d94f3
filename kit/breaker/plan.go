package breaker

import (
	"math"
	"time"
)

// plan is a policy made ready.
type plan struct {
	Policy
	rules      []rule
	width      time.Duration // of a bucket
	refresh    time.Duration // between two looks at the meter, while sampling or shedding go by it
	judgesSlow bool
	sheds      bool
}

// mostRefresh bounds for how long sampling and shedding go by an old rate.
const mostRefresh = 100 * time.Millisecond

func newPlan(p Policy) *plan {
	p = p.own()
	made := &plan{Policy: p}
	window := minWindow
	for _, c := range p.Conditions {
		window = max(window, c.Over)
	}
	made.width = window / Buckets
	made.refresh = min(mostRefresh, made.width)
	for _, c := range p.Conditions {
		made.rules = append(made.rules, newRule(c, made.width))
		made.judgesSlow = made.judgesSlow || c.Of == Slow
		made.sheds = made.sheds || c.Shed != nil
	}
	return made
}

// sample is the largest random number with which a call is counted, when so many arrive a second. The rate is
// itself an estimate of some samples, hence the margin.
func (p *plan) sample(rate float64) uint32 {
	const margin = 1.1
	share := max(p.Sampling.Least, margin*p.Sampling.Floor/max(rate, 1e-9))
	if share >= 1 {
		return all
	}
	return uint32(math.Ceil(share*(1<<32))) - 1
}
