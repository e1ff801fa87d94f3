package fault

import (
	"math"
	"slices"
	"time"
)

// A service has recovered when two spans of the load, one after the other, are as they were without a fault. A span
// is 300 ms, or as long as it takes to have some fifty requests.
const (
	spanLength   = 300 * time.Millisecond
	spanRequests = 50
	spansInBand  = 2
)

// band is what spans without a fault were like, with some room: within it a span counts as normal.
type band struct {
	p50, p90 float64 // nanoseconds, at most
	failed   float64 // share, at most
}

// Room in the band. Spans differ, more so in p90, and what is a little slower than before has recovered.
const (
	roomP50, moreP50 = 1.5, 0.5e6
	roomP90, moreP90 = 2.0, 2e6
	roomFailed       = 0.01
)

// bandOf makes a band of the spans without a fault: their 95th percentile, with room.
func bandOf(spans []bin) band {
	var p50, p90, failed []float64
	for i := range spans {
		b := &spans[i]
		if b.ended == 0 {
			continue
		}
		p50 = append(p50, float64(b.latency.Quantile(0.5)))
		p90 = append(p90, float64(b.latency.Quantile(0.9)))
		failed = append(failed, b.failed())
	}
	return band{p50: high(p50)*roomP50 + moreP50, p90: high(p90)*roomP90 + moreP90, failed: high(failed) + roomFailed}
}

// high is the 95th percentile.
func high(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[max(int(math.Ceil(0.95*float64(len(values))))-1, 0)]
}

func (b *bin) failed() float64 {
	if b.ended == 0 {
		return 0
	}
	return float64(b.errors+b.timeouts) / float64(b.ended)
}

// holds tells whether a span is normal. Requests that have not ended yet are missing in it: least is how many there
// must be.
func (n band) holds(b *bin, least uint64) bool {
	return b.ended >= max(least, 1) && b.failed() <= n.failed &&
		float64(b.latency.Quantile(0.5)) <= n.p50 && float64(b.latency.Quantile(0.9)) <= n.p90
}

// spanBins is how many bins a span has.
func spanBins(rate float64) int {
	return max(int(spanLength/binLength), int(math.Ceil(spanRequests/rate/binLength.Seconds())))
}

// leastIn is how many requests of a span have to have ended: nine of ten, and fewer where gaps are random.
func leastIn(bins int, rate float64, poisson bool) uint64 {
	expected := rate * float64(bins) * binLength.Seconds()
	least := 0.9 * expected
	if poisson {
		least = expected - 4*math.Sqrt(expected)
	}
	return uint64(max(least, 1))
}
