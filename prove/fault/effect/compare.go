package effect

import (
	"math"
	"slices"
)

// miss is how often an interval may miss the truth, and how often a claim may be made of nothing: half of the 5 % that
// are promised, so that a hundred runs keep the promise, too, and not only endless ones.
const miss = 0.025

// Compare says what a fault changed, from pairs of windows whose order was drawn by lot: see the package comment. hit
// is false if no request met the fault; then nothing is claimed. The pairs are not changed. It takes milliseconds.
func Compare(pairs []Pair, hit bool) Effect {
	e := Effect{Verdict: NotClaimed, Claims: []Measure{}, Pairs: len(pairs)}
	var signs claims
	for _, m := range e.Differences() {
		d, changes := m.of(pairs)
		*m.Difference = d
		signs.add(changes)
	}
	for i, p := range signs.adjusted() {
		d := e.Differences()[i]
		if d.Known {
			d.P = p
		}
		// An interval that holds 0 and a claim beside it would contradict each other.
		d.Claimed = hit && d.Known && d.Pairs >= MinPairs && p <= level(d.Pairs) && (d.Low > 0 || d.High < 0)
		if d.Claimed {
			e.Claims = append(e.Claims, d.Measure)
		}
	}
	switch {
	case !hit:
		e.Verdict = NeverHit
	case len(e.Claims) > 0:
		e.Verdict = Claimed
	case len(pairs) < MinPairs:
		e.Verdict = TooFew
	}
	return e
}

// level is the largest chance of a false claim, or of a miss, that n pairs are held to. Six pairs know only multiples
// of 1/32.
func level(n int) float64 {
	if n == MinPairs {
		return 1.0 / 32
	}
	return miss
}

// Named is one of an Effect's differences with its name.
type Named struct {
	Measure Measure
	*Difference
	of func([]Pair) (Difference, []float64)
}

// Differences returns those of e in the order in which they are shown. They point into e.
func (e *Effect) Differences() []Named {
	sent := func(w *Window) uint64 { return w.Sent }
	answered := func(w *Window) uint64 { return w.Answered }
	return []Named{
		{P50, &e.P50, latency(0.5)},
		{P99, &e.P99, latency(0.99)},
		{Timeouts, &e.Timeouts, share(func(w *Window) uint64 { return w.Timeouts }, sent)},
		{Errors, &e.Errors, share(func(w *Window) uint64 { return w.Errors }, sent)},
		{Degraded, &e.Degraded, share(func(w *Window) uint64 { return w.Degraded }, answered)},
		{Lost, &e.Lost, share(func(w *Window) uint64 { return w.Lost }, sent)},
	}
}

// latency compares a quantile, in milliseconds. It returns the difference, and the change of each pair that knows it.
func latency(q float64) func([]Pair) (Difference, []float64) {
	return func(pairs []Pair) (Difference, []float64) {
		changes := make([]float64, len(pairs)) // 0 in a pair that does not know: it speaks for neither side
		var offs, ons, known []float64
		offGone, onGone := 0, 0
		for i := range pairs {
			off, was, ok := quantile(&pairs[i].Off, q)
			on, is, also := quantile(&pairs[i].On, q)
			if !ok || !also {
				continue
			}
			if was {
				offGone++
			}
			if is {
				onGone++
			}
			changes[i] = on - off
			offs, ons, known = append(offs, off), append(ons, on), append(known, on-off)
		}
		// From a time-out there is no measuring. This goes for most pairs or for none: to leave out single pairs for
		// what their off-window did, and not for the same in the on-window, would favour one side.
		if len(known) < 2 || 2*offGone >= len(known) {
			return Difference{}, make([]float64, len(pairs))
		}
		d := Difference{Known: true, Pairs: len(known), Off: median(offs), On: median(ons), AtLeast: 2*onGone >= len(known), P: 1}
		d.Value, d.Low, d.High = located(known)
		// A quantile is known to half a bucket of the histogram, and that does not average out: latencies that all
		// fall into one bucket differ from its middle by the same in every window.
		resolution := (d.Off + d.On) / (2 * bucketsInOctave)
		d.Low, d.High = d.Low-resolution, d.High+resolution
		return d, changes
	}
}

// bucketsInOctave is into how many buckets package hdr cuts each power of two, so that a bucket is at most that share
// of its value wide.
const bucketsInOctave = 256

// quantile is that of a window in milliseconds, and whether it is itself a time-out. It is not known when it would be
// the largest value of all: that depends on how many there are.
func quantile(w *Window, q float64) (ms float64, timedOut, known bool) {
	n := float64(w.Latency.Count())
	if n*(1-q) < 1-1e-9 {
		return 0, false, false
	}
	return float64(w.Latency.Quantile(q)) / 1e6, float64(w.Timeouts) > n*(1-q), true
}

// share compares how large a part of whole is. It returns the difference, and the change of each pair that knows it.
func share(part, whole func(*Window) uint64) func([]Pair) (Difference, []float64) {
	return func(pairs []Pair) (Difference, []float64) {
		changes := make([]float64, len(pairs))
		var off, on proportion
		var known []float64
		for i := range pairs {
			was := proportion{float64(part(&pairs[i].Off)), float64(whole(&pairs[i].Off))}
			is := proportion{float64(part(&pairs[i].On)), float64(whole(&pairs[i].On))}
			if was.of == 0 || is.of == 0 {
				continue
			}
			was.hits, is.hits = min(was.hits, was.of), min(is.hits, is.of)
			changes[i] = is.share() - was.share()
			known = append(known, changes[i])
			off, on = off.plus(was), on.plus(is)
		}
		if len(known) < 2 {
			return Difference{}, make([]float64, len(pairs))
		}
		d := Difference{Known: true, Pairs: len(known), Off: off.share(), On: on.share(), Value: on.share() - off.share(), P: 1}
		// Whichever is wider: the windows tell how much the share varies from one to the next, the counts how little
		// may be known of something rare. Eight windows without a single error do not prove that there are none.
		low, high := newcombe(off, on, normal(miss))
		margin := spread(known)
		d.Low, d.High = max(min(low, d.Value-margin), -1), min(max(high, d.Value+margin), 1)
		return d, changes
	}
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// spread is the half width of the Student interval of the mean.
func spread(values []float64) float64 {
	n, m, squares := float64(len(values)), mean(values), 0.0
	for _, v := range values {
		squares += (v - m) * (v - m)
	}
	return student(len(values)-1, miss) * math.Sqrt(squares/(n-1)/n)
}
