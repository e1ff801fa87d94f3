package load

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/dougong-io/dougong/prove/load/schedule"
)

// Phases of a search, as trials tell them.
const (
	phaseSearch  = "search"
	phaseConfirm = "confirm"
	phaseBeyond  = "beyond"
)

// What ended a search.
const (
	limitSLO       = "slo"       // a rate at which an SLO did not hold
	limitCeiling   = "ceiling"   // every SLO held up to the highest rate that was allowed
	limitGenerator = "generator" // the generator could not keep up, so nothing is known about the target above
	limitTime      = "time"      // the budget, before the precision was reached
	limitTarget    = "target"    // the target was gone, and did not come back in time for the next trial
	limitInterrupt = "interrupted"
)

// searcher looks for the highest rate that holds every SLO: it doubles the rate until one does not, then halves the
// distance, on a logarithmic scale, until the two rates are as close as wanted, then tries the best rate again.
type searcher struct {
	plan    *Plan
	opt     Options
	began   time.Time
	result  *Result // that of the best trial, whose intervals and stages are shown
	point   *Breakpoint
	sum     Window
	clock   float64 // seconds of load so far
	cpu     float64
	peak    uint64
	started time.Time
	samples []ErrorSample
	tooFew  bool // the last trial had too few requests to be judged
}

func search(ctx context.Context, p *Plan, opt Options) (*Result, error) {
	s := &searcher{plan: p, opt: opt, began: time.Now(), started: time.Now(), point: &Breakpoint{Trials: []Trial{}, Limit: limitSLO}}
	if err := s.bracket(ctx); err != nil {
		return nil, err
	}
	s.narrow(ctx)
	s.confirm(ctx)
	s.beyond(ctx)
	return s.conclude(ctx), nil
}

// bracket doubles the rate until an objective does not hold. It returns an error when not even one trial could run.
func (s *searcher) bracket(ctx context.Context) error {
	for rate := s.plan.Search.From; ; rate = min(rate*2, s.plan.Search.To) {
		verdict, err := s.trial(ctx, rate, phaseSearch)
		if err != nil {
			if s.result == nil {
				return err
			}
			return nil
		}
		switch {
		case verdict == VerdictInconclusive && s.tooFew && rate < s.plan.Search.To && s.room(ctx, 1):
			s.point.Limit = limitSLO
			continue // a higher rate has more requests
		case verdict == VerdictPass && rate >= s.plan.Search.To:
			s.point.Limit = limitCeiling
			return nil
		case verdict == VerdictPass && s.room(ctx, 1):
			continue
		case verdict == VerdictPass:
			s.point.Limit = limitTime
		case verdict == VerdictFail && s.point.Rate == 0 && rate > 1 && s.room(ctx, 1):
			// Too much from the start: look below.
			if below := rate / 8; below >= 1 {
				if verdict, err = s.trial(ctx, below, phaseSearch); err == nil && verdict == VerdictPass {
					return nil
				}
			}
		}
		return nil
	}
}

// narrow halves the distance between the best rate and the lowest that was too much.
func (s *searcher) narrow(ctx context.Context) {
	b := s.point
	for b.Rate > 0 && b.Above > 0 && b.Above/b.Rate-1 > s.plan.Search.Precision {
		if !s.room(ctx, 2) {
			s.point.Limit = limitTime
			return
		}
		if _, err := s.trial(ctx, math.Sqrt(b.Rate*b.Above), phaseSearch); err != nil || s.point.Limit == limitGenerator {
			return
		}
	}
}

// confirm tries the best rate once more, and goes down in small steps when it was luck.
func (s *searcher) confirm(ctx context.Context) {
	for range 5 {
		if s.point.Rate == 0 || !s.room(ctx, 1) {
			return
		}
		rate := s.point.Rate
		verdict, err := s.trial(ctx, rate, phaseConfirm)
		if err != nil || verdict != VerdictFail {
			return
		}
		s.point.Above, s.point.Rate = rate, 0
		for _, t := range s.point.Trials { // the best of the others that held
			if t.Verdict == VerdictPass && t.Rate < rate {
				s.point.Rate = max(s.point.Rate, t.Rate)
			}
		}
		if lower := rate / (1 + s.plan.Search.Precision); s.point.Rate < lower {
			if verdict, err := s.trial(ctx, lower, phaseSearch); err == nil && verdict == VerdictPass {
				return
			}
		}
	}
}

// beyond measures past the breakpoint, for the curve.
func (s *searcher) beyond(ctx context.Context) {
	if !s.plan.Search.Beyond || s.point.Rate == 0 || s.point.Above == 0 {
		return
	}
	for _, factor := range []float64{1.25, 1.6, 2} {
		rate := s.point.Rate * factor
		if rate > s.plan.Search.To || !s.room(ctx, 1) {
			return
		}
		if _, err := s.trial(ctx, rate, phaseBeyond); err != nil {
			return
		}
	}
}

