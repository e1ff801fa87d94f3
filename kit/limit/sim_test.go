package limit

import (
	"math"
	"math/rand/v2"
	"time"
)

// law is an algorithm that finds a limit.
type law interface {
	start(running int) // a request has begun, and so many run now
	done(since, now time.Duration, running int)
	slots() int
}

// ours is the law of this package.
type ours struct{ *controller }

func (o ours) start(running int) {
	if running >= o.controller.slots() {
		o.full = true
	}
}
func (o ours) done(since, now time.Duration, _ int) { o.add(since, now) }

// dependency is what a limit stands before: parallel servers with a queue in front, and a delay that keeps none
// of them busy.
type dependency struct {
	servers int
	service func(at time.Duration) time.Duration
	delay   func(at time.Duration) time.Duration
	spread  func(rnd *rand.Rand) float64 // factor of the service time, of mean 1
	offered float64                      // of the capacity
}

func always(d time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration { return d }
}

// between is high from 30 s to 60 s, and low else.
func between(low, high time.Duration) func(time.Duration) time.Duration {
	return func(at time.Duration) time.Duration {
		if at >= 30*time.Second && at < 60*time.Second {
			return high
		}
		return low
	}
}

func fixed(*rand.Rand) float64         { return 1 }
func exponential(r *rand.Rand) float64 { return r.ExpFloat64() }
func lognormal(r *rand.Rand) float64 { // coefficient of variation 1
	sigma := math.Sqrt(math.Ln2)
	return math.Exp(r.NormFloat64()*sigma - sigma*sigma/2)
}

func (d dependency) capacity(at time.Duration) float64 {
	return float64(d.servers) / d.service(at).Seconds()
}

// best is the least limit that uses all of the capacity, if nothing varied.
func (d dependency) best(at time.Duration) float64 {
	return d.capacity(at) * (d.service(at) + d.delay(at)).Seconds()
}

// second is what happened in one second of a run.
type second struct {
	done    int
	limit   float64 // mean
	latency time.Duration
}

type event struct {
	at, since time.Duration // since: of the request that leaves the limit
	kind      byte          // a: arrives, f: a server is free, d: done
}

// events is a heap. One of this type is three times as fast as that of the standard library.
type events []event

func (e *events) push(x event) {
	*e = append(*e, x)
	h := *e
	i := len(h) - 1
	for i > 0 && x.at < h[(i-1)/2].at {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = x
}

func (e *events) pop() event {
	h := *e
	first, x := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	*e = h
	i := 0
	for down := 1; down < len(h); down = 2*i + 1 {
		if down+1 < len(h) && h[down+1].at < h[down].at {
			down++
		}
		if x.at <= h[down].at {
			break
		}
		h[i] = h[down]
		i = down
	}
	if len(h) > 0 {
		h[i] = x
	}
	return first
}

// simulate runs a law before a dependency for so many seconds of virtual time, with 64 places to wait.
func simulate(l law, d dependency, seconds int, rnd *rand.Rand) []second {
	out := make([]second, seconds)
	var todo events
	var inside []time.Duration // began, waits for a server
	busy, running, waiting := 0, 0, 0
	var now time.Duration
	arrive := func() {
		rate := d.offered * d.capacity(now)
		todo.push(event{at: now + time.Duration(rnd.ExpFloat64()/rate*1e9), kind: 'a'})
	}
	serve := func() {
		for busy < d.servers && len(inside) > 0 {
			since := inside[0]
			inside = inside[1:]
			busy++
			todo.push(event{at: now + time.Duration(float64(d.service(now))*d.spread(rnd)), since: since, kind: 'f'})
		}
	}
	begin := func() {
		for waiting > 0 && running < l.slots() {
			waiting--
			running++
			l.start(running)
			inside = append(inside, now)
		}
		serve()
	}
	arrive()
	last := time.Duration(0)
	for {
		e := todo.pop()
		if e.at >= time.Duration(seconds)*time.Second {
			break
		}
		s := &out[int(e.at/time.Second)]
		s.limit += float64(l.slots()) * (e.at - max(last, e.at.Truncate(time.Second))).Seconds()
		now, last = e.at, e.at
		switch e.kind {
		case 'a':
			waiting = min(64, waiting+1)
			arrive()
		case 'f':
			busy--
			todo.push(event{at: now + d.delay(now), since: e.since, kind: 'd'})
			serve()
		case 'd':
			l.done(e.since, now, running)
			running--
			s.done++
			s.latency += now - e.since
		}
		begin()
	}
	for i := range out {
		if out[i].done > 0 {
			out[i].latency /= time.Duration(out[i].done)
		}
	}
	return out
}

// goodput is the part of the capacity that was used from second a to b.
func goodput(d dependency, run []second, a, b int) float64 {
	done, could := 0.0, 0.0
	for i := a; i < b; i++ {
		done += float64(run[i].done)
		could += d.capacity(time.Duration(i) * time.Second)
	}
	return done / could
}

func meanLimit(run []second, a, b int) (sum float64) {
	for i := a; i < b; i++ {
		sum += run[i].limit
	}
	return sum / float64(b-a)
}
