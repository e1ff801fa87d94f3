package breaker

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/ramp"
)

// Circuit guards the calls of one key. It is a handle: it stays that of its key for as long as it is held. This
// type is concurrency safe.
type Circuit struct {
	// What a call reads while the circuit is closed, in one cache line that is seldom written.
	word  atomic.Uint64
	due   atomic.Int64  // when the window is brought up to date, by the clock
	keep  atomic.Uint32 // a call is counted when a random number is not above
	shed  atomic.Uint32 // a call is refused when a random number is below
	used  atomic.Uint32 // 1 since somebody asked for the circuit by its key; the search for a victim clears it
	clock *clock.Clock
	core  *core
	hash  uint64 // of the key, for the table
	*rest

	// What one that is counted writes: in the next line, with the key of an entry.
	ok atomic.Uint64 // successes that are not in the window yet; above them 32 bits of the generation
}

// rest is apart, so that the key of an entry is beside what a call touches.
type rest struct {
	name      string
	pinned    atomic.Bool // a handle is out
	rejected  atomic.Uint64
	ignored   atomic.Uint64
	late      atomic.Uint64
	rejection [reasons]atomic.Pointer[RejectedError]

	mu      sync.Mutex // guards what follows
	plan    *plan
	window  window
	meter   meter
	arrived float64       // calls since folded, by weight
	outside uint64        // of rejected, ignored and late, when last looked at: they arrive too
	folded  time.Duration // when the meter was read
	since   time.Duration // when the state began
	until   time.Duration // when open ends
	attempt int           // of opening, without a calm time between: see ramp.Backoff
	opened  uint64        // times that it opened at all
	changes uint64        // transitions
	cause   string        // of the last transition
	probes  *probes       // since the first time half-open; those of an earlier time keep their places
	counts  Counts
}

// probes are the calls that try an open circuit.
type probes struct {
	serial    int64
	flying    []probe
	succeeded int
}

type probe struct {
	id         int64
	begin, due time.Duration
}

// Call is what a circuit may know of a call. The zero Call is an ordinary one.
type Call struct {
	Hash   uint64          // of who asks, such as ramp.HashString(user): the same passes again while the circuit rises. 0: at random
	Marked bool            // it is a test, which may be a probe before others may; it buys nothing else
	Ctx    context.Context // ends what an injected fault does to the call; nil: only the end of its rule does. Nothing else reads it
}

const all = math.MaxUint32

// Allow asks for one call, and returns a [RejectedError] if it must not be made. It never blocks, and passes no fault
// point.
func (c *Circuit) Allow() (p Permit, err error) {
	if p.word = c.word.Load(); p.word&flagBits != 0 {
		return c.allowOrdinary()
	}
	p.circuit = c
	return
}

func (c *Circuit) allowOrdinary() (Permit, error) { return c.allow(Call{}) }

// AllowCall is Allow for a call of which more is known. Only an injected fault can hold it; if Call.Ctx ends meanwhile,
// the error wraps why, is no rejection, and the call counts as Ignored.
func (c *Circuit) AllowCall(call Call) (p Permit, err error) {
	p.circuit, p.word = c, c.word.Load()
	if p.word&flagBits != 0 || c.core.faulty() {
		p, err = c.allowExtra(call)
	}
	return
}

// allowExtra is for all that is seldom.
func (c *Circuit) allowExtra(call Call) (Permit, error) {
	if c.core.faulty() {
		return c.allowStruck(call)
	}
	return c.allow(call)
}

func (c *Circuit) allow(call Call) (Permit, error) {
	word := c.word.Load()
	if State(word&stateBits) != Closed {
		return c.allowAnyway(call)
	}
	if word&shedding != 0 {
		if now := c.clock.Now(); int64(now) >= c.due.Load() {
			c.refresh(now) // what is shed must not go by what was a while ago
			word = c.word.Load()
		}
		if word&shedding != 0 && c.core.draw() < c.shed.Load() {
			c.rejected.Add(1)
			return Permit{}, c.refusal(reasonShed, 0)
		}
	}
	return c.permit(word), nil
}

// permit is one for a call that counts.
func (c *Circuit) permit(word uint64) Permit {
	if word&timed != 0 {
		return Permit{circuit: c, word: word, aux: int64(c.core.stopwatch.Now())}
	}
	return Permit{circuit: c, word: word}
}

// permitAt is permit where the lock is held.
func (c *Circuit) permitAt(now time.Duration, word uint64) Permit {
	if word&timed != 0 {
		return Permit{circuit: c, word: word, aux: int64(c.core.stopped(now))}
	}
	return Permit{circuit: c, word: word}
}

