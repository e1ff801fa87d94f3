package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var charge = Def{Name: "bank.charge", Doc: "The bank is asked.", Attrs: []string{"tenant", "model"}, Effects: Bytes | Skew}

// newSet returns a set whose rules need no expiry, and its point.
func newSet(t testing.TB, opts ...Option) (*Set, *Point) {
	t.Helper()
	if compiledOut {
		t.Skip("this build has no faults")
	}
	config := DefaultConfig()
	config.Ceiling.Lifetime = Forever
	s, err := New(config, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, s.Point(charge)
}

func put(t testing.TB, s *Set, r Rule) {
	t.Helper()
	if r.ID == "" {
		r.ID = "r"
	}
	if r.Point == "" {
		r.Point = "*"
	}
	if err := s.Put(Admin, r); err != nil {
		t.Fatal(err)
	}
}

func stateOf(t *testing.T, s *Set, source, id string) RuleStatus {
	t.Helper()
	for _, r := range s.Status().Rules {
		if r.Source == source && r.ID == id {
			return r
		}
	}
	t.Fatalf("no rule %s of %s", id, source)
	return RuleStatus{}
}

func hits(p *Point, n int, attrs ...Attr) (struck int) {
	for range n {
		if p.Hit(context.Background(), attrs...) != nil {
			struck++
		}
	}
	return struck
}

func TestPointWithoutRulesIsOff(t *testing.T) {
	var none *Set
	p := none.Point(charge)
	if p.On() || p.Hit(t.Context()) != nil || p.Skew() != 0 || len(none.Status().Rules) != 0 {
		t.Error("the nil set does something")
	}
	s, p := newSet(t)
	if p.On() || p.Hit(t.Context()) != nil {
		t.Error("on without a rule")
	}
	put(t, s, Rule{Point: "bank.refund", Error: &Failure{}})
	if p.On() {
		t.Error("on although the rule names another point")
	}
	put(t, s, Rule{Error: &Failure{}})
	if !p.On() || s.Point(charge) != p {
		t.Error("off, or another point of the same name")
	}
	later := s.Point(Def{Name: "made.later", Effects: Call})
	if !later.On() {
		t.Error("a point that is made after the rule is off")
	}
}

func TestErrorIsWhatItsCauseIs(t *testing.T) {
	s, p := newSet(t)
	for _, c := range []struct {
		cause   string
		is      error
		timeout bool
	}{
		{"timeout", os.ErrDeadlineExceeded, true}, {"deadline_exceeded", context.DeadlineExceeded, true}, {"no_space", syscall.ENOSPC, false},
		{"not_exist", fs.ErrNotExist, false}, {"", ErrInjected, false},
	} {
		put(t, s, Rule{Error: &Failure{Cause: c.cause, Message: "as ordered", HTTPStatus: 503, GRPCStatus: "UNAVAILABLE", RetryAfter: time.Second}})
		err := p.Hit(t.Context())
		e, ok := errors.AsType[*Error](err)
		if !ok || !errors.Is(err, c.is) || !errors.Is(err, ErrInjected) || e.Timeout() != c.timeout {
			t.Errorf("%s: %v", c.cause, err)
			continue
		}
		if e.HTTPStatus != 503 || e.GRPCCode != 14 || e.RetryAfter != time.Second || e.Point != "bank.charge" || e.Rule != "r" {
			t.Errorf("%+v", e)
		}
		if !strings.HasPrefix(err.Error(), "injected fault at bank.charge (rule r): as ordered") {
			t.Error(err)
		}
	}
}

func TestWhoIsStruck(t *testing.T) {
	half := 0.5
	eighth := []float64{0.9, 0.4, 0.6, 0.1}
	for name, c := range map[string]struct {
		rule  Rule
		attrs []Attr
		want  string // of eight calls, x is struck
	}{
		"everybody":          {Rule{}, nil, "xxxxxxxx"},
		"every third":        {Rule{Every: 3}, nil, "x..x..x."},
		"after two":          {Rule{Skip: 2}, nil, "..xxxxxx"},
		"at most two":        {Rule{Count: 2}, nil, "xx......"},
		"all of it":          {Rule{Skip: 1, Every: 2, Count: 2}, nil, ".x.x...."},
		"by chance":          {Rule{Probability: &half}, nil, ".x.x.x.x"},
		"attribute":          {Rule{Where: map[string]string{"tenant": "acme"}}, []Attr{{"model", "m"}, {"tenant", "acme"}}, "xxxxxxxx"},
		"another's":          {Rule{Where: map[string]string{"tenant": "acme"}}, []Attr{{"tenant", "acme2"}}, "........"},
		"pattern":            {Rule{Where: map[string]string{"tenant": "ac*"}}, []Attr{{"tenant", "acme"}}, "xxxxxxxx"},
		"one of two":         {Rule{Where: map[string]string{"tenant": "*", "model": "x"}}, []Attr{{"tenant", "acme"}, {"model", "y"}}, "........"},
		"attribute not told": {Rule{Where: map[string]string{"tenant": "*"}}, nil, "........"},
	} {
		t.Run(name, func(t *testing.T) {
			draws := 0
			s, p := newSet(t, WithRand(func() float64 { draws++; return eighth[(draws-1)%len(eighth)] }))
			c.rule.Error = &Failure{}
			put(t, s, c.rule)
			var got strings.Builder
			for range 8 {
				if p.Hit(t.Context(), c.attrs...) != nil {
					got.WriteByte('x')
				} else {
					got.WriteByte('.')
				}
			}
			if got.String() != c.want {
				t.Errorf("struck %s, want %s", got.String(), c.want)
			}
			if st := stateOf(t, s, Admin, "r"); int(st.Hits) != strings.Count(c.want, "x") {
				t.Errorf("%d hits are counted", st.Hits)
			}
		})
	}
}

func TestRulesStrikeInOrderAndDelaysAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := newSet(t)
		err := s.Apply(Admin, Document{Version: 1, Rules: []Rule{
			{ID: "a", Point: "*", Delay: &Delay{Fixed: 3 * time.Millisecond}},
			{ID: "b", Point: "*", Delay: &Delay{Fixed: 4 * time.Millisecond}},
			{ID: "c", Point: "*", Error: &Failure{Message: "first"}},
			{ID: "d", Point: "*", Error: &Failure{Message: "second"}},
			{ID: "e", Point: "*", Delay: &Delay{Fixed: time.Hour, Max: time.Hour}},
		}})
		if err == nil {
			t.Fatal("a delay beyond the ceiling is taken")
		}
		_ = s.Apply(Admin, Document{Version: 1, Rules: []Rule{
			{ID: "a", Point: "*", Delay: &Delay{Fixed: 3 * time.Millisecond}},
			{ID: "b", Point: "*", Delay: &Delay{Fixed: 4 * time.Millisecond}},
			{ID: "c", Point: "*", Error: &Failure{Message: "first"}},
			{ID: "d", Point: "*", Error: &Failure{Message: "second"}},
			{ID: "e", Point: "*", Delay: &Delay{Fixed: time.Minute}},
		}})
		began := time.Now()
		err = p.Hit(t.Context())
		if time.Since(began) != 7*time.Millisecond || err == nil || !strings.Contains(err.Error(), "first") {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if stateOf(t, s, Admin, "d").Hits != 0 || stateOf(t, s, Admin, "e").Hits != 0 {
			t.Error("a rule after the one that ended the call has struck")
		}
	})
}

