package limit

import (
	"math"
	"time"
)

// The laws of others, as their documentation and sources describe them, for the table of TestAdaptiveLaws. Their
// settings are their defaults, but for a range of 1 to 4,096 slots.

func clamp(limit float64) float64 { return min(max(limit, 1), 4096) }

// gradient2 is Gradient2Limit of Netflix's concurrency-limits: a long average of the latency is what it should
// be. Its samples are averages of at least 10 over 100 ms (its default is 1 s, which only makes it slower).
type gradient2 struct {
	limit, long float64
	count       int
	sum         float64
	until       time.Duration
}

func (g *gradient2) start(int)  {}
func (g *gradient2) slots() int { return int(g.limit) }
func (g *gradient2) done(since, now time.Duration, running int) {
	g.count++
	g.sum += float64(now - since)
	if now < g.until || g.count < 10 {
		return
	}
	short := g.sum / float64(g.count)
	g.count, g.sum, g.until = 0, 0, now+100*time.Millisecond
	if g.long == 0 {
		g.long = short
	}
	g.long += (short - g.long) * 2 / 601
	if g.long/short > 2 {
		g.long *= 0.95
	}
	if float64(running) < g.limit/2 {
		return
	}
	gradient := max(0.5, min(1, 1.5*g.long/short))
	g.limit = clamp(0.8*g.limit + 0.2*(gradient*g.limit+4))
}

// vegas is VegasLimit of the same library, after Brakmo and Peterson, "TCP Vegas: End to End Congestion Avoidance
// on a Global Internet", 1995.
type vegas struct {
	limit, least float64
	since        int // samples since least was last forgotten
}

func (v *vegas) start(int)  {}
func (v *vegas) slots() int { return int(v.limit) }
func (v *vegas) done(since, now time.Duration, running int) {
	latency := float64(now - since)
	if v.since++; v.least == 0 || latency < v.least || float64(v.since) > 30*v.limit {
		if float64(v.since) > 30*v.limit {
			v.since = 0
		}
		v.least = latency
		return
	}
	if float64(running)*2 < v.limit {
		return
	}
	unit := max(1, math.Log10(v.limit))
	switch queue := math.Ceil(v.limit * (1 - v.least/latency)); {
	case queue <= unit:
		v.limit = clamp(v.limit + 6*unit)
	case queue < 3*unit:
		v.limit = clamp(v.limit + unit)
	case queue > 6*unit:
		v.limit = clamp(v.limit - unit)
	}
}

// bbr is the limiter of aegis (kratos) with its gate, the load of the CPU, always open: the most that was done in
// a bucket of 100 ms times the least latency of a bucket, over 10 s.
type bbr struct {
	count   [100]float64
	sum     [100]float64
	current int64
}

func (b *bbr) start(int) {}
func (b *bbr) done(since, now time.Duration, _ int) {
	at := int64(now / (100 * time.Millisecond))
	for b.current < at {
		b.current++
		b.count[b.current%100], b.sum[b.current%100] = 0, 0
	}
	b.count[at%100]++
	b.sum[at%100] += float64((now - since).Milliseconds())
}

func (b *bbr) slots() int {
	most, least := 0.0, math.Inf(1)
	for i, n := range b.count {
		if n > 0 && int64(i) != b.current%100 {
			most, least = max(most, n), min(least, b.sum[i]/n)
		}
	}
	if most == 0 {
		return 4096 // nothing is known: all may pass
	}
	return int(clamp(math.Floor(most*math.Ceil(least)*10/1000) + 0.5))
}

// aimd is AIMDLimit of concurrency-limits with a time-out of three times the service time at first.
type aimd struct{ limit float64 }

func (a *aimd) start(int)  {}
func (a *aimd) slots() int { return int(a.limit) }
func (a *aimd) done(since, now time.Duration, running int) {
	if now-since > 150*time.Millisecond {
		a.limit = clamp(a.limit * 0.9)
	} else if float64(running)*2 >= a.limit {
		a.limit = clamp(a.limit + 1)
	}
}
