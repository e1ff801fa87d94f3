package fault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dougong-io/dougong/prove/load/script"
)

type markFunc = func(*script.Answer) bool

// controlName is the name of the control's row.
const controlName = "control: nothing is done"

// row is a Row in the making.
type row struct {
	Row
	tries   []*try
	applied bool // the fault was on at least once
}

// try is a window in the making, and what goes with an application of the fault.
type try struct {
	pair  int
	on    bool
	span  *span
	whole bool // it ran to its end
	why   string

	begun           time.Time // since when the fault may have been on
	applied, lifted time.Time // since when it was, and since when it was not
	detected        time.Time
	sign            string
	step            time.Duration // how exactly detected is known
	from            time.Time     // from when recovery counts
	hits            uint64
	unknownHits     bool
	died            bool // the process ended by itself while the fault was on

	again   time.Time // once: when the process was started again
	settled time.Time // when the run went on
	gaveUp  bool      // it did not recover within the bound

	before map[string][]string // what each service said of itself before
	band   band
}

// errBroken says that the target did not come back.
var errBroken = errors.New("the target did not come back")

// errLoadEnded is the cause of a context that ended because load did.
var errLoadEnded = errors.New("load ended")

// timeline runs all windows of all faults.
func (r *runner) timeline(ctx context.Context) {
	if r.plan.Control {
		r.rows = append(r.rows, &row{Row: Row{Name: controlName, Kind: KindControl, Detail: "windows are called on and off, and are alike", Status: StatusNotTried}})
	}
	for i := range r.plan.Faults {
		f := &r.plan.Faults[i]
		r.rows = append(r.rows, &row{Row: Row{Name: f.Name, Kind: f.Kind(), Service: f.Service, Status: StatusNotTried}})
	}
	r.at(func(p *Progress) { p.Phase, p.Rows, p.Pairs = "warm-up", len(r.rows), r.plan.Pairs })
	warm := r.zero.Add(time.Duration(r.plan.Warmup))
	err := waitUntil(ctx, warm)
	r.normal = append(r.normal, stretch{r.zero.Add(time.Duration(r.plan.Warmup) / 2), warm})
	for i := range r.rows {
		if err != nil {
			break
		}
		r.at(func(p *Progress) { p.Row, p.Fault, p.Pair, p.Pairs = i, r.rows[i].Name, 0, r.plan.Pairs })
		err = r.tryRow(ctx, i)
	}
	switch {
	case err == nil:
		r.end, r.reason = EndFinished, ""
	case errors.Is(context.Cause(ctx), errLoadEnded):
		r.end, r.reason = EndBroken, fmt.Sprintf("%v after %s, before every fault was tried: services were slower to start and to recover than the plan foresees; raise their start, or recover, or try fewer faults at a time",
			errLoadEnded, time.Since(r.zero).Round(time.Second))
	case ctx.Err() != nil:
	default:
		r.end, r.reason = EndBroken, err.Error()
	}
	r.at(func(p *Progress) { p.Fault, p.Phase = "", "ending" })
}

// tryRow runs the pairs of one fault. An error ends the run.
func (r *runner) tryRow(ctx context.Context, i int) error {
	w := r.rows[i]
	var l lever = nothing{}
	if w.Kind != KindControl {
		n := i
		if r.plan.Control {
			n--
		}
		var err error
		if l, w.Detail, err = r.lever(n, &r.plan.Faults[n]); err != nil {
			w.Status, w.Reason = StatusRefused, err.Error()
			return nil
		}
	}
	w.Status = StatusMeasured
	if err := r.pairs(ctx, w, l, r.plan.Pairs, 0); err != nil || w.Status != StatusMeasured {
		return err
	}
	// Pairs in which the generator itself was late are made up for, once.
	if err := pause(ctx, lateKnown); err != nil {
		return err
	}
	more := min(r.latePairs(w), (r.plan.Pairs+1)/2)
	r.at(func(p *Progress) { p.Pairs += more })
	return r.pairs(ctx, w, l, more, r.plan.Pairs)
}

// lateKnown is after how long a late second of the generator is known.
const lateKnown = 1300 * time.Millisecond

