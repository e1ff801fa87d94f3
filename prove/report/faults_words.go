package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dougong-io/dougong/prove/fault"
	"github.com/dougong-io/dougong/prove/fault/effect"
)

// faultRow is one row of the effect table in words: what every form of the report says.
type faultRow struct {
	*fault.Row
	Verdict string // what may be said
	Why     string // more of it, or ""
	Mark    mark

	P50, P99                         cell
	Timeouts, Errors, Degraded, Lost cell
	Detected, Recovered              cell
	By                               []string // the signs by which it was detected, and how exactly the time of each is known
	Applied                          string   // hits, or how often a process was meddled with
}

// cell is a figure and what stands below it in small.
type cell struct {
	Text, Note string
	Claimed    bool
}

// mark tells at a glance what a verdict is.
type mark string

const (
	markEffect mark = "effect"
	markNone   mark = "none"
	markDoubt  mark = "doubt" // the row says less than it was to
)

// Sign is a character for where there are no colours.
func (m mark) Sign() string {
	return map[mark]string{markEffect: "●", markNone: "○", markDoubt: "?"}[m]
}

const absent = "–"

func faultRows(r *fault.Result) []faultRow {
	rows := make([]faultRow, len(r.Rows))
	for i := range r.Rows {
		row := &r.Rows[i]
		e := &row.Effect
		f := faultRow{
			Row: row, P50: change(&e.P50), P99: change(&e.P99),
			Timeouts: shares(&e.Timeouts), Errors: shares(&e.Errors), Degraded: shares(&e.Degraded), Lost: shares(&e.Lost),
			Detected: reaction(row.Detect, "not detected"), Recovered: reaction(row.Recover, "not recovered"), Applied: whole(row.Hits),
		}
		if row.Kind == fault.KindControl {
			f.Applied = absent
		}
		f.Verdict, f.Why, f.Mark = verdict(row)
		if row.Died > 0 {
			f.Why = joined(f.Why, fmt.Sprintf("the process died of it in %d windows", row.Died))
		}
		for _, unknown := range []struct {
			of   *fault.Reactions
			what string
		}{{&row.Detect, "was detected"}, {&row.Recover, "was recovered from"}} {
			if unknown.of.Unknown > 0 {
				f.Why = joined(f.Why, fmt.Sprintf("in %d windows it is not known whether it %s: %s", unknown.of.Unknown, unknown.what, unknown.of.Why))
			}
		}
		for _, sign := range row.Detect.By {
			if step := row.Detect.Steps[sign]; step > 0 {
				sign += ", to " + took(step)
			}
			f.By = append(f.By, sign)
		}
		rows[i] = f
	}
	return rows
}

func joined(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// verdict says what may be said of a fault.
func verdict(row *fault.Row) (said, why string, m mark) {
	e := &row.Effect
	switch row.Status {
	case fault.StatusMeasured, "":
	case fault.StatusNotHit:
		return "Never hit: nothing is claimed", row.Reason, markDoubt
	case fault.StatusTooFew:
		return "Too few pairs of windows", row.Reason, markDoubt
	default:
		return capital(string(row.Status)), row.Reason, markDoubt
	}
	control := row.Kind == fault.KindControl
	switch {
	case e.Verdict == effect.Claimed && control:
		return "False alarm: " + names(e.Claims), "Read the other rows with doubt: something else changed with the windows.", markDoubt
	case e.Verdict == effect.Claimed:
		return "Effect on " + names(e.Claims), "", markEffect
	case e.Verdict == effect.NeverHit:
		return "Never hit: nothing is claimed", "", markDoubt
	case e.Verdict == effect.TooFew:
		return "Too little to claim anything", fmt.Sprintf("%d of the %d pairs that a claim needs", e.Pairs, effect.MinPairs), markDoubt
	case control:
		return "No false alarm", most(&e.P50), markNone
	}
	return "No effect claimed", most(&e.P50), markNone
}

// most says how large an effect may be that was not claimed.
func most(d *effect.Difference) string {
	if !d.Known || d.AtLeast {
		return ""
	}
	return "p50 changes by " + trimmed(max(math.Abs(d.Low), math.Abs(d.High))) + " ms at most"
}

var measureNames = map[effect.Measure]string{
	effect.P50: "p50", effect.P99: "p99", effect.Timeouts: "time-outs", effect.Errors: "errors", effect.Degraded: "degraded answers", effect.Lost: "lost requests",
}

func names(measures []effect.Measure) string {
	var all []string
	for _, m := range measures {
		name, ok := measureNames[m]
		if !ok {
			name = string(m)
		}
		all = append(all, name)
	}
	if n := len(all); n > 1 {
		return strings.Join(all[:n-1], ", ") + " and " + all[n-1]
	}
	return strings.Join(all, "")
}

// change is a difference of latencies, in milliseconds.
func change(d *effect.Difference) cell {
	if !d.Known {
		return cell{Text: absent}
	}
	digits := decimals(d.High - d.Low)
	if d.AtLeast {
		return cell{Text: "≥ " + signed(d.Value, 0) + " ms", Note: "times out", Claimed: d.Claimed}
	}
	return cell{Text: signed(d.Value, digits) + " ms", Note: signed(d.Low, digits) + " to " + signed(d.High, digits), Claimed: d.Claimed}
}

// shares is a difference of shares: both of them, and the interval of the difference in percentage points.
func shares(d *effect.Difference) cell {
	switch {
	case !d.Known:
		return cell{Text: absent}
	case d.Off == 0 && d.On == 0:
		return cell{Text: "0 %", Note: "≤ " + percent(d.High)}
	}
	digits := max(decimals(100*(d.High-d.Low)), 1)
	return cell{Text: percent(d.Off) + " → " + percent(d.On) + " %", Note: signed(100*d.Low, digits) + " to " + signed(100*d.High, digits), Claimed: d.Claimed}
}

func reaction(t fault.Reactions, never string) cell {
	switch {
	case t.Tries == 0 && t.Unknown == 0:
		return cell{Text: absent}
	case t.Seen == 0 && t.Unknown > 0: // what nobody could see did not stay away
		return cell{Text: "not known", Note: fmt.Sprintf("0 of %d, %d not known", t.Tries+t.Unknown, t.Unknown)}
	case t.Seen == 0:
		return cell{Text: never, Note: fmt.Sprintf("0 of %d, in %s", t.Tries, took(t.Bound))}
	}
	c := cell{Text: took(t.Median), Note: fmt.Sprintf("%d of %d", t.Seen, t.Tries+t.Unknown)}
	if t.Seen > 1 {
		c.Note += ", worst " + took(t.Worst)
	}
	if t.Unknown > 0 {
		c.Note += fmt.Sprintf(", %d not known", t.Unknown)
	}
	return c
}

// decimals is how many digits after the point tell the ends of an interval of this width apart.
func decimals(width float64) int {
	if !(width > 0) {
		return 2
	}
	return int(min(max(math.Ceil(-math.Log10(width/2)), 0), 3))
}

func signed(v float64, digits int) string {
	text := grouped(math.Abs(v), digits)
	switch {
	case strings.Trim(text, "0.") == "":
		return text
	case v < 0:
		return "−" + text
	}
	return "+" + text
}

// trimmed is an upper bound with two significant digits, rounded up.
func trimmed(v float64) string {
	if v <= 0 {
		return "0"
	}
	unit := math.Pow(10, math.Floor(math.Log10(v))-1)
	up := math.Ceil(v/unit-1e-9) * unit
	return grouped(up, int(max(0, -math.Round(math.Log10(unit)))))
}

// percent is a share without its sign.
func percent(share float64) string {
	switch p := 100 * share; {
	case p == 0:
		return "0"
	case p < 0.001:
		return "<0.001"
	case p < 0.0995:
		return strings.TrimRight(strconv.FormatFloat(p, 'f', 3, 64), "0")
	case p >= 9.995:
		return strings.TrimSuffix(strconv.FormatFloat(p, 'f', 1, 64), ".0")
	default:
		return strconv.FormatFloat(p, 'f', 2, 64)
	}
}

func took(v float64) string {
	switch {
	case v >= 99.95:
		return (time.Duration(v) * time.Second).String()
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64) + "\u00a0s"
	}
	return strconv.FormatFloat(v, 'f', 2, 64) + "\u00a0s"
}

