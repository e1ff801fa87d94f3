package live

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dougong-io/dougong/prove/hdr"
	"github.com/dougong-io/dougong/prove/load"
)

// From this width on there are two columns.
const twoColumns = 120

// density is how much of a frame is drawn. The first that fits into the terminal's height is taken.
type density struct {
	chartRows, histogramRows int
	gaps                     bool // empty lines between the blocks
}

var densities = []density{{3, 18, true}, {3, 14, true}, {2, 12, true}, {1, 12, true}, {1, 9, true}, {1, 8, false}, {1, 5, false}, {1, 0, false}, {0, 0, false}}

// frame draws p on at most height rows of at most width cells. recent are the failures of the last second.
func frame(opt *Options, p *load.Progress, recent map[load.Class]uint64, width, height int) []line {
	var lines []line
	for _, d := range densities {
		f := framer{opt: opt, p: p, recent: recent, density: d}
		if lines = f.draw(width); len(lines) <= height {
			break
		}
	}
	lines = lines[:max(min(len(lines), height), 0)]
	for i := range lines {
		lines[i] = lines[i].cut(width)
	}
	return lines
}

type framer struct {
	opt    *Options
	p      *load.Progress
	recent map[load.Class]uint64
	density
}

func (f *framer) draw(width int) []line {
	lines := []line{titleLine(f.opt, width), f.phase(width), f.late(width)}
	if width < twoColumns {
		for _, block := range [][]line{f.rate(width), f.latencies(), f.p99(width), f.histogram(width), f.failures()} {
			lines = append(lines, f.spaced(block)...)
		}
	} else {
		half := width / 2
		var left, right []line
		for _, block := range [][]line{f.rate(half), f.latencies(), f.p99(half)} {
			left = append(left, f.spaced(block)...)
		}
		for _, block := range [][]line{f.histogram(width - half - 2), f.failures()} {
			right = append(right, f.spaced(block)...)
		}
		lines = append(lines, beside(left, right, half+2)...)
	}
	return append(lines, f.foot(width))
}

// spaced ends a block with an empty line, where there is room for it.
func (f *framer) spaced(block []line) []line {
	if len(block) > 0 && f.gaps {
		return append(block, line{})
	}
	return block
}

// titleLine says what runs.
func titleLine(opt *Options, width int) line {
	name := opt.Title
	if name == "" {
		name = "dougong load"
	}
	var kind []string
	if opt.Protocol != "" {
		kind = append(kind, clean(string(opt.Protocol)))
	}
	if opt.Loop != "" {
		kind = append(kind, clean(string(opt.Loop))+" loop")
	}
	how := strings.Join(kind, ", ")
	l := text(strong, " "+clean(name)).add(normal, "  "+clean(opt.Target))
	if how == "" {
		return l
	}
	// The target may be long; how it is spoken to stays in sight.
	return l.cut(max(width-cells(how)-3, 0)).pad(width-cells(how)-1).add(faint, how)
}

// phase is the line with the progress bar.
func (f *framer) phase(width int) line {
	phase := clean(f.p.Phase)
	if phase == "" {
		phase = "starting"
	}
	l := text(normal, " ").add(accent, leftward(phase, 12)).cut(max(width/3, 1)).add(normal, " ")
	if f.p.Total <= 0 {
		return l.add(normal, clock(f.p.Elapsed)).add(faint, " so far")
	}
	done := min(max(float64(f.p.Elapsed)/float64(f.p.Total), 0), 1)
	left := max(f.p.Total-f.p.Elapsed, 0)
	left = (left + time.Second - 1).Truncate(time.Second) // 0:00 left is when nothing is
	times := fmt.Sprintf("%4.0f %%  %s of %s, ", math.Floor(done*100), clock(f.p.Elapsed), clock(f.p.Total))
	remain := clock(left) + " left"
	room := width - l.cells() - cells(times) - cells(remain) - 2
	if room < 12 { // rather a bar
		times = "  "
		room = max(width-l.cells()-cells(times)-cells(remain)-2, 0)
	}
	full := int(math.Round(done * float64(room)))
	return l.add(accent, strings.Repeat("━", full)).add(faint, strings.Repeat("─", room-full)).add(normal, " "+times).add(strong, remain)
}