// allowAnyway decides in the states in which not every call passes.
func (c *Circuit) allowAnyway(call Call) (p Permit, err error) {
	now := c.clock.Now()
	var refused *RejectedError
	var events []event
	c.mu.Lock()
	p, refused = c.admit(now, call, &events)
	c.mu.Unlock()
	if len(events) > 0 {
		told := false
		defer func() {
			if !told { // an observer panics: nobody has the permit
				p.Release()
			}
		}()
		c.core.tell(events)
		told = true
	}
	if refused != nil {
		c.rejected.Add(1)
		err = refused
	}
	return
}

// admit returns a permit, or why there is none. The lock is held.
func (c *Circuit) admit(now time.Duration, call Call, events *[]event) (Permit, *RejectedError) {
	if c.state() == Open && now >= c.until {
		c.change(now, HalfOpen, "its time is over", events)
	}
	switch c.state() {
	case evicted: // since it was found
		return Permit{}, nil
	case Open:
		if call.Marked && c.plan.MarkedFor > 0 {
			return Permit{}, c.refusal(reasonOpen, c.until)
		}
		return Permit{}, c.rejection[reasonOpen].Load()
	case HalfOpen:
		return c.admitProbe(now, call, events)
	case Rising:
		share, done := c.plan.Rise.Share(now - c.since)
		if done {
			c.change(now, Closed, "every share passed", events)
			break
		}
		hash := call.Hash
		if hash == 0 {
			hash = c.core.random()
		}
		switch {
		case ramp.Admits(hash, share):
		case call.Hash == 0:
			return Permit{}, c.refusal(reasonRising, 0) // the next try draws anew
		default:
			return Permit{}, c.refusal(reasonRising, now+c.plan.Rise.Wait(hash, now-c.since))
		}
	}
	return c.permitAt(now, c.word.Load()), nil
}

func (c *Circuit) admitProbe(now time.Duration, call Call, events *[]event) (Permit, *RejectedError) {
	flying := c.probes.flying[:0]
	for _, p := range c.probes.flying {
		if p.due > now {
			flying = append(flying, p)
			continue
		}
		*events = append(*events, func(o Observer) { o.Abandoned(c.name) })
	}
	c.probes.flying = flying
	switch marked := after(c.until, c.plan.MarkedFor); {
	case !call.Marked && now < marked:
		return Permit{}, c.refusal(reasonProbing, marked)
	case len(flying) >= c.plan.Probes:
		return Permit{}, c.refusal(reasonProbing, 0)
	}
	c.probes.serial++
	id := c.probes.serial
	c.probes.flying = append(flying, probe{id: id, begin: c.core.stopped(now), due: after(now, c.plan.ProbeTimeout)})
	return Permit{circuit: c, word: c.word.Load(), aux: id}, nil
}

// after is now + d, however long that is.
func after(now, d time.Duration) time.Duration {
	if t := now + d; t >= now {
		return t
	}
	return math.MaxInt64
}

// refusal is an error until a time; 0 where that is not known, and the same one then serves all.
func (c *Circuit) refusal(r reason, until time.Duration) *RejectedError {
	if until == 0 {
		if err := c.rejection[r].Load(); err != nil {
			return err
		}
	}
	err := &RejectedError{Circuit: c.name, Reason: reasonNames[r], clock: c.clock, until: until}
	if until == 0 {
		c.rejection[r].Store(err)
	}
	return err
}

// succeeded counts a success, unless the state of its permit has ended.
func (c *Circuit) succeeded(word uint64) {
	if now := c.clock.Now(); int64(now) >= c.due.Load() {
		c.refresh(now)
	}
	if keep := c.keep.Load(); keep == all || c.core.draw() <= keep || c.word.Load()^word >= generation {
		c.count(word)
	}
}

// burst is after how many counted successes the meter is read, however little time has passed: a key that becomes
// hot is sampled at once.
const burst = 4096

// count adds a success to those of its generation: in one step with the look at it, so that no transition comes
// between.
func (c *Circuit) count(word uint64) {
	for {
		n := c.ok.Load()
		if n%burst == burst-1 {
			now := c.clock.Now()
			c.mu.Lock()
			c.fold(now)
			c.folded = min(c.folded, now-time.Millisecond) // the clock may not have moved: then it was less than that
			c.measure(now)
			c.mu.Unlock()
			n = c.ok.Load()
		}
		if uint32(n>>32) != uint32(word/generation) {
			c.tooLate(Success)
			return
		}
		if n%burst < burst-1 && c.ok.CompareAndSwap(n, n+1) {
			return
		}
	}
}

