package load

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dougong-io/dougong/prove/hdr"
)

// SLO is an objective: a figure, a comparison and a bound.
type SLO struct {
	text     string
	figure   string  // p, min, mean, max, errors, rate
	of       string  // "", "service" or "rejected"; with errors a class
	quantile float64 // 0 to 1, with p
	less     bool    // the figure has to be below the bound, else above
	equal    bool    // or equal to it
	bound    float64 // nanoseconds, share or requests a second
}

// ParseSLO reads an objective:
//
//	p99<50ms  p99.9<=1s  mean<10ms  max<2s    latency from when requests were due
//	service.p99<40ms  rejected.p99<10ms       the other latencies of Window
//	errors<0.1%  errors.timeout<=0%           share of requests that failed, of one class
//	rate>990                                  good answers a second
func ParseSLO(text string) (SLO, error) {
	s := SLO{text: strings.ReplaceAll(text, " ", "")}
	at := strings.IndexAny(s.text, "<>")
	if at <= 0 {
		return SLO{}, fmt.Errorf("%q is no objective such as p99<50ms, errors<0.1%% or rate>990", text)
	}
	s.less = s.text[at] == '<'
	left, right := s.text[:at], s.text[at+1:]
	if strings.HasPrefix(right, "=") {
		s.equal, right = true, right[1:]
	}
	if of, figure, ok := strings.Cut(left, "."); ok && (of == "service" || of == "rejected" || of == "latency") {
		left = figure
		if s.of = of; of == "latency" {
			s.of = ""
		}
	}
	var err error
	switch {
	case left == "rate" && s.of == "":
		s.figure = left
		s.bound, err = strconv.ParseFloat(strings.TrimSuffix(right, "/s"), 64)
		if err != nil || !(s.bound >= 0) || math.IsInf(s.bound, 0) {
			return SLO{}, fmt.Errorf("%q: %q is no number of requests a second", text, right)
		}
		if s.less {
			return SLO{}, fmt.Errorf("%q: a rate has to be above its bound", text)
		}
		return s, nil
	case s.of == "" && (left == "errors" || strings.HasPrefix(left, "errors.")):
		s.figure = "errors"
		if _, class, ok := strings.Cut(left, "."); ok {
			s.of = class
			known := false
			for _, c := range classOrder {
				known = known || string(c) == class
			}
			if !known {
				return SLO{}, fmt.Errorf("%q: %q is no class of failure; there are %v", text, class, classOrder)
			}
		}
		number, percent := strings.CutSuffix(right, "%")
		s.bound, err = strconv.ParseFloat(number, 64)
		if percent {
			s.bound /= 100
		}
		if err != nil || !(s.bound >= 0 && s.bound <= 1) {
			return SLO{}, fmt.Errorf("%q: %q is no share such as 0.1%% or 0.001", text, right)
		}
		if !s.less {
			return SLO{}, fmt.Errorf("%q: errors have to be below their bound", text)
		}
		return s, nil
	case left == "mean" || left == "max" || left == "min":
		s.figure = left
	case strings.HasPrefix(left, "p"):
		s.figure = "p"
		percent, err := strconv.ParseFloat(left[1:], 64)
		if err != nil || !(percent > 0 && percent < 100) {
			return SLO{}, fmt.Errorf("%q: %q is no percentile between p0 and p100", text, left)
		}
		s.quantile = percent / 100
	default:
		return SLO{}, fmt.Errorf("%q: %q is no figure; there are p50 to p99.999, min, mean, max, errors and rate", text, left)
	}
	bound, err := time.ParseDuration(right)
	if err != nil {
		return SLO{}, fmt.Errorf("%q: %q is no duration such as 50ms", text, right)
	}
	if !s.less {
		return SLO{}, fmt.Errorf("%q: a latency has to be below its bound", text)
	}
	if bound <= 0 {
		return SLO{}, fmt.Errorf("%q: no answer takes %s", text, bound)
	}
	s.bound = float64(bound)
	return s, nil
}

