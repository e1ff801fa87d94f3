package breaker

import (
	"math"
	"time"
)

// bucket is one part of the window: sums over the calls that were counted, each with the number of calls that
// it stands for. Sums of ones are exact up to 2^24.
type bucket struct {
	n, v      float32 // weights, and their squares
	bad, slow float32 // weights of failures and of slow calls
}

func (b *bucket) add(o bucket) {
	b.n += o.n
	b.v += o.v
	b.bad += o.bad
	b.slow += o.slow
}

// counts is what a rule counts: failures, or slow calls.
func (b *bucket) counts(of Kind) float64 {
	if of == Slow {
		return float64(b.slow)
	}
	return float64(b.bad)
}

// window is a ring of buckets; head is the one that is being filled. It is not concurrency safe.
type window struct {
	ring  [Buckets]bucket
	head  int
	turn  int64 // the number of the bucket at head since the origin of the clock
	width time.Duration
	sum   bucket // of the ring

	// For each rule, and for the spans of the buckets behind the head, which do not change until it turns: the most
	// by which the bad calls of one are above the threshold, so that a call that fails need not look at all of them.
	peaks  [maxConditions]float64
	peakAt [maxConditions]int64 // turn for which it was found, plus one
}

// turnTo makes the bucket of now the head, and forgets what is older than the window.
func (w *window) turnTo(now time.Duration) {
	turn := int64(now / w.width)
	switch {
	case turn <= w.turn:
		return
	case turn-w.turn >= Buckets:
		w.reset()
	default:
		for range turn - w.turn {
			w.head = (w.head + 1) % Buckets
			w.ring[w.head] = bucket{}
		}
		w.sumUp()
	}
	w.turn = turn
}

// end is when the head ends.
func (w *window) end() time.Duration { return time.Duration(w.turn+1) * w.width }

func (w *window) add(b bucket) {
	w.ring[w.head].add(b)
	w.sum.add(b)
}

func (w *window) reset() {
	w.ring, w.sum = [Buckets]bucket{}, bucket{}
	w.forgetPeaks()
}

// forgetPeaks is for when the buckets behind the head, or the rules, have changed.
func (w *window) forgetPeaks() { w.peakAt = [maxConditions]int64{} }

// peak is that of the rule with the index i.
func (w *window) peak(i int, r *rule) float64 {
	if w.peakAt[i] == w.turn+1 {
		return w.peaks[i]
	}
	var above, peak float64
	for age := 1; age < r.buckets; age++ {
		b := &w.ring[(w.head-age+Buckets)%Buckets]
		above += b.counts(r.Of) - r.Above*float64(b.n)
		peak = max(peak, above)
	}
	w.peaks[i], w.peakAt[i] = peak, w.turn+1
	return peak
}

// sumUp computes the sum anew: subtracting would let errors of rounding grow.
func (w *window) sumUp() {
	w.sum = bucket{}
	for i := range w.ring {
		w.sum.add(w.ring[i])
	}
}

// resize keeps the counts when the width of buckets changes: each goes where its middle belongs now.
func (w *window) resize(width, now time.Duration) {
	if width == w.width {
		return
	}
	w.turnTo(now)
	old := *w
	*w = window{width: width, turn: int64(now / width)}
	for age := range Buckets {
		b := old.ring[(old.head-age+Buckets)%Buckets]
		middle := old.width*time.Duration(old.turn-int64(age)) + old.width/2
		if back := w.turn - int64(min(middle, now)/width); back < Buckets {
			w.ring[(w.head-int(back)+Buckets)%Buckets].add(b)
		}
	}
	w.sumUp()
}

// holds reports whether the rule with the index i holds over its time, or over a shorter time up to now, and which
// rate it saw there.
func (w *window) holds(i int, r *rule) (held bool, rate, counted float64) {
	if head := &w.ring[w.head]; head.counts(r.Of)-r.Above*float64(head.n)+w.peak(i, r) <= 0 {
		return false, 0, 0 // no span is above the threshold at all
	}
	var n, v, k float64
	m := shortSpan * float64(r.MinRequests)
	for age := range r.buckets {
		b := &w.ring[(w.head-age+Buckets)%Buckets]
		n, v, k = n+float64(b.n), v+float64(b.v), k+b.counts(r.Of)
		if age == r.buckets-1 {
			m = float64(r.MinRequests)
		}
		if r.exceeds(k, n, v) && enough(n, v, m) {
			return true, k / n, n * n / v
		}
	}
	return false, 0, 0
}

// bound is the lower bound of the rate over the whole time of the rule, 0 if there is too little.
func (w *window) bound(r *rule) float64 {
	var n, v, k float64
	for age := range r.buckets {
		b := &w.ring[(w.head-age+Buckets)%Buckets]
		n, v, k = n+float64(b.n), v+float64(b.v), k+b.counts(r.Of)
	}
	if !enough(n, v, float64(r.MinRequests)) {
		return 0
	}
	return lowerBound(k, n, v, r.z)
}

// could reports whether a rule can hold at all, with so many bad calls in the window.
func (w *window) could(r *rule) bool { return w.sum.counts(r.Of) >= r.leastBad }

// meter follows the calls that arrive in a second.
type meter struct{ recent, smooth float64 }

const smoothing = time.Second

func (m *meter) add(calls float64, in time.Duration) {
	m.recent = calls / in.Seconds()
	m.smooth += (m.recent - m.smooth) * (1 - math.Exp(-in.Seconds()/smoothing.Seconds()))
}

// least is for what must not be too high when the rate falls.
func (m *meter) least() float64 { return min(m.recent, m.smooth) }