// take takes the successes that were counted out, by weight, and has those of a generation counted from now on. The
// lock is held.
func (c *Circuit) take(gen uint64) (n, w float32) {
	w = c.weight()
	n = w * float32(uint32(c.ok.Swap(gen<<32)))
	c.arrived += float64(n)
	c.counts.Successes += float64(n)
	return n, w
}

// refresh brings the window up to date.
func (c *Circuit) refresh(now time.Duration) {
	c.mu.Lock()
	if int64(now) >= c.due.Load() {
		c.fold(now)
		c.measure(now)
	}
	c.mu.Unlock()
}

// failed counts a failure, or a success that was slow, and decides whether the circuit opens.
func (c *Circuit) failed(word uint64, o Outcome, slow bool) {
	now := c.clock.Now()
	if now >= time.Duration(c.due.Load()) {
		c.refresh(now)
	}
	keep := c.keep.Load()
	if keep != all && c.core.draw() > keep && c.word.Load()^word < generation {
		return
	}
	c.mu.Lock()
	if c.word.Load()^word >= generation {
		c.mu.Unlock()
		c.tooLate(o)
		return
	}
	c.fold(now)
	w := weightOf(keep) // of the draw, which another may have changed since
	b := bucket{n: w, v: w * w}
	if o == Failure {
		b.bad = w
		c.counts.Failures += float64(w)
	} else {
		c.counts.Successes += float64(w)
	}
	if slow {
		b.slow = w
		c.counts.Slow += float64(w)
	}
	c.arrived += float64(w)
	c.window.add(b)
	var events []event
	c.judge(now, &events)
	c.mu.Unlock()
	c.core.tell(events)
}

// fold moves what was counted into the window: into the bucket in which it was counted, and then that of now
// becomes the head. The lock is held.
func (c *Circuit) fold(now time.Duration) {
	if n, w := c.take(c.word.Load() / generation); n != 0 {
		c.window.add(bucket{n: n, v: n * w})
	}
	c.window.turnTo(now)
}

// weight is for how many calls a success stands that is counted now. The lock is held.
func (c *Circuit) weight() float32 { return weightOf(c.keep.Load()) }

// weightOf is for how many calls one stands that was counted because a random number was not above keep.
func weightOf(keep uint32) float32 {
	if keep == all {
		return 1
	}
	return float32(float64(1<<32) / (float64(keep) + 1))
}

// measure reads the meter, and decides how many calls are counted and how many are shed until the next time. The
// lock is held, and what was counted is in the window.
func (c *Circuit) measure(now time.Duration) {
	if in := now - c.folded; in > 0 {
		outside := c.rejected.Load() + c.ignored.Load() + c.late.Load()
		c.meter.add(c.arrived+float64(outside-c.outside), in)
		c.arrived, c.outside, c.folded = 0, outside, now
	}
	keep := c.plan.sample(c.meter.least())
	c.keep.Store(keep)
	// At the end of the bucket in any case, so that a call falls into that of its own time: if a bucket began with the
	// first failure, and not with the successes before it, it would seem worse than it is.
	due := c.window.end()
	if keep != all || c.plan.sheds {
		due = min(due, now+c.plan.refresh)
	}
	c.due.Store(int64(due))
	c.setShed()
}

// setShed decides which fraction of the calls is refused. The lock is held.
func (c *Circuit) setShed() {
	fraction := 0.0
	if c.state() == Closed {
		for i := range c.plan.rules {
			r := &c.plan.rules[i]
			if r.Shed == nil || c.meter.smooth < r.WhileRPS || !c.window.could(r) {
				continue
			}
			if over := c.window.bound(r) - r.Above; over > 0 {
				fraction = max(fraction, r.Shed.Most*min(1, over/(r.Shed.Full-r.Above)))
			}
		}
	}
	c.shed.Store(uint32(fraction * all))
	if word := c.word.Load(); fraction > 0 {
		c.word.Store(word | shedding)
	} else if word&shedding != 0 {
		c.word.Store(word &^ shedding)
	}
}

// judge opens the circuit if a condition holds. The lock is held.
func (c *Circuit) judge(now time.Duration, events *[]event) {
	for i := range c.plan.rules {
		r := &c.plan.rules[i]
		if r.Shed != nil || c.meter.smooth < r.WhileRPS || !c.window.could(r) {
			continue
		}
		if held, rate, counted := c.window.holds(i, r); held {
			cause := fmt.Sprintf("%s: %.1f %% of %.0f calls, surely above %.4g %%", r.Of, 100*rate, counted, 100*r.Above)
			c.change(now, Open, cause, events)
			return
		}
	}
}