// latePairs is how many pairs of a row will be left out because the generator was late.
func (r *runner) latePairs(w *row) int {
	late := map[int]bool{}
	if r.opt.anyLate {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range w.tries {
		if t.span == nil {
			continue
		}
		from, to := t.span.from.Sub(r.zero).Seconds(), t.span.to.Sub(r.zero).Seconds()
		for second, ms := range r.lateAt {
			if second < to && second+1 > from && tooLate(ms, to-from) {
				late[t.pair] = true
			}
		}
	}
	return len(late)
}

// pairs runs some pairs of windows in random order; first is the number of the first.
func (r *runner) pairs(ctx context.Context, w *row, l lever, count, first int) error {
	for i, onFirst := range orders(count, r.rnd) {
		pair := first + i
		r.at(func(p *Progress) { p.Pair = pair })
		for _, on := range []bool{onFirst, !onFirst} {
			t := &try{pair: pair, on: on}
			w.tries = append(w.tries, t)
			if !on {
				if err := r.off(ctx, t); err != nil {
					return err
				}
				continue
			}
			refused, err := r.on(ctx, w, l, t)
			if err != nil {
				return err
			}
			switch {
			case refused == nil:
				w.applied = true
			case !w.applied:
				w.Status, w.Reason = StatusRefused, refused.Error()
				return nil
			default: // it could be applied before: this pair is left out, no more
				r.note("rule", "not applied: "+refused.Error())
			}
		}
	}
	return nil
}

// off runs a window without the fault.
func (r *runner) off(ctx context.Context, t *try) error {
	r.at(func(p *Progress) { p.Phase = "off" })
	if err := pause(ctx, time.Duration(r.plan.Guard)); err != nil {
		return err
	}
	if err := r.window(ctx, t, time.Now()); err != nil {
		return err
	}
	r.normal = append(r.normal, stretch{t.span.from, t.span.to})
	return nil
}

// window runs a window from a time on.
func (r *runner) window(ctx context.Context, t *try, from time.Time) error {
	t.span = r.rec.open(from, from.Add(time.Duration(r.plan.Window)))
	err := waitUntil(ctx, t.span.to)
	t.whole = err == nil
	if err != nil {
		t.why = "the run was interrupted"
		if errors.Is(context.Cause(ctx), errLoadEnded) {
			t.why = errLoadEnded.Error()
		}
	}
	return err
}

// on runs a window with the fault, lifts it, and waits for recovery. refused says that it could not be applied.
func (r *runner) on(ctx context.Context, w *row, l lever, t *try) (refused, err error) {
	r.at(func(p *Progress) { p.Phase = "on" })
	once := w.Kind.once()
	if once {
		if err := pause(ctx, time.Duration(r.plan.Guard)); err != nil {
			return nil, err
		}
	}
	t.before = map[string][]string{}
	for name, watcher := range r.watchers {
		t.before[name] = watcher.now()
	}
	ends := r.ends(w)
	begin := time.Now()
	t.begun, refused = l.apply(ctx)
	t.applied = time.Now()
	if once {
		t.applied = begin
	}
	if refused == nil {
		r.noteFault(w, "fault on")
		if !once {
			err = pause(ctx, time.Duration(r.plan.Guard))
		}
		if err == nil {
			from := time.Now()
			if once {
				from = begin
			}
			err = r.window(ctx, t, from)
		}
		t.died = !once && r.ends(w) > ends
		if err == nil && w.Kind != KindControl {
			var unknown error
			if t.hits, unknown = l.hits(ctx); unknown != nil {
				t.unknownHits = true
				r.note("rule", "hits are not known: "+unknown.Error())
			}
		}
	}
	// Lifted in any case, and not given up for an interrupt.
	lifting, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(r.plan.Recover)+undoPatience)
	defer cancel()
	if failed := l.lift(lifting); failed != nil {
		return nil, errors.Join(err, fmt.Errorf("%s cannot be lifted: %w", w.Name, failed))
	}
	t.lifted = time.Now()
	if refused != nil || err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return refused, err
	}
	r.noteFault(w, "fault off")
	t.from = t.lifted
	if once {
		t.from = begin
	}
	r.detect(w, t)
	return nil, r.recovered(ctx, w, t)
}

// ends is how often the process has ended that the fault is about.
func (r *runner) ends(w *row) int {
	c := r.children[w.Service]
	if c == nil {
		return 0
	}
	_, n := c.started()
	return n
}

func (r *runner) noteFault(w *row, kind string) {
	if w.Kind != KindControl {
		r.note(kind, w.Detail)
	}
}

// detect finds the first sign that a service gave of the fault while it was on, or may have been: a rule is in force
// before the call that puts it is answered.
func (r *runner) detect(w *row, t *try) {
	for _, name := range slices.Sorted(maps.Keys(r.watchers)) {
		c, sign, ok := r.watchers[name].firstNew(t.begun, t.before[name])
		if !ok || c.at.After(t.lifted) || !t.detected.IsZero() && !c.at.Before(t.detected) {
			continue
		}
		t.detected, t.sign, t.step = c.at, sign, c.at.Sub(c.since)
		if len(r.watchers) > 1 {
			t.sign = name + ": " + sign
		}
	}
}