func TestDelaysAreDistributedAsSaid(t *testing.T) {
	const n, ms = 200_000, float64(time.Millisecond)
	for name, c := range map[string]struct {
		delay                   Delay
		median, mean, low, high float64 // in ms
	}{
		"fixed":       {Delay{Fixed: 5 * time.Millisecond}, 5, 5, 5, 5},
		"jitter":      {Delay{Fixed: 5 * time.Millisecond, Jitter: 2 * time.Millisecond}, 5, 5, 3, 7},
		"between":     {Delay{Min: 50 * time.Millisecond, Max: 5 * time.Second}, 2525, 2525, 50, 5000},
		"normal":      {Delay{Fixed: 100 * time.Millisecond, Jitter: 10 * time.Millisecond, Distribution: Normal}, 100, 100, 40, 160},
		"exponential": {Delay{Fixed: 10 * time.Millisecond, Distribution: Exponential}, 6.931, 10, 0, 60_000},
		"pareto":      {Delay{Fixed: time.Millisecond, Distribution: Pareto, Max: 100 * time.Millisecond}, 1.587, 2.8, 1, 100},
	} {
		t.Run(name, func(t *testing.T) {
			drawn := make([]float64, n)
			sum := 0.0
			for i := range drawn {
				drawn[i] = float64(c.delay.draw(time.Minute, &source{})) / ms
				sum += drawn[i]
			}
			slices.Sort(drawn)
			near := func(got, want float64) bool { return math.Abs(got-want) <= want*0.03 }
			if !near(drawn[n/2], c.median) || !near(sum/n, c.mean) {
				t.Errorf("median %.3f (want %.3f), mean %.3f (want %.3f)", drawn[n/2], c.median, sum/n, c.mean)
			}
			if drawn[0] < c.low || drawn[n-1] > c.high {
				t.Errorf("from %v to %v", drawn[0], drawn[n-1])
			}
		})
	}
}