// probed gives the result of a probe.
func (c *Circuit) probed(word uint64, id int64, o Outcome) {
	now := c.clock.Now()
	c.mu.Lock()
	landed := c.probes.land(id) // late or not, its place is free
	if landed.id == 0 || c.word.Load()^word >= generation {
		c.mu.Unlock()
		if o == Ignored {
			c.ignored.Add(1)
		} else {
			c.tooLate(o)
		}
		return
	}
	slow := o == SlowCall || c.plan.SlowAfter > 0 && c.core.stopped(now)-landed.begin >= c.plan.SlowAfter
	var events []event
	switch {
	case o == Ignored:
		c.ignored.Add(1)
	case o == Failure:
		c.counts.Failures++
		c.change(now, Open, "a probe failed", &events)
	case slow && c.plan.judgesSlow:
		c.counts.Successes++
		c.counts.Slow++
		c.change(now, Open, "a probe was slow", &events)
	default:
		c.counts.Successes++
		if c.probes.succeeded++; c.probes.succeeded >= c.plan.Successes {
			c.change(now, Rising, "the probes succeeded", &events)
		}
	}
	c.mu.Unlock()
	c.core.tell(events)
}

// land takes a probe off the list, and returns it, or the zero probe if it is not there.
func (p *probes) land(id int64) probe {
	for i := range p.flying {
		if p.flying[i].id == id {
			landed, last := p.flying[i], len(p.flying)-1
			p.flying[i] = p.flying[last]
			p.flying = p.flying[:last]
			return landed
		}
	}
	return probe{}
}

func (c *Circuit) tooLate(o Outcome) {
	c.late.Add(1)
	if c.core.observer != nil {
		c.core.observer.Late(c.name, o)
	}
}

func (c *Circuit) state() State { return State(c.word.Load() & stateBits) }

// change makes a transition. What was counted before it does not count after it. The lock is held.
func (c *Circuit) change(now time.Duration, to State, cause string, events *[]event) {
	if to == Rising && len(c.plan.Rise.Steps) == 0 {
		to = Closed
	}
	from := c.state()
	word := c.word.Load() &^ (stateBits | shedding)
	change := Change{Circuit: c.name, From: from, To: to, Cause: cause}
	if !(from == Rising && to == Closed) { // which is no break: calls that began before are as good
		word += generation
		c.take(word / generation) // before the word: who is let in by it finds its generation counted
		c.window.reset()
	}
	c.word.Store(word | uint64(to))
	switch to {
	case Open:
		healthy := time.Duration(0)
		if from == Closed {
			healthy = now - c.since
		}
		c.attempt = c.plan.Open.Next(c.attempt, healthy)
		change.For = c.plan.Open.Delay(c.attempt, c.core.random())
		c.opened++
		c.openUntil(after(now, change.For))
	case HalfOpen:
		if c.probes == nil {
			c.probes = &probes{}
		}
		c.probes.succeeded = 0
	}
	c.since, c.cause = now, cause
	c.shed.Store(0)
	c.changes++
	change.Number = c.changes
	*events = append(*events, func(o Observer) { o.Changed(change) })
}

func (c *Circuit) openUntil(t time.Duration) {
	c.until = t
	// The one for calls without a mark, which is nearly all.
	c.rejection[reasonOpen].Store(&RejectedError{Circuit: c.name, Reason: ReasonOpen, clock: c.clock, until: after(t, c.plan.MarkedFor)})
}

// Trip opens the circuit from outside, for example because memory runs out. Told again while it is open, it stays so
// for as long from then on.
func (c *Circuit) Trip(cause string) { c.force(Open, cause) }

// Reset closes the circuit, and forgets what it counted.
func (c *Circuit) Reset() { c.force(Closed, "reset") }

func (c *Circuit) force(to State, cause string) {
	now := c.clock.Now()
	c.mu.Lock()
	var events []event
	switch {
	case c.state() == evicted:
	case to == Open && c.state() == Open: // the same fall, told again: no longer back-off for it
		c.cause = cause
		c.openUntil(max(c.until, after(now, c.plan.Open.Delay(c.attempt, c.core.random()))))
	default:
		c.change(now, to, cause, &events)
	}
	if to == Closed {
		c.attempt = -1
	}
	c.mu.Unlock()
	c.core.tell(events)
}

// adopt follows a new policy with the counts kept.
func (c *Circuit) adopt(p *plan, now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fold(now)
	c.plan = p
	c.window.resize(p.width, now)
	c.window.forgetPeaks()
	if word := c.word.Load(); p.SlowAfter > 0 {
		c.word.Store(word | timed)
	} else {
		c.word.Store(word &^ timed)
	}
	if c.state() == Open { // no longer than the new policy would have it
		c.openUntil(min(c.until, after(c.since, p.Open.Delay(c.attempt, c.core.random()))))
	}
	c.measure(now)
}