// room tells whether the budget holds so many trials more.
func (s *searcher) room(ctx context.Context, trials int) bool {
	const spare = 500 * time.Millisecond // to connect, and for the last answers
	need := time.Duration(trials)*(time.Duration(s.plan.Search.Trial)+pause) + spare
	return ctx.Err() == nil && time.Since(s.began)+need <= time.Duration(s.plan.Search.Budget)
}

// pause lets the target work off what a trial has left in its queues.
const pause = 300 * time.Millisecond

// trial runs one rate, twice when it could not be judged or failed by a hair, and notes what it says about the breakpoint.
func (s *searcher) trial(ctx context.Context, rate float64, phase string) (Verdict, error) {
	for attempt := 0; ; attempt++ {
		if len(s.point.Trials) > 0 {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
		result, err := s.run(ctx, rate)
		if err != nil {
			if s.result != nil && ctx.Err() == nil {
				s.point.Limit = limitTarget
				s.result.Errors = append(s.result.Errors, ErrorSample{Class: ClassRefused, At: s.clock, Message: err.Error()})
			}
			return VerdictInconclusive, err
		}
		s.add(result)
		verdict, reason := s.verdict(result, rate)
		if attempt == 0 && phase != phaseBeyond && (verdict == VerdictInconclusive || verdict == VerdictFail && s.close(result, rate)) && s.room(ctx, 2) {
			continue
		}
		w := result.Judged
		if w.Due == 0 {
			w = result.Total
		}
		s.point.Trials = append(s.point.Trials, Trial{Rate: rate, Goodput: s.goodput(result), Verdict: verdict, Reason: reason, Phase: phase, Window: w})
		switch {
		case result.End == EndInterrupted:
			s.point.Limit = limitInterrupt
		case verdict == VerdictInconclusive && phase == phaseSearch:
			s.point.Limit = limitGenerator
		case verdict == VerdictPass && phase == phaseSearch && rate > s.point.Rate:
			s.point.Rate, s.result = rate, result
		case verdict == VerdictPass && phase == phaseConfirm:
			s.result = result
		case verdict == VerdictFail && phase == phaseSearch && (s.point.Above == 0 || rate < s.point.Above):
			s.point.Above = rate
		}
		if s.result == nil {
			s.result = result
		}
		return verdict, nil
	}
}

func (s *searcher) run(ctx context.Context, rate float64) (*Result, error) {
	p := *s.plan
	p.Search = nil
	spec := schedule.Constant(rate, time.Duration(s.plan.Search.Trial))
	spec.Poisson = s.plan.Search.Poisson
	p.Open = spec
	p.Drain = min(p.Drain, Duration(2*time.Second))
	opt := s.opt
	if show := s.opt.Progress; show != nil {
		opt.Progress = func(g Progress) {
			g.Phase = fmt.Sprintf("search %.4g/s", rate)
			g.Elapsed, g.Total = time.Since(s.began), time.Duration(s.plan.Search.Budget)
			show(g)
		}
	}
	return execute(ctx, &p, opt)
}

// verdict judges a trial: every SLO, and that the target kept up at all; with a generous latency bound a short trial
// would end before a growing queue breaks it.
func (s *searcher) verdict(r *Result, rate float64) (Verdict, string) {
	if r.End == EndInterrupted {
		return VerdictInconclusive, "interrupted"
	}
	s.tooFew = false
	if r.Verdict == VerdictInconclusive {
		reason := "the generator was late"
		for _, slo := range r.SLO {
			if slo.Reason != "" {
				reason = slo.SLO + ": " + slo.Reason
				s.tooFew = r.LateSeconds == 0
			}
		}
		return VerdictInconclusive, reason
	}
	for _, slo := range r.SLO {
		if slo.Verdict == VerdictFail {
			return VerdictFail, slo.SLO
		}
	}
	if !keptUp(r, rate) {
		return VerdictFail, "the target does not keep up"
	}
	return VerdictPass, ""
}

// keptUp tells whether answers came as fast as requests were due, once the first had had their time: a target whose
// queue grows is behind from then on, whatever the latency is that its queue makes.
func keptUp(r *Result, rate float64) bool {
	if r.Total.Unfinished > 0 || len(r.Intervals) == 0 {
		return r.Total.Unfinished == 0
	}
	// The least latency is that of the target without a queue.
	settled := 1 + int(float64(r.Intervals[0].Latency.Min())/1e9+0.9)
	whole := int(r.Seconds)
	if settled >= whole {
		return true // too slow for so short a trial to tell; but every answer came
	}
	var came float64
	for _, in := range r.Intervals[:min(whole, len(r.Intervals))] {
		if int(in.From) >= settled {
			came += float64(in.Done)
		}
	}
	asked := rate * float64(whole-settled)
	spare := 1.0
	if r.Plan.Open != nil && r.Plan.Open.Poisson {
		spare += 3 * math.Sqrt(asked) // what is due varies itself
	}
	return came >= 0.97*asked-spare
}

// close tells whether a trial failed although the target kept up: a hiccup of the machine looks like that, so it is
// tried again before it bounds the search.
func (s *searcher) close(r *Result, rate float64) bool { return s.goodput(r) > 0.95*rate }

// goodput is how many good answers a second came within the latency that the SLO names.
func (s *searcher) goodput(r *Result) float64 {
	w := &r.Total
	good := 1.0
	bound := math.Inf(1)
	for _, slo := range objectives(s.plan) {
		if slo.isLatency() && slo.of == "" && slo.figure != "min" && slo.figure != "mean" {
			bound = min(bound, slo.bound)
		}
	}
	if !math.IsInf(bound, 1) && w.OK > 0 {
		slow := max(float64(w.Latency.CountAbove(int64(bound)))-float64(w.Failed[ClassTimeout]), 0)
		good = max(1-slow/float64(w.OK), 0)
	}
	return good * float64(w.Good) / max(r.Seconds, 1e-9)
}

// add joins a trial to the totals of the search.
func (s *searcher) add(r *Result) {
	s.sum.add(&r.Total)
	s.clock += r.Seconds
	s.cpu += r.Client.CPUSeconds
	s.peak = max(s.peak, r.Client.PeakMemory)
	for _, sample := range r.Errors {
		if len(s.samples) < samplesAClass*classes {
			s.samples = append(s.samples, sample)
		}
	}
}

// conclude is the result of the best trial, with the totals of all and the breakpoint.
func (s *searcher) conclude(ctx context.Context) *Result {
	r := s.result
	b := s.point
	if b.Rate > 0 && b.Above > 0 {
		b.Precision = b.Above/b.Rate - 1
	}
	r.Breakpoint = b
	r.Started = s.started.UTC()
	r.Seconds = s.clock
	r.Plan = redacted(s.plan)
	total := s.sum.clone()
	total.Seconds = s.clock
	r.Total = total
	r.Errors = append([]ErrorSample{}, s.samples...)
	r.Client.CPUSeconds, r.Client.PeakMemory = s.cpu, s.peak
	if total.Due > 0 {
		r.Client.CPUPerRequest = s.cpu / float64(total.Due) * 1e6
	}
	r.Notes = []string{}
	switch {
	case ctx.Err() != nil:
		r.End, r.Verdict = EndInterrupted, VerdictInconclusive
		r.Notes = append(r.Notes, "the search was interrupted before it found the breakpoint")
	case b.Rate == 0 && b.Limit == limitGenerator:
		r.Verdict = VerdictInconclusive
		r.Notes = append(r.Notes, "nothing is known: no trial could be judged, as the generator was late or too few requests were made")
	case b.Rate == 0:
		r.Verdict = VerdictFail
		r.Notes = append(r.Notes, fmt.Sprintf("the objectives do not hold at the lowest rate tried, %.4g/s", b.Above))
	case b.Limit == limitTarget:
		r.Verdict = VerdictFail
		r.Notes = append(r.Notes, fmt.Sprintf("the target went away after a trial, when %.4g/s had held; the last error tells how", b.Rate))
	case b.Above == 0 && b.Limit == limitTime:
		r.Verdict = VerdictPass
		r.Notes = append(r.Notes, fmt.Sprintf("the time was over while the objectives still held, at %.4g/s; the breakpoint lies above", b.Rate))
	case b.Limit == limitCeiling:
		r.Verdict = VerdictPass
		r.Notes = append(r.Notes, fmt.Sprintf("the objectives hold up to the ceiling of the search, %.4g/s; the breakpoint lies above", b.Rate))
	case b.Limit == limitGenerator:
		r.Verdict = VerdictInconclusive
		r.Notes = append(r.Notes, fmt.Sprintf("above %.4g/s the generator could not judge the target; the breakpoint may lie higher", b.Rate))
	case b.Precision > s.plan.Search.Precision+1e-9:
		b.Limit = limitTime
		r.Verdict = VerdictPass
		r.Notes = append(r.Notes, fmt.Sprintf("the time was over before the precision was reached: the breakpoint lies between %.4g/s and %.4g/s", b.Rate, b.Above))
	default:
		r.Verdict = VerdictPass
		r.Notes = append(r.Notes, fmt.Sprintf("the objectives hold up to %.4g/s and no longer at %.4g/s", b.Rate, b.Above))
	}
	r.Notes = append(r.Notes, "stages, intervals and judged figures are those of the last good trial; totals are those of the whole search")
	return r
}
