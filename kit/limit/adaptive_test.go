package limit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"text/tabwriter"
	"time"

	"github.com/dougong-io/dougong/kit/internal/seeded"
)

var scenarios = []string{"steady", "slower", "further"}

// The three dependencies that an adaptive limit must cope with, for a capacity of about c/50 ms.
func dependencies(c int, spread func(*rand.Rand) float64) map[string]dependency {
	const s = 50 * time.Millisecond
	return map[string]dependency{
		"steady":  {c, always(s), always(0), spread, 2},
		"slower":  {c, between(s, 5*s), always(0), spread, 2},
		"further": {1, always(s / time.Duration(c)), between(s, 5*s), spread, 2},
	}
}

var spreads = []struct {
	name string
	draw func(*rand.Rand) float64
}{{"fixed", fixed}, {"exponential", exponential}, {"lognormal", lognormal}}

// phases of a run of 90 s, without the 10 s after each change.
var phases = [][2]int{{10, 30}, {40, 60}, {70, 90}}

func wide() Adaptive { return Adaptive{Min: 1, Max: 4096, Tolerance: DefaultAdaptive().Tolerance} }

func TestAdaptiveFollowsTheCapacityWithinTenSeconds(t *testing.T) {
	servers := []int{8, 64}
	if !testing.Short() {
		servers = append(servers, 256)
	}
	seeded.Each(t, 1, func(t *testing.T, rnd *rand.Rand) {
		for _, c := range servers {
			for _, spread := range spreads {
				for _, name := range scenarios {
					d := dependencies(c, spread.draw)[name]
					run := simulate(ours{newController(wide(), 16)}, d, 90, rand.New(rand.NewPCG(rnd.Uint64(), 0)))
					for _, p := range phases {
						at := time.Duration(p[0]) * time.Second
						unloaded := d.best(at) / d.capacity(at)
						latency := 0.0
						for _, s := range run[p[0]:p[1]] {
							latency += s.latency.Seconds() / float64(p[1]-p[0])
						}
						used, most := 0.8, 3.0 // by chance it may be less than on average, which is tested below
						if c == 8 {            // a window has few samples, and 20 s have few requests
							used, most = 0.4, 8
						}
						if got := goodput(d, run, p[0], p[1]); got < used {
							t.Errorf("%d %s %s: from %d s on %.2f of the capacity, limits %v", c, spread.name, name, p[0], got, limits(run))
						}
						if latency > most*unloaded {
							t.Errorf("%d %s %s: from %d s on %.3f s, %.3f s without a queue, limits %v", c, spread.name, name, p[0], latency, unloaded, limits(run))
						}
						if got := meanLimit(run, p[0], p[1]) / d.best(at); c > 8 && (got < 0.7 || got > 2.5) {
							t.Errorf("%d %s %s: from %d s on %.2f of the best limit, %v", c, spread.name, name, p[0], got, limits(run))
						}
					}
				}
			}
		}
	})
}

func limits(run []second) (of []int) {
	for _, s := range run {
		of = append(of, int(s.limit))
	}
	return of
}

// TestAdaptiveUsesNinetyPercent is about the mean of several runs: where capacity is a few dozen a second, one run
// of 20 s is mostly chance.
func TestAdaptiveUsesNinetyPercent(t *testing.T) {
	seeded.Each(t, 1, func(t *testing.T, rnd *rand.Rand) {
		for _, of := range []struct {
			servers, runs int
			least         float64
		}{{2, 10, 0.8}, {8, 10, 0.9}, {64, 1, 0.9}} {
			for _, spread := range spreads {
				for _, name := range scenarios {
					d := dependencies(of.servers, spread.draw)[name]
					sum := 0.0
					for range of.runs {
						run := simulate(ours{newController(wide(), 4)}, d, 90, rand.New(rand.NewPCG(rnd.Uint64(), 0)))
						for _, p := range phases {
							sum += goodput(d, run, p[0], p[1])
						}
					}
					if mean := sum / float64(of.runs*len(phases)); mean < of.least {
						t.Errorf("%d %s %s: %.2f of the capacity", of.servers, spread.name, name, mean)
					}
				}
			}
		}
	})
}

// TestAdaptiveLaws prints how the laws compare (-v), and fails if ours is not good where the bar is.
func TestAdaptiveLaws(t *testing.T) {
	if testing.Short() {
		t.Skip("a table to read")
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "dependency\tlaw\tcapacity used, and latency over that without a queue: before\tstepped up\tafter")
	for _, name := range scenarios {
		for _, spread := range spreads[:2] {
			d := dependencies(64, spread.draw)[name]
			for _, l := range []struct {
				name string
				law
			}{
				{"this package", ours{newController(wide(), 16)}},
				{"Gradient2", &gradient2{limit: 16}},
				{"Vegas", &vegas{limit: 16}},
				{"BBR (aegis)", &bbr{}},
				{"AIMD", &aimd{limit: 16}},
			} {
				run := simulate(l.law, d, 90, rand.New(rand.NewPCG(7, 0)))
				fmt.Fprintf(w, "%s, %s\t%s", name, spread.name, l.name)
				for _, p := range phases {
					at := time.Duration(p[0]) * time.Second
					latency := 0.0
					for _, s := range run[p[0]:p[1]] {
						latency += s.latency.Seconds() / float64(p[1]-p[0])
					}
					fmt.Fprintf(w, "\t%.2f, %.1f×", goodput(d, run, p[0], p[1]), latency/(d.best(at)/d.capacity(at)))
					if got := goodput(d, run, p[0], p[1]); l.name == "this package" && got < 0.9 {
						t.Errorf("%s, %s: %.2f of the capacity from %d s on", name, spread.name, got, p[0])
					}
				}
				fmt.Fprintln(w)
			}
		}
	}
	_ = w.Flush()
	t.Log("\n" + table.String())
}

