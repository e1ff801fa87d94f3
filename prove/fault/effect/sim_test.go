package effect

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/prove/hdr"
)

var (
	seedFlag = flag.Uint64("seed", 0, "replay a random test with this seed")
	long     = os.Getenv("DOUGONG_LONG") != ""
)

// random is a source with a seed that is printed when the test fails, or with that of the flag.
func random(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay with -run='%s' -args -seed=%d", t.Name(), seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// world is a service of about 2 ms whose latencies vary in a way of its own.
type world struct {
	name     string
	requests int  // a window
	calm     bool // enough for eight pairs to find 5 ms, and to within 5 %
	// run gives the latencies in milliseconds of so many windows, one after the other.
	run func(rnd *rand.Rand, windows, requests int) [][]float64
}

// each makes windows of latencies that are drawn one by one; level is that of the window.
func each(level func(*rand.Rand) float64, one func(*rand.Rand) float64) func(*rand.Rand, int, int) [][]float64 {
	return func(rnd *rand.Rand, windows, requests int) [][]float64 {
		all := make([][]float64, windows)
		for w := range all {
			at := level(rnd)
			for range requests {
				all[w] = append(all[w], at*one(rnd))
			}
		}
		return all
	}
}

func steady(*rand.Rand) float64 { return 2 }

func lognormal(rnd *rand.Rand) float64 { return math.Exp(0.3 * rnd.NormFloat64()) }

func bursts(chance float64) func(rnd *rand.Rand, windows, requests int) [][]float64 {
	return func(rnd *rand.Rand, windows, requests int) [][]float64 {
		all := each(steady, lognormal)(rnd, windows, requests)
		for _, w := range all {
			if rnd.Float64() > chance {
				continue
			}
			more, part := 3+27*rnd.Float64(), 0.5+0.5*rnd.Float64()
			for i := range w {
				if rnd.Float64() < part {
					w[i] += more
				}
			}
		}
		return all
	}
}

var worlds = []world{
	{"independent, lognormal", 400, true, each(steady, lognormal)},
	{"120 requests a window", 120, true, each(steady, lognormal)},
	{"drift: +40 % over the run, AR(1) between windows and requests", 400, false, func(rnd *rand.Rand, windows, requests int) [][]float64 {
		all := make([][]float64, windows)
		slow, quick := 0.05*rnd.NormFloat64(), rnd.NormFloat64()
		for w := range all {
			slow = 0.8*slow + 0.03*rnd.NormFloat64()
			level := 2 * math.Exp(slow) * (1 + 0.4*float64(w)/float64(windows))
			for range requests {
				quick = 0.95*quick + math.Sqrt(1-0.95*0.95)*rnd.NormFloat64()
				all[w] = append(all[w], level*math.Exp(0.3*quick))
			}
		}
		return all
	}},
	{"bursts in one window of fifty: 3 to 30 ms more for half of its requests, or all", 400, false, bursts(0.02)},
	{"the same in one window of ten", 400, false, bursts(0.1)},
	{"heavy tail: Pareto, index 1.3", 400, true, each(steady, func(rnd *rand.Rand) float64 {
		return 0.6 * math.Min(math.Pow(1-rnd.Float64(), -1/1.3), 1000)
	})},
	{"queue: one server at 70 %", 400, false, func(rnd *rand.Rand, windows, requests int) [][]float64 {
		all, wait := make([][]float64, windows), 0.0
		for w := range all {
			for range requests {
				served := 0.6 * rnd.ExpFloat64()
				all[w] = append(all[w], wait+served)
				wait = math.Max(wait+served-0.6/0.7*rnd.ExpFloat64(), 0)
			}
		}
		return all
	}},
	{"whole milliseconds", 400, true, each(steady, func(rnd *rand.Rand) float64 { return math.Round(2*lognormal(rnd)) / 2 })},
	{"always the same", 400, true, each(steady, func(*rand.Rand) float64 { return 1 })},
	{"half of all windows at twice the level", 400, false, each(func(rnd *rand.Rand) float64 { return 2 + 2*float64(rnd.IntN(2)) }, lognormal)},
}

// measured runs pairs in a world and draws by lot which window has the fault.
func (w world) measured(rnd *rand.Rand, pairs int, fault func(float64) float64) []Pair {
	all := w.run(rnd, 2*pairs, w.requests)
	return paired(rnd, all, fault)
}

func paired(rnd *rand.Rand, all [][]float64, fault func(float64) float64) []Pair {
	var pairs []Pair
	for i := 0; i+1 < len(all); i += 2 {
		off, on := all[i], all[i+1]
		if rnd.IntN(2) == 0 {
			off, on = on, off
		}
		pairs = append(pairs, Pair{window(rnd, off, nil), window(rnd, on, fault)})
	}
	return pairs
}

// window counts latencies, and now and then something bad, as every service has it.
func window(rnd *rand.Rand, latencies []float64, fault func(float64) float64) Window {
	w := Window{Latency: new(hdr.Histogram)}
	for _, ms := range latencies {
		if fault != nil {
			ms = fault(ms)
		}
		w.Sent++
		switch roll := rnd.Float64(); {
		case roll < 0.005:
			w.Errors++
			continue
		case roll < 0.006:
			w.Timeouts++
			w.Lost++
			ms = 1000
		case roll < 0.006+0.0005:
			w.Lost++
			continue
		default:
			w.Answered++
			if rnd.Float64() < 0.01 {
				w.Degraded++
			}
		}
		w.Latency.Record(int64(ms * 1e6))
	}
	return w
}

func nothing(ms float64) float64 { return ms }
func delayed(ms float64) float64 { return ms + 5 }

// tally counts in how many of its runs something happened, and of each hundred of them in how many at most.
type tally struct{ runs, seen, here, worst int }

func (a *tally) add(happened bool) {
	if a.runs%100 == 0 {
		a.here = 0
	}
	a.runs++
	if happened {
		a.seen++
		a.here++
		a.worst = max(a.worst, a.here)
	}
}

func (a *tally) percent() float64 { return 100 * float64(a.seen) / float64(a.runs) }

// above says whether there are more than a chance explains: by more than 4.5 standard deviations.
func (a *tally) above(chance float64) bool {
	n := float64(a.runs)
	return float64(a.seen) > n*chance+4.5*math.Sqrt(n*chance*(1-chance))+2
}

func covers(d Difference, truth float64) bool { return d.Known && d.Low <= truth && truth <= d.High }

// TestSimulatedDelaysAreFoundAndNothingElse: with the fault a delay of 5 ms, or nothing at all.
func TestSimulatedDelaysAreFoundAndNothingElse(t *testing.T) {
	runs, counts := 120, []int{6, 8}
	if long {
		runs, counts = 4000, []int{6, 8, 12, 16}
	}
	var table strings.Builder
	table.WriteString("| world | pairs | A/A claimed (most in a hundred) | interval holds 5 ms, p50 (fewest in a hundred) | p99 | p50 within ±5 % | claimed | half its width |\n|---|---|---|---|---|---|---|---|\n")
	for _, w := range worlds {
		for _, pairs := range counts {
			rnd := random(t)
			var claims, misses, tailMisses, far, found tally
			width := 0.0
			for range runs {
				claims.add(Compare(w.measured(rnd, pairs, nothing), true).Verdict == Claimed)
				e := Compare(w.measured(rnd, pairs, delayed), true)
				misses.add(!covers(e.P50, 5))
				tailMisses.add(!covers(e.P99, 5))
				far.add(math.Abs(e.P50.Value-5) > 0.25)
				found.add(e.P50.Claimed)
				width += (e.P50.High - e.P50.Low) / 2 / float64(runs)
			}
			fmt.Fprintf(&table, "| %s | %d | %.1f %% (%d) | %.1f %% (%d) | %.1f %% | %.1f %% | %.1f %% | %.2f ms |\n", w.name, pairs,
				claims.percent(), claims.worst, 100-misses.percent(), 100-misses.worst, 100-tailMisses.percent(), 100-far.percent(), found.percent(), width)
			if bound := level(pairs); claims.above(bound) || misses.above(bound) || tailMisses.above(bound) {
				t.Errorf("%s, %d pairs: of %d runs %d claimed an effect of nothing, %d missed the median, %d p99; by chance some %.0f do", w.name, pairs, runs, claims.seen, misses.seen, tailMisses.seen, bound*float64(runs))
			}
			if w.calm && pairs >= 8 && far.above(0.05) {
				t.Errorf("%s, %d pairs: of %d runs %d were off by more than 5 %%", w.name, pairs, runs, far.seen)
			}
			if w.calm && pairs >= 8 && found.percent() < 99 {
				t.Errorf("%s, %d pairs: in %.1f %% of the runs no effect was claimed", w.name, pairs, 100-found.percent())
			}
		}
	}
	t.Log("\n" + table.String())
}

// TestSimulatedSlownessIsCovered: a fault that makes everything three times as slow is not the same shift everywhere,
// and the quantile of a sample leans to one side; neither may cost the interval its cover.
func TestSimulatedSlownessIsCovered(t *testing.T) {
	runs := 200
	if long {
		runs = 4000
	}
	rnd := random(t)
	var p50, p99 tally
	for range runs {
		e := Compare(worlds[0].measured(rnd, 8, func(ms float64) float64 { return 3 * ms }), true)
		p50.add(!covers(e.P50, 4))
		p99.add(!covers(e.P99, 4*math.Exp(0.3*2.3263)))
	}
	t.Logf("p50 covered in %.1f %% of %d runs, p99 in %.1f %%", 100-p50.percent(), runs, 100-p99.percent())
	if p50.above(miss) || p99.above(0.05) {
		t.Errorf("of %d runs %d missed the median and %d p99", runs, p50.seen, p99.seen)
	}
}

// TestSimulatedSharesAreCovered: errors that come one by one, and in lots.
func TestSimulatedSharesAreCovered(t *testing.T) {
	runs := 500
	if long {
		runs = 20_000
	}
	var table strings.Builder
	table.WriteString("| errors off → on | varying between windows | interval holds the truth | half its width | claimed |\n|---|---|---|---|---|\n")
	for _, c := range []struct{ off, on, vary float64 }{
		{0, 0, 0}, {0, 0.001, 0}, {0, 0.01, 0}, {0.005, 0.005, 0}, {0.005, 0.025, 0}, {0.3, 0.35, 0}, {0, 1, 0},
		{0.02, 0.02, 1}, {0.02, 0.06, 1}, {0.3, 0.5, 0.2},
	} {
		rnd := random(t)
		var misses, claimed tally
		width := 0.0
		for range runs {
			var pairs []Pair
			for range 8 {
				pairs = append(pairs, Pair{erring(rnd, c.off, c.vary), erring(rnd, c.on, c.vary)})
			}
			d := Compare(pairs, true).Errors
			misses.add(!covers(d, c.on-c.off))
			claimed.add(d.Claimed)
			width += (d.High - d.Low) / 2 / float64(runs)
		}
		fmt.Fprintf(&table, "| %.1f %% → %.1f %% | ×%.1f | %.1f %% | %.2f %% | %.1f %% |\n", 100*c.off, 100*c.on, 1+c.vary, 100-misses.percent(), 100*width, claimed.percent())
		if misses.above(0.05) || c.off == c.on && claimed.above(miss) {
			t.Errorf("%v: of %d runs %d missed and %d claimed", c, runs, misses.seen, claimed.seen)
		}
	}
	t.Log("\n" + table.String())
}

// erring is a window of 400 requests of which about a share fails: in half of the windows vary times more, in half of
// them less.
func erring(rnd *rand.Rand, share, vary float64) Window {
	if rnd.IntN(2) == 0 {
		vary = -vary
	}
	w := Window{Sent: 400}
	for range w.Sent {
		if rnd.Float64() < share*(1+vary) {
			w.Errors++
		}
	}
	return w
}
