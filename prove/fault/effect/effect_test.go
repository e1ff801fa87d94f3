package effect

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dougong-io/dougong/prove/hdr"
)

// even is a window of n latencies, all the same, in milliseconds.
func even(n uint64, ms float64) Window {
	w := Window{Latency: new(hdr.Histogram), Sent: n, Answered: n}
	w.Latency.RecordN(int64(ms*1e6), n)
	return w
}

func repeated(n int, off, on Window) []Pair { return slices.Repeat([]Pair{{off, on}}, n) }

func TestConstantLatenciesAreKnownToTheHistogramsResolutionOnly(t *testing.T) {
	e := Compare(repeated(8, even(1000, 2), even(1000, 7)), true)
	if math.Abs(e.P50.Value-5) > 0.02 || !covers(e.P50, 5) || !covers(e.P99, 5) {
		t.Errorf("5 ms more are reported as %+v", e.P50)
	}
	if half := (e.P50.High - e.P50.Low) / 2; half < 0.005 || half > 0.02 {
		t.Errorf("the interval is ±%v ms; half a bucket at 2 ms and at 7 ms are 0.010 ms together", half)
	}
	if e.Verdict != Claimed || !slices.Equal(e.Claims, []Measure{P50, P99}) || e.P50.P != 2.0/256 {
		t.Errorf("claims %v, p %v", e.Claims, e.P50.P)
	}
}

func TestNothingMeasuredIsNotClaimed(t *testing.T) {
	for name, pairs := range map[string][]Pair{
		"no pairs":      nil,
		"empty windows": make([]Pair, 8),
		"all the same":  repeated(8, even(500, 2), even(500, 2)),
		"one sample":    repeated(8, even(1, 2), even(1, 20)),
		"on is empty":   repeated(8, even(500, 2), Window{}),
		"one pair":      repeated(1, even(500, 2), even(500, 7)),
		"five pairs":    repeated(MinPairs-1, even(500, 2), even(500, 7)),
	} {
		e := Compare(pairs, true)
		want := NotClaimed
		if len(pairs) < MinPairs {
			want = TooFew
		}
		if e.Verdict != want || len(e.Claims) != 0 {
			t.Errorf("%s: %s, claims %v; want %s", name, e.Verdict, e.Claims, want)
		}
		if data, err := json.Marshal(e); err != nil || bytes.Contains(data, []byte("null")) {
			t.Errorf("%s: %s, %v", name, data, err)
		}
	}
}

func TestFaultThatWasNeverHitClaimsNothing(t *testing.T) {
	pairs := repeated(12, even(500, 2), even(500, 7))
	if e := Compare(pairs, false); e.Verdict != NeverHit || len(e.Claims) != 0 || e.P50.Claimed || !e.P50.Known {
		t.Errorf("%+v", e)
	}
	if e := Compare(pairs, true); e.Verdict != Claimed {
		t.Errorf("the same with hits: %s", e.Verdict)
	}
}

func TestClaimsBeginWithSixPairs(t *testing.T) {
	for n := range 12 {
		e := Compare(repeated(n, even(500, 2), even(500, 7)), true)
		if claimed := e.Verdict == Claimed; claimed != (n >= MinPairs) {
			t.Errorf("%d pairs: %s", n, e.Verdict)
		}
		if known := e.P50.Known; known != (n >= 2) {
			t.Errorf("%d pairs: known %v", n, known)
		}
	}
}

func TestTimeOutsMakeTheQuantileALowerBound(t *testing.T) {
	slow := even(300, 1000)
	slow.Answered, slow.Timeouts, slow.Lost = 100, 200, 200 // two thirds
	e := Compare(repeated(8, even(300, 2), slow), true)
	if !e.P50.AtLeast || !e.P99.AtLeast || math.Abs(e.P50.Value-998) > 3 {
		t.Errorf("%+v", e.P50)
	}
	if !slices.Equal(e.Claims, []Measure{P50, P99, Timeouts, Lost}) || math.Abs(e.Lost.Value-2.0/3) > 1e-9 {
		t.Errorf("claims %v, lost %+v", e.Claims, e.Lost)
	}
	// Where the same already happens without the fault there is nothing to measure from.
	if e := Compare(repeated(8, slow, slow), true); e.P50.Known || e.Verdict != NotClaimed {
		t.Errorf("time-outs in both: %+v", e.P50)
	}
	few := even(300, 2)
	few.Timeouts = 2
	if e := Compare(repeated(8, even(300, 2), few), true); e.P99.AtLeast {
		t.Error("2 time-outs of 300 do not reach p99")
	}
}

