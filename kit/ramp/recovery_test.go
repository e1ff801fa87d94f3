package ramp

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/internal/seeded"
)

const (
	tick        = time.Millisecond
	mostLatency = 50 * time.Millisecond
)

// dependency is down for random times. What has just come back is cold: it takes the share of the traffic that
// the schedule would give it, half as much again, and what chance adds in a second, but no more.
type dependency struct {
	warmth Schedule
	rate   float64 // of the whole traffic, calls a tick
	down   bool
	back   time.Duration
	recent [1000]int // calls in each of the last ticks
	sum    int
}

func (d *dependency) tick(now time.Duration) {
	place := &d.recent[int(now/tick)%len(d.recent)]
	d.sum -= *place
	*place = 0
}

func (d *dependency) call(now time.Duration) (ok bool) {
	d.recent[int(now/tick)%len(d.recent)]++
	d.sum++
	warm, all := d.warmth.Share(now - d.back)
	share := warm * d.rate * float64(len(d.recent))
	return !d.down && (all || float64(d.sum) <= 1.5*share+5*math.Sqrt(share)+5)
}

// recovery is one run: traffic, a dependency that fails and returns, and a stand-in for a breaker that calls
// Fall when most of the last 20 calls in full traffic failed.
type recovery struct {
	*bench
	rnd     *rand.Rand
	config  Config
	dep     dependency
	now     time.Duration
	ends    map[time.Duration][]func()
	breaker results
	marked  int             // of a hundred calls
	probed  time.Duration   // when the first test call after the return was let in
	offered map[float64]int // calls while Rising, by share
	passed  map[float64]int
}

func newRecovery(t *testing.T, rnd *rand.Rand, c Config, warmth Schedule) *recovery {
	r := &recovery{bench: newBench(t, c), rnd: rnd, config: c, ends: map[time.Duration][]func(){}, offered: map[float64]int{}, passed: map[float64]int{}}
	r.random = rnd.Uint64
	r.dep = dependency{warmth: warmth, rate: 0.1 + 0.6*rnd.Float64(), back: -time.Hour}
	if rnd.IntN(2) == 0 {
		r.marked = 1
	}
	return r
}

func (r *recovery) run(d time.Duration) {
	for range int(d / tick) {
		r.clock.Advance(tick)
		r.now += tick
		r.dep.tick(r.now)
		for _, end := range r.ends[r.now] {
			end()
		}
		delete(r.ends, r.now)
		if r.rnd.Float64() < r.dep.rate {
			r.call()
		}
	}
}

func (r *recovery) call() {
	permit, err := r.Allow(Call{Hash: r.rnd.Uint64(), Marked: r.rnd.IntN(100) < r.marked})
	if st := r.state.Load(); st.stage == Rising {
		r.offered[st.share]++
		if err == nil {
			r.passed[st.share]++
		}
	}
	if err != nil {
		return
	}
	if permit.call != nil && permit.call.test {
		r.probed = min(r.probed, r.now)
	}
	ok, full := r.dep.call(r.now), permit.call == nil
	at := r.now + tick + time.Duration(r.rnd.Int64N(int64(mostLatency/tick)))*tick
	r.ends[at] = append(r.ends[at], func() {
		permit.Done(ok)
		if full && r.breaker.add(!ok, 20) >= 10 {
			r.breaker = results{}
			r.Fall(errDown)
		}
	})
}

// outage has the dependency fail for a time, and checks how soon the ramp notices its return. It returns how
// many relapses there were after that.
func (r *recovery) outage(down, healthy time.Duration) (relapses uint64) {
	r.Helper()
	r.dep.down = true
	r.run(down)
	r.dep.down, r.dep.back, r.probed = false, r.now, never
	r.run(mostLatency) // what began before ends
	before := r.Status()
	step := r.config.Backoff.Delay(before.Attempt, 0)
	r.run(step + healthy)
	if before.Stage == Full {
		return 0 // nobody noticed
	}
	bound := mostLatency + step + r.config.Probing.UnmarkedAfter + 500*time.Millisecond
	if took := r.probed - r.dep.back; took > bound {
		r.Errorf("down for %v: first test call %v after the return, want %v at most", down, took, bound)
	}
	return r.Status().Falls - before.Falls
}

// TestRecoveryIsPromptAndCausesNoRelapse is the whole: outages of random length, traffic with and without test
// calls, and a dependency that cannot bear everything at once.
func TestRecoveryIsPromptAndCausesNoRelapse(t *testing.T) {
	recoveries, seeds := 0, 4
	if testing.Short() {
		seeds = 1
	}
	seeded.Each(t, seeds, func(t *testing.T, rnd *rand.Rand) {
		for _, name := range Presets() {
			c, _ := Preset(name)
			r := newRecovery(t, rand.New(rand.NewPCG(rnd.Uint64(), 0)), c, c.Schedule)
			var length time.Duration
			for _, step := range c.Schedule.Steps {
				length += step.For
			}
			r.run(5 * time.Second)
			for range 3 {
				down := time.Duration(rnd.ExpFloat64() * float64(20*time.Second))
				if n := r.outage(down, length+time.Minute+time.Duration(rnd.Int64N(int64(time.Minute)))); n > 0 {
					t.Errorf("%s: %d relapses after the return: %s", name, n, r.Status().Cause)
				}
				if s := r.Status(); s.Stage != Full {
					t.Errorf("%s: not recovered: %+v", name, s)
				}
				recoveries++
			}
			for share, n := range r.offered {
				if got := float64(r.passed[share]) / float64(n); math.Abs(got-share) > 5*math.Sqrt(share*(1-share)/float64(n)) {
					t.Errorf("%s: %v of %d calls passed at share %v", name, got, n, share)
				}
			}
		}
	})
	t.Logf("%d recoveries", recoveries)
}

// Without steps the same dependency falls again, or the test above would show nothing.
func TestWithoutStepsAColdDependencyRelapses(t *testing.T) {
	seeded.Each(t, 4, func(t *testing.T, rnd *rand.Rand) {
		c, _ := Preset(DoublingWithin10s)
		warmth := c.Schedule
		c.Schedule = Schedule{}
		r := newRecovery(t, rnd, c, warmth)
		r.run(5 * time.Second)
		if r.outage(time.Second, time.Minute) == 0 {
			t.Error("no relapse")
		}
	})
}

func TestAdmittedShareFollowsTheSchedule(t *testing.T) {
	const keys = 10_000
	for _, name := range Presets() {
		c, _ := Preset(name)
		b := newBench(t, c)
		b.Fall(errDown)
		b.clock.Advance(c.Backoff.First)
		b.test(c.Probing.Successes)
		var inside [keys]bool
		for _, step := range c.Schedule.Steps {
			admitted := 0
			for i := range keys {
				_, err := b.Allow(Call{Hash: HashString(fmt.Sprintf("user-%d", i))})
				if inside[i] && err != nil {
					t.Fatalf("%s: user-%d was let in before and is not at %v", name, i, step.Share)
				}
				inside[i] = err == nil
				if inside[i] {
					admitted++
				}
			}
			got := float64(admitted) / keys
			t.Logf("%s: %.4f of the keys at %v", name, got, step.Share)
			if math.Abs(got-step.Share) > 0.1*step.Share {
				t.Errorf("%s: %v of the keys at %v", name, got, step.Share)
			}
			b.clock.Advance(step.For)
		}
		b.want(Full, 1)
	}
}
