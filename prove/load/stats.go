package load

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/prove/hdr"
)

const (
	samplesAClass = 5
	lateShare     = 0.1 // of an interval of several seconds, above which it is not judged
	sparkSeconds  = 120
)

// stats joins what the stripes counted into the views of a result. Memory does not grow with the length of the run:
// there are at most maxIntervals intervals, which double in length when they are full.
type stats struct {
	stripes []*stripe

	mu        sync.Mutex
	length    int // of an interval, seconds
	limit     int // intervals
	intervals []Interval
	parts     []Window
	steps     []*step
	bySteps   map[*step]*Window
	total     Window
	samples   map[Class][]ErrorSample
	connects  map[int]uint64
	connect   hdr.Histogram
	connected uint64
	lateAfter int64
	lateIn    map[int]bool // recent seconds that are counted as late
	replays   atomic.Uint64
	settled   int64 // after so long, in nanoseconds, a request has ended
	packed    int   // intervals that are packed

	ends        []int64 // of the parts
	packedParts int
}

func newStats(ends []int64, steps []*step, limit int, lateAfter, timeout time.Duration) *stats {
	s := &stats{
		length: 1, limit: max(limit, 2), lateAfter: int64(lateAfter), settled: int64(timeout),
		ends: ends, parts: make([]Window, len(ends)), steps: steps, bySteps: map[*step]*Window{},
		samples: map[Class][]ErrorSample{}, lateIn: map[int]bool{}, connects: map[int]uint64{},
	}
	for _, step := range steps {
		s.bySteps[step] = new(Window)
	}
	for range runtime.GOMAXPROCS(0) {
		s.stripes = append(s.stripes, &stripe{rows: map[rowKey]*row{}, parts: ends})
	}
	return s
}

func (s *stats) missed(due int64, part int, step *step, now int64) {
	s.stripes[0].missed(due, part, step, now)
	s.keep(ClassTimeout, now, step, "no connection became free within the time-out")
}

func (s *stats) unsent(due int64, part int, step *step) { s.stripes[0].unsent(due, part, step) }

// sample keeps the first few messages of each class.
func (s *stats) sample(u *user, o *outcome) {
	message := ""
	if o.err != nil {
		message = o.err.Error()
	}
	s.keep(o.class, o.end, u.current(), message)
}

func (s *stats) keep(class Class, at int64, step *step, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.samples[class]
	if len(kept) == samplesAClass {
		return
	}
	for _, k := range kept {
		if k.Message == message && k.Request == step.name {
			return
		}
	}
	const longest = 500
	if len(message) > longest {
		message = message[:longest] + "…"
	}
	s.samples[class] = append(kept, ErrorSample{Class: class, At: float64(at) / 1e9, Request: step.name, Message: message})
}

// connectedIn counts a connection that was set up at now and took d.
func (s *stats) connectedIn(now int64, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now >= 0 { // else it was set up before load began
		s.connects[int(now/1e9)]++
	}
	s.connect.Record(int64(d))
	s.connected++
}

// collect joins what was counted since the last call.
func (s *stats) collect(late *lateness, now int64) {
	for _, stripe := range s.stripes {
		rows := stripe.drain()
		s.mu.Lock()
		for key, r := range rows {
			r.flushCode()
			in := &s.intervals[s.at(key.second)]
			in.Done += r.done
			if key.part == afterEnd {
				continue // an answer to what is counted elsewhere
			}
			r.addTo(&in.Window)
			r.addTo(&s.parts[key.part])
			r.addTo(s.bySteps[key.step])
			r.addTo(&s.total)
		}
		s.mu.Unlock()
		stripe.giveBack(rows)
	}
	worst := late.drain()
	s.mu.Lock()
	defer s.mu.Unlock()
	for second, n := range s.connects {
		s.interval(second).Connects += n
	}
	clear(s.connects)
	for second, ns := range worst {
		in := &s.intervals[s.at(second)]
		in.LateMax = max(in.LateMax, float64(ns)/1e6)
		if ns > s.lateAfter && !s.lateIn[second] {
			s.lateIn[second] = true
			in.LateSeconds++
		}
		in.Late = in.LateSeconds > lateShare*in.Seconds
	}
	for second := range s.lateIn {
		if int64(second) < now/1e9-600 {
			delete(s.lateIn, second)
		}
	}
	s.pack(int(max(now, 0)/1e9) - int(s.settled/1e9) - 2)
}

