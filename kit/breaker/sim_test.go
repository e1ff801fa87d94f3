package breaker

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/ramp"
)

var seed = flag.Uint64("seed", 0, "replay the random tests with this seed; 0: a new one each")

// long is for `make sim-kit`: months instead of days, ten million schedules instead of one.
var long = os.Getenv("DOUGONG_LONG") != ""

// atLength chooses for -short, for each change, and for `make sim-kit`.
func atLength[T any](short, usual, longest T) T {
	switch {
	case long:
		return longest
	case testing.Short():
		return short
	}
	return usual
}

func newRand(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay with: go test -run '%s' -args -seed=%d", t.Name(), s)
		}
	})
	return rand.New(rand.NewPCG(s, s))
}

// promises drives a small group by a random schedule and holds it against what it promises.
type promises struct {
	*rig
	random   *rand.Rand
	policies []Policy
	policy   Policy
	all      map[*Circuit]bool // ever seen, the evicted included
	out      []*flight
	done     uint64 // results given for calls that had a circuit
}

// flight is a permit that is out.
type flight struct {
	permit Permit
	probe  bool
	due    time.Duration
	gone   bool // abandoned: nobody will give its result
}

func schedulePolicies() []Policy {
	quick := plainPolicy()
	quick.Conditions[0].MinRequests = 2
	quick.Sampling.Least = 1
	three := quick
	three.Probes, three.Successes, three.ProbeTimeout = 3, 5, 700*time.Millisecond
	three.Rise = ramp.Schedule{Steps: []ramp.Step{{Share: 0.1, For: time.Second}, {Share: 0.7, For: 2 * time.Second}}}
	marked := three
	marked.MarkedFor = 2 * time.Second
	marked.SlowAfter = 300 * time.Millisecond
	marked.Conditions = []Condition{
		{Of: Slow, Above: 0.3, Over: 30 * time.Second, MinRequests: 3, Level: 0.8},
		{Of: Failures, Above: 0.4, Over: 20 * time.Second, MinRequests: 3, Level: 0.8, Shed: &Shed{Full: 0.9, Most: 0.8}},
		{Of: Failures, Above: 0.7, Over: 2 * time.Minute, MinRequests: 5, Level: 0.96},
	}
	return []Policy{quick, three, marked}
}

func newPromises(t *testing.T) *promises {
	p := &promises{random: newRand(t), policies: schedulePolicies(), all: map[*Circuit]bool{}}
	p.policy = p.policies[0]
	p.rig = newRigOf(t, p.policy, p.random, WithKeys[string](8))
	return p
}

var outcomes = []Outcome{Success, Success, Failure, Failure, Failure, SlowCall, Ignored}

func (p *promises) step() {
	switch n := p.random.IntN(100); {
	case n < 45:
		p.allow()
	case n < 80 && len(p.out) > 0:
		p.finish(p.random.IntN(len(p.out)))
	case n < 85 && len(p.out) > 0: // nobody will ever say what became of it
		i := p.random.IntN(len(p.out))
		p.out[i].gone = true
		if !p.out[i].probe {
			p.drop(i)
		}
	case n < 95:
		p.Advance(time.Duration(p.random.ExpFloat64() * float64(200*time.Millisecond)))
	case n < 96:
		p.Advance(time.Duration(p.random.ExpFloat64() * float64(time.Minute)))
	case n < 97:
		p.policy = p.policies[p.random.IntN(len(p.policies))]
		if err := p.SetPolicy(p.policy); err != nil {
			p.t.Fatal(err)
		}
	case n < 98 || p.random.IntN(2) == 0:
		p.do()
	default:
		for _, c := range p.Snapshot().Circuits {
			switch p.random.IntN(30) {
			case 0:
				p.circuitNamed(c.Name).Trip("schedule")
			case 1:
				p.circuitNamed(c.Name).Reset()
			case 2:
				p.Forget(c.Name)
			}
		}
	}
}

// do makes a whole call, which may panic, end its goroutine, or find that its caller has left.
func (p *promises) do() {
	key := fmt.Sprint("k", p.random.IntN(5))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	called := false
	var c *Circuit
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() { _ = recover() }()
		_ = p.Do(ctx, key, func(context.Context) error {
			called = true
			if e := p.table.Load().find(key); e != nil {
				c = &e.Circuit
			}
			switch p.random.IntN(5) {
			case 0:
				panic("schedule")
			case 1:
				runtime.Goexit()
			case 2:
				cancel()
				return ctx.Err()
			case 3:
				return errors.New("schedule")
			}
			return nil
		})
	})
	wg.Wait()
	if called && c != nil { // else it passed uncounted
		p.all[c] = true
		p.done++
	}
}