// TestDelayIsCorrectedForTheLatenessOfTimers: timers are late, by more on a busy machine. The median call waits what was ordered.
func TestDelayIsCorrectedForTheLatenessOfTimers(t *testing.T) {
	var l lateness
	late := 700 * time.Microsecond // of a timer of this test's machine
	const wanted = 5 * time.Millisecond
	var took time.Duration
	for range 200 {
		ask := l.ask(wanted)
		took = ask + late
		l.learn(ask, took)
	}
	if off := took - wanted; off < -20*time.Microsecond || off > 20*time.Microsecond {
		t.Errorf("off by %v", off)
	}
	l.learn(wanted, wanted+time.Hour) // one pause of the process
	if moved := time.Duration(l.nanoseconds.Load()) - late; moved > 100*time.Microsecond {
		t.Errorf("one pause moved it by %v", moved)
	}
	if ask := l.ask(200 * time.Microsecond); ask < 100*time.Microsecond {
		t.Errorf("a short delay is asked as %v", ask)
	}
	// An estimate that a bad time drove up must come down with delays that are short beside it.
	l.nanoseconds.Store(int64(latenessMost))
	for range 400 {
		ask := l.ask(2 * time.Millisecond)
		l.learn(ask, ask+100*time.Microsecond)
	}
	if got := time.Duration(l.nanoseconds.Load()); got > 120*time.Microsecond {
		t.Errorf("the estimate stays at %v", got)
	}
}

func TestHeldCallEndsWithItsContextItsRuleAndTheKillSwitch(t *testing.T) {
	for name, end := range map[string]func(s *Set, cancel context.CancelCauseFunc){
		"context": func(_ *Set, cancel context.CancelCauseFunc) { cancel(errors.New("gone")) },
		"removed": func(s *Set, _ context.CancelCauseFunc) { _ = s.Remove(Admin, "r") },
		"killed":  func(s *Set, _ context.CancelCauseFunc) { _ = s.Kill(File, true) },
		"closed":  func(s *Set, _ context.CancelCauseFunc) { s.Close() },
		"expired": func(*Set, context.CancelCauseFunc) { time.Sleep(time.Minute) },
	} {
		for effect, rule := range map[string]Rule{"hang": {Hang: &Hang{}}, "delay": {Delay: &Delay{Fixed: time.Minute}}} {
			t.Run(name+"/"+effect, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, p := newSet(t)
					rule.For = 50 * time.Second
					put(t, s, rule)
					ctx, cancel := context.WithCancelCause(t.Context())
					var err error
					returned := make(chan struct{})
					go func() { defer close(returned); err = p.Hit(ctx) }()
					synctest.Wait()
					if st := s.Status().Held; st.Calls != 1 {
						t.Errorf("held: %+v", st)
					}
					end(s, cancel)
					<-returned
					if (name == "context") != (err != nil) {
						t.Errorf("error %v", err)
					}
					if st := s.Status().Held; st.Calls != 0 {
						t.Errorf("held: %+v", st)
					}
				})
			})
		}
	}
}

// TestKillSwitchDoesNotLetGoIntoTheNextRule: a call that is held when nothing is in force any more meets nothing more.
func TestKillSwitchDoesNotLetGoIntoTheNextRule(t *testing.T) {
	for name, end := range map[string]func(s *Set){
		"killed":   func(s *Set) { _ = s.Kill(File, true) },
		"closed":   func(s *Set) { s.Close() },
		"replaced": func(s *Set) { _ = s.Replace(Etcd, nil) },
		"overridden": func(s *Set) {
			_ = s.Replace(Admin, []Rule{{ID: "a", Point: "nowhere", Hang: &Hang{}}, {ID: "b", Point: "nowhere", Hang: &Hang{}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := newSet(t)
				err := s.Apply(Etcd, Document{Version: 1, Rules: []Rule{{ID: "a", Point: "bank.*", Hang: &Hang{}}, {ID: "b", Point: "bank.*", Error: &Failure{}}}})
				if err != nil {
					t.Fatal(err)
				}
				returned := make(chan error)
				go func() { returned <- p.Hit(t.Context()) }()
				synctest.Wait()
				end(s)
				if err := <-returned; err != nil {
					t.Errorf("let go into the next rule: %v", err)
				}
				if held := s.Status().Held; held != (HeldStatus{}) {
					t.Errorf("%+v", held)
				}
			})
		})
	}
}

