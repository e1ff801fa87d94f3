package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dougong-io/dougong/prove/fault"
	"github.com/dougong-io/dougong/prove/fault/effect"
)

// Drawings are made of numbers and leave their texts to the template, which escapes them.

// intervals are the dots and whiskers of all rows, on one axis.
type intervals struct {
	Width, Height, Left, Right float64
	Ticks                      []tick
	Rows                       []whiskers
}

type tick struct {
	X    float64
	Text string
	Zero bool
}

// whiskers are those of one row; a quantile that is not known has none.
type whiskers struct{ P50, P99 *whisker }

type whisker struct {
	X, Low, High float64
	Y            float64
	Open         bool // the truth lies further to the right
	Claimed      bool
}

// drawIntervals puts every difference of latencies on an axis that is linear around 0 and logarithmic further out (the
// inverse hyperbolic sine), since faults of 5 ms and of a second stand in one table.
func drawIntervals(rows []faultRow) intervals {
	d := intervals{Width: 176, Height: 46, Left: 8, Right: 166}
	most, least, arrow := 0.0, 0.0, false
	for _, row := range rows {
		for _, v := range []*effect.Difference{&row.Effect.P50, &row.Effect.P99} {
			arrow = arrow || v.AtLeast
			if v.Known {
				most, least = max(most, v.High, v.Value), min(least, v.Low, v.Value)
			}
		}
	}
	if most == 0 && least == 0 {
		return d
	}
	unit := math.Pow(10, math.Ceil(math.Log10(max(most, -least)))-2)
	place := func(v float64) float64 { return math.Asinh(v / unit) }
	from, to := min(place(least*1.05), -0.35), max(place(most*1.05), 0.35)
	if arrow {
		to += 0.12 * (to - from) // room for it
	}
	x := func(v float64) float64 { return round(d.Left + (place(v)-from)/(to-from)*(d.Right-d.Left)) }
	free := 0.0 // right end of the last name, so that names never overlap
	for _, v := range []float64{0, 1, 10, 100, -1, -10, -100} {
		at := v * unit
		if place(at) < from || place(at) > to {
			continue
		}
		t := tick{x(at), tickName(at), v == 0}
		if half := 3.3 * float64(len([]rune(t.Text))); v < 0 || t.X-half < free {
			t.Text = ""
		} else {
			free = t.X + half + 4
		}
		d.Ticks = append(d.Ticks, t)
	}
	draw := func(v *effect.Difference, y float64) *whisker {
		if !v.Known {
			return nil
		}
		w := &whisker{X: x(v.Value), Low: x(v.Low), High: x(v.High), Y: y, Open: v.AtLeast, Claimed: v.Claimed}
		if v.AtLeast {
			w.High = d.Right
		}
		return w
	}
	for _, row := range rows {
		d.Rows = append(d.Rows, whiskers{draw(&row.Effect.P50, 14), draw(&row.Effect.P99, 32)})
	}
	return d
}

func tickName(ms float64) string {
	sign := ""
	if ms < 0 {
		sign, ms = "−", -ms
	}
	switch {
	case ms == 0:
		return "0"
	case ms >= 1000:
		return sign + strconv.FormatFloat(ms/1000, 'g', 6, 64) + " s"
	case ms < 0.0995:
		return sign + strconv.FormatFloat(ms*1000, 'g', 4, 64) + " µs"
	}
	return sign + strconv.FormatFloat(ms, 'g', 6, 64) + " ms"
}

// timeline is the run over time: latency above, failures below, and a band wherever a fault was on.
type timeline struct {
	Any                      bool
	Width, Height            float64
	Left, Right, Top, Bottom float64 // of the latencies
	Floor                    float64 // of the failures
	Ceiling                  float64
	Bands                    []band
	Spans                    []span
	Late                     []box
	Times, Latencies, Shares []tick // an X of Latencies and Shares is a height
	P50, P99                 string // paths
	Timeouts, Errors         string
	Degraded                 string
	Most                     string // share at the top of the failures
}

// band is where a fault was on.
type band struct {
	box
	Title string
}

// span is where a fault was tried at all, on and off.
type span struct {
	box
	Number int
	Name   string
	Fits   bool
}

type box struct{ X, Width float64 }

