package live

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dougong-io/dougong/prove/load"
)

// A summary lists at most so many stages, requests and trials; the report has the others.
const maxListed = 20

// summary draws what a run found, on lines of at most width cells.
func summary(opt *Options, r *load.Result, width int) []line {
	s := summarist{r: r, width: width}
	named := *opt
	named.Target, named.Protocol, named.Loop = r.Target, r.Protocol, r.Loop
	if r.Target == "" {
		named.Target = opt.Target
	}
	lines := []line{titleLine(&named, width)}
	blocks := [][]line{s.ran(), s.latencies(), s.histogram(), failures(&r.Total, nil)}
	if r.Breakpoint != nil && r.Total.Due == 0 {
		blocks = nil // a search has trials instead
		lines = append(lines, line{})
	}
	for _, block := range append(blocks, s.samples(), s.stages(), s.requests(), s.breakpoint(), s.slo(), s.notes()) {
		if len(block) > 0 {
			lines = append(append(lines, block...), line{})
		}
	}
	lines = append(lines, s.verdict())
	for i := range lines {
		lines[i] = lines[i].cut(width)
	}
	return lines
}

type summarist struct {
	r     *load.Result
	width int
}

func (s *summarist) ran() []line {
	t := &s.r.Total
	var failed uint64
	for _, n := range t.Failed {
		failed += n
	}
	how := text(normal, "ran for ")
	if s.r.End == load.EndInterrupted {
		how = text(warn, "interrupted").add(normal, " after ")
	}
	item := func(name string, st style, value string) line { return text(faint, name+" ").add(st, value) }
	counts := []line{how.add(strong, duration(s.r.Seconds)), item("due", normal, count(t.Due)), item("good", normal, count(t.OK)), item("failed", normal, count(failed))}
	if t.Unfinished > 0 {
		counts = append(counts, item("unfinished", normal, count(t.Unfinished)))
	}
	per := func(n uint64) string {
		if !(t.Seconds > 0) {
			return none
		}
		return perSecond(float64(n) / t.Seconds)
	}
	var rates []line
	if s.r.Loop != load.ClosedLoop {
		rates = append(rates, item("asked", strong, per(t.Due)))
	}
	goodput := item("good", strong, per(t.OK))
	if finished := t.OK + t.Failures(); finished > 0 {
		goodput = goodput.add(faint, " = ").add(normal, share(float64(t.OK), float64(finished)))
	}
	rates = append(rates, item("answered", strong, per(t.OK+failed)), goodput)
	traffic := []line{item("in", normal, byteCount(float64(t.BytesIn))), item("out", normal, byteCount(float64(t.BytesOut))), item("connections", normal, count(t.Connects))}
	if t.Messages > 0 {
		traffic = append(traffic, item("messages", normal, count(t.Messages)))
	}
	if c := s.r.Client.CPUPerRequest; finite(c) && c > 0 {
		traffic = append(traffic, item("generator", normal, latency(c*1e3)).add(faint, " of CPU a request"))
	}
	return slices.Concat(flow(counts, s.width), flow(rates, s.width), flow(traffic, s.width))
}

// flow sets items beside each other, on as many lines as they take.
func flow(items []line, width int) []line {
	var lines []line
	var now line
	for _, item := range items {
		switch {
		case now == nil:
			now = text(normal, " ")
		case now.cells()+3+item.cells() > width:
			lines = append(lines, now)
			now = text(normal, "   ")
		default:
			now = now.add(normal, "   ")
		}
		now = append(now, item...)
	}
	return append(lines, now)
}

// duration writes seconds, such as "20 s" and "1:20:00".
func duration(seconds float64) string {
	switch {
	case !finite(seconds) || seconds < 0:
		return none
	case seconds < 120:
		return brief(seconds) + " s"
	}
	return clock(time.Duration(min(seconds, 1e9) * float64(time.Second)))
}

func (s *summarist) latencies() []line {
	t := &s.r.Total
	rows := []line{
		tableHead("latency"),
		tableRow("corrected", t.Latency, normal, strong),
		tableRow("uncorrected", t.Service, faint, faint),
	}
	if s.r.LateSeconds > 0 && s.r.Judged.Latency.Count() > 0 {
		rows = append(rows, tableRow("judged", s.r.Judged.Latency, normal, normal))
	}
	if t.Rejected.Count() > 0 {
		rows = append(rows, tableRow("of failures", t.Rejected, faint, faint))
	}
	if t.Connect.Count() > 0 {
		rows = append(rows, tableRow("to connect", t.Connect, faint, faint))
	}
	return rows
}

func (s *summarist) histogram() []line {
	return histogram(s.r.Total.Latency, min(s.width, 100), 12)
}

func (s *summarist) samples() []line {
	var rows []line
	seen := map[load.Class]bool{}
	for _, e := range s.r.Errors {
		if seen[e.Class] {
			continue
		}
		seen[e.Class] = true
		at := none
		if finite(e.At) {
			at = duration(e.At)
		}
		l := text(bad, "  "+leftward(clean(string(e.Class)), 10)).add(faint, "first at "+at+"  ")
		if e.Request != "" {
			l = l.add(normal, clean(e.Request)+": ")
		}
		rows = append(rows, l.add(normal, clean(e.Message)))
	}
	return rows
}