func TestRuleEndsAlthoughTheWallClockIsSetBack(t *testing.T) {
	now := time.Now()
	r := Rule{ID: "r", Point: "*", Hang: &Hang{}, Expires: now.Add(time.Minute).Round(0)}
	rule := newTally(Admin, r, now)
	if rule.expired(now.Add(59 * time.Second)) {
		t.Error("ends early")
	}
	if !rule.expired(now.Add(time.Minute)) || !rule.expired(now.Add(time.Minute).Round(0)) {
		t.Error("does not end by either clock")
	}
	// The wall was set back by an hour: what Rule.Expires says is far away, and yet a minute has passed.
	rule.rule.Expires = rule.rule.Expires.Add(time.Hour)
	if !rule.expired(now.Add(time.Minute)) {
		t.Error("lives on as the wall says")
	}
}

func TestRuleExpiresByItselfAndToTheMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o recorder
		s, p := newSet(t, WithObserver(&o))
		put(t, s, Rule{For: 10 * time.Second, Error: &Failure{}})
		put(t, s, Rule{ID: "longer", Point: "bank.*", For: 20 * time.Second, Error: &Failure{}})
		time.Sleep(10*time.Second - 1)
		if hits(p, 1) != 1 || stateOf(t, s, Admin, "r").State != Active {
			t.Error("ended early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if err := p.Hit(t.Context()); err == nil || !strings.Contains(err.Error(), "longer") {
			t.Error(err)
		}
		if stateOf(t, s, Admin, "r").State != Expired {
			t.Errorf("state %s", stateOf(t, s, Admin, "r").State)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if p.On() {
			t.Error("on")
		}
		if want := []string{"r active", "longer active", "r expired", "longer expired"}; !slices.Equal(o.changes, want) {
			t.Errorf("told %q", o.changes)
		}
	})
}

func TestRuleThatHasExpiredIsTakenAndDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := newSet(t)
		put(t, s, Rule{Expires: time.Now().Add(-time.Second), Error: &Failure{}})
		if hits(p, 1) != 0 || stateOf(t, s, Admin, "r").State != Expired {
			t.Error(stateOf(t, s, Admin, "r").State)
		}
	})
}