func drawTimeline(r *fault.Result) timeline {
	d := timeline{Width: 1200, Height: 400, Left: 62, Right: 1190, Top: 44, Bottom: 250, Ceiling: 282, Floor: 368}
	each, end := r.PointSeconds, max(r.Seconds, 0)
	low, high, most := math.Inf(1), 0.0, 0.0
	for _, p := range r.Timeline {
		end = max(end, p.At+each)
		if p.P50 > 0 {
			low = min(low, p.P50)
		}
		high = max(high, p.P99)
		if p.Due > 0 {
			most = max(most, float64(p.Timeouts+p.Errors+p.Degraded)/float64(p.Due))
		}
	}
	if len(r.Timeline) == 0 || !(end > 0) {
		return d
	}
	d.Any = true
	x := func(at float64) float64 { return round(d.Left + min(max(at/end, 0), 1)*(d.Right-d.Left)) }
	d.Times = timeTicks(end, x)
	d.spans(r, x)
	for _, p := range r.Timeline {
		if p.Late {
			d.Late = append(d.Late, box{x(p.At), round(x(p.At+each) - x(p.At))})
		}
	}
	if high > 0 {
		bottom, top := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
		if low == high || top == bottom {
			top++
		}
		y := func(ms float64) float64 {
			return round(d.Bottom - (math.Log10(ms)-bottom)/(top-bottom)*(d.Bottom-d.Top))
		}
		for decade := bottom; decade <= top; decade++ {
			d.Latencies = append(d.Latencies, tick{y(math.Pow(10, decade)), tickName(math.Pow(10, decade)), decade == bottom})
		}
		d.P50 = curve(r.Timeline, x, each, func(p *fault.Point) (float64, bool) { return y(max(p.P50, low)), p.P50 > 0 })
		d.P99 = curve(r.Timeline, x, each, func(p *fault.Point) (float64, bool) { return y(max(p.P99, low)), p.P99 > 0 })
	}
	scale := scaleOf(most)
	y := func(share float64) float64 { return round(d.Floor - min(share/scale, 1)*(d.Floor-d.Ceiling)) }
	for _, share := range []float64{0, scale / 2, scale} {
		d.Shares = append(d.Shares, tick{y(share), percent(share) + " %", share == 0})
	}
	base := make([]float64, len(r.Timeline))
	bars := func(count func(*fault.Point) uint64) string {
		var path strings.Builder
		for i := range r.Timeline {
			p := &r.Timeline[i]
			if n := count(p); n > 0 && p.Due > 0 {
				from := base[i]
				base[i] += float64(n) / float64(p.Due)
				fmt.Fprintf(&path, "M%v %vV%vH%vV%vZ", x(p.At), y(from), y(base[i]), max(x(p.At+each), x(p.At)+0.6), y(from))
			}
		}
		return path.String()
	}
	d.Timeouts = bars(func(p *fault.Point) uint64 { return p.Timeouts })
	d.Errors = bars(func(p *fault.Point) uint64 { return p.Errors })
	d.Degraded = bars(func(p *fault.Point) uint64 { return p.Degraded })
	return d
}

// spans marks where each row was tried, and its on-windows.
func (d *timeline) spans(r *fault.Result, x func(float64) float64) {
	for i := range r.Rows {
		row := &r.Rows[i]
		from, to := math.Inf(1), 0.0
		for _, w := range row.Windows {
			from, to = min(from, w.From), max(to, w.To)
			if !w.On || row.Kind == fault.KindControl {
				continue
			}
			start, stop := w.From, w.To
			if w.Applied > 0 {
				start = min(start, w.Applied)
			}
			if w.Lifted > 0 {
				stop = max(stop, w.Lifted)
			}
			title := fmt.Sprintf("%s on, %s to %s", row.Name, clock(start), clock(stop))
			if !w.Whole {
				title += "; left out: " + w.Why
			}
			d.Bands = append(d.Bands, band{box{x(start), max(round(x(stop)-x(start)), 0.6)}, title})
		}
		if to > from {
			b := box{x(from), round(x(to) - x(from))}
			d.Spans = append(d.Spans, span{b, i + 1, row.Name, float64(len([]rune(row.Name)))*6.6+24 < b.Width})
		}
	}
}

// curve is a step for each point that knows a value, with gaps where one does not.
func curve(points []fault.Point, x func(float64) float64, each float64, y func(*fault.Point) (float64, bool)) string {
	var path strings.Builder
	drawn := false
	for i := range points {
		v, known := y(&points[i])
		if known {
			fmt.Fprintf(&path, "%s%v %vH%v", map[bool]string{false: "M", true: "L"}[drawn], x(points[i].At), v, x(points[i].At+each))
		}
		drawn = known
	}
	return path.String()
}

func timeTicks(end float64, x func(float64) float64) []tick {
	step := 1.0
	for _, s := range []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200} {
		if step = s; end/s <= 13 {
			break
		}
	}
	var ticks []tick
	for at := 0.0; at <= end && len(ticks) < 100; at += step {
		s := int(at)
		name := fmt.Sprintf("%d:%02d", s/60, s%60)
		if s >= 3600 {
			name = fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
		}
		ticks = append(ticks, tick{x(at), name, false})
	}
	return ticks
}

// scaleOf is the next round share.
func scaleOf(most float64) float64 {
	for _, s := range []float64{0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5} {
		if most <= s {
			return s
		}
	}
	return 1
}

func round(v float64) float64 { return math.Round(v*10) / 10 }