func TestAdaptiveDoesNotGrowWithoutUse(t *testing.T) {
	seeded.Each(t, 3, func(t *testing.T, rnd *rand.Rand) {
		for _, spread := range spreads {
			d := dependencies(64, spread.draw)["steady"]
			d.offered = 0.5
			run := simulate(ours{newController(wide(), 128)}, d, 120, rnd)
			if got := slices.Max(limits(run)); got > 128 {
				t.Errorf("%s: grew to %d with half the load", spread.name, got)
			}
			if got := goodput(d, run, 10, 120); got < 0.45 {
				t.Errorf("%s: %.2f of the capacity", spread.name, got)
			}
		}
	})
}

func TestAdaptiveShrinksOnceForWhatIsOverloaded(t *testing.T) {
	c := newController(wide(), 100)
	for range 50 { // all that began under the same limit
		c.overloaded(time.Second, 2*time.Second)
	}
	if c.slots() != 70 {
		t.Fatal(c.slots())
	}
	c.overloaded(2*time.Second, 3*time.Second)
	if c.slots() != 49 {
		t.Fatal(c.slots())
	}
	for i := range 100 {
		c.overloaded(time.Duration(3+i)*time.Second, time.Duration(4+i)*time.Second)
	}
	if c.slots() != 1 {
		t.Fatal(c.slots())
	}
}

func TestAdaptiveConfigReportsEveryFault(t *testing.T) {
	_, err := New(Config{Slots: 5, TenantShare: 2, Adaptive: &Adaptive{Min: 0, Max: -1, Tolerance: -1}})
	for _, want := range []string{"tenant_share: ", "adaptive.min: ", "adaptive.max: ", "adaptive.tolerance: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if _, err := New(Config{Slots: 5, Adaptive: &Adaptive{Min: 6, Max: 9, Tolerance: 1}}); err == nil || !strings.Contains(err.Error(), "slots: ") {
		t.Error(err)
	}
	if err := DefaultAdaptive().Validate(); err != nil {
		t.Error(err)
	}
}

type slotTally struct {
	tally
	slots []int
}

func (o *slotTally) SlotsChanged(slots int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.slots = append(o.slots, slots)
}

func TestOutcomesReachTheAdaptiveLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &slotTally{}
		adaptive := wide()
		l, err := New(Config{Slots: 10, Queue: 0, Adaptive: &adaptive}, WithObserver(o))
		if err != nil {
			t.Fatal(err)
		}
		run := func(d time.Duration, outcome Outcome) {
			p := acquire(t, l)
			time.Sleep(d)
			p.DoneWith(outcome)
		}
		for range 100 {
			run(time.Hour, Ignored)
		}
		if s := l.Stats(); s.Slots != 10 || s.Hold != 0 {
			t.Fatalf("%+v after what is to be ignored", s)
		}
		run(time.Millisecond, Overloaded)
		if s := l.Stats(); s.Slots != 7 || s.Hold != 0 || !slices.Equal(o.slots, []int{7}) {
			t.Fatalf("%+v, told of %v", s, o.slots)
		}
		// Those who run beyond the limit go on; nobody begins before they are through.
		var permits []Permit
		for range 7 {
			permits = append(permits, acquire(t, l))
		}
		permits[0].DoneWith(Overloaded)
		if s := l.Stats(); s.Slots != 4 || s.Running != 6 {
			t.Fatalf("%+v", s)
		}
		permits[1].DoneWith(Ignored)
		permits[2].DoneWith(Ignored)
		_, err = l.Acquire(t.Context())
		wantReason(t, err, QueueFull)
		permits[3].DoneWith(Ignored)
		acquire(t, l)
	})
}

// TestAdaptiveLimitFindsTheServers is the same as a simulation, with the limit itself and goroutines.
func TestAdaptiveLimitFindsTheServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		adaptive := wide()
		l, err := New(Config{Slots: 100, Queue: 50, Adaptive: &adaptive})
		if err != nil {
			t.Fatal(err)
		}
		const servers, service = 20, 20 * time.Millisecond
		free := make(chan struct{}, servers)
		done := 0
		var mu sync.Mutex
		var all sync.WaitGroup
		begin := time.Now()
		for time.Since(begin) < 20*time.Second {
			all.Go(func() {
				p, err := l.Acquire(context.Background())
				if err != nil {
					return
				}
				defer p.Done()
				free <- struct{}{}
				time.Sleep(service)
				<-free
				mu.Lock()
				done++
				mu.Unlock()
			})
			time.Sleep(service / servers / 2)
		}
		slots := l.Stats().Slots
		all.Wait()
		if slots < servers*7/10 || slots > servers*25/10 {
			t.Errorf("%d slots before %d servers", slots, servers)
		}
		if could := int(20*time.Second/service) * servers; done < could*9/10 {
			t.Errorf("did %d, could %d", done, could)
		}
		wantIdle(t, l)
	})
}