func (p *promises) circuitNamed(name string) *Circuit { return &p.table.Load().find(name).Circuit }

func (p *promises) allow() {
	key := fmt.Sprint("k", p.random.IntN(5))
	if p.random.IntN(10) == 0 {
		key = fmt.Sprint("churn", p.random.IntN(1000))
	}
	f := &flight{}
	var err error
	f.permit, err = p.AllowCall(key, Call{Hash: p.random.Uint64(), Marked: p.random.IntN(4) == 0})
	c := f.permit.circuit
	if err != nil || c == nil {
		return
	}
	p.all[c] = true
	now := p.Clock().Now()
	f.probe = State(f.permit.word&stateBits) == HalfOpen
	if f.probe {
		f.due = now + p.policy.ProbeTimeout
		flying := 0
		for _, other := range p.out {
			if other.probe && other.permit.circuit == c && now < other.due {
				flying++
			}
		}
		if flying >= p.policy.Probes {
			p.t.Fatalf("a probe beside %d others, of %d that may be", flying, p.policy.Probes)
		}
	}
	p.out = append(p.out, f)
	if len(p.out) > 200 {
		p.finish(0)
	}
}

func (p *promises) drop(i int) {
	p.out[i] = p.out[len(p.out)-1]
	p.out = p.out[:len(p.out)-1]
}

func (p *promises) finish(i int) {
	f := p.out[i]
	if f.gone {
		if p.Clock().Now() >= f.due {
			p.drop(i)
		}
		return
	}
	c := f.permit.circuit
	before := c.Snapshot()
	ended := c.word.Load()^f.permit.word >= generation
	o := outcomes[p.random.IntN(len(outcomes))]
	f.permit.Done(o)
	p.done++
	after := c.Snapshot()
	if ended && o == Ignored {
		before.Counts.Ignored++ // it has no result that could be late
		before.Counts.Late--
	}
	if ended && (after.Counts.Late != before.Counts.Late+1 || after.Requests != before.Requests || after.State != before.State) {
		p.t.Fatalf("a late %s changed %+v to %+v", o, before, after)
	}
	if p.random.IntN(10) == 0 {
		f.permit.Done(Failure)
		p.done++
		if again := c.Snapshot(); again.Counts.Late != after.Counts.Late+1 {
			p.t.Fatalf("a second Done changed %+v to %+v", after, again)
		}
	}
	p.drop(i)
}

// nothingLost checks that each result was counted once, as what it was or as late.
func (p *promises) nothingLost() {
	var sum float64
	for c := range p.all {
		n := c.Snapshot().Counts
		sum += n.Successes + n.Failures + float64(n.Ignored) + float64(n.Late)
	}
	if uint64(math.Round(sum)) != p.done {
		p.t.Fatalf("%d results were given, %v counted", p.done, sum)
	}
	if len(p.all) > 5000 {
		p.all, p.done = map[*Circuit]bool{}, 0
		for _, f := range p.out {
			p.all[f.permit.circuit] = true
		}
		for _, s := range p.Snapshot().Circuits {
			p.all[p.circuitNamed(s.Name)] = true
		}
		for c := range p.all {
			n := c.Snapshot().Counts
			p.done += uint64(math.Round(n.Successes+n.Failures)) + n.Ignored + n.Late
		}
	}
}

// nothingWedged checks that every circuit closes when its calls succeed again.
func (p *promises) nothingWedged() {
	for _, s := range p.Snapshot().Circuits {
		c := p.circuitNamed(s.Name)
		p.Advance(10 * time.Minute)
		for range 100 {
			permit, err := c.Allow()
			if err != nil {
				p.t.Fatalf("%s refuses: %v", s.Name, err)
			}
			permit.Done(Success)
			p.done++
			if c.state() == Closed {
				break
			}
			if c.state() == Rising {
				p.Advance(time.Minute)
			}
		}
		if c.state() != Closed {
			p.t.Fatalf("%s is wedged: %+v", s.Name, c.Snapshot())
		}
		p.all[c] = true
	}
}