// parts is a table of the parts of a run.
func (s *summarist) parts(name string, rows []part) []line {
	if len(rows) < 2 {
		return nil
	}
	label := min(max(s.width-63, 14), 30)
	whole := label+63 <= s.width // else without two columns
	head := text(strong, " "+leftward(name, label)).add(faint, right("asked", 11))
	if whole {
		head = head.add(faint, right("answered", 12))
	}
	head = head.add(faint, right("p50", 9)+right("p99", 10))
	if whole {
		head = head.add(faint, right("max", 9))
	}
	lines := []line{head.add(faint, right("failed", 11))}
	for i, row := range rows {
		if i == maxListed {
			return append(lines, text(faint, fmt.Sprintf("  and %d more, which the report has", len(rows)-maxListed)))
		}
		w := row.window
		finished := w.OK
		for _, n := range w.Failed {
			finished += n
		}
		answered := math.NaN()
		if w.Seconds > 0 {
			answered = float64(finished) / w.Seconds
		}
		cell := func(q float64) string {
			if w.Latency.Count() == 0 {
				return latencyCell(math.NaN())
			}
			return latencyCell(float64(w.Latency.Quantile(q)))
		}
		failing := faint
		if w.Failures() > 0 {
			failing = bad
		}
		asked := math.NaN()
		if row.asked > 0 {
			asked = row.asked
		}
		l := text(row.style, " ").add(row.style, leftward(clean(row.name), label)).cut(label+1).pad(label+1).
			add(normal, right(perSecond(asked), 11))
		if whole {
			l = l.add(normal, right(perSecond(answered), 12))
		}
		l = l.add(normal, "  "+cell(0.5)+"  "+cell(0.99))
		if whole {
			l = l.add(normal, " "+cell(1))
		}
		lines = append(lines, l.add(failing, right(share(float64(w.Failures()), float64(w.OK+w.Failures())), 10)))
	}
	return lines
}

type part struct {
	name   string
	style  style
	asked  float64
	window *load.Window
}

func (s *summarist) stages() []line {
	var rows []part
	for i := range s.r.Stages {
		stage := &s.r.Stages[i]
		rows = append(rows, part{stage.Name, normal, stage.Rate, &stage.Window})
	}
	return s.parts("stage", rows)
}

func (s *summarist) requests() []line {
	var rows []part
	for i := range s.r.Requests {
		request := &s.r.Requests[i]
		w := &request.Window
		asked := 0.0
		if w.Seconds > 0 && s.r.Loop != load.ClosedLoop {
			asked = float64(w.Due) / w.Seconds
		}
		rows = append(rows, part{request.Name, normal, asked, w})
	}
	return s.parts("request", rows)
}

func (s *summarist) breakpoint() []line {
	b := s.r.Breakpoint
	if b == nil {
		return nil
	}
	var rows []part
	for i := range b.Trials {
		t := &b.Trials[i]
		_, sign := mark(t.Verdict)
		name := signOf(t.Verdict) + " " + t.Phase
		if t.Reason != "" {
			name += ": " + t.Reason
		}
		rows = append(rows, part{name, sign, t.Rate, &t.Window})
	}
	lines := s.parts("trial", rows)
	head := text(strong, " breakpoint ")
	switch {
	case !(b.Rate > 0):
		head = head.add(bad, "none: no rate held every objective")
	case !(b.Above > 0):
		head = head.add(strong, "above "+perSecond(b.Rate)).add(faint, ", where the search ended ("+clean(b.Limit)+")")
	default:
		head = head.add(strong, perSecond(b.Rate)).add(faint, " held, ").add(normal, perSecond(b.Above)).add(faint, " did not")
		if finite(b.Precision) && b.Precision > 0 {
			head = head.add(faint, "; within "+share(b.Precision, max(b.Precision, 1)))
		}
		if b.Limit != "" && b.Limit != "slo" {
			head = head.add(warn, "; ended by "+clean(b.Limit))
		}
	}
	return append(lines, head)
}

// mark is the sign of a verdict and its colour.
func mark(v load.Verdict) (string, style) {
	switch v {
	case load.VerdictPass:
		return "✓", good
	case load.VerdictFail:
		return "✗", bad
	}
	return "?", warn
}

func signOf(v load.Verdict) string {
	sign, _ := mark(v)
	return sign
}

func (s *summarist) slo() []line {
	if len(s.r.SLO) == 0 {
		return nil
	}
	lines := []line{text(strong, " objectives")}
	for _, o := range s.r.SLO {
		sign, st := mark(o.Verdict)
		l := text(st, "  "+sign+" ").add(normal, leftward(clean(o.SLO), 20)).add(st, right(measured(o), 12))
		if o.Reason != "" {
			l = l.add(faint, "  "+clean(o.Reason))
		}
		lines = append(lines, l)
	}
	return lines
}

// measured writes the value of an objective in its unit.
func measured(o load.SLOResult) string {
	switch {
	case !finite(o.Value):
		return none
	case o.Unit == "ms":
		return latency(o.Value * 1e6)
	case o.Unit == "share":
		return share(o.Value, 1)
	case o.Unit == "rps":
		return perSecond(o.Value)
	}
	return fmt.Sprintf("%.4g %s", o.Value, clean(o.Unit))
}

func (s *summarist) notes() []line {
	notes := s.r.Notes
	if len(notes) == 0 {
		return nil
	}
	lines := []line{text(strong, " notes")}
	for _, note := range notes {
		for i, row := range wrapped(clean(note), s.width-4) {
			sign := "    "
			if i == 0 {
				sign = "  · "
			}
			lines = append(lines, text(faint, sign).add(normal, row))
		}
	}
	return lines
}

func (s *summarist) verdict() line {
	l := text(strong, " verdict ")
	if s.r.Verdict == load.VerdictNone || s.r.Verdict == "" {
		return l.add(faint, "none: no objective was given")
	}
	sign, st := mark(s.r.Verdict)
	held := 0
	for _, o := range s.r.SLO {
		if o.Verdict == load.VerdictPass {
			held++
		}
	}
	return l.add(st, sign+" "+strings.ToUpper(clean(string(s.r.Verdict)))).add(faint, fmt.Sprintf("   %d of %d objectives held", held, len(s.r.SLO)))
}
