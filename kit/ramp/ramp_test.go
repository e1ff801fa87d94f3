package ramp

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/internal/seeded"
)

var stepsFlag = flag.Int("steps", 1_000_000, "how many steps the random schedules have")

var errDown = errors.New("down")

// simple waits 1 s, then 2 s, …, takes 2 test calls of 3 at once, and rises through 10 and 50 % in 10 s each.
func simple() Config {
	return Config{
		Backoff:  Backoff{First: time.Second, Factor: 2, Most: 8 * time.Second, Calm: time.Minute},
		Probing:  Probing{Successes: 2, AtOnce: 3, Timeout: 5 * time.Second, UnmarkedAfter: 10 * time.Second},
		Schedule: Schedule{Steps: []Step{{0.1, 10 * time.Second}, {0.5, 10 * time.Second}}},
		Relapse:  Relapse{Failures: 2, Of: 10},
	}
}

// bench is a ramp on a clock that stands still, and what it told.
type bench struct {
	*testing.T
	*Ramp
	clock *clock.Manual
	told  recorder
}

type recorder struct {
	mu      sync.Mutex
	changes []Change
}

func (r *recorder) Changed(c Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = append(r.changes, c)
}

func newBench(t *testing.T, c Config) *bench {
	t.Helper()
	b := &bench{T: t, clock: clock.NewManual()}
	var err error
	b.Ramp, err = New(c, WithClock(b.clock.Clock()), WithObserver(&b.told), WithRandom(func() uint64 { return 0 }))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	lowest  = uint64(0)  // the hash that passes first
	highest = ^uint64(0) // the one that passes last
)