func TestRandomSchedulesKeepThePromises(t *testing.T) {
	steps := atLength(100_000, 1_000_000, 10_000_000)
	p := newPromises(t)
	for i := range steps {
		p.step()
		if i%10_000 == 0 {
			p.nothingLost()
			p.nothingWedged()
		}
	}
	p.nothingLost()
	p.nothingWedged()
	if p.heard.late == 0 || p.heard.abandoned == 0 || p.heard.evicted == 0 || !strings.Contains(p.heard.path(), "rising closed") {
		t.Error("the schedules missed something")
	}
	t.Logf("%d steps: %d transitions, %d late, %d abandoned, %d evicted", steps, len(p.heard.changes), p.heard.late, p.heard.abandoned, p.heard.evicted)
}

// A sample of the schedules with goroutines that really run at once, for the race detector above all.
func TestRacesKeepThePromises(t *testing.T) {
	policies := schedulePolicies()
	for i := range policies {
		policies[i].Open = ramp.Backoff{First: 2 * time.Millisecond, Factor: 1, Most: 2 * time.Millisecond}
		policies[i].ProbeTimeout = time.Hour // none is abandoned: what flies can be counted
		policies[i].Rise.Steps = []ramp.Step{{Share: 0.5, For: time.Millisecond}}
		policies[i].MarkedFor, policies[i].SlowAfter = 0, 0
		policies[i].Probes = 2
	}
	g, err := New(policies[0], WithKeys[int](4))
	if err != nil {
		t.Fatal(err)
	}
	random := newRand(t)
	var given, flying, worst atomic.Int64
	circuits := make([]sync.Map, 8)
	var wg sync.WaitGroup
	for w := range circuits {
		random := rand.New(rand.NewPCG(random.Uint64(), uint64(w)))
		wg.Go(func() {
			for i := range 20_000 {
				key := random.IntN(3)
				if random.IntN(50) == 0 {
					key = random.IntN(100)
				}
				if w == 0 && i%1000 == 0 {
					if err := g.SetPolicy(policies[random.IntN(len(policies))]); err != nil {
						t.Error(err)
					}
					g.Snapshot()
				}
				permit, err := g.AllowCall(key, Call{Marked: random.IntN(3) == 0})
				if err != nil || permit.circuit == nil {
					continue
				}
				circuits[w].Store(permit.circuit, true)
				probe := State(permit.word&stateBits) == HalfOpen && key == 0
				if probe {
					n := flying.Add(1)
					for old := worst.Load(); n > old && !worst.CompareAndSwap(old, n); old = worst.Load() {
					}
				}
				if probe {
					for range 5 {
						runtime.Gosched() // fly, beside others
					}
					flying.Add(-1) // before its place is free
				}
				permit.Done(outcomes[random.IntN(len(outcomes))])
				given.Add(1)
			}
		})
	}
	wg.Wait()
	all := map[*Circuit]bool{}
	for w := range circuits {
		circuits[w].Range(func(c, _ any) bool { all[c.(*Circuit)] = true; return true })
	}
	var sum float64
	for c := range all {
		n := c.Snapshot().Counts
		sum += n.Successes + n.Failures + float64(n.Ignored) + float64(n.Late)
	}
	if int64(math.Round(sum)) != given.Load() {
		t.Errorf("%d results were given, %v counted", given.Load(), sum)
	}
	if worst.Load() > 2 {
		t.Errorf("%d probes of a circuit at once, of 2 that may be", worst.Load())
	}
}

// traffic is a steady stream of calls to one circuit, with Poisson arrivals.
type traffic struct {
	*clock.Manual
	circuit *Circuit
	random  *rand.Rand
	rps     float64
	raw     window // the same calls under the rule of others: more than 30 % of the last minute, 20 calls or more
	trips   int
	rawTrip int
}

func newTraffic(t testing.TB, preset string, random *rand.Rand, rps, least float64) *traffic {
	p, _ := Preset(preset)
	p.Sampling = Sampling{Least: least, Floor: 500} // half of the default, so that 1,000 calls a second are sampled
	m := clock.NewManual()
	g, err := New(p, WithClock[int](m.Clock()), WithRand[int](random.Uint32))
	if err != nil {
		t.Fatal(err)
	}
	c, err := g.Circuit(0)
	if err != nil {
		t.Fatal(err)
	}
	return &traffic{Manual: m, circuit: c, random: random, rps: rps, raw: window{width: time.Second}}
}