// pack makes intervals small to which nothing will be added any more: those before a second. s.mu is held.
func (s *stats) pack(second int) {
	for s.packed < min(second/s.length, len(s.intervals)) {
		in := &s.intervals[s.packed]
		in.Latency.Pack()
		in.Service.Pack()
		in.Rejected.Pack()
		s.packed++
	}
	for s.packedParts < len(s.parts) && s.ends[s.packedParts] < int64(second)*1e9 {
		part := &s.parts[s.packedParts]
		part.Latency.Pack()
		part.Service.Pack()
		part.Rejected.Pack()
		s.packedParts++
	}
}

// at returns the index of the interval that holds a second, and makes room for it. s.mu is held.
func (s *stats) at(second int) int {
	second = max(second, 0)
	for second/s.length >= s.limit {
		s.double()
	}
	i := second / s.length
	for len(s.intervals) <= i {
		s.intervals = append(s.intervals, Interval{From: float64(len(s.intervals) * s.length), Window: Window{Seconds: float64(s.length)}})
	}
	return i
}

func (s *stats) interval(second int) *Window { return &s.intervals[s.at(second)].Window }

// double makes intervals twice as long. s.mu is held.
func (s *stats) double() {
	var joined []Interval
	for i := 0; i < len(s.intervals); i += 2 {
		a := s.intervals[i]
		a.Seconds = float64(2 * s.length)
		if i+1 < len(s.intervals) {
			b := &s.intervals[i+1]
			a.Done += b.Done
			a.LateSeconds += b.LateSeconds
			a.LateMax = max(a.LateMax, b.LateMax)
			a.InFlight = b.InFlight
			a.add(&b.Window)
		}
		a.Late = a.LateSeconds > lateShare*a.Seconds
		joined = append(joined, a)
	}
	s.intervals = joined
	s.length *= 2
	s.packed = 0
}

// addTo counts r in w.
func (r *row) addTo(w *Window) {
	w.OK += r.ok
	w.Good += r.good
	w.Unfinished += r.unfinished
	due := r.ok + r.unfinished
	for i, n := range r.failed {
		if n > 0 {
			if w.Failed == nil {
				w.Failed = map[Class]uint64{}
			}
			w.Failed[classOrder[i]] += n
			due += n
		}
	}
	w.Due += due
	for code, n := range r.codes {
		if n > 0 {
			if w.Status == nil {
				w.Status = map[string]uint64{}
			}
			w.Status[code] += n
		}
	}
	w.Messages += r.messages
	w.BytesIn += r.in
	w.BytesOut += r.out
	w.Latency = joined(w.Latency, &r.latency)
	w.Service = joined(w.Service, &r.service)
	w.Rejected = joined(w.Rejected, &r.rejects)
}

// joined adds b to a, which may be nil.
func joined(a, b *hdr.Histogram) *hdr.Histogram {
	if b.Count() == 0 {
		return a
	}
	if a == nil {
		a = new(hdr.Histogram)
	}
	a.Add(b)
	return a
}

// add counts in w what o counted, but not its length.
func (w *Window) add(o *Window) {
	w.Due += o.Due
	w.OK += o.OK
	w.Good += o.Good
	w.Unfinished += o.Unfinished
	for class, n := range o.Failed {
		if w.Failed == nil {
			w.Failed = map[Class]uint64{}
		}
		w.Failed[class] += n
	}
	for code, n := range o.Status {
		if w.Status == nil {
			w.Status = map[string]uint64{}
		}
		w.Status[code] += n
	}
	w.Messages += o.Messages
	w.BytesOut += o.BytesOut
	w.BytesIn += o.BytesIn
	w.Connects += o.Connects
	w.Latency = joined(w.Latency, o.Latency)
	w.Service = joined(w.Service, o.Service)
	w.Rejected = joined(w.Rejected, o.Rejected)
	w.Connect = joined(w.Connect, o.Connect)
}

// clone returns a copy of w that shares nothing with it, with empty maps and histograms in place of missing ones.
func (w *Window) clone() Window {
	c := Window{Seconds: w.Seconds, Failed: map[Class]uint64{}, Status: map[string]uint64{}, Latency: new(hdr.Histogram), Service: new(hdr.Histogram)}
	c.add(w)
	return c
}