func TestRuleWithoutExpiryIsRefused(t *testing.T) {
	if compiledOut {
		t.Skip("this build has no faults")
	}
	s, err := New(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for text, r := range map[string]Rule{
		"expires: is missing": {ID: "r", Point: "*", Hang: &Hang{}},
		"the ceiling is 1h":   {ID: "r", Point: "*", Hang: &Hang{}, For: 2 * time.Hour},
	} {
		if err := s.Put(Admin, r); !errors.Is(err, ErrCeiling) || !strings.Contains(err.Error(), text) {
			t.Error(err)
		}
	}
}

func TestCeilingRefusesEachThing(t *testing.T) {
	half := 0.5
	c := Ceiling{
		Lifetime: Forever, Share: 0.25, Rules: 1, Delay: time.Second, Burn: time.Millisecond, Burning: 1, Held: 1, Memory: 1 << 20, Goroutines: 10,
		Skew: time.Minute, Forbidden: []string{"panic"},
	}
	for want, r := range map[string]Rule{
		"probability: strikes a share of 1":   {Error: &Failure{}},
		"probability: strikes a share of 0.5": {Probability: &half, Error: &Failure{}},
		"panic: the ceiling forbids":          {Every: 4, Panic: &Panicking{}},
		"delay: is up to 1.5s":                {Every: 4, Delay: &Delay{Fixed: time.Second, Jitter: time.Second / 2}},
		"delay: is up to 2s":                  {Every: 4, Delay: &Delay{Min: 2 * time.Second, Fixed: time.Millisecond}},
		"burn.cpu: is 2ms":                    {Every: 4, Burn: &Burn{CPU: 2 * time.Millisecond}},
		"memory.bytes: is 2097152":            {Every: 4, Memory: &Memory{Bytes: 2 << 20}},
		"goroutines.count: is 11":             {Every: 4, Goroutines: &Goroutines{Count: 11}},
		"skew.by: is -2m0s":                   {Every: 4, Skew: &ClockSkew{By: -2 * time.Minute}},
	} {
		r.ID, r.Point = "r", "*"
		if err := c.allows(&r, time.Now()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}
	for _, r := range []Rule{
		{Every: 4, Error: &Failure{}}, {Every: 2, Probability: &half, Delay: &Delay{Fixed: time.Second}},
		{Every: 4, Delay: &Delay{Fixed: 100 * time.Millisecond, Distribution: Exponential}},
	} {
		if err := c.allows(&r, time.Now()); err != nil {
			t.Error(err)
		}
	}
}

func TestCeilingBoundsWhatAddsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if compiledOut {
			t.Skip("this build has no faults")
		}
		config := DefaultConfig()
		config.Ceiling.Lifetime, config.Ceiling.Held, config.Ceiling.Memory, config.Ceiling.Goroutines = Forever, 2, 3<<20, 10
		s, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		p := s.Point(charge)
		put(t, s, Rule{Hang: &Hang{}})
		var end sync.WaitGroup
		for range 5 {
			end.Go(func() { _ = p.Hit(t.Context()) })
		}
		synctest.Wait()
		if st := stateOf(t, s, Admin, "r"); s.Status().Held.Calls != 2 || st.Capped != 3 || st.Hits != 5 {
			t.Errorf("%+v, held %+v", st, s.Status().Held)
		}
		put(t, s, Rule{Memory: &Memory{Bytes: 1 << 20, Leak: true}})
		end.Wait()
		hits(p, 5)
		if st := stateOf(t, s, Admin, "r"); s.Status().Held.MemoryBytes != 3<<20 || st.Capped != 2 {
			t.Errorf("%+v, held %+v", st, s.Status().Held)
		}
		put(t, s, Rule{Memory: &Memory{Bytes: 1 << 20}})
		hits(p, 5)
		if st := s.Status().Held; st.MemoryBytes != 1<<20 {
			t.Errorf("ballast: %+v", st)
		}
		put(t, s, Rule{Goroutines: &Goroutines{Count: 4}})
		before := runtime.NumGoroutine()
		hits(p, 5)
		if st := s.Status().Held; st.Goroutines != 8 || st.MemoryBytes != 0 || runtime.NumGoroutine() < before+8 {
			t.Errorf("%+v, %d goroutines", st, runtime.NumGoroutine())
		}
		s.Close()
		if st := s.Status().Held; st != (HeldStatus{}) {
			t.Errorf("after Close: %+v", st)
		}
		if err := s.Put(Admin, Rule{ID: "r", Point: "*", Hang: &Hang{}}); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

func TestBurnUsesAProcessorUntilItsContextEnds(t *testing.T) {
	s, p := newSet(t)
	used := func(ctx context.Context) time.Duration {
		var before, after syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
		_ = p.Hit(ctx)
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
		return time.Duration(after.Utime.Nano() - before.Utime.Nano())
	}
	put(t, s, Rule{Burn: &Burn{CPU: 100 * time.Millisecond}})
	// The time that passes is not all ours where the machine is busy with others.
	if got := used(t.Context()); got < 5*time.Millisecond {
		t.Errorf("used %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	put(t, s, Rule{Burn: &Burn{CPU: time.Second}})
	if got := used(ctx); got > 500*time.Millisecond {
		t.Errorf("used %v after its context had ended", got)
	}
}

func TestPanicSaysThatItWasOrdered(t *testing.T) {
	s, p := newSet(t)
	put(t, s, Rule{Panic: &Panicking{Message: "boo"}})
	defer func() {
		err, _ := recover().(error)
		if !errors.Is(err, ErrInjected) || err.Error() != "injected panic at bank.charge (rule r): boo" {
			t.Error(err)
		}
	}()
	_ = p.Hit(t.Context())
}

func TestContainedPanicIsAnError(t *testing.T) {
	s, p := newSet(t)
	put(t, s, Rule{Panic: &Panicking{Message: "boo"}})
	hit := func() (err error) {
		defer Contain(&err)
		return p.Hit(t.Context())
	}
	e, ok := errors.AsType[*Error](hit())
	if !ok || e.Rule != "r" || e.Message != "panic: boo" {
		t.Error(e)
	}
	defer func() {
		if recover() != "mine" {
			t.Error("another panic is contained")
		}
	}()
	func() (err error) {
		defer Contain(&err)
		panic("mine")
	}()
}

// TestDamageEndsWithItsRule: a stream that was struck once is whole again when the rule is gone.
func TestDamageEndsWithItsRule(t *testing.T) {
	for name, rule := range map[string]Rule{
		"drop": {Drop: &Drop{}}, "truncate": {Truncate: &Truncate{After: 2}}, "corrupt": {Corrupt: &Corrupt{Offset: new(int64)}},
	} {
		s, p := newSet(t)
		rule.Count = 1
		put(t, s, rule)
		d, err := p.Damage(t.Context())
		if err != nil || !d.Any() {
			t.Fatalf("%s: %+v, %v", name, d, err)
		}
		_ = s.Kill(File, true)
		if d.Any() || d.Dropped() || string(d.Copy([]byte("whole"), 0)) != "whole" {
			t.Errorf("%s goes on after the kill switch", name)
		}
	}
}

func TestSkewsAddUp(t *testing.T) {
	s, p := newSet(t)
	put(t, s, Rule{ID: "a", Skew: &ClockSkew{By: time.Minute}})
	put(t, s, Rule{ID: "b", Skew: &ClockSkew{By: -time.Second}})
	for range 3 {
		if p.Skew() != 59*time.Second {
			t.Error(p.Skew())
		}
	}
	if st := stateOf(t, s, Admin, "a"); st.Seen != 3 || st.Hits != 1 || len(s.Status().Recent) != 2 {
		t.Errorf("%+v", st)
	}
	if err := p.Hit(t.Context()); err != nil || stateOf(t, s, Admin, "a").Hits != 1 {
		t.Error("a skew strikes a call")
	}
}

func TestEffectThatAPointDoesNotHaveLeavesItOff(t *testing.T) {
	s, _ := newSet(t)
	p := s.Point(Def{Name: "read.only", Effects: Call})
	put(t, s, Rule{Point: "read.*", Truncate: &Truncate{}})
	if p.On() || stateOf(t, s, Admin, "r").State != Unmatched {
		t.Error(stateOf(t, s, Admin, "r"))
	}
}

func TestGuardedPointIsReachedByItsPackageAlone(t *testing.T) {
	s, _ := newSet(t)
	p := s.Point(Def{Name: "etcd.watch", Effects: Call, Guarded: true})
	for pattern, on := range map[string]bool{"*": false, "e*": false, "*.watch": false, "etcd*": false, "etcd.*": true, "etcd.watch": true, "etcd.dial": false} {
		put(t, s, Rule{Point: pattern, Error: &Failure{}})
		if p.On() != on {
			t.Errorf("%s: on is %v", pattern, p.On())
		}
	}
}

func TestOfSourcesTheFirstWinsAndAnyMayKill(t *testing.T) {
	s, p := newSet(t)
	who := func() string {
		e, _ := errors.AsType[*Error](p.Hit(t.Context()))
		if e == nil {
			return "-"
		}
		return e.Message
	}
	for _, source := range []string{File, Etcd, Admin} {
		d := Document{Version: 1, Rules: []Rule{{ID: "same", Point: "bank.*", Error: &Failure{Message: source}}}}
		if err := s.Apply(source, d); err != nil {
			t.Fatal(err)
		}
		if who() != source {
			t.Errorf("%s is in force, not %s", who(), source)
		}
	}
	if st := stateOf(t, s, File, "same"); st.State != Overridden {
		t.Error(st.State)
	}
	for _, source := range []string{File, Etcd, Admin} {
		if err := s.Kill(source, true); err != nil || p.On() {
			t.Errorf("%s does not kill: %v", source, err)
		}
		if st := stateOf(t, s, Admin, "same"); st.State != Killed || !slices.Equal(s.Status().Killed, []string{source}) {
			t.Error(st.State, s.Status().Killed)
		}
		_ = s.Put(Admin, Rule{ID: "more", Point: "*", Error: &Failure{}}) // setting rules does not revive
		if p.On() {
			t.Error("a rule is in force in spite of the kill switch")
		}
		_ = s.Remove(Admin, "more")
		_ = s.Kill(source, false)
		if who() != Admin {
			t.Error("the rules do not come back")
		}
	}
	_ = s.Apply(Admin, Document{Version: 1})
	if who() != Etcd {
		t.Errorf("%s is in force", who())
	}
	if err := s.Apply("mars", Document{Version: 1}); err == nil {
		t.Error("a source that is not known is taken")
	}
	if err := s.Remove(Etcd, "nobody"); !errors.Is(err, ErrNoRule) {
		t.Error(err)
	}
}

func TestRuleOfALaterSourceComesBackWhenTheOneBeforeItHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := newSet(t)
		_ = s.Put(File, Rule{ID: "same", Point: "bank.*", Error: &Failure{Message: "file"}})
		_ = s.Put(Admin, Rule{ID: "same", Point: "bank.*", For: time.Second, Error: &Failure{Message: "admin"}})
		if err := p.Hit(t.Context()); err == nil || !strings.Contains(err.Error(), "admin") {
			t.Error(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if err := p.Hit(t.Context()); err == nil || !strings.Contains(err.Error(), "file") {
			t.Error(err)
		}
	})
}

func TestRulesThatHaveEndedMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet(t)
		s.config.Ceiling.Rules = 8
		for i := range 3 * s.config.Ceiling.Rules {
			put(t, s, Rule{ID: fmt.Sprintf("r%d", i), For: time.Second, Error: &Failure{}})
			time.Sleep(time.Second)
			synctest.Wait()
		}
		for i := range s.config.Ceiling.Rules {
			put(t, s, Rule{ID: fmt.Sprintf("live%d", i), Error: &Failure{}})
		}
		if err := s.Put(Admin, Rule{ID: "more", Point: "*", Error: &Failure{}}); !errors.Is(err, ErrCeiling) {
			t.Error(err)
		}
	})
}