// call makes the next call, which fails with the probability p.
func (f *traffic) call(p float64) (tripped bool) {
	f.Advance(time.Duration(f.random.ExpFloat64() / f.rps * 1e9))
	failed := f.random.Float64() < p
	now := f.Clock().Now()
	f.raw.turnTo(now)
	b := bucket{n: 1, v: 1}
	if failed {
		b.bad = 1
	}
	f.raw.add(b)
	if failed && f.raw.sum.n >= 20 && f.raw.sum.bad > 0.3*f.raw.sum.n {
		f.rawTrip++
		f.raw.reset()
	}
	permit, err := f.circuit.Allow()
	if err != nil {
		panic(err)
	}
	if !failed {
		permit.Done(Success)
		return false
	}
	permit.Done(Failure)
	if f.circuit.state() == Closed {
		return false
	}
	f.trips++
	f.circuit.Reset()
	return true
}

const month = 30 * 24 * time.Hour

// Steady failures below the threshold must not open a circuit: at most once a key-month at 10 % with a threshold of
// 30 %, and at half the threshold with every other preset.
func TestFalseTripsAreRare(t *testing.T) {
	type row struct {
		preset                   string
		rps, rate, least, months float64
	}
	var rows []row
	for _, rate := range []float64{0.01, 0.05, 0.10} {
		months := []float64{atLength(0.2, 2, 48), atLength(0.1, 1, 24), atLength(0.02, 0.2, 12)}
		for i, rps := range []float64{0.5, 2, 10} {
			rows = append(rows, row{PresetSearch, rps, rate, 0.05, months[i]}) // below the floor every call is counted
		}
		for _, least := range []float64{1, 0.5, 0.2, 0.05} {
			many := atLength(0.0002, 0.002, 0.05)
			if long && rate == 0.10 && (least == 1 || least == 0.05) {
				many = 1 // those between count as many as the last: the floor
			}
			rows = append(rows, row{PresetSearch, 1000, rate, least, many})
		}
	}
	rows = append(rows, row{PresetSearch, 10_000, 0.10, 0.05, atLength(0.00002, 0.0002, 0.03)})
	for _, preset := range Presets() {
		if preset == PresetSearch {
			continue
		}
		p, _ := Preset(preset)
		for _, rps := range []float64{2, 10, 100, 10_000} {
			months := min(atLength(0.02, 0.2, 6), atLength(1000.0, 5000, 2_000_000)/rps/month.Seconds()*100)
			above := p.Conditions[0].Above
			if p.Conditions[0].WhileRPS > rps {
				above = p.Conditions[1].Above
			}
			rows = append(rows, row{preset, rps, above / 2, 0.05, months})
		}
	}
	lines := make([]string, len(rows))
	t.Run("rates", func(t *testing.T) {
		for i, r := range rows {
			t.Run(fmt.Sprintf("%s_%v_rps_%v_failing_%v_sampled", r.preset, r.rps, r.rate, r.least), func(t *testing.T) {
				t.Parallel()
				f := newTraffic(t, r.preset, newRand(t), r.rps, r.least)
				for end := time.Duration(r.months * float64(month)); f.Clock().Now() < end; {
					f.call(r.rate)
				}
				lines[i] = fmt.Sprintf("%-12s %7v %8.3g %% %9.0f %% %10.3g %9d %11.3g %12.3g",
					r.preset, r.rps, 100*r.rate, 100*r.least, r.months, f.trips, float64(f.trips)/r.months, float64(f.rawTrip)/r.months)
				if f.trips > mostOf(r.months) {
					t.Errorf("%d false trips in %v months", f.trips, r.months)
				}
			})
		}
	})
	t.Logf("false trips, and of the raw ratio (30 %%, 20 calls, a minute) beside\n                 rps  failing      least     months     trips     a month   raw a month\n%s", strings.Join(lines, "\n"))
}

// mostOf is how many events are seen in some months, if there is one a month, in all but one of ten thousand tries.
func mostOf(months float64) (most int) {
	chance := math.Exp(-months)
	for seen := chance; seen < 0.9999; seen += chance {
		most++
		chance *= months / float64(most)
	}
	return most
}