// late is the line that marks a generator that could not keep its own schedule; empty when it does.
func (f *framer) late(width int) line {
	sofar := ""
	if finite(f.p.LateSum) && f.p.LateSum > 0 {
		sofar = fmt.Sprintf("; %s s so far", brief(min(f.p.LateSum, 99_999)))
	}
	switch {
	case f.p.LateNow || f.p.Last.Late:
		by := ""
		if ms := f.p.Last.LateMax; f.p.Last.Late && finite(ms) && ms > 0 {
			by = ": " + latency(ms*1e6)
		}
		l := text(warn, " ▲ generator late"+by+" in this second").add(faint, "; such seconds are not judged"+sofar)
		if l.cells() > width {
			l = text(warn, " ▲ generator late"+by).add(faint, "; not judged"+sofar)
		}
		return l
	case sofar != "":
		return text(faint, " generator late"+strings.TrimPrefix(sofar, ";")+"; those seconds are not judged")
	}
	return line{}
}

// rate sets the rate that is asked for against the answers.
func (f *framer) rate(width int) []line {
	last := &f.p.Last
	answered := float64(last.Done)
	if last.Seconds > 0 {
		answered /= last.Seconds
	}
	seconds := tail(f.p.Done, 60)
	if len(seconds) > 0 {
		answered = seconds[len(seconds)-1]
	}
	l := text(strong, " rate ")
	if f.p.Rate > 0 {
		l = l.add(faint, "  asked ").add(strong, perSecond(f.p.Rate))
	} else {
		l = l.add(faint, "  closed loop")
	}
	behind := strong
	if f.p.Rate > 0 && answered < 0.9*f.p.Rate {
		behind = warn
	}
	l = l.add(faint, "   answered ").add(behind, perSecond(answered))
	finished := float64(f.p.Sum.OK + f.p.Sum.Failures())
	l = l.add(faint, "   good ").add(normal, share(float64(f.p.Sum.OK), finished))
	lines := []line{l}
	top := 0.0
	for _, v := range seconds {
		if finite(v) {
			top = max(top, v)
		}
	}
	most := "top " + perSecond(top)
	if finite(f.p.Rate) {
		top = max(top, f.p.Rate) // so that a shortfall is a gap below the top
	}
	return append(lines, f.chart(linear(seconds, top), width, most)...)
}

// chart draws heights with a note to the right of the first row.
func (f *framer) chart(heights []float64, width int, note string) []line {
	if f.chartRows == 0 {
		return nil
	}
	room := max(min(width-2-cells(note)-2, 60), 0)
	var lines []line
	for i, row := range chart(heights, room, f.chartRows) {
		l := text(normal, " ").add(accent, right(row, room)) // now is on the right
		if i == f.chartRows-1 {
			l = l.add(faint, "  "+note)
		}
		lines = append(lines, l)
	}
	return lines
}

// percentiles are the columns of the latency table; max comes after them.
var percentiles = []struct {
	name string
	q    float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}}

func tableHead(name string) line {
	l := text(strong, " "+leftward(name, 13))
	for _, c := range percentiles {
		l = l.add(faint, right(c.name, 8)+" ")
	}
	return l.add(faint, right("max", 8))
}

func tableRow(name string, h *hdr.Histogram, name1, values style) line {
	l := text(name1, " "+leftward(name, 13))
	cell := func(ns int64) string {
		if h.Count() == 0 {
			return latencyCell(math.NaN())
		}
		return latencyCell(float64(ns))
	}
	for _, c := range percentiles {
		l = l.add(values, cell(h.Quantile(c.q))+" ")
	}
	return l.add(values, cell(h.Max()))
}

// latencies is the table: corrected above uncorrected, so that the eye compares within a column.
func (f *framer) latencies() []line {
	return []line{
		tableHead("latency"),
		tableRow("last second", f.p.Last.Latency, normal, normal),
		tableRow("  uncorrected", f.p.Last.Service, faint, faint),
		tableRow("whole run", f.p.Sum.Latency, normal, strong),
		tableRow("  uncorrected", f.p.Sum.Service, faint, faint),
	}
}

