package fault

import (
	"sync"
	"time"

	"github.com/dougong-io/dougong/prove/fault/effect"
	"github.com/dougong-io/dougong/prove/hdr"
	"github.com/dougong-io/dougong/prove/load"
)

// binLength is the finest stretch in which requests are counted.
const binLength = 100 * time.Millisecond

// recorder counts requests by when they were due: in bins, and in the windows that were opened. It is safe for
// concurrent use.
type recorder struct {
	settled time.Duration // after so long, a request has ended

	mu      sync.Mutex
	zero    time.Time // when load began
	bins    []bin
	packed  int
	windows []*span
}

// bin counts the requests of a short stretch.
type bin struct {
	ended, ok, errors, timeouts, degraded uint64
	latency                               hdr.Histogram
}

// span is a window in the making.
type span struct {
	from, to time.Time
	counts   effect.Window
}

func (r *recorder) begin(zero time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.zero = zero
}

// at says when something was, in seconds since load began.
func (r *recorder) at(t time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.IsZero() || r.zero.IsZero() {
		return 0
	}
	return t.Sub(r.zero).Seconds()
}

// open begins a window, after all others and apart from them.
func (r *recorder) open(from, to time.Time) *span {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &span{from: from, to: to, counts: effect.Window{Latency: new(hdr.Histogram)}}
	r.windows = append(r.windows, s)
	return s
}

// ended counts a request.
func (r *recorder) ended(e load.Ended) {
	if e.Class == load.ClassLocal || e.Unfinished {
		return // the generator's own affair
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := int(e.Due.Sub(r.zero) / binLength)
	if i < 0 {
		return
	}
	for len(r.bins) <= i {
		r.bins = append(r.bins, bin{})
	}
	r.bins[i].count(&e)
	for ; r.packed < i-int((r.settled+5*time.Second)/binLength); r.packed++ {
		r.bins[r.packed].latency.Pack()
	}
	for k := len(r.windows) - 1; k >= 0; k-- {
		w := r.windows[k]
		if e.Due.Before(w.from) {
			continue
		}
		if e.Due.Before(w.to) {
			count(&w.counts, &e)
		}
		return
	}
}

func (b *bin) count(e *load.Ended) {
	b.ended++
	switch e.Class {
	case "":
		b.ok++
		if e.Marked {
			b.degraded++
		}
	case load.ClassTimeout:
		b.timeouts++
	default:
		b.errors++
		return
	}
	b.latency.Record(int64(e.At.Sub(e.Due)))
}

// lost tells whether a request was sent and never answered: what became of it at the service, nobody knows.
func lost(e *load.Ended) bool {
	if e.Sent.IsZero() || e.Status != "" {
		return false
	}
	return e.Class == load.ClassTimeout || e.Class == load.ClassReset || e.Class == load.ClassClosed
}

// stretch joins the bins of a stretch of the run.
func (r *recorder) stretch(from, to int) (joined bin) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := max(from, 0); i < min(to, len(r.bins)); i++ {
		b := &r.bins[i]
		joined.ended += b.ended
		joined.ok += b.ok
		joined.errors += b.errors
		joined.timeouts += b.timeouts
		joined.degraded += b.degraded
		joined.latency.Add(&b.latency)
	}
	return joined
}

// index is the bin of a time; a time within a bin is of the next, if up.
func (r *recorder) index(t time.Time, up bool) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := t.Sub(r.zero)
	if up {
		d += binLength - 1
	}
	return int(d / binLength)
}

func (r *recorder) start(i int) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.zero.Add(time.Duration(i) * binLength)
}

// maxPoints bounds the timeline of a result.
const maxPoints = 3600

// points is the timeline of a run of so long, and how long each point is.
func (r *recorder) points(length time.Duration) ([]Point, time.Duration) {
	each := time.Second
	for length/each > maxPoints {
		each *= 2
	}
	points := []Point{}
	step := int(each / binLength)
	for i := 0; i < int(length/binLength); i += step {
		b := r.stretch(i, i+step)
		points = append(points, Point{
			At: (time.Duration(i) * binLength).Seconds(), Due: b.ended, OK: b.ok, Errors: b.errors, Timeouts: b.timeouts, Degraded: b.degraded,
			P50: float64(b.latency.Quantile(0.5)) / 1e6, P99: float64(b.latency.Quantile(0.99)) / 1e6,
		})
	}
	return points, each
}

// count counts a request in a window.
func count(w *effect.Window, e *load.Ended) {
	w.Sent++
	if lost(e) {
		w.Lost++
	}
	switch e.Class {
	case "":
		w.Answered++
		if e.Marked {
			w.Degraded++
		}
	case load.ClassTimeout:
		w.Timeouts++
	default:
		w.Errors++
		return
	}
	w.Latency.Record(int64(e.At.Sub(e.Due)))
}