func (b *bench) pass(c Call) Permit {
	b.Helper()
	p, err := b.Allow(c)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func (b *bench) refuse(c Call, stage Stage, retry time.Duration) {
	b.Helper()
	_, err := b.Allow(c)
	rejected, ok := errors.AsType[*RejectedError](err)
	if !ok || !errors.Is(err, ErrRejected) || rejected.Stage != stage || rejected.RetryAfter != retry {
		b.Fatalf("got %v, want a rejection while %s, retry after %v", err, stage, retry)
	}
}

func (b *bench) want(stage Stage, share float64) {
	b.Helper()
	if s := b.Status(); s.Stage != stage || s.Share != share {
		b.Fatalf("%+v, want %s with %v", s, stage, share)
	}
}

// test lets n marked calls succeed.
func (b *bench) test(n int) {
	b.Helper()
	for range n {
		b.pass(Call{Marked: true}).Done(true)
	}
}

func TestRecoveryGoesThroughItsStages(t *testing.T) {
	b := newBench(t, simple())
	b.pass(Call{Hash: highest}).Done(false) // full traffic is not judged here
	b.want(Full, 1)
	b.Fall(errDown)
	b.refuse(Call{Marked: true}, Waiting, time.Second)
	b.clock.Advance(time.Second - 1)
	b.refuse(Call{Hash: lowest}, Waiting, 1)
	b.clock.Advance(1)
	b.refuse(Call{Hash: lowest}, Testing, time.Second)
	b.test(2)
	b.want(Rising, 0.1)
	b.pass(Call{Hash: lowest}).Done(true)
	b.refuse(Call{Hash: highest, Marked: true}, Rising, 20*time.Second)
	b.refuse(Call{Hash: 1 << 62}, Rising, 10*time.Second)
	b.clock.Advance(10 * time.Second)
	b.pass(Call{Hash: 1 << 62})
	b.refuse(Call{Hash: highest}, Rising, 10*time.Second)
	b.want(Rising, 0.5)
	b.clock.Advance(10 * time.Second)
	b.pass(Call{Hash: highest})
	b.want(Full, 1)

	var told []string
	for i, c := range b.told.changes {
		if c.Number != uint64(i+1) {
			t.Errorf("change %d has number %d", i+1, c.Number)
		}
		told = append(told, fmt.Sprint(c.From, ">", c.To, " ", c.Share, " ", c.Wait, " ", c.Cause))
	}
	if want := []string{"full>waiting 0 1s down", "waiting>testing 0 0s <nil>", "testing>rising 0.1 0s <nil>", "rising>rising 0.5 0s <nil>", "rising>full 1 0s <nil>"}; !slices.Equal(told, want) {
		t.Errorf("told %q", told)
	}
	if s := b.Status(); s.Rejected != 6 || s.Falls != 1 || s.Cause != "down" || s.Late != 0 {
		t.Errorf("%+v", s)
	}
}

func TestRelapsesWaitLongerUntilACalmTime(t *testing.T) {
	b := newBench(t, simple())
	fall := func(want time.Duration) {
		t.Helper()
		b.Fall(errDown)
		b.Fall(errDown) // a second one is the same fall
		if s := b.Status(); s.Stage != Waiting || s.Next != want {
			t.Fatalf("%+v, want a wait of %v", s, want)
		}
		b.clock.Advance(want)
	}
	fall(time.Second)
	fall(2 * time.Second) // while testing
	b.pass(Call{Marked: true}).Done(false)
	b.refuse(Call{Marked: true}, Waiting, 4*time.Second)
	b.clock.Advance(4 * time.Second)
	b.test(2)
	fall(8 * time.Second) // while rising
	fall(8 * time.Second)
	b.test(2)
	b.clock.Advance(20 * time.Second)
	b.want(Full, 1)
	b.clock.Advance(time.Minute - 1)
	fall(8 * time.Second) // not calm for long enough
	b.test(2)
	b.clock.Advance(20 * time.Second)
	b.want(Full, 1)
	b.clock.Advance(time.Minute)
	fall(time.Second)
}

func TestOrdinaryCallsProbeWhenNoMarkedOnesHaveResults(t *testing.T) {
	b := newBench(t, simple())
	b.Fall(errDown)
	b.clock.Advance(time.Second)
	b.pass(Call{Marked: true}) // and never says how it went
	b.clock.Advance(10*time.Second - 1)
	b.refuse(Call{}, Testing, time.Second)
	b.clock.Advance(1)
	b.pass(Call{}).Done(true)
	b.pass(Call{Marked: true}).Done(true)
	b.want(Rising, 0.1)

	b = newBench(t, simple())
	b.Fall(errDown)
	b.clock.Advance(9 * time.Second)
	b.test(1)
	b.clock.Advance(10*time.Second - 1)
	b.refuse(Call{}, Testing, time.Second) // there are marked ones, if few
	b.clock.Advance(1)
	b.pass(Call{})

	c := simple()
	c.Probing.UnmarkedAfter = 0
	b = newBench(t, c)
	b.Fall(errDown)
	b.clock.Advance(1000 * time.Hour)
	b.refuse(Call{}, Testing, time.Second)
	b.test(2)
	b.want(Rising, 0.1)
}

func TestFirstCallAfterASilentNightProbes(t *testing.T) {
	b := newBench(t, simple())
	b.Fall(errDown)
	b.clock.Advance(12 * time.Hour)
	b.pass(Call{}).Done(true)
	b.pass(Call{Marked: true}).Done(true) // whose result is late for nothing
	b.want(Rising, 0.1)                   // from here, not from when it could have begun
}

func TestAbandonedProbesGiveBackTheirPlaces(t *testing.T) {
	b := newBench(t, simple())
	b.Fall(errDown)
	b.clock.Advance(time.Second)
	var abandoned []Permit
	for range 3 {
		abandoned = append(abandoned, b.pass(Call{Marked: true}))
	}
	b.refuse(Call{Marked: true}, Testing, time.Second)
	b.clock.Advance(5*time.Second - 1)
	b.refuse(Call{Marked: true}, Testing, time.Second)
	if s := b.Status(); s.Probes != 3 {
		t.Errorf("%+v", s)
	}
	b.clock.Advance(1)
	p := b.pass(Call{Marked: true})
	for _, late := range abandoned {
		late.Done(false) // too late to be a failure
	}
	b.want(Testing, 0)
	p.Done(true)
	p.Done(true) // and a second one is no success
	p.Done(false)
	if s := b.Status(); s.Stage != Testing || s.Successes != 1 || s.Late != 3 || s.Probes != 0 {
		t.Errorf("%+v", s)
	}
}

func TestResultOfAnEarlierStageDoesNotCount(t *testing.T) {
	b := newBench(t, simple())
	b.Fall(errDown)
	b.clock.Advance(time.Second)
	failing, succeeding, rising := b.pass(Call{Marked: true}), b.pass(Call{Marked: true}), Permit{}
	b.Fall(errDown)
	failing.Done(false) // while waiting
	b.refuse(Call{}, Waiting, 2*time.Second)
	b.clock.Advance(2 * time.Second)
	b.pass(Call{Marked: true}).Done(true)
	succeeding.Done(true) // of the testing before
	b.want(Testing, 0)
	b.test(1)
	b.want(Rising, 0.1)
	rising = b.pass(Call{Hash: lowest})
	for range 2 {
		b.pass(Call{Hash: lowest}).Done(false)
	}
	b.clock.Advance(20 * time.Second)
	rising.Done(false) // would be the third
	b.want(Full, 1)
	if s := b.Status(); s.Late != 3 || s.Falls != 2 {
		t.Errorf("%+v", s)
	}
}

func TestFallBetweenLookingAndTakingAPlaceIsSeen(t *testing.T) {
	b := newBench(t, simple())
	b.Fall(errDown)
	b.clock.Advance(time.Second)
	b.want(Testing, 0)
	looked := b.state.Load()
	b.Fall(errDown)
	if _, err := b.probe(time.Second, looked, Call{Marked: true}); !errors.Is(err, ErrRejected) {
		t.Errorf("a test call passed while waiting: %v", err)
	}
}

func TestProbesOfAnEarlierStageKeepTheirPlaces(t *testing.T) {
	b := newBench(t, simple())
	b.Fall(errDown)
	b.clock.Advance(time.Second)
	hanging := b.pass(Call{Marked: true})
	b.pass(Call{Marked: true})
	b.Fall(errDown)
	b.clock.Advance(2 * time.Second)
	b.pass(Call{Marked: true})
	b.refuse(Call{Marked: true}, Testing, time.Second)
	hanging.Done(true)
	b.pass(Call{Marked: true})
	b.refuse(Call{Marked: true}, Testing, time.Second)
}

func TestFailuresWhileRisingAreARelapse(t *testing.T) {
	for name, test := range map[string]struct {
		results string
		falls   bool
	}{
		"two of ten":          {"f.f.......", false},
		"three of ten":        {"f.f......f", true},
		"three at once":       {"fff", true},
		"three of eleven":     {"f.f.......f", false},
		"three of thirteen":   {"ff...........f", false},
		"again and again two": {"ff........ff........ff........", false},
	} {
		b := newBench(t, simple())
		b.Fall(errDown)
		b.clock.Advance(time.Second)
		b.test(2)
		for _, result := range test.results {
			p := b.pass(Call{Hash: lowest})
			p.Done(result == '.')
			p.Done(false) // does not count
		}
		if s := b.Status(); (s.Stage == Waiting) != test.falls {
			t.Errorf("%s: %+v", name, s)
		} else if test.falls && s.Cause[:9] != "relapse: " {
			t.Errorf("%s: %s", name, s.Cause)
		}
	}
	c := simple()
	c.Relapse = Relapse{}
	b := newBench(t, c)
	b.Fall(errDown)
	b.clock.Advance(time.Second)
	b.test(2)
	for range 100 {
		b.pass(Call{Hash: lowest}).Done(false)
	}
	b.want(Rising, 0.1)
}

func TestConfigChangesWhileItRuns(t *testing.T) {
	b := newBench(t, simple())
	set := func(change func(c *Config)) {
		t.Helper()
		c := simple()
		change(&c)
		if err := b.SetConfig(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.SetConfig(Config{}); err == nil {
		t.Error("took a bad configuration")
	}
	b.Fall(errDown)
	set(func(c *Config) { c.Backoff.First, c.Backoff.Most = 1, time.Millisecond })
	b.refuse(Call{}, Waiting, time.Millisecond) // a shorter wait is in force at once
	b.clock.Advance(time.Millisecond)
	for range 3 {
		b.pass(Call{Marked: true})
	}
	set(func(c *Config) { c.Probing.AtOnce = 4 })
	b.pass(Call{Marked: true}).Done(true)
	set(func(c *Config) { c.Probing.AtOnce = 1 })
	b.refuse(Call{Marked: true}, Testing, time.Second)
	set(func(c *Config) { c.Probing.Successes = 1 }) // which there is
	b.want(Rising, 0.1)
	set(func(c *Config) { c.Schedule.Steps[0].Share = 0.2 })
	b.want(Rising, 0.2)
	b.clock.Advance(3 * time.Second)
	steps := []Step{{0.3, 3 * time.Second}, {0.4, 2 * time.Second}}
	set(func(c *Config) { c.Schedule.Steps = steps })
	steps[1].Share = 1 // ours no more
	b.want(Rising, 0.4)
	if s := b.Status(); s.Next != 2*time.Second {
		t.Errorf("%+v", s)
	}
	set(func(c *Config) { c.Schedule.Steps = nil })
	b.want(Full, 1)
	set(func(c *Config) { c.Probing.Successes, c.Schedule.Steps = 0, nil })
	b.Fall(errDown)
	b.clock.Advance(2 * time.Second)
	b.pass(Call{Hash: highest}) // neither tests nor steps
	b.want(Full, 1)
}

func TestWithoutTestsTheScheduleBeginsWithTheFirstCall(t *testing.T) {
	c := simple()
	c.Probing = Probing{}
	b := newBench(t, c)
	b.Fall(nil)
	b.clock.Advance(time.Hour)
	b.pass(Call{Hash: lowest})
	b.want(Rising, 0.1)
	if s := b.Status(); s.Cause == "" {
		t.Error("a fall without a cause")
	}
}

// reentrant calls the ramp from the observer, which deadlocks if a lock is held.
type reentrant struct{ ramp *Ramp }

func (r *reentrant) Changed(c Change) {
	if r.ramp.Status().Stage != c.To {
		panic("the change is not in force")
	}
}

func TestObserverIsCalledWithNoLockHeld(t *testing.T) {
	manual, o := clock.NewManual(), &reentrant{}
	r, err := New(simple(), WithClock(manual.Clock()), WithObserver(o), WithRandom(func() uint64 { return 0 }))
	if err != nil {
		t.Fatal(err)
	}
	o.ramp = r
	r.Fall(errDown)
	manual.Advance(time.Second)
	for range 2 {
		p, _ := r.Allow(Call{Marked: true})
		p.Done(true)
	}
	manual.Advance(20 * time.Second)
	r.Status()
	if s := r.Status(); s.Stage != Full {
		t.Errorf("%+v", s)
	}
}

func TestFullTrafficDoesNotAllocate(t *testing.T) {
	b := newBench(t, simple())
	if n := testing.AllocsPerRun(1000, func() {
		p, err := b.Allow(Call{Hash: highest})
		p.Done(err == nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestRacesKeepThePlaces has goroutines do everything at once. Probes here outlive no deadline, so that their
// number can be counted outside.
func TestRacesKeepThePlaces(t *testing.T) {
	seeded.Each(t, 3, func(t *testing.T, rnd *rand.Rand) {
		c := simple()
		c.Backoff = Backoff{First: time.Millisecond, Factor: 1, Most: time.Millisecond, Jitter: 0.5}
		c.Probing = Probing{Successes: 4, AtOnce: 2, Timeout: 1 << 60, UnmarkedAfter: time.Millisecond}
		c.Schedule.Steps = []Step{{0.5, 2 * time.Millisecond}, {1, time.Millisecond}}
		manual, told := clock.NewManual(), &recorder{}
		r, err := New(c, WithClock(manual.Clock()), WithObserver(told))
		if err != nil {
			t.Fatal(err)
		}
		var probing, probes atomic.Int64
		var all sync.WaitGroup
		for range 6 {
			own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
			all.Go(func() {
				for range 20_000 {
					p, err := r.Allow(Call{Hash: own.Uint64(), Marked: own.IntN(4) == 0})
					if p.call != nil && p.call.test {
						probes.Add(1)
						if n := probing.Add(1); n > 2 {
							t.Errorf("%d test calls at once", n)
						}
						probing.Add(-1)
					}
					if err == nil {
						p.Done(own.IntN(20) > 0)
					}
					switch own.IntN(100) {
					case 0:
						r.Fall(errDown)
					case 1:
						r.Status()
					case 2:
						if err := r.SetConfig(c); err != nil {
							t.Error(err)
						}
					case 3, 4, 5, 6:
						manual.Advance(time.Duration(own.IntN(300)) * time.Microsecond)
					}
				}
			})
		}
		all.Wait()
		slices.SortFunc(told.changes, func(a, b Change) int { return int(a.Number) - int(b.Number) })
		for i, change := range told.changes {
			if change.Number != uint64(i+1) || i > 0 && change.From != told.changes[i-1].To {
				t.Fatalf("change %d: %+v", i+1, change)
			}
		}
		if len(told.changes) < 50 || probes.Load() < 50 {
			t.Errorf("only %d changes, %d test calls: this tests little", len(told.changes), probes.Load())
		}
	})
}

func BenchmarkFull(b *testing.B) {
	r, _ := New(DefaultConfig())
	b.ReportAllocs()
	for b.Loop() {
		p, err := r.Allow(Call{Hash: highest})
		p.Done(err == nil)
	}
}

func BenchmarkWaiting(b *testing.B) {
	r, _ := New(DefaultConfig(), WithClock(clock.NewManual().Clock()))
	r.Fall(errDown)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = r.Allow(Call{Hash: highest})
	}
}

func BenchmarkRising(b *testing.B) {
	c := DefaultConfig()
	c.Probing.Successes = 0
	manual := clock.NewManual()
	r, _ := New(c, WithClock(manual.Clock()))
	r.Fall(errDown)
	manual.Advance(time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		p, err := r.Allow(Call{Hash: lowest})
		p.Done(err == nil)
	}
}
