package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"sort"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/clock"
)

// BreakerPolicy reads the policy of a preset, or of a JSON file.
func BreakerPolicy(nameOrFile string) (breaker.Policy, error) {
	if p, ok := breaker.Preset(nameOrFile); ok {
		return p, nil
	}
	file, err := os.Open(nameOrFile)
	if errors.Is(err, os.ErrNotExist) {
		return breaker.Policy{}, fmt.Errorf("%s is neither a file nor one of the presets %q", nameOrFile, breaker.Presets())
	}
	if err != nil {
		return breaker.Policy{}, err
	}
	defer file.Close()
	const most = 1 << 20
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return breaker.Policy{}, fmt.Errorf("%s: %w", nameOrFile, err)
	}
	if len(data) > most {
		return breaker.Policy{}, fmt.Errorf("%s: longer than %d bytes", nameOrFile, most)
	}
	p, err := breaker.ParsePolicy(data)
	if err != nil {
		return breaker.Policy{}, fmt.Errorf("%s: %w", nameOrFile, err)
	}
	return p, nil
}

// CurveCell says what a circuit does when a rate of its calls fails, steadily.
type CurveCell struct {
	PerSecond   float64 // calls
	FailureRate float64
	Opened      int           // times, in Simulated
	Simulated   time.Duration // of the circuit's time
	MeanTime    time.Duration // from the first failing call to the opening; 0 if it never opened
	MeanCalls   float64
	// A bound from above of how often it opens in 30 days, when it never did: the smaller of what the simulation
	// says at 95 %, and of the sum of the chances of each look at the window.
	PerMonthAtMost float64
}

const (
	curveMonth = 30 * 24 * time.Hour
	curveTrips = 300 // enough for a mean that is right within a tenth
)

// BreakerCurve simulates a circuit of a policy under each rate of calls and failures, for as long as budget of
// this machine's time a cell, and hands each cell to show. The same seed gives the same calls.
func BreakerCurve(ctx context.Context, p breaker.Policy, perSecond, failureRates []float64, budget time.Duration, seed uint64, show func(CurveCell)) error {
	for _, rps := range perSecond {
		for _, rate := range failureRates {
			cell, err := curveCell(ctx, p, rps, rate, budget, rand.New(rand.NewPCG(seed, math.Float64bits(rps)^math.Float64bits(rate))))
			if err != nil {
				return err
			}
			show(cell)
		}
	}
	return nil
}

// curveCell opens the circuit again and again. Before each time a window of good calls passes.
func curveCell(ctx context.Context, p breaker.Policy, rps, rate float64, budget time.Duration, random *rand.Rand) (CurveCell, error) {
	m := clock.NewManual()
	g, err := breaker.New(p, breaker.WithClock[int](m.Clock()), breaker.WithRand[int](random.Uint32))
	if err != nil {
		return CurveCell{}, err
	}
	c, err := g.Circuit(0)
	if err != nil {
		return CurveCell{}, err
	}
	call := func(rate float64) (passed bool) {
		m.Advance(time.Duration(random.ExpFloat64() / rps * 1e9))
		permit, err := c.Allow()
		if err != nil {
			return false
		}
		if random.Float64() < rate {
			permit.Done(breaker.Failure)
		} else {
			permit.Done(breaker.Success)
		}
		return true
	}
	cell := CurveCell{PerSecond: rps, FailureRate: rate}
	var window time.Duration
	for _, condition := range p.Conditions {
		window = max(window, condition.Over)
	}
	stop := time.Now().Add(budget)
	var took time.Duration
	var calls float64
	for over := false; !over && cell.Opened < curveTrips; {
		for end := m.Clock().Now() + window; m.Clock().Now() < end; {
			call(0)
		}
		begin := m.Clock().Now()
		for n := 1; ; n++ {
			before := m.Clock().Now() - begin
			if !call(rate) { // the call before opened it
				cell.Opened++
				cell.Simulated += before
				took += before
				calls += float64(n - 1)
				c.Reset()
				break
			}
			if n%1024 == 0 {
				if err := ctx.Err(); err != nil {
					return cell, err
				}
				if over = time.Now().After(stop); over {
					cell.Simulated += before
					break
				}
			}
		}
		over = over || time.Now().After(stop)
	}
	if cell.Opened > 0 {
		cell.MeanTime, cell.MeanCalls = took/time.Duration(cell.Opened), calls/float64(cell.Opened)
		return cell, nil
	}
	cell.PerMonthAtMost = min(3/(float64(cell.Simulated)/float64(curveMonth)), chanceOfEachLook(p, rps, rate))
	return cell, nil
}

// chanceOfEachLook sums, over the calls of a month and the spans that are looked at after each, the chance that the
// span shows a rate that opens: more than what can happen, since many looks see the same calls.
func chanceOfEachLook(p breaker.Policy, rps, rate float64) float64 {
	counted := rps * max(p.Sampling.Least, min(1, p.Sampling.Floor/rps)) // a second
	var sum float64
	for _, c := range p.Conditions {
		if c.Shed != nil || c.Of != breaker.Failures || c.WhileRPS > rps {
			continue
		}
		perBucket := counted * c.Over.Seconds() / breaker.Buckets
		inBucket := max(1, int(perBucket))
		buckets := counted * curveMonth.Seconds() / float64(inBucket)
		for age := range breaker.Buckets {
			least := 2 * c.MinRequests
			if age == breaker.Buckets-1 {
				least = c.MinRequests
			}
			for i := 1; i <= inBucket; i++ {
				if n := int(float64(age)*perBucket) + i; n >= least {
					sum += buckets * chanceToExceed(n, rate, c)
				}
			}
		}
	}
	return sum
}

// chanceToExceed is the chance that the lower bound of n calls is above the threshold of a condition.
func chanceToExceed(n int, rate float64, c breaker.Condition) float64 {
	k := sort.Search(n+1, func(k int) bool { return breaker.LowerBound(float64(k), float64(n), c.Level) > c.Above })
	logFactorial := func(n int) float64 { l, _ := math.Lgamma(float64(n + 1)); return l }
	var sum float64
	for ; k <= n; k++ {
		chance := math.Exp(logFactorial(n) - logFactorial(k) - logFactorial(n-k) + float64(k)*math.Log(rate) + float64(n-k)*math.Log1p(-rate))
		if sum += chance; chance <= sum*1e-6 { // or both are 0
			break
		}
	}
	return sum
}
