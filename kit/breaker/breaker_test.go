package breaker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/ramp"
)

// rig is a group of string keys on a clock that a test moves, with what its observer heard.
type rig struct {
	*Group[string]
	*clock.Manual
	t     *testing.T
	heard *recorder
}

type recorder struct {
	mu                             sync.Mutex
	changes                        []Change
	late, abandoned, evicted, over int
}

func (r *recorder) note(f func()) { r.mu.Lock(); defer r.mu.Unlock(); f() }

func (r *recorder) Changed(c Change)     { r.note(func() { r.changes = append(r.changes, c) }) }
func (r *recorder) Late(string, Outcome) { r.note(func() { r.late++ }) }
func (r *recorder) Abandoned(string)     { r.note(func() { r.abandoned++ }) }
func (r *recorder) Evicted(string)       { r.note(func() { r.evicted++ }) }
func (r *recorder) Overflowed()          { r.note(func() { r.over++ }) }
func (r *recorder) path() string {
	var states []string
	for _, c := range r.changes {
		states = append(states, c.To.String())
	}
	return strings.Join(states, " ")
}

// plainPolicy opens above 50 % of 10 or more calls in 60 s, for 10 s exactly; two probes at a time, two successes.
func plainPolicy() Policy {
	p := DefaultPolicy()
	p.Conditions = []Condition{{Of: Failures, Above: 0.5, Over: time.Minute, MinRequests: 10, Level: 0.9}}
	p.Open = ramp.Backoff{First: 10 * time.Second, Factor: 2, Most: 40 * time.Second, Calm: time.Minute}
	p.Probes, p.Successes, p.ProbeTimeout = 2, 2, 5*time.Second
	return p
}

func newRig(t *testing.T, p Policy, opts ...Option[string]) *rig {
	t.Helper()
	return newRigOf(t, p, newRand(t), opts...)
}