// recovered waits until the service is as before, or the bound is over. A service that the plan started and that does
// not come back is started anew; one that is not back when the bound is over once more ends the run.
func (r *runner) recovered(ctx context.Context, w *row, t *try) error {
	r.at(func(p *Progress) { p.Phase = "recovering" })
	t.band = r.usual()
	until := t.lifted.Add(time.Duration(r.plan.Recover))
	for again := false; ; {
		now := time.Now()
		if _, ok := r.recoveredAt(w, t, now, now); ok {
			t.settled = now
			return nil
		}
		if now.After(until) && (w.Kind == KindControl || r.serves(w, t)) {
			r.note("state", fmt.Sprintf("latency is not what it was %s after %s; the run goes on", r.plan.Recover, w.Name))
			t.settled, t.gaveUp = time.Now(), true
			return nil
		}
		if time.Now().After(until) {
			if again {
				return fmt.Errorf("%w within %s of %s being lifted, nor later", errBroken, r.plan.Recover, w.Name)
			}
			again = true
			t.from, t.gaveUp = time.Now(), true
			until = t.from.Add(time.Duration(r.plan.Recover))
			if child := r.children[w.Service]; child != nil {
				r.note("process", w.Service+" is started anew, as it does not recover")
				_ = child.terminate() // if it is not there, it is being started
				until = until.Add(or(time.Duration(child.service.Start), defaultStart))
			}
		}
		if err := pause(ctx, binLength/2); err != nil {
			return err
		}
	}
}

// serves tells whether the service is well but for its latency, which drifts on some machines.
func (r *runner) serves(w *row, t *try) bool {
	if w.Kind.once() && t.again.IsZero() && !t.gaveUp {
		return false // it has not even ended yet
	}
	now := time.Now()
	for name, watcher := range r.watchers {
		// Of one that cannot be asked, what it said last says nothing.
		if _, ok := watcher.wellBy(t.from, now, t.before[name]); !ok && watcher.blindIn(now.Add(-watchEvery), now) == "" {
			return false
		}
	}
	bins := spanBins(r.plan.Load.Rate)
	ended := r.rec.index(now.Add(-time.Duration(r.plan.Load.Timeout)), false) // what was due before has ended
	last := r.rec.stretch(ended-bins, ended)
	return last.ended > 0 && last.failed() <= t.band.failed
}

// mostNormal is how many stretches without a fault make the band: the last ones, as machines drift.
const mostNormal = 24

// usual is the band of what was normal of late.
func (r *runner) usual() band {
	bins := spanBins(r.plan.Load.Rate)
	var spans []bin
	for _, s := range r.normal[max(len(r.normal)-mostNormal, 0):] {
		from, to := r.rec.index(s.from, true), r.rec.index(s.to, false)
		for i := from; i+bins <= to; i += bins {
			spans = append(spans, r.rec.stretch(i, i+bins))
		}
		if to-from < bins && to > from {
			spans = append(spans, r.rec.stretch(from, to))
		}
	}
	return bandOf(spans)
}

// recoveredAt is when everything was as before the fault: by what services had said of themselves at a time, and by
// the requests that were due by another.
func (r *runner) recoveredAt(w *row, t *try, said, due time.Time) (time.Time, bool) {
	from := t.from
	if w.Kind.once() && !t.gaveUp { // a process that is told to end serves on for a while
		if t.again.IsZero() {
			if start, _ := r.children[w.Service].started(); start.After(from) {
				t.again = start
			}
		}
		if t.again.IsZero() {
			return time.Time{}, false
		}
		from = t.again
	}
	well := from
	for name, watcher := range r.watchers {
		at, ok := watcher.wellBy(t.from, said, t.before[name])
		if !ok {
			return time.Time{}, false
		}
		if at.After(well) {
			well = at
		}
	}
	bins := spanBins(r.plan.Load.Rate)
	least := leastIn(bins, r.plan.Load.Rate, r.plan.Load.Poisson)
	first := r.rec.index(from, true)
	if t.settled.IsZero() { // it is asked all the time whether it has recovered by now; since when is found out at the end
		first = max(first, r.rec.index(due, false)-2*spansInBand*bins)
	}
	for i := first; ; i++ {
		end := r.rec.start(i + spansInBand*bins)
		if end.After(due) {
			return time.Time{}, false
		}
		good := true
		for k := 0; k < spansInBand && good; k++ {
			span := r.rec.stretch(i+k*bins, i+(k+1)*bins)
			good = t.band.holds(&span, least)
		}
		if !good {
			continue
		}
		at := r.rec.start(i)
		if at.Before(from) {
			at = from
		}
		if well.After(at) {
			at = well
		}
		return at, true
	}
}