func TestRuleThatAsksForWhatNoPointTellsStaysUnmatched(t *testing.T) {
	s, p := newSet(t)
	put(t, s, Rule{Where: map[string]string{"tennant": "acme"}, Error: &Failure{}})
	if p.On() || stateOf(t, s, Admin, "r").State != Unmatched {
		t.Error("a misspelt attribute goes unnoticed")
	}
}

// TestLastOfACountIsTold: whoever takes the last hit, the rule is known to be exhausted and the point is off.
func TestLastOfACountIsTold(t *testing.T) {
	for range 300 {
		var o recorder
		s, p := newSet(t, WithObserver(&o))
		put(t, s, Rule{Count: 3, Error: &Failure{}})
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() { _ = p.Hit(context.Background()) })
		}
		all.Wait()
		if p.On() || !slices.Contains(o.changes, "r exhausted") || stateOf(t, s, Admin, "r").Hits != 3 {
			t.Fatalf("on is %v, told %q", p.On(), o.changes)
		}
	}
}

func TestRuleIsToldWithTheStateItBeginsIn(t *testing.T) {
	var o recorder
	s, _ := newSet(t, WithObserver(&o))
	put(t, s, Rule{ID: "nowhere", Point: "nowhere", Error: &Failure{}})
	put(t, s, Rule{ID: "late", Expires: time.Now().Add(-time.Hour), Error: &Failure{}})
	_ = s.Kill(Etcd, true)
	put(t, s, Rule{ID: "stopped", Error: &Failure{}})
	if want := []string{"nowhere unmatched", "late expired", " killed", "stopped killed"}; !slices.Equal(o.changes, want) {
		t.Errorf("told %q", o.changes)
	}
}

