package fault

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// Delay holds a call for a time: Fixed, spread by Jitter as Distribution says, and never less than Min or more than
// Max. With Min and Max alone it is uniform between them.
type Delay struct {
	Fixed        time.Duration `json:"fixed,omitempty"`        // the middle; of exponential the mean, of pareto the least
	Jitter       time.Duration `json:"jitter,omitempty"`       // uniform: at most so far from Fixed; normal: the standard deviation
	Distribution Distribution  `json:"distribution,omitempty"` // empty: uniform
	Min          time.Duration `json:"min,omitempty"`
	Max          time.Duration `json:"max,omitempty"` // 0: the ceiling's
}

// Distribution is how delays spread.
type Distribution string

// The distributions.
const (
	Uniform     Distribution = "uniform"
	Normal      Distribution = "normal"
	Exponential Distribution = "exponential"
	Pareto      Distribution = "pareto" // a heavy tail, with exponent 1.5: one in a thousand takes 100 times the least
)

const paretoExponent = 1.5

func (d *Delay) validate(report func(format string, args ...any)) {
	for _, f := range []struct {
		name  string
		value time.Duration
	}{{"fixed", d.Fixed}, {"jitter", d.Jitter}, {"min", d.Min}, {"max", d.Max}} {
		if f.value < 0 {
			report("delay.%s: is negative", f.name)
		}
	}
	if !slices.Contains([]Distribution{"", Uniform, Normal, Exponential, Pareto}, d.Distribution) {
		report("delay.distribution: %q is none of uniform, normal, exponential, pareto", shorten(string(d.Distribution)))
	}
	if d.Max > 0 && d.Min > d.Max {
		report("delay.min: %v is more than max, %v", d.Min, d.Max)
	}
	uniform := d.Distribution == "" || d.Distribution == Uniform
	if d.Fixed == 0 && (!uniform || d.Max == 0) {
		report("delay.fixed: is missing; give it, or min and max")
	}
	if d.Max > 0 && d.Fixed > d.Max {
		report("delay.fixed: %v is more than max, %v", d.Fixed, d.Max)
	}
	if uniform && d.Fixed >= 0 && d.Jitter > d.Fixed {
		report("delay.jitter: %v is more than fixed, %v", d.Jitter, d.Fixed)
	}
	if d.Jitter > 0 && !uniform && d.Distribution != Normal {
		report("delay.jitter: %s has none", d.Distribution)
	}
	if d.Jitter == 0 && d.Distribution == Normal {
		report("delay.jitter: is missing: normal needs a standard deviation")
	}
}

// most is the longest that draw returns.
func (d *Delay) most(ceiling time.Duration) time.Duration {
	most := d.Max
	if most == 0 {
		most = ceiling
		if d.Distribution == "" || d.Distribution == Uniform {
			most = d.Fixed + d.Jitter
		}
	}
	return max(most, d.Min)
}

// draw returns a delay.
func (d *Delay) draw(ceiling time.Duration, r *source) time.Duration {
	if d.Fixed == 0 {
		return d.Min + time.Duration(r.float64()*float64(d.Max-d.Min))
	}
	mean := float64(d.Fixed)
	switch d.Distribution {
	case Normal:
		mean += r.normal() * float64(d.Jitter)
	case Exponential:
		mean *= r.exponential()
	case Pareto:
		mean *= math.Pow(1-r.float64(), -1/paretoExponent)
	default:
		mean += (2*r.float64() - 1) * float64(d.Jitter)
	}
	most := d.Max
	if most == 0 {
		most = ceiling
	}
	return time.Duration(min(max(mean, float64(d.Min), 0), float64(most)))
}

// source draws from the runtime's generator, or from one of a test.
type source struct{ uniform func() float64 }

func (s *source) float64() float64 {
	if s.uniform != nil {
		return s.uniform()
	}
	return rand.Float64()
}

// normal is by Box and Muller.
func (s *source) normal() float64 {
	return math.Sqrt(-2*math.Log(1-s.float64())) * math.Cos(2*math.Pi*s.float64())
}

func (s *source) exponential() float64 { return -math.Log(1 - s.float64()) }

// lateness is by how much timers fire late, in the median. A delay is asked for that much shorter, so that what a
// call waits is what the rule says: the effects of faults are measured, and a timer is late by 0.1 ms or a
// millisecond, depending on the machine.
type lateness struct{ nanoseconds atomic.Int64 }

const (
	latenessStep = 64 * time.Microsecond // the greatest correction by one sample
	latenessMost = 2 * time.Millisecond
)

// ask is what to ask of a timer so that it fires after d.
func (l *lateness) ask(d time.Duration) time.Duration {
	if by := time.Duration(l.nanoseconds.Load()); by < d/2 {
		return d - by
	}
	return d / 2
}

// learn moves the estimate towards what one timer was late by, by a part of the difference and at most a step: a
// pause of the process moves it no further than any other sample, so that it settles near the median.
func (l *lateness) learn(asked, took time.Duration) {
	now := time.Duration(l.nanoseconds.Load())
	by := min(max((took-asked-now)/8, -latenessStep), latenessStep)
	l.nanoseconds.Store(int64(min(max(now+by, 0), latenessMost)))
}