func TestDegradedIsAShareOfTheAnswers(t *testing.T) {
	on := even(400, 2)
	on.Answered, on.Errors, on.Degraded = 200, 200, 50
	e := Compare(repeated(8, even(400, 2), on), true)
	if e.Degraded.On != 0.25 || e.Errors.On != 0.5 || !slices.Equal(e.Claims, []Measure{Errors, Degraded}) {
		t.Errorf("%+v", e)
	}
}

func TestOneSpoiltWindowMovesLittle(t *testing.T) {
	rnd := random(t)
	pairs := worlds[0].measured(rnd, 12, delayed)
	before := Compare(pairs, true)
	pairs[4].On = even(400, 900)
	after := Compare(pairs, true)
	if math.Abs(after.P50.Value-before.P50.Value) > 0.1 {
		t.Errorf("one window of 900 ms moved the median from %v to %v", before.P50.Value, after.P50.Value)
	}
	quiet := repeated(11, even(400, 2), even(400, 2))
	failing := even(400, 2)
	failing.Errors = 400
	if e := Compare(append(quiet, Pair{even(400, 2), failing}), true); e.Errors.Claimed {
		t.Errorf("errors of one window in twelve are claimed as an effect: %+v", e.Errors)
	}
}

// TestOneSpoiltWindowSilencesFewPairsOnly: of 16 pairs one may point the other way, however far. Of 12 the test of signs
// would still claim, but the interval holds 0; a claim beside it would contradict it.
func TestOneSpoiltWindowSilencesFewPairsOnly(t *testing.T) {
	for n, claimed := range map[int]bool{12: false, 16: true} {
		pairs := append(repeated(n-1, even(400, 2), even(400, 7)), Pair{even(400, 27), even(400, 7)})
		d := Compare(pairs, true).P50
		if d.Claimed != claimed || (d.Low > 0) != claimed || d.P > miss {
			t.Errorf("%d pairs: %+v", n, d)
		}
	}
}

// TestFamilyIsHeld: six measures that chance alone moves give no more false claims than one would.
func TestFamilyIsHeld(t *testing.T) {
	runs := 1500
	if long {
		runs = 40_000
	}
	rnd := random(t)
	var claims, alone tally
	for range runs {
		pairs := make([]Pair, 8)
		for i := range pairs {
			pairs[i] = Pair{shaken(rnd), shaken(rnd)}
		}
		e := Compare(pairs, true)
		claims.add(len(e.Claims) > 0)
		any := false
		for _, d := range e.Differences() {
			any = any || d.Low > 0 || d.High < 0
		}
		alone.add(any)
	}
	t.Logf("%.1f %% of %d runs claim something; in %.1f %% an interval of the six leaves out 0", claims.percent(), runs, alone.percent())
	if claims.above(miss) {
		t.Errorf("%d of %d runs claim an effect of nothing", claims.seen, runs)
	}
	if !alone.above(2 * miss) {
		t.Errorf("in %d of %d runs an interval leaves out 0: the family of this test is too quiet to tell", alone.seen, runs)
	}
}

// shaken is a window whose measures all vary, each by itself.
func shaken(rnd *rand.Rand) Window {
	some := func() uint64 { return 40 + rnd.Uint64N(40) }
	w := Window{Latency: new(hdr.Histogram), Sent: 1000, Answered: 1000, Timeouts: 0, Errors: some(), Degraded: some(), Lost: some()}
	w.Latency.RecordN(int64(2e6*(1+0.2*rnd.Float64())), 700)
	w.Latency.RecordN(int64(9e6*(1+0.2*rnd.Float64())), 300)
	return w
}