func newRigOf(t *testing.T, p Policy, random *rand.Rand, opts ...Option[string]) *rig {
	t.Helper()
	m := clock.NewManual()
	r := &rig{Manual: m, t: t, heard: &recorder{}}
	g, err := New(p, append([]Option[string]{WithClock[string](m.Clock()), WithObserver[string](r.heard), WithRand[string](random.Uint32)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	r.Group = g
	return r
}

func (r *rig) calls(key string, n int, o Outcome) {
	r.t.Helper()
	for range n {
		p, err := r.Allow(key)
		if err != nil {
			r.t.Fatal(err)
		}
		p.Done(o)
	}
}

func (r *rig) circuit(key string) *Circuit {
	r.t.Helper()
	c, err := r.Circuit(key)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// opened makes the circuit of a key open.
func (r *rig) opened(key string) *Circuit {
	r.t.Helper()
	c := r.circuit(key)
	for range 100 {
		p, err := c.Allow()
		if err != nil {
			return c
		}
		p.Done(Failure)
	}
	r.t.Fatal("did not open")
	return nil
}

func wantReason(t *testing.T, err error, want Reason) *RejectedError {
	t.Helper()
	rejected, ok := errors.AsType[*RejectedError](err)
	if !ok || rejected.Reason != want || !errors.Is(err, ErrRejected) {
		t.Fatalf("got %v, want a rejection because of %s", err, want)
	}
	return rejected
}

func wantState(t *testing.T, c *Circuit, want State) {
	t.Helper()
	if s := c.Snapshot(); s.State != want {
		t.Fatalf("%s (%s), want %s", s.State, s.Cause, want)
	}
}

func TestOpensWhenTheRateIsSurelyAbove(t *testing.T) {
	for _, test := range []struct {
		good, bad int
		open      bool
	}{
		{0, 9, false}, // fewer than asked for
		{0, 10, true},
		{5, 8, false},  // 62 %, but of 13 calls that may be chance
		{50, 80, true}, // 62 % of 130 may not
		{100, 90, false},
	} {
		r := newRig(t, plainPolicy())
		c := r.circuit("a")
		r.calls("a", test.good, Success)
		for range test.bad {
			if p, err := c.Allow(); err == nil {
				p.Done(Failure)
			}
		}
		if s := c.Snapshot(); (s.State == Open) != test.open {
			t.Errorf("%d good, %d bad: %s", test.good, test.bad, s.State)
		}
	}
}

func TestDecisionIsTheLowerBoundOfWilson(t *testing.T) {
	for _, level := range []float64{0.5, 0.8, 0.96, 0.999} {
		for n := 1.0; n < 300; n = math.Ceil(n * 1.3) {
			for k := 0.0; k <= n; k++ {
				for _, above := range []float64{0.05, 0.3, 0.65} {
					r := newRule(Condition{Above: above, Over: time.Minute, MinRequests: 1, Level: level}, time.Second)
					bound := LowerBound(k, n, level)
					if math.Abs(bound-above) > 1e-9 && r.exceeds(k, n, n) != (bound > above) {
						t.Fatalf("%v of %v at %v: bound %v, but exceeds(%v) is %v", k, n, level, bound, above, r.exceeds(k, n, n))
					}
				}
			}
		}
	}
	// Of the usual tables: 10 of 20 at 97.5 % one-sided has a lower end of 0.2993.
	if b := LowerBound(10, 20, 0.975); math.Abs(b-0.2993) > 1e-4 {
		t.Error(b)
	}
}

func TestOutageAfterAGoodMinuteIsSeenAtOnce(t *testing.T) {
	p := plainPolicy()
	r := newRig(t, p)
	for range 60 {
		r.calls("a", 100, Success)
		r.Advance(time.Second)
	}
	c, bad := r.circuit("a"), 0
	for ; c.state() == Closed && bad < 1000; bad++ {
		r.calls("a", 1, Failure)
	}
	if bad > 20 { // twice the least requests; over the whole minute 6,000 would be needed
		t.Errorf("took %d failures in a row", bad)
	}
}

func TestOldCallsAreForgotten(t *testing.T) {
	r := newRig(t, plainPolicy())
	r.calls("a", 9, Failure)
	r.Advance(61 * time.Second)
	r.calls("a", 9, Failure)
	wantState(t, r.circuit("a"), Closed)
	if n := r.circuit("a").Snapshot().Requests; n != 9 {
		t.Errorf("%v calls in the window", n)
	}
	r.calls("a", 1, Failure)
	wantState(t, r.circuit("a"), Open)
}

func TestOpenRefusesUntilItsTimeIsOverAndProbesClose(t *testing.T) {
	r := newRig(t, plainPolicy())
	c := r.opened("a")
	_, err := c.Allow()
	if got := wantReason(t, err, ReasonOpen).RetryAfter(); got != 10*time.Second {
		t.Errorf("retry after %v", got)
	}
	r.Advance(9999 * time.Millisecond)
	_, err = c.Allow()
	wantReason(t, err, ReasonOpen)
	r.Advance(time.Millisecond)

	first, err := c.Allow()
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Allow()
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Allow()
	wantReason(t, err, ReasonProbing)
	wantState(t, c, HalfOpen)
	first.Done(Success)
	second.Done(Success)
	wantState(t, c, Closed)
	if got := r.heard.path(); got != "open half-open closed" {
		t.Error(got)
	}
	if s := c.Snapshot(); s.Requests != 0 || s.Counts.Rejected != 4 { // one of which made opened() stop
		t.Errorf("%+v", s)
	}
}

func TestRejectionIsNoFailure(t *testing.T) {
	r := newRig(t, plainPolicy())
	c := r.opened("a")
	before := c.Snapshot().Counts
	for range 1000 {
		if _, err := c.Allow(); err == nil {
			t.Fatal("passed")
		}
	}
	after := c.Snapshot().Counts
	if after.Failures != before.Failures || after.Rejected != before.Rejected+1000 {
		t.Errorf("%+v, before %+v", after, before)
	}
	if errors.Is(errors.New("other"), ErrRejected) {
		t.Error("sentinel matches too much")
	}
}

func TestFailedProbeOpensForLonger(t *testing.T) {
	r := newRig(t, plainPolicy())
	c := r.opened("a")
	for _, want := range []time.Duration{10, 20, 40, 40} {
		r.heard.note(func() {
			if got := r.heard.changes[len(r.heard.changes)-1].For; got != want*time.Second {
				t.Errorf("open for %v, want %v", got, want*time.Second)
			}
		})
		r.Advance(want * time.Second)
		p, err := c.Allow()
		if err != nil {
			t.Fatal(err)
		}
		p.Done(Failure)
	}
	// A calm time makes the next fall as short as the first.
	r.Advance(40 * time.Second)
	r.calls("a", 2, Success)
	wantState(t, c, Closed)
	r.Advance(2 * time.Minute)
	r.opened("a")
	if got := r.heard.changes[len(r.heard.changes)-1].For; got != 10*time.Second {
		t.Errorf("open for %v after a calm time", got)
	}
}

func TestIgnoredProbeFreesItsPlaceAndDecidesNothing(t *testing.T) {
	r := newRig(t, plainPolicy())
	c := r.opened("a")
	r.Advance(10 * time.Second)
	for range 10 {
		r.calls("a", 1, Ignored)
	}
	wantState(t, c, HalfOpen)
	r.calls("a", 2, Success)
	wantState(t, c, Closed)
}

func TestAbandonedProbeFreesItsPlace(t *testing.T) {
	r := newRig(t, plainPolicy())
	c := r.opened("a")
	r.Advance(10 * time.Second)
	lost := make([]Permit, 2)
	for i := range lost {
		var err error
		if lost[i], err = c.Allow(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Allow()
	wantReason(t, err, ReasonProbing)
	r.Advance(5 * time.Second)
	r.calls("a", 1, Success)
	if r.heard.abandoned != 2 {
		t.Errorf("%d abandoned", r.heard.abandoned)
	}
	lost[0].Done(Failure) // as late as anything
	wantState(t, c, HalfOpen)
	r.calls("a", 1, Success)
	wantState(t, c, Closed)
	lost[1].Done(Failure)
	if s := c.Snapshot(); s.Requests != 0 || s.Counts.Late != 2 || r.heard.late != 2 {
		t.Errorf("%+v, %d heard", s.Counts, r.heard.late)
	}
}

func TestLateResultIsReportedAndNotCounted(t *testing.T) {
	r := newRig(t, plainPolicy())
	c := r.circuit("a")
	early := make([]Permit, 20)
	for i := range early {
		early[i], _ = c.Allow()
	}
	r.opened("a")
	early[0].Done(Failure)
	early[1].Done(Success)
	r.Advance(10 * time.Second)
	r.calls("a", 2, Success)
	wantState(t, c, Closed)
	for i := range early[2:] {
		early[2+i].Done(Failure)
	}
	if s := c.Snapshot(); s.State != Closed || s.Requests != 0 || s.Counts.Late != 20 {
		t.Errorf("%+v", s)
	}
	if r.heard.late != 20 {
		t.Errorf("%d heard", r.heard.late)
	}
}

func TestSecondDoneIsReportedAndNotCounted(t *testing.T) {
	r := newRig(t, plainPolicy())
	p, _ := r.Allow("a")
	p.Done(Success)
	p.Done(Failure)
	p.Release()
	if s := r.circuit("a").Snapshot(); s.Requests != 1 || s.Counts.Failures != 0 || s.Counts.Late != 1 {
		t.Errorf("%+v", s)
	}
	r.opened("a")
	r.Advance(10 * time.Second)
	p, _ = r.Allow("a")
	p.Done(Success)
	p.Done(Success)
	wantState(t, r.circuit("a"), HalfOpen) // one success of two
	var none Permit
	none.Done(Failure)
	none.Release()
}

func TestPanicAndGoexitAreFailuresAndLoseNoProbe(t *testing.T) {
	r := newRig(t, plainPolicy())
	c := r.circuit("a")
	for i := range 10 {
		var wg sync.WaitGroup
		wg.Go(func() {
			defer func() { _ = recover() }()
			_ = c.Do(t.Context(), func(context.Context) error {
				if i%2 == 0 {
					runtime.Goexit()
				}
				panic("test")
			})
		})
		wg.Wait()
	}
	wantState(t, c, Open)
	r.Advance(10 * time.Second)
	func() {
		defer func() { _ = recover() }()
		_ = r.Do(t.Context(), "a", func(context.Context) error { panic("probe") })
	}()
	wantState(t, c, Open)
	r.Advance(20 * time.Second)
	for range 2 {
		if err := r.Do(t.Context(), "a", func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	wantState(t, c, Closed)
}

func TestCallerWhoLeavesIsIgnored(t *testing.T) {
	r := newRig(t, plainPolicy())
	gone, leave := context.WithCancel(t.Context())
	leave()
	canceled := func(context.Context) error { return fmt.Errorf("call: %w", context.Canceled) }
	for range 100 {
		if err := r.Do(gone, "a", canceled); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if s := r.circuit("a").Snapshot(); s.State != Closed || s.Requests != 0 || s.Counts.Ignored != 100 {
		t.Errorf("%+v", s)
	}
	for range 10 { // whose caller waits: it was the call itself that gave up
		_ = r.Do(t.Context(), "a", canceled)
	}
	wantState(t, r.circuit("a"), Open)
	if OutcomeOf(context.DeadlineExceeded) != Failure || OutcomeOf(nil) != Success || OutcomeOf(context.Canceled) != Ignored {
		t.Error("outcomes")
	}
}

func TestCallerSaysWhatIsAFailure(t *testing.T) {
	notFound := errors.New("not found")
	r := newRig(t, plainPolicy(), WithOutcome[string](func(err error) Outcome {
		if errors.Is(err, notFound) {
			return Success
		}
		return OutcomeOf(err)
	}))
	for range 100 {
		if err := r.Do(t.Context(), "a", func(context.Context) error { return notFound }); !errors.Is(err, notFound) {
			t.Fatal(err)
		}
	}
	wantState(t, r.circuit("a"), Closed)
}

func TestSlowCallsOpen(t *testing.T) {
	p := plainPolicy()
	p.SlowAfter = 100 * time.Millisecond
	p.Conditions = []Condition{{Of: Slow, Above: 0.5, Over: time.Minute, MinRequests: 10, Level: 0.9}}
	r := newRig(t, p)
	c := r.circuit("a")
	r.calls("a", 50, Failure) // are not slow
	r.Advance(2 * time.Minute)
	for range 10 {
		permit, err := c.Allow()
		if err != nil {
			t.Fatal(err)
		}
		r.Advance(100 * time.Millisecond)
		permit.Done(Success)
	}
	wantState(t, c, Open)
	r.Advance(10 * time.Second)
	permit, _ := c.Allow()
	r.Advance(time.Second)
	permit.Done(Success) // a probe that is slow opens again
	wantState(t, c, Open)
	r.Advance(20 * time.Second)
	r.calls("a", 2, Success)
	wantState(t, c, Closed)
	r.calls("a", 10, SlowCall) // said by the caller
	wantState(t, c, Open)
}

// perSecond makes n calls in a second, of which every bad-th fails; 0 for none. It returns how many were refused.
func (r *rig) perSecond(c *Circuit, n, bad int) (refused int) {
	const steps = 50
	for step := range steps {
		for i := range n / steps {
			p, err := c.Allow()
			switch {
			case err != nil:
				refused++
			case bad > 0 && (step*n/steps+i)%bad == 0:
				p.Done(Failure)
			default:
				p.Done(Success)
			}
		}
		r.Advance(time.Second / steps)
	}
	return refused
}

func TestConditionSleepsWhileFewCallsArrive(t *testing.T) {
	p, _ := Preset(PresetInference)
	r := newRig(t, p)
	c := r.circuit("a")
	for range 20 {
		r.perSecond(c, 3000, 4) // 25 %, above 15 % but below 50 %
	}
	wantState(t, c, Closed)
	for range 4 {
		r.perSecond(c, 8000, 4)
	}
	if s := c.Snapshot(); s.State != Open {
		t.Errorf("%+v", s)
	}
}

func TestShedGrowsWithTheFailuresAndEnds(t *testing.T) {
	p, _ := Preset(PresetGateway)
	r := newRig(t, p)
	c := r.circuit("a")
	for range 12 {
		if refused := r.perSecond(c, 5000, 3); refused > 0 {
			t.Fatalf("%d refused while few calls arrive", refused)
		}
	}
	shares := map[int]float64{}
	for _, bad := range []int{4, 2} { // 25 %, 50 %
		for range 15 {
			shares[bad] = float64(r.perSecond(c, 20_000, bad)) / 20_000
		}
	}
	// In proportion between 12 % and 65 %, of 90 %: 22 % and 65 %; the lower bound is a little below.
	if s := shares[4]; s < 0.17 || s > 0.23 {
		t.Errorf("%v shed at 25 %%", s)
	}
	if s := shares[2]; s < 0.58 || s > 0.66 {
		t.Errorf("%v shed at 50 %%", s)
	}
	wantState(t, c, Closed)
	if s := c.Snapshot(); math.Abs(s.PerSecond-20_000) > 3000 {
		t.Errorf("%v a second arrive: those that are shed must count", s.PerSecond)
	}
	for range 12 {
		r.perSecond(c, 20_000, 0)
	}
	if refused := r.perSecond(c, 20_000, 0); refused != 0 {
		t.Errorf("%d refused although nothing failed for 10 s", refused)
	}
}

func TestSharesRiseAfterTheProbes(t *testing.T) {
	p := plainPolicy()
	p.MarkedFor = 3 * time.Second
	p.Rise = ramp.Schedule{Steps: []ramp.Step{{Share: 0.05, For: 10 * time.Second}, {Share: 0.5, For: 10 * time.Second}}}
	r := newRig(t, p)
	c := r.opened("a")
	r.Advance(10 * time.Second)
	_, err := c.Allow()
	wantReason(t, err, ReasonProbing) // only marked calls may, for 3 s
	for range 2 {
		permit, err := c.AllowCall(Call{Marked: true})
		if err != nil {
			t.Fatal(err)
		}
		permit.Done(Success)
	}
	wantState(t, c, Rising)
	admitted := func() (n int) {
		for user := range 10_000 {
			permit, err := c.AllowCall(Call{Hash: ramp.HashString(fmt.Sprint("user", user))})
			if err == nil {
				permit.Done(Success)
				n++
			}
		}
		return n
	}
	if n := admitted(); n < 450 || n > 550 {
		t.Errorf("%d of 10,000 users at 5 %%", n)
	}
	r.Advance(10 * time.Second)
	if n := admitted(); n < 4800 || n > 5200 {
		t.Errorf("%d of 10,000 users at 50 %%", n)
	}
	if s := c.Snapshot(); s.Share != 0.5 {
		t.Error(s.Share)
	}
	early, err := c.AllowCall(Call{Hash: 1})
	if err != nil {
		t.Fatal(err)
	}
	r.Advance(10 * time.Second)
	if n := admitted(); n != 10_000 {
		t.Errorf("%d after the last step", n)
	}
	wantState(t, c, Closed)
	early.Done(Success) // what began while it rose counts: nothing broke off
	if c.Snapshot().Counts.Late != 0 {
		t.Error("late")
	}
}

func TestRelapseWhileItRisesOpensForLonger(t *testing.T) {
	p := plainPolicy()
	p.Rise = ramp.Schedule{Steps: []ramp.Step{{Share: 0.5, For: time.Minute}}}
	r := newRig(t, p)
	c := r.opened("a")
	r.Advance(10 * time.Second)
	r.calls("a", 2, Success)
	wantState(t, c, Rising)
	for range 100 {
		if permit, err := c.Allow(); err == nil {
			permit.Done(Failure)
		}
	}
	wantState(t, c, Open)
	if got := r.heard.changes[len(r.heard.changes)-1].For; got != 20*time.Second {
		t.Errorf("open for %v", got)
	}
}

func TestUnmarkedCallsProbeWhenNobodyMarks(t *testing.T) {
	p := plainPolicy()
	p.MarkedFor = 3 * time.Second
	r := newRig(t, p)
	c := r.opened("a")
	r.Advance(13 * time.Second)
	r.calls("a", 2, Success)
	wantState(t, c, Closed)
}

func TestPolicyChangesKeepTheCounts(t *testing.T) {
	r := newRig(t, plainPolicy())
	c := r.circuit("a")
	r.calls("a", 20, Success)
	r.Advance(30 * time.Second)
	r.calls("a", 9, Failure)
	p := plainPolicy()
	p.Conditions[0].Over = 2 * time.Minute
	if err := r.SetPolicy(p); err != nil {
		t.Fatal(err)
	}
	if s := c.Snapshot(); s.Requests != 29 || s.Counts.Failures != 9 {
		t.Errorf("%+v", s)
	}
	p.Conditions[0].Over = 10 * time.Second // the twenty are older
	if err := r.SetPolicy(p); err != nil {
		t.Fatal(err)
	}
	if s := c.Snapshot(); s.Requests != 9 {
		t.Errorf("%v calls", s.Requests)
	}
	r.calls("a", 1, Failure)
	wantState(t, c, Open)

	p.Open = ramp.Backoff{First: 2 * time.Second, Factor: 1, Most: 2 * time.Second}
	if err := r.SetPolicy(p); err != nil {
		t.Fatal(err)
	}
	if s := c.Snapshot(); s.RetryIn != 2*time.Second {
		t.Errorf("retry in %v", s.RetryIn)
	}
	_, err := c.Allow()
	if got := wantReason(t, err, ReasonOpen).RetryAfter(); got != 2*time.Second {
		t.Errorf("retry after %v", got)
	}
	p.Probes = 0
	if err := r.SetPolicy(p); err == nil || r.Policy().Probes != 2 {
		t.Error("a bad policy is in force:", err)
	}
}

func TestResizeKeepsEachCountOnce(t *testing.T) {
	w := window{width: time.Second}
	for s := range 200 {
		w.turnTo(time.Duration(s) * time.Second)
		w.add(bucket{n: 1, v: 1, bad: float32(s % 2)})
	}
	now := 199 * time.Second
	for _, width := range []time.Duration{2 * time.Second, 5 * time.Second, 1500 * time.Millisecond, time.Second} {
		w.resize(width, now)
		if w.sum.n != 60 || w.sum.bad != 30 {
			t.Fatalf("%v: %+v", width, w.sum)
		}
	}
}

func TestKeysAreBoundedAndOpenOnesStay(t *testing.T) {
	r := newRig(t, plainPolicy(), WithKeys[string](100))
	held := r.circuit("held")
	open := r.opened("open")
	r.circuit("open").pinned.Store(false) // only its state protects it
	for i := range 100_000 {
		r.calls(fmt.Sprint(i), 1, Success)
		if n := r.Len(); n > 100 {
			t.Fatalf("%d circuits", n)
		}
	}
	if c := r.circuit("held"); c != held {
		t.Error("a circuit with a handle was evicted")
	}
	if c := r.circuit("open"); c != open {
		t.Error("an open circuit was evicted")
	}
	if s := r.Snapshot(); s.Evicted != 100_002-100 || r.heard.evicted != int(s.Evicted) || len(s.Circuits) != 100 {
		t.Errorf("%d evicted, %d heard, %d shown", s.Evicted, r.heard.evicted, len(s.Circuits))
	}
}

func TestEvictedCircuitTakesNoMoreResults(t *testing.T) {
	r := newRig(t, plainPolicy(), WithKeys[string](1))
	p, _ := r.Allow("a")
	r.calls("b", 1, Success)
	p.Done(Failure)
	if r.heard.late != 1 || r.heard.evicted != 1 {
		t.Errorf("%d late, %d evicted", r.heard.late, r.heard.evicted)
	}
}

func TestCallsPassUncountedWhenNothingCanMakeRoom(t *testing.T) {
	r := newRig(t, plainPolicy(), WithKeys[string](2))
	r.opened("a")
	r.opened("b")
	r.calls("c", 100, Failure)
	if s := r.Snapshot(); s.Overflown != 100 || r.heard.over != 100 || len(s.Circuits) != 2 {
		t.Errorf("%+v", s)
	}
	if _, err := r.Circuit("c"); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	r.circuit("a").Reset()
	r.circuit("a").pinned.Store(false)
	r.Advance(barrenFor) // it was not looked for meanwhile
	r.calls("c", 1, Success)
	if r.Len() != 2 || r.heard.evicted != 1 {
		t.Error("no room was made")
	}
}

func TestSamplingKeepsItsFloorAndItsEstimates(t *testing.T) {
	p := plainPolicy()
	p.Sampling = Sampling{Least: 0.05, Floor: 200}
	for rps, want := range map[int]float64{100: 1, 200: 1, 1000: 0.2, 4000: 0.05, 50_000: 0.05} {
		r := newRig(t, p)
		c := r.circuit("a")
		for range 10 {
			r.perSecond(c, rps, 4)
		}
		s := c.Snapshot()
		sum := c.window.sum
		counted := float64(sum.n) * float64(sum.n) / float64(sum.v) / 10 // a second
		if floor := min(float64(rps), 200); counted < 0.99*floor || counted > 1.5*max(floor, want*float64(rps)) {
			t.Errorf("%d rps: %v a second were counted", rps, counted)
		}
		sampled := want * float64(rps) * 10
		if off := math.Abs(s.FailureRate - 0.25); off > 5*math.Sqrt(0.25*0.75/sampled) {
			t.Errorf("%d rps: failure rate %v, want 0.25", rps, s.FailureRate)
		}
		if all := float64(rps * 10); math.Abs(s.Requests-all) > 5*math.Sqrt(all/want) {
			t.Errorf("%d rps: %v calls estimated of %v", rps, s.Requests, all)
		}
		// The traffic stops: soon every call counts again.
		r.Advance(time.Minute)
		r.calls("a", 1, Failure)
		if s := c.Snapshot(); s.Sampled != 1 || s.Requests != 1 {
			t.Errorf("%d rps: %v sampled, %v calls after a pause", rps, s.Sampled, s.Requests)
		}
	}
}

func TestKeyThatHangsIsNotTheOneThatGivesWay(t *testing.T) {
	r := newRig(t, plainPolicy(), WithKeys[string](100))
	var out []*Permit
	opened := false
	for half := range 600 { // 5 minutes; two calls a second hang for 30 s and fail, and ten other keys come
		p := new(Permit)
		var err error
		*p, err = r.Allow("hangs")
		opened = opened || err != nil
		if err == nil {
			out = append(out, p)
		}
		if half >= 60 && len(out) > 60 {
			out[0].Done(Failure)
			out = out[1:]
		}
		for i := range 5 {
			r.calls(fmt.Sprint("other", half, "-", i), 1, Success)
		}
		r.Advance(500 * time.Millisecond)
	}
	if !opened {
		t.Errorf("five minutes of outage did not open; %d results were late", r.heard.late)
	}
}

func TestForgottenKeyBeginsAnew(t *testing.T) {
	r := newRig(t, plainPolicy(), WithKeys[string](1))
	c := r.opened("a")
	r.Forget("a")
	r.Forget("never seen")
	if r.Len() != 0 {
		t.Error("it is still there")
	}
	if p, err := c.Allow(); err != nil || p.circuit != nil {
		t.Error("its handle does not let pass uncounted:", err)
	}
	r.calls("a", 1, Success)
	if s := r.Snapshot(); len(s.Circuits) != 1 || s.Circuits[0].State != Closed || s.Circuits[0].Requests != 1 {
		t.Errorf("%+v", s)
	}
}

func TestFunctionsOfOthersThatPanicLeaveNothingLocked(t *testing.T) {
	g, err := New(plainPolicy(), WithName(func(s *string) string { return *s }), WithClock[*string](clock.NewManual().Clock()))
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = g.Allow(nil)
	}()
	a := "a"
	if _, err := g.Allow(&a); err != nil || g.Len() != 1 {
		t.Error(err, g.Len())
	}
	any, err := New[any](plainPolicy())
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = any.Circuit([]int{1}) // cannot be hashed
	}()
	if any.Len() != 0 {
		t.Error(any.Len())
	}
}

// shouter panics when a probe is abandoned.
type shouter struct{ recorder }

func (s *shouter) Abandoned(string) { panic("shouter") }

func TestObserverThatPanicsLosesNoProbe(t *testing.T) {
	m := clock.NewManual()
	g, err := New(plainPolicy(), WithClock[string](m.Clock()), WithObserver[string](&shouter{}))
	if err != nil {
		t.Fatal(err)
	}
	c, _ := g.Circuit("a")
	c.Trip("test")
	m.Advance(10 * time.Second)
	for range 2 {
		if _, err := c.Allow(); err != nil {
			t.Fatal(err)
		}
	}
	m.Advance(5 * time.Second)
	func() {
		defer func() { _ = recover() }()
		_, _ = c.Allow()
	}()
	for range 2 {
		p, err := c.Allow()
		if err != nil {
			t.Fatal(err)
		}
		p.Done(Success)
	}
	wantState(t, c, Closed)
}

func TestProbeThatNeverEndsIsStillOneOfThoseThatMayBe(t *testing.T) {
	p := plainPolicy()
	p.ProbeTimeout = maxWait
	r := newRig(t, p)
	c := r.opened("a")
	r.Advance(10 * time.Second)
	first, _ := c.Allow()
	second, err := c.Allow()
	if err != nil {
		t.Fatal(err)
	}
	second.Done(Failure) // opens again, while the first still flies
	r.Advance(20 * time.Second)
	r.calls("a", 1, Success)
	third, err := c.Allow()
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Allow()
	wantReason(t, err, ReasonProbing)
	first.Done(Success) // late, and its place is free
	if c.Snapshot().Counts.Late != 1 {
		t.Error("a result of the time before was counted")
	}
	if _, err := c.Allow(); err != nil {
		t.Error("the place of the late probe is lost:", err)
	}
	third.Done(Success)
	wantState(t, c, Closed)
}

func TestHalfOpenBeginsToCountAnew(t *testing.T) {
	r := newRig(t, plainPolicy())
	c := r.opened("a")
	r.Advance(10 * time.Second)
	r.calls("a", 1, Success)
	r.calls("a", 1, Failure)
	r.Advance(20 * time.Second)
	r.calls("a", 1, Success) // the one of the last time does not count
	wantState(t, c, HalfOpen)
}

func TestResetForgetsTheBackOff(t *testing.T) {
	r := newRig(t, plainPolicy())
	c := r.opened("a")
	r.Advance(10 * time.Second)
	r.calls("a", 1, Failure) // 20 s now
	c.Reset()
	r.opened("a")
	if got := c.Snapshot().RetryIn; got != 10*time.Second {
		t.Errorf("retry in %v", got)
	}
}

func TestTripToldAgainIsTheSameFall(t *testing.T) {
	r := newRig(t, plainPolicy())
	c := r.circuit("a")
	for range 12 {
		c.Trip("memory")
		r.Advance(time.Second)
	}
	if s := c.Snapshot(); s.Opened != 1 || s.RetryIn != 9*time.Second {
		t.Errorf("opened %d times, retry in %v", s.Opened, s.RetryIn)
	}
}

func TestPolicyInForceIsNobodyElses(t *testing.T) {
	p, _ := Preset(PresetGateway)
	p.Rise.Steps = []ramp.Step{{Share: 0.5, For: time.Minute}}
	r := newRig(t, p)
	p.Rise.Steps[0].Share, p.Conditions[1].Shed.Full = 7, 0
	q := r.Policy()
	q.Rise.Steps[0].Share, q.Conditions[1].Shed.Full, q.Conditions[0].Above = 42, 0, 0
	if err := r.SetPolicy(q); err == nil {
		t.Fatal("taken")
	}
	if now := r.Policy(); now.Rise.Steps[0].Share != 0.5 || now.Conditions[1].Shed.Full != 0.65 || now.Conditions[0].Above != 0.65 {
		t.Errorf("%+v", now)
	}
}

func TestCallsInFlightAreNotSlowWhenNoneIsAnyMore(t *testing.T) {
	p := plainPolicy()
	p.SlowAfter = time.Minute
	r := newRig(t, p)
	out := make([]Permit, 40)
	for i := range out {
		out[i], _ = r.Allow("a")
	}
	p.SlowAfter = 0
	p.Conditions[0].Of = Slow
	if err := r.SetPolicy(p); err != nil {
		t.Fatal(err)
	}
	for i := range out {
		out[i].Done(Success)
	}
	if s := r.circuit("a").Snapshot(); s.State != Closed || s.Counts.Slow != 0 {
		t.Errorf("%+v", s)
	}
}

func TestQuickCallsAreNotSlowWhenManyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := DefaultPolicy()
		p.SlowAfter = 5 * time.Millisecond // as coarse as the clock of the group
		p.Conditions = []Condition{{Of: Slow, Above: 0.01, Over: time.Second, MinRequests: 10}}
		g, err := New[string](p)
		if err != nil {
			t.Fatal(err)
		}
		for range 20_000 {
			permit, err := g.Allow("a")
			if err != nil {
				t.Fatal(g.Snapshot().Circuits[0].Cause)
			}
			time.Sleep(100 * time.Microsecond)
			permit.Done(Success)
		}
	})
}

func TestCallsThatAreIgnoredArrive(t *testing.T) {
	p, _ := Preset(PresetInference)
	r := newRig(t, p)
	c := r.circuit("a")
	for range 300 { // 3 s, 10,000 calls a second: 60 % expire, a third of the rest fails
		for i := range 100 {
			permit, err := c.Allow()
			if err != nil {
				return // opened: the condition for much traffic saw it
			}
			permit.Done([]Outcome{Ignored, Ignored, Ignored, Failure, Success, Ignored, Ignored, Ignored, Success, Success}[i%10])
		}
		r.Advance(10 * time.Millisecond)
	}
	t.Errorf("%+v", c.Snapshot())
}

func TestChangesAreNumberedInOrder(t *testing.T) {
	p := plainPolicy()
	p.Rise = ramp.Schedule{Steps: []ramp.Step{{Share: 1, For: time.Second}}}
	r := newRig(t, p)
	r.opened("a")
	r.Advance(10 * time.Second)
	r.calls("a", 2, Success)
	r.Advance(time.Second)
	r.calls("a", 1, Success)
	for i, c := range r.heard.changes {
		if c.Number != uint64(i+1) {
			t.Errorf("change %d has number %d", i+1, c.Number)
		}
	}
	if got := r.heard.path(); got != "open half-open rising closed" {
		t.Error(got)
	}
}

func TestRetryAfterIsWhenTheKeyPasses(t *testing.T) {
	p := plainPolicy()
	p.MarkedFor = 9 * time.Second
	p.Rise = ramp.Schedule{Steps: []ramp.Step{{Share: 0.1, For: time.Minute}, {Share: 0.5, For: time.Hour}}}
	r := newRig(t, p)
	c := r.opened("a")
	_, err := c.Allow()
	if got := wantReason(t, err, ReasonOpen).RetryAfter(); got != 19*time.Second {
		t.Errorf("retry after %v, after 10 s marked calls go first for 9", got)
	}
	_, err = c.AllowCall(Call{Marked: true})
	if got := wantReason(t, err, ReasonOpen).RetryAfter(); got != 10*time.Second {
		t.Errorf("retry a marked call after %v", got)
	}
	r.Advance(10 * time.Second)
	_, err = c.Allow()
	if got := wantReason(t, err, ReasonProbing).RetryAfter(); got != 9*time.Second {
		t.Errorf("retry after %v, marked calls go first for 9 s", got)
	}
	r.Advance(9 * time.Second)
	r.calls("a", 2, Success)
	_, err = c.AllowCall(Call{Hash: math.MaxUint64 / 3})
	if got := wantReason(t, err, ReasonRising).RetryAfter(); got != time.Minute {
		t.Errorf("retry after %v, the key is among the half", got)
	}
	err = nil
	for range 1000 {
		if _, err = c.Allow(); err != nil {
			break
		}
	}
	if got := wantReason(t, err, ReasonRising).RetryAfter(); got != time.Second {
		t.Errorf("retry after %v without a key, and each try draws anew", got)
	}
}

func TestShedEndsWithItsState(t *testing.T) {
	p, _ := Preset(PresetGateway)
	r := newRig(t, p)
	c := r.circuit("a")
	for range 15 {
		r.perSecond(c, 20_000, 3)
	}
	if c.Snapshot().Shed == 0 {
		t.Fatal("nothing is shed")
	}
	c.Reset()
	for range 1000 {
		r.calls("a", 1, Success)
	}
}

func TestShedDoesNotGoByWhatWasLongAgo(t *testing.T) {
	p, _ := Preset(PresetGateway)
	r := newRig(t, p)
	c := r.circuit("a")
	for range 15 {
		r.perSecond(c, 20_000, 2)
	}
	if c.Snapshot().Shed == 0 {
		t.Fatal("nothing is shed")
	}
	r.Advance(10 * time.Minute)
	if refused := r.perSecond(c, 1000, 0); refused > 0 {
		t.Errorf("%d refused after ten quiet minutes", refused)
	}
}

func TestCallFallsIntoTheBucketOfItsTime(t *testing.T) {
	r := newRig(t, plainPolicy()) // buckets of a second
	r.Advance(300 * time.Millisecond)
	c := r.circuit("a")
	r.calls("a", 7, Success)
	r.Advance(800 * time.Millisecond)
	r.calls("a", 5, Success)
	r.calls("a", 1, Failure)
	w := &c.window
	if now, before := w.ring[w.head], w.ring[(w.head+Buckets-1)%Buckets]; now.n != 6 || now.bad != 1 || before.n != 7 {
		t.Errorf("%v calls now and %v before, want 6 and 7", now.n, before.n)
	}
}

func TestKeyThatBecomesHotIsSampledWithinATickOfTheClock(t *testing.T) {
	r := newRig(t, plainPolicy())
	c := r.circuit("a")
	r.Advance(10 * time.Second) // quiet until now
	r.calls("a", 20*burst, Success)
	if s := c.Snapshot(); s.Sampled > 0.06 {
		t.Errorf("%v of the calls are counted after %d without a tick", s.Sampled, 20*burst)
	}
}

func TestFewerCallsAreAllCountedAgainAtOnce(t *testing.T) {
	p := plainPolicy()
	p.Sampling = Sampling{Least: 0.01, Floor: 200}
	r := newRig(t, p)
	c := r.circuit("a")
	for range 10 {
		r.perSecond(c, 50_000, 0)
	}
	before := c.Snapshot().Counts.Successes
	for range 20 { // 100 a second from now on
		r.Advance(10 * time.Millisecond)
		r.calls("a", 1, Success)
	}
	r.Advance(time.Second)
	if s := c.Snapshot(); s.Sampled < 1 && math.Abs(s.Counts.Successes-before-20) > 100 {
		t.Errorf("%+v", s)
	}
	if counted := 1 / float64(c.weight()); counted != 1 {
		t.Errorf("%v of the calls are counted after a fifth of a second of little traffic", counted)
	}
}

// What the sampler of programs draws, not the one that tests inject.
func TestSamplerOfProgramsCountsItsShare(t *testing.T) {
	p := plainPolicy()
	p.Sampling = Sampling{Least: 0.05, Floor: 200}
	m := clock.NewManual()
	g, err := New(p, WithClock[string](m.Clock()))
	if err != nil {
		t.Fatal(err)
	}
	c, _ := g.Circuit("a")
	const calls = 400_000
	for range calls / 100 {
		for i := range 100 {
			permit, err := c.Allow()
			if err != nil {
				t.Fatal(err)
			}
			if i%4 == 0 {
				permit.Done(Failure)
			} else {
				permit.Done(Success)
			}
		}
		m.Advance(2 * time.Millisecond) // 50,000 a second
	}
	s := c.Snapshot()
	if math.Abs(s.Counts.Successes+s.Counts.Failures-calls) > 0.05*calls || math.Abs(s.Counts.Failures-calls/4) > 0.08*calls/4 || s.Sampled > 0.06 {
		t.Errorf("%.0f and %.0f of %d and %d are estimated, %v counted", s.Counts.Successes, s.Counts.Failures, calls*3/4, calls/4, s.Sampled)
	}
}

func TestTripAndResetFromOutside(t *testing.T) {
	r := newRig(t, plainPolicy())
	c := r.circuit("a")
	c.Trip("memory above 90 %")
	if s := c.Snapshot(); s.State != Open || s.Cause != "memory above 90 %" || s.Opened != 1 {
		t.Errorf("%+v", s)
	}
	c.Reset()
	wantState(t, c, Closed)
	if _, err := c.Allow(); err != nil {
		t.Error(err)
	}
}

func TestWatermarkTripsAfterItsTime(t *testing.T) {
	m := clock.NewManual()
	w, err := NewWatermark(ModelMemory(), m.Clock())
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		after time.Duration
		level float64
		want  bool
	}{
		{0, 0.95, false}, {29 * time.Second, 0.95, false}, {time.Second, 0.95, true},
		{time.Second, 0.85, true}, {time.Second, 0.95, true}, {time.Second, 0.79, false},
		{time.Second, 0.95, false}, {29 * time.Second, 0.89, false}, {time.Second, 0.95, false}, // a break begins anew
	} {
		m.Advance(step.after)
		if got := w.Measured(step.level); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
	if _, err := NewWatermark(WatermarkConfig{Above: math.NaN(), For: -1, Below: 2}, nil); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Error(err)
	}
}

func TestCallsAllocateNothing(t *testing.T) {
	g, err := New[string](DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	c, _ := g.Circuit("a")
	open, _ := g.Circuit("open")
	open.Trip("test")
	for name, f := range map[string]func(){
		"handle":   func() { p, _ := c.Allow(); p.Done(Success) },
		"key":      func() { p, _ := g.Allow("a"); p.Done(Success) },
		"deferred": func() { p, _ := g.Allow("a"); defer p.Release(); p.Done(Success) },
		"rejected": func() { _, _ = open.Allow() },
		"failing":  func() { p, _ := g.Allow("fails"); p.Done(Ignored) },
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