func (s SLO) String() string { return s.text }

// possible refuses what no target can hold under the plan.
func (s SLO) possible(p *Plan) error {
	switch {
	case s.figure == "errors" && s.bound == 0 && !s.equal:
		return fmt.Errorf("%q: no share is below 0; write errors<=0%%", s.text)
	case s.figure == "rate" && p.Open != nil:
		most := 0.0
		for _, stage := range p.Open.Stages {
			most = max(most, stage.From+stage.Swing, stage.To+stage.Swing)
		}
		if p.Open.Recorded == "" && s.bound >= most {
			return fmt.Errorf("%q: the schedule never asks for more than %g a second", s.text, most)
		}
	case s.isLatency() && s.of == "" && s.bound > float64(p.Timeout):
		return fmt.Errorf("%q: can never be broken, as requests fail after the time-out of %s", s.text, p.Timeout)
	}
	return nil
}

func (s SLO) isLatency() bool { return s.figure != "errors" && s.figure != "rate" }

// Judge holds s against a window. It is inconclusive when the window has too few requests to know.
func (s SLO) Judge(w *Window) SLOResult {
	r := SLOResult{SLO: s.text, Bound: s.bound}
	finished := w.OK + w.Failures()
	switch s.figure {
	case "rate":
		r.Unit = "rps"
		if w.Seconds > 0 {
			r.Value = float64(w.Good) / w.Seconds
		}
	case "errors":
		r.Unit = "share"
		failed := w.Failures()
		if s.of != "" {
			failed = w.Failed[Class(s.of)]
		}
		if finished > 0 {
			r.Value = float64(failed) / float64(finished)
		}
	default:
		r.Unit = "ms"
		r.Bound /= 1e6
		h := s.histogram(w)
		r.Value = s.read(h) / 1e6
		if s.of == "rejected" && h.Count() == 0 && finished > 0 {
			r.Verdict = VerdictPass // nothing was rejected
			return r
		}
		if needed := s.needs(); h.Count() < needed {
			r.Verdict = VerdictInconclusive
			r.Reason = fmt.Sprintf("%d requests are too few; it takes %d", h.Count(), needed)
			return r
		}
	}
	if finished == 0 {
		r.Verdict = VerdictInconclusive
		r.Reason = "no request was finished"
		return r
	}
	r.Verdict = VerdictFail
	if s.less && r.Value < r.Bound || !s.less && r.Value > r.Bound || s.equal && r.Value == r.Bound {
		r.Verdict = VerdictPass
	}
	return r
}

// needs is how many requests tell s: one has to lie beyond the quantile.
func (s SLO) needs() uint64 {
	if s.figure != "p" {
		return 1
	}
	return uint64(math.Ceil(1/(1-s.quantile) - 1e-6))
}

func (s SLO) histogram(w *Window) *hdr.Histogram {
	switch s.of {
	case "service":
		return w.Service
	case "rejected":
		return w.Rejected
	}
	return w.Latency
}

func (s SLO) read(h *hdr.Histogram) float64 {
	switch s.figure {
	case "p":
		return float64(h.Quantile(s.quantile))
	case "mean":
		return h.Mean()
	case "min":
		return float64(h.Min())
	}
	return float64(h.Max())
}

// judge holds every objective against a window, and joins the verdicts: one that fails decides.
func judge(slos []SLO, w *Window) ([]SLOResult, Verdict) {
	results := []SLOResult{}
	verdict := VerdictNone
	for _, s := range slos {
		r := s.Judge(w)
		results = append(results, r)
		switch {
		case r.Verdict == VerdictFail || verdict == VerdictFail:
			verdict = VerdictFail
		case r.Verdict == VerdictInconclusive || verdict == VerdictInconclusive:
			verdict = VerdictInconclusive
		default:
			verdict = VerdictPass
		}
	}
	return results, verdict
}