// TestOffAndOnMayBeExchanged: what is claimed does not depend on which way is called on.
func TestOffAndOnMayBeExchanged(t *testing.T) {
	rnd := random(t)
	for _, w := range worlds {
		pairs := w.measured(rnd, 9, delayed)
		turned := make([]Pair, len(pairs))
		for i, p := range pairs {
			turned[i] = Pair{p.On, p.Off}
		}
		a, b := Compare(pairs, true), Compare(turned, true)
		for i, d := range a.Differences() {
			o := b.Differences()[i]
			if d.P != o.P || d.Claimed != o.Claimed || math.Abs(d.Value+o.Value) > 1e-9 || math.Abs(d.Low+o.High) > 1e-9 {
				t.Errorf("%s, %s: %+v and %+v", w.name, d.Measure, *d.Difference, *o.Difference)
			}
		}
	}
}

func TestPairsAreNotChanged(t *testing.T) {
	pairs := worlds[0].measured(random(t), 8, delayed)
	before, _ := json.Marshal(pairs)
	first, _ := json.Marshal(Compare(pairs, true))
	second, _ := json.Marshal(Compare(pairs, true))
	if after, _ := json.Marshal(pairs); !bytes.Equal(before, after) || !bytes.Equal(first, second) {
		t.Error("Compare changed its pairs, or says something else the second time")
	}
}

// TestSignedRankIntervalIsExact counts out all ways in which signs can fall, without the recurrence.
func TestSignedRankIntervalIsExact(t *testing.T) {
	for n := MinPairs; n <= 16; n++ {
		counts := make([]int, n*(n+1)/2+1)
		for signs := range 1 << n {
			sum := 0
			for rank := 1; rank <= n; rank++ {
				if signs>>(rank-1)&1 == 1 {
					sum += rank
				}
			}
			counts[sum]++
		}
		k := skipped(n)
		outside := func(k int) float64 {
			sum := 0
			for _, c := range counts[:k+1] {
				sum += c
			}
			return 2 * float64(sum) / float64(int(1)<<n)
		}
		if outside(k) > level(n) || outside(k+1) <= level(n) {
			t.Errorf("%d pairs: %d means left out at each end miss %.4f, one more %.4f; at most %.4f may", n, k, outside(k), outside(k+1), level(n))
		}
	}
	for n := exactPairs - 5; n <= exactPairs+5; n++ { // where the normal distribution takes over
		if step := skipped(n+1) - skipped(n); step < n/2-10 || step > n/2 {
			t.Errorf("from %d to %d pairs the means left out rise by %d", n, n+1, step)
		}
	}
}

func TestQuantilesAgreeWithTables(t *testing.T) {
	for _, c := range []struct {
		df          int
		tails, want float64
	}{{1, 0.05, 12.706}, {2, 0.05, 4.303}, {3, 0.05, 3.182}, {4, 0.01, 4.604}, {7, 0.05, 2.365}, {11, 0.05, 2.201}, {30, 0.01, 2.750}, {1000, 0.05, 1.962}} {
		if got := student(c.df, c.tails); math.Abs(got-c.want) > 0.0006 {
			t.Errorf("Student with %d degrees of freedom, %v: %v; want %v", c.df, c.tails, got, c.want)
		}
	}
	if got := normal(0.05); math.Abs(got-1.959964) > 1e-6 {
		t.Errorf("normal: %v", got)
	}
	// The first example in Newcombe's paper, 56 of 70 against 48 of 80.
	low, high := newcombe(proportion{48, 80}, proportion{56, 70}, normal(0.05))
	if math.Abs(low-0.0524) > 5e-5 || math.Abs(high-0.3339) > 5e-5 {
		t.Errorf("newcombe: %v to %v", low, high)
	}
}

