package fault

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dougong-io/dougong/prove/fault/effect"
	"github.com/dougong-io/dougong/prove/hdr"
)

// mostLate is by what share of a window the generator may have been late itself at a time; a window with more is not
// judged. What is less concerns few requests, falls on both sides, and widens the intervals.
const mostLate = 0.1

func tooLate(ms, seconds float64) bool { return ms/1000 > mostLate*seconds }

const whyLate = "the generator itself was late"

// result puts together what was found, when load has ended: now every request has.
func (r *runner) result() *Result {
	res := &Result{
		Schema: ResultSchema, Version: r.opt.Version, Run: r.id, Started: r.loaded.Started, Seconds: r.loaded.Seconds,
		End: r.end, Reason: r.reason, Seed: r.plan.Seed, Machine: machine(), Plan: r.plan.redacted(r.loaded.Plan),
		Rows: []Row{}, Events: []Event{}, Notes: []string{},
	}
	points, each := r.rec.points(time.Duration(res.Seconds * 1e9))
	for i := range points {
		share, _ := r.late(points[i].At, points[i].At+each.Seconds())
		points[i].Late = share > 0
	}
	res.Timeline, res.PointSeconds = points, each.Seconds()
	for i, w := range r.rows {
		r.finish(w, r.rows[i+1:])
		res.Rows = append(res.Rows, w.Row)
	}
	for _, e := range r.events {
		res.Events = append(res.Events, Event{At: r.rec.at(e.at), Fault: e.fault, Kind: e.kind, Text: e.text})
	}
	res.Notes = append(res.Notes, r.notes(res)...)
	return res
}

// late tells in what share of a stretch the generator was late itself, and by how much at most, in milliseconds.
func (r *runner) late(from, to float64) (share, most float64) {
	for i := range r.loaded.Intervals {
		in := &r.loaded.Intervals[i]
		both := min(to, in.From+in.Seconds) - max(from, in.From)
		if both <= 0 {
			continue
		}
		most = max(most, in.LateMax)
		if in.Late {
			share += both / (to - from)
		}
	}
	return share, most
}

// finish fills in a row from its tries.
func (r *runner) finish(w *row, later []*row) {
	w.Windows = []Window{}
	w.Off.Latency, w.On.Latency = new(hdr.Histogram), new(hdr.Histogram)
	w.Detect = Reactions{Seconds: []float64{}, Step: watchEvery.Seconds(), Bound: time.Duration(r.plan.Window + r.plan.Guard).Seconds()}
	if w.Kind.once() {
		w.Detect.Bound = time.Duration(r.plan.Window).Seconds()
	}
	w.Recover = Reactions{Seconds: []float64{}, Step: binLength.Seconds(), Bound: time.Duration(r.plan.Recover).Seconds()}
	byPair := map[int]*[2]*Window{}
	unknown := 0
	w.Died = 0
	for k, t := range w.tries {
		if t.span == nil {
			continue
		}
		win := r.windowOf(w, t)
		if t.on && w.Kind != KindControl && !t.lifted.IsZero() && t.whole {
			r.react(w, t, &win, r.nextFault(w.tries[k+1:], later))
		}
		if t.unknownHits {
			unknown++
		}
		if t.died {
			w.Died++
		}
		w.Hits += t.hits
		w.Windows = append(w.Windows, win)
	}
	for i := range w.Windows {
		win := &w.Windows[i]
		if byPair[win.Pair] == nil {
			byPair[win.Pair] = new([2]*Window)
		}
		if win.Whole {
			byPair[win.Pair][side(win.On)] = win
		}
	}
	var pairs []effect.Pair
	for _, n := range slices.Sorted(maps.Keys(byPair)) {
		p := byPair[n]
		if p[0] == nil || p[1] == nil {
			continue
		}
		pairs = append(pairs, effect.Pair{Off: p[0].Counts, On: p[1].Counts})
		add(&w.Off, &p[0].Counts)
		add(&w.On, &p[1].Counts)
	}
	w.Pairs = len(pairs)
	w.Effect = effect.Compare(pairs, w.Kind == KindControl || w.Hits > 0 || w.Died > 0)
	w.Detect.sum()
	w.Recover.sum()
	if w.Status != StatusMeasured {
		return
	}
	switch {
	case w.Kind == KindRule && w.Died > 0 && unknown > 0:
		w.Reason = fmt.Sprintf("of %d windows it is not known what the rule hit: the process ended, and what it had counted with it", unknown)
	case w.Pairs < 2:
		w.Status, w.Reason = StatusTooFew, fmt.Sprintf("%d whole pairs", w.Pairs)
	case w.Kind != KindControl && w.Hits == 0 && unknown > 0:
		w.Status, w.Reason = StatusNotHit, "what the rule hit is not known: the service did not say"
	case w.Kind != KindControl && w.Hits == 0:
		w.Status, w.Reason = StatusNotHit, "the rule was on and hit nothing"
	}
}

func side(on bool) int {
	if on {
		return 1
	}
	return 0
}