func TestSameRuleAgainKeepsItsCounts(t *testing.T) {
	s, p := newSet(t)
	d, err := Parse([]byte(`{"version":1,"rules":[{"id":"r","point":"*","where":{"tenant":"a"},"count":3,"error":{"cause":"io"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Apply(Etcd, d)
	hits(p, 2, Attr{"tenant", "a"})
	again, _ := Parse([]byte(`{"version":1,"rules":[{"id":"r","point":"*","where":{"tenant":"a"},"count":3,"error":{"cause":"io"}},{"id":"other","point":"x","hang":{}}]}`))
	_ = s.Apply(Etcd, again)
	if n := hits(p, 5, Attr{"tenant", "a"}); n != 1 {
		t.Errorf("%d hits more", n)
	}
	if st := stateOf(t, s, Etcd, "r"); st.State != Exhausted || st.Hits != 3 {
		t.Error(st)
	}
	again.Rules[0].Count = 4
	_ = s.Apply(Etcd, again)
	if n := hits(p, 5, Attr{"tenant", "a"}); n != 4 {
		t.Errorf("a rule that changed goes on from before: %d hits", n)
	}
	_ = s.Apply(Etcd, Document{Version: 1})
	if p.On() {
		t.Error("on")
	}
}

func TestApplyThatFailsChangesNothing(t *testing.T) {
	s, p := newSet(t)
	put(t, s, Rule{Error: &Failure{Message: "kept"}})
	bad := Document{Version: 1, Rules: []Rule{{ID: "a", Point: "*", Panic: &Panicking{}}, {ID: "b", Point: "*", Delay: &Delay{Fixed: time.Hour}}}}
	if err := s.Apply(Admin, bad); !errors.Is(err, ErrCeiling) || !strings.Contains(err.Error(), "rules[1].delay") {
		t.Error(err)
	}
	if err := p.Hit(t.Context()); err == nil || !strings.Contains(err.Error(), "kept") {
		t.Error(err)
	}
}

func TestCallerCannotChangeWhatWasSet(t *testing.T) {
	s, p := newSet(t)
	rule := Rule{ID: "r", Point: "*", Where: map[string]string{"tenant": "a"}, Error: &Failure{Message: "one"}}
	_ = s.Put(Admin, rule)
	rule.Error.Message, rule.Where["tenant"] = "two", "b"
	s.Status().Rules[0].Rule.Error.Message = "three"
	if err := p.Hit(t.Context(), Attr{"tenant", "a"}); err == nil || !strings.Contains(err.Error(), "one") {
		t.Error(err)
	}
}

func TestHitsAreToldAndKept(t *testing.T) {
	var o recorder
	s, p := newSet(t, WithObserver(&o))
	put(t, s, Rule{Drop: &Drop{}})
	for range 100 {
		d, err := p.Damage(t.Context(), Attr{"tenant", "acme"})
		if err != nil || !d.Drop {
			t.Fatal(d, err)
		}
	}
	recent := s.Status().Recent
	if len(o.hits) != 100 || len(recent) != 64 {
		t.Fatalf("%d told, %d kept", len(o.hits), len(recent))
	}
	h := recent[0]
	if h.Point != "bank.charge" || h.Rule != "r" || h.Source != Admin || h.Effect != "drop" || h.Attributes["tenant"] != "acme" || h.At.IsZero() {
		t.Errorf("%+v", h)
	}
}

type recorder struct {
	mu      sync.Mutex
	hits    []Hit
	changes []string
}

func (r *recorder) Struck(_ context.Context, h Hit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hits = append(r.hits, h)
}

func (r *recorder) Changed(c Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = append(r.changes, c.Rule+" "+string(c.State))
}

// TestNothingStaysHeld has everybody do everything at once, and looks at what is left.
func TestNothingStaysHeld(t *testing.T) {
	s, p := newSet(t)
	rules := []Rule{
		{ID: "a", Hang: &Hang{}, For: time.Second}, {ID: "b", Delay: &Delay{Fixed: time.Millisecond}, Count: 20}, {ID: "c", Memory: &Memory{Bytes: 4096, Leak: true}, Every: 3},
		{ID: "d", Goroutines: &Goroutines{Count: 3}, Count: 50}, {ID: "e", Error: &Failure{}}, {ID: "f", Drop: &Drop{}}, {ID: "g", Burn: &Burn{CPU: 10 * time.Microsecond}},
	}
	var failed atomic.Int64
	const steps = 500
	var done atomic.Bool
	var all sync.WaitGroup
	var setting sync.WaitGroup
	for n := range 4 {
		setting.Go(func() {
			for i := n; i < n+steps; i++ {
				r := rules[i%len(rules)]
				r.Point = "*"
				switch i % 5 {
				case 0, 1:
					_ = s.Put([]string{Admin, Etcd, File}[i%3], r)
				case 2:
					_ = s.Remove(Admin, r.ID)
				case 3:
					_ = s.Kill(Etcd, i%2 == 0)
				case 4:
					s.Status()
				}
			}
		})
		all.Go(func() {
			for !done.Load() {
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Millisecond)
				if _, err := p.Damage(ctx, Attr{"tenant", "a"}); err != nil {
					failed.Add(1)
				}
				cancel()
			}
		})
	}
	setting.Wait()
	done.Store(true)
	all.Wait()
	s.Close()
	if st := s.Status().Held; st != (HeldStatus{}) {
		t.Errorf("held after Close: %+v", st)
	}
	if p.On() {
		t.Error("on after Close")
	}
	if failed.Load() == 0 {
		t.Error("no rule has struck: the test shows nothing")
	}
}

func TestOffPointAllocatesNothing(t *testing.T) {
	s, p := newSet(t)
	call := func() {
		if p.On() {
			_ = p.Hit(context.Background(), Attr{"tenant", "b"}, Attr{"model", "m"})
		}
	}
	if n := testing.AllocsPerRun(100, call); n != 0 {
		t.Errorf("off: %v allocations", n)
	}
	put(t, s, Rule{Where: map[string]string{"tenant": "a*"}, Error: &Failure{}})
	if n := testing.AllocsPerRun(100, call); n != 0 {
		t.Errorf("on, not matching: %v allocations", n)
	}
}