// TestAdjustedChanceIsCountedOut compares with all 2ⁿ ways, turned one by one.
func TestAdjustedChanceIsCountedOut(t *testing.T) {
	rnd := random(t)
	for trial := range 90 {
		n := 1 + trial%9
		var c claims
		for m := range 4 {
			changes := make([]float64, n)
			for i := range changes {
				changes[i] = rnd.NormFloat64() + float64(m)/3
			}
			c.add(changes)
		}
		c.add(make([]float64, n)) // a measure that knows nothing
		got := c.adjusted()
		left := []int{0, 1, 2, 3, 4}
		last := 0.0
		for len(left) > 0 {
			first := slices.MaxFunc(left, func(a, b int) int {
				return int(math.Copysign(1, turned(c.scores[a], 0)-turned(c.scores[b], 0)))
			})
			reached := 0
			for signs := range uint64(1) << n {
				largest := 0.0
				for _, m := range left {
					largest = max(largest, turned(c.scores[m], signs))
				}
				if largest >= turned(c.scores[first], 0)-1e-9 {
					reached++
				}
			}
			last = max(last, float64(reached)/float64(int(1)<<n))
			if math.Abs(got[first]-last) > 1e-12 {
				t.Errorf("%d pairs, measure %d: %v; counted out it is %v", n, first, got[first], last)
			}
			left = slices.DeleteFunc(left, func(m int) bool { return m == first })
		}
		if got[4] != 1 {
			t.Errorf("a measure without changes has p %v", got[4])
		}
	}
}

func TestManyPairsAreDrawnFrom(t *testing.T) {
	for _, n := range []int{13, 14, 64, 70, 200} {
		e := Compare(repeated(n, even(300, 2), even(300, 7)), true)
		if e.Verdict != Claimed || e.P50.P > 0.001 || !covers(e.P50, 5) {
			t.Errorf("%d pairs: %s, %+v", n, e.Verdict, e.P50)
		}
	}
}

// FuzzCompare feeds windows of any counts and latencies: no panic, and JSON without NaN and infinities, in which an
// interval holds its value.
func FuzzCompare(f *testing.F) {
	f.Add([]byte{}, true)
	f.Add(bytes.Repeat([]byte{1}, 400), true)
	f.Add(bytes.Repeat([]byte{0, 0, 255, 255, 255, 255, 255, 255, 7, 9, 1, 0, 3, 5}, 90), true)
	f.Add(binary.LittleEndian.AppendUint64(bytes.Repeat([]byte{200, 3, 0, 1, 9, 9, 9}, 200), math.MaxUint64), false)
	f.Fuzz(func(t *testing.T, data []byte, hit bool) {
		next := func() uint64 { // mostly small, now and then anything
			if len(data) == 0 {
				return 0
			}
			kind := data[0]
			data = data[1:]
			if kind < 250 || len(data) < 8 {
				return uint64(kind)
			}
			v := binary.LittleEndian.Uint64(data)
			data = data[8:]
			return v
		}
		one := func() Window {
			w := Window{Sent: next(), Answered: next(), Timeouts: next(), Errors: next(), Degraded: next(), Lost: next()}
			for range next() % 5 {
				if w.Latency == nil {
					w.Latency = new(hdr.Histogram)
				}
				w.Latency.RecordN(int64(next()%(1<<62)*1000), next()%(1<<40))
			}
			return w
		}
		var pairs []Pair
		for len(data) > 0 && len(pairs) < 20 {
			pairs = append(pairs, Pair{one(), one()})
		}
		e := Compare(pairs, hit)
		if _, err := json.Marshal(e); err != nil {
			t.Fatal(err)
		}
		for _, d := range e.Differences() {
			if d.Low > d.Value || d.Value > d.High || d.P < 0 || d.P > 1 || d.Claimed && (!hit || !d.Known || d.Low <= 0 && d.High >= 0) {
				t.Errorf("%s: %+v", d.Measure, *d.Difference)
			}
		}
	})
}

func ExampleCompare() {
	quick, slow := even(500, 2), even(500, 7)
	slow.Errors = 25
	var pairs []Pair
	for range 8 {
		pairs = append(pairs, Pair{Off: quick, On: slow})
	}
	e := Compare(pairs, true)
	fmt.Println(e.Verdict, e.Claims)
	fmt.Printf("p50 %+.2f ms (%.2f to %.2f)\n", e.P50.Value, e.P50.Low, e.P50.High)
	fmt.Printf("errors %+.1f %% (%.1f to %.1f)\n", 100*e.Errors.Value, 100*e.Errors.Low, 100*e.Errors.High)
	// Output:
	// effect [p50 p99 errors]
	// p50 +5.00 ms (4.98 to 5.02)
	// errors +5.0 % (4.3 to 5.8)
}