// windowOf is a window as a result has it.
func (r *runner) windowOf(w *row, t *try) Window {
	win := Window{
		Pair: t.pair, On: t.on, From: r.rec.at(t.span.from), To: r.rec.at(t.span.to), Whole: t.whole, Why: t.why, Hits: t.hits,
		Counts: t.span.counts, Applied: r.rec.at(t.applied), Lifted: r.rec.at(t.lifted),
	}
	win.Counts.Latency.Pack()
	_, win.LateMS = r.late(win.From, win.To)
	if win.Whole && !r.opt.anyLate && tooLate(win.LateMS, win.To-win.From) {
		win.Whole, win.Why = false, whyLate
	}
	if win.Whole && win.Counts.Sent == 0 {
		win.Whole, win.Why = false, "nothing was sent"
	}
	return win
}

// nextFault is when something was done to the target next, or load ended.
func (r *runner) nextFault(tries []*try, later []*row) time.Time {
	for _, t := range tries {
		if !t.applied.IsZero() {
			return t.applied
		}
	}
	for _, w := range later {
		for _, t := range w.tries {
			if !t.applied.IsZero() {
				return t.applied
			}
		}
	}
	return r.zero.Add(time.Duration(r.loaded.Seconds * 1e9))
}

// react notes when the fault was detected, and when the service had recovered. What was decided while requests were
// still under way is decided again, now that all have ended.
func (r *runner) react(w *row, t *try, win *Window, next time.Time) {
	switch blind := r.blindIn(t.begun, t.lifted); {
	case !t.detected.IsZero():
		w.Detect.Tries++
		win.Detected, win.Sign = r.rec.at(t.detected), t.sign
		w.Detect.saw(t.detected.Sub(t.begun))
		w.Detect.by(t.sign, t.step)
	case blind != "":
		w.Detect.nobodyKnows(blind)
		win.Blind = blind
	default:
		w.Detect.Tries++
	}
	settled := t.settled
	if settled.IsZero() {
		settled = next
	}
	if blind := r.blindIn(settled.Add(-watchEvery), settled); blind != "" {
		w.Recover.nobodyKnows(blind)
		return
	}
	w.Recover.Tries++
	if t.settled.IsZero() || t.gaveUp {
		return
	}
	if at, ok := r.recoveredAt(w, t, t.settled, next); ok && at.Sub(t.from) <= time.Duration(r.plan.Recover)+time.Duration(r.plan.Window) {
		win.Recovered = r.rec.at(at)
		w.Recover.saw(at.Sub(t.from))
	}
}

func (r *Reactions) saw(after time.Duration) {
	r.Seen++
	r.Seconds = append(r.Seconds, max(after, 0).Seconds())
}

func (r *Reactions) nobodyKnows(why string) {
	r.Unknown++
	r.Why = why
}

// by notes a sign, and how exactly its time is known.
func (r *Reactions) by(sign string, step time.Duration) {
	if !slices.Contains(r.By, sign) {
		r.By = append(r.By, sign)
	}
	if r.Steps == nil {
		r.Steps = map[string]float64{}
	}
	r.Steps[sign] = max(r.Steps[sign], step.Round(time.Millisecond).Seconds())
	r.Step = max(r.Step, r.Steps[sign])
}

// blindIn says why, in a stretch, it could not be read all the time what a service says of itself.
func (r *runner) blindIn(from, to time.Time) string {
	for _, name := range slices.Sorted(maps.Keys(r.watchers)) {
		if why := r.watchers[name].blindIn(from, to); why != "" {
			return name + ": " + why
		}
	}
	return ""
}

// sum fills in the median and the worst.
func (r *Reactions) sum() {
	if len(r.Seconds) == 0 {
		return
	}
	sorted := slices.Sorted(slices.Values(r.Seconds))
	r.Worst = sorted[len(sorted)-1]
	r.Median = (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// add counts in w what o counted.
func add(w, o *effect.Window) {
	w.Latency.Add(o.Latency)
	w.Sent += o.Sent
	w.Answered += o.Answered
	w.Timeouts += o.Timeouts
	w.Errors += o.Errors
	w.Degraded += o.Degraded
	w.Lost += o.Lost
}

// notes are what a reader has to know.
func (r *runner) notes(res *Result) []string {
	var notes []string
	late, windows := 0, 0
	for _, w := range res.Rows {
		if w.Kind == KindControl && w.Effect.Verdict == effect.Claimed {
			notes = append(notes, "an effect is claimed for the control, where nothing was done: the machine was not quiet enough, so doubt the other rows; run it again, or with more pairs")
		}
		for _, win := range w.Windows {
			windows++
			if win.Why == whyLate {
				late++
			}
		}
	}
	if late > 0 {
		notes = append(notes, fmt.Sprintf("%d of %d windows were left out, as the generator itself was late: give it a quieter machine or a lower rate", late, windows))
	}
	for i := range r.plan.Services {
		if s := &r.plan.Services[i]; r.watchers[s.Name] != nil && r.watchers[s.Name].bare {
			notes = append(notes, s.Name+" has no /statusz in JSON: whether it detects a fault is told by /readyz alone")
		}
	}
	if r.plan.Pairs < effect.MinPairs {
		notes = append(notes, fmt.Sprintf("%d pairs a fault are too few to claim anything, whatever the faults do: it takes %d", r.plan.Pairs, effect.MinPairs))
	}
	for _, n := range r.loaded.Errors {
		if n.Class == "local" {
			notes = append(notes, "the generator could not send some requests, for want of descriptors or ports: "+n.Message)
			break
		}
	}
	return notes
}