// Half of the calls fail after a good minute: within a second at 1,000 rps, within 60 calls where few arrive.
func TestOutagesAreSeenInTime(t *testing.T) {
	runs := atLength(100, 300, 3000)
	var lines []string
	for _, r := range []struct{ rps, least float64 }{{0.5, 0.05}, {2, 0.05}, {10, 0.05}, {1000, 1}, {1000, 0.5}, {1000, 0.2}, {1000, 0.05}} {
		random := newRand(t)
		within, worst := 0, time.Duration(0)
		for range runs {
			f := newTraffic(t, PresetSearch, random, r.rps, r.least)
			for good := time.Minute + time.Duration(random.Float64()*float64(10*time.Second)); f.Clock().Now() < good; {
				f.call(0.01)
			}
			begin, calls := f.Clock().Now(), 1
			for !f.call(0.5) {
				calls++
			}
			took := f.Clock().Now() - begin
			worst = max(worst, took)
			if r.rps >= 1000 && took <= time.Second || r.rps < 1000 && calls <= 60 {
				within++
			}
		}
		share := float64(within) / float64(runs)
		lines = append(lines, fmt.Sprintf("%7v %9.0f %% %9.1f %% %12v", r.rps, 100*r.least, 100*share, worst.Round(time.Millisecond)))
		want := 0.95
		if r.rps >= 1000 {
			want = 1
		} else if !long {
			want = 0.95 - 3*math.Sqrt(0.95*0.05/float64(runs))
		}
		if share < want {
			t.Errorf("%v rps, %v sampled: %.3f in time, want %v", r.rps, r.least, share, want)
		}
	}
	t.Logf("outage of 50 %% after a good minute, seen within 60 calls (1 s at 1,000 rps)\n    rps      least    in time        worst\n%s", strings.Join(lines, "\n"))
}

// A dependency goes and comes back: the first probe follows within one step of the back-off, coming back opens
// nothing again, and the share that passes is that of the schedule.
func TestRecoveryFollowsTheSchedule(t *testing.T) {
	rounds := atLength(10, 50, 1000)
	policies := map[string]Policy{}
	for _, name := range Presets() {
		policies[name], _ = Preset(name)
	}
	doubling, _ := ramp.Preset(ramp.DoublingWithin10s)
	p := DefaultPolicy()
	p.Open, p.Rise = doubling.Backoff, doubling.Schedule
	policies["doubling"] = p
	for name, p := range policies {
		t.Run(name, func(t *testing.T) {
			random := newRand(t)
			for i := range rounds {
				users := 2000
				if i < 3 {
					users = 200_000
				}
				recoverOnce(t, p, random, users)
			}
		})
	}
}

func recoverOnce(t *testing.T, p Policy, random *rand.Rand, users int) {
	r := newRigOf(t, p, random)
	c := r.circuit("a")
	const gap = 5 * time.Millisecond // 200 rps
	outage := time.Duration(random.ExpFloat64() * float64(3*time.Minute))
	step := time.Duration(0) // the back-off in force
	back := func() bool { return r.Clock().Now() >= outage }
	call := func() (passed, probe bool) {
		r.Advance(gap)
		permit, err := c.AllowCall(Call{Hash: random.Uint64() | 1})
		if err != nil {
			return false, false
		}
		probe = State(permit.word&stateBits) == HalfOpen
		if back() {
			permit.Done(Success)
		} else {
			permit.Done(Failure)
		}
		return true, probe
	}
	for !back() {
		call()
	}
	if c.state() == Closed {
		return // too short to be seen
	}
	for _, change := range r.heard.changes {
		if change.To == Open {
			step = change.For
		}
	}
	opened := len(r.heard.changes)
	for {
		if passed, probe := call(); passed && probe {
			break
		}
		if late := r.Clock().Now() - outage; late > step+p.MarkedFor+p.ProbeTimeout+gap {
			t.Fatalf("no probe %v after the dependency was back, back-off %v", late, step)
		}
	}
	if first := r.Clock().Now() - outage; first > step+p.MarkedFor+gap {
		t.Fatalf("the first probe came after %v, back-off %v", first, step)
	}
	// Through the steps, each measured by many users.
	for c.state() == HalfOpen {
		call()
	}
	for i, s := range p.Rise.Steps {
		passed := 0
		for range users {
			permit, err := c.AllowCall(Call{Hash: random.Uint64() | 1})
			if err == nil {
				permit.Done(Success)
				passed++
			}
		}
		share := float64(passed) / float64(users)
		if off := math.Abs(share - s.Share); off > 0.1*s.Share && off > 5*math.Sqrt(s.Share*(1-s.Share)/float64(users)) {
			t.Fatalf("step %d lets %v pass, not %v", i, share, s.Share)
		}
		r.Advance(s.For)
	}
	for range 1000 {
		call()
	}
	if c.state() != Closed {
		t.Fatalf("%+v", c.Snapshot())
	}
	for _, change := range r.heard.changes[opened:] {
		if change.To == Open {
			t.Fatalf("opened again while it recovered: %s", change.Cause)
		}
	}
}