func (f *framer) p99(width int) []line {
	if f.chartRows == 0 {
		return nil
	}
	heights, least, largest := logarithmic(tail(f.p.P99, 60))
	head := text(strong, " p99").add(faint, "  each second, log scale")
	if !finite(least) {
		return []line{head}
	}
	head = head.add(faint, "  from ").add(normal, latency(least*1e6)).add(faint, " to ").add(normal, latency(largest*1e6))
	now := f.p.P99[len(f.p.P99)-1]
	note := "now " + none
	if finite(now) && now > 0 {
		note = "now " + latency(now*1e6)
	}
	return append([]line{head}, f.chart(heights, width, note)...)
}

func (f *framer) histogram(width int) []line {
	if f.histogramRows == 0 || f.p.Sum.Latency.Count() == 0 {
		return nil
	}
	head := text(strong, " latencies of the run").add(faint, "  corrected, "+count(f.p.Sum.Latency.Count()))
	return append([]line{head}, histogram(f.p.Sum.Latency, width, f.histogramRows)...)
}

func (f *framer) failures() []line {
	return failures(&f.p.Sum, f.recent)
}

// failures lists classes with count and share, and with what the last second added; and the statuses, if they say more than that all is well.
func failures(w *load.Window, recent map[load.Class]uint64) []line {
	var rows []line
	finished := float64(w.OK + w.Failures())
	for _, class := range classesOf(w.Failed) {
		n := w.Failed[class]
		s := bad
		if class == load.ClassLocal {
			s = warn // the generator's own fault
		}
		l := text(s, "  "+leftward(clean(string(class)), 12)).add(s, right(count(n), 11)).add(faint, right(share(float64(n), max(finished, float64(n))), 11))
		if recent[class] > 0 {
			l = l.add(s, right("+"+count(recent[class]), 13))
		} else if class == load.ClassLocal {
			l = l.add(faint, "  the generator's own fault")
		}
		rows = append(rows, l)
	}
	if len(rows) == 0 {
		rows = append(rows, text(strong, " failures").add(faint, "  none"))
	} else {
		head := text(strong, " "+leftward("failures", 13)).add(faint, right("count", 11)+right("share", 11))
		if len(recent) > 0 {
			head = head.add(faint, right("last second", 13))
		}
		rows = append([]line{head}, rows...)
	}
	if len(w.Status) > 1 || len(w.Failed) > 0 && len(w.Status) > 0 {
		var parts []string
		statuses := slices.SortedFunc(maps.Keys(w.Status), func(a, b string) int {
			if w.Status[a] != w.Status[b] {
				return cmpDown(w.Status[a], w.Status[b])
			}
			return strings.Compare(a, b)
		})
		for _, s := range statuses {
			parts = append(parts, clean(s)+" × "+count(w.Status[s]))
		}
		rows = append(rows, text(faint, "  status  ").add(normal, strings.Join(parts, "  ")))
	}
	return rows
}

func cmpDown(a, b uint64) int {
	if a > b {
		return -1
	}
	return 1
}

// classesOf returns the classes that occurred in the order of reports, and after them those it does not know.
func classesOf(failed map[load.Class]uint64) []load.Class {
	var classes []load.Class
	for _, class := range load.Classes() {
		if failed[class] > 0 {
			classes = append(classes, class)
		}
	}
	for _, class := range slices.Sorted(maps.Keys(failed)) {
		if failed[class] > 0 && !slices.Contains(load.Classes(), class) {
			classes = append(classes, class)
		}
	}
	return classes
}

// foot is the line with what is under way.
func (f *framer) foot(width int) line {
	waiting := normal
	if f.p.Waiting > 0 {
		waiting = warn
	}
	l := text(faint, " in flight ").add(normal, count(uint64(max(f.p.InFlight, 0)))).
		add(faint, "   waiting ").add(waiting, count(f.p.Waiting)).
		add(faint, "   connections ").add(normal, count(uint64(max(f.p.Connected, 0))))
	if s := f.p.Last.Seconds; s > 0 {
		traffic := text(faint, "   in ").add(normal, byteCount(float64(f.p.Last.BytesIn)/s)+"/s").
			add(faint, "   out ").add(normal, byteCount(float64(f.p.Last.BytesOut)/s)+"/s")
		if l.cells()+traffic.cells() <= width {
			l = append(l, traffic...)
		}
	}
	return l
}