func whole(n uint64) string { return grouped(float64(n), 0) }

// grouped writes 12345.6 as "12,345.6".
func grouped(v float64, digits int) string {
	text := strconv.FormatFloat(v, 'f', digits, 64)
	end := strings.IndexByte(text+".", '.')
	for i := end - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func capital(text string) string {
	if text == "" {
		return "Unknown"
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// headline counts the faults with an effect, and those of which it cannot be told.
func headline(r *fault.Result) string {
	faults, effects, untold := 0, 0, 0
	for i := range r.Rows {
		if r.Rows[i].Kind == fault.KindControl {
			continue
		}
		faults++
		switch _, _, m := verdict(&r.Rows[i]); m {
		case markEffect:
			effects++
		case markDoubt:
			untold++
		}
	}
	switch {
	case faults == 0:
		return "No fault was tried"
	case faults == 1 && untold == 1:
		return "Whether the fault had an effect cannot be told"
	case faults == 1 && effects == 1:
		return "The fault had an effect"
	case faults == 1:
		return "No effect is claimed of the fault"
	case untold == faults:
		return fmt.Sprintf("Whether the %d faults had an effect cannot be told", faults)
	case untold > 0:
		return fmt.Sprintf("%d of %d faults had an effect; of %d it cannot be told", effects, faults, untold)
	}
	return fmt.Sprintf("%d of %d faults had an effect", effects, faults)
}

// facts are what a reader has to know of the run.
func facts(r *fault.Result) []string {
	var all []string
	if p := r.Plan; p != nil {
		all = append(all, fmt.Sprintf("%s requests a second, open loop", trimmedRate(p.Load.Rate)), fmt.Sprintf("%d pairs of windows of %v", p.Pairs, time.Duration(p.Window)))
	}
	if r.Started.Year() > 1970 {
		all = append(all, r.Started.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	all = append(all, length(r.Seconds)+" of load", fmt.Sprintf("seed %d", r.Seed))
	if r.End != fault.EndFinished {
		all = append(all, string(r.End))
	}
	return all
}

func trimmedRate(v float64) string { return strings.TrimSuffix(grouped(v, 1), ".0") }

func length(v float64) string {
	return time.Duration(math.Round(min(max(v, 0), 1e9)) * float64(time.Second)).String()
}

// subject is what the run was about.
func subject(r *fault.Result) string {
	if r.Plan == nil {
		return "no plan"
	}
	switch p := r.Plan; {
	case p.Name != "":
		return p.Name
	case p.Load.Target != "":
		return p.Load.Target
	}
	return "no target"
}

// cautions are the notes, with what the end of the run means before them.
func cautions(r *fault.Result) []string {
	var all []string
	switch r.End {
	case fault.EndInterrupted:
		all = append(all, "The run was interrupted. Rows cover the pairs of windows that were whole.")
	case fault.EndBroken:
		all = append(all, "The run ended early: "+r.Reason)
	}
	return append(all, r.Notes...)
}
