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
	MeanTime    time.Duration // Simulated for each time; 0 if it never opened
	MeanCalls   float64
	// A bound from above of how often it opens in 30 days, when it never did: the smaller of what the simulation
	// says at 95 %, and of how many looks at the window would open it.
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
	for over := false; !over && cell.Opened < curveTrips; {
		for n, end := 0, m.Clock().Now()+window; m.Clock().Now() < end && !over; n++ {
			call(0)
			over = n%1024 == 1023 && (time.Now().After(stop) || ctx.Err() != nil)
		}
		begin := m.Clock().Now()
		for n := 1; ; n++ {
			before := m.Clock().Now() - begin
			if !call(rate) { // the call before opened it
				cell.Opened++
				cell.Simulated += before
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
	if cell.Opened > 0 { // the last run counts too, in which it may not have opened
		cell.MeanTime, cell.MeanCalls = cell.Simulated/time.Duration(cell.Opened), cell.Simulated.Seconds()*rps/float64(cell.Opened)
		return cell, nil
	}
	cell.PerMonthAtMost = looksAMonth(p, rps, rate)
	if months := float64(cell.Simulated) / float64(curveMonth); months > 0 {
		cell.PerMonthAtMost = min(cell.PerMonthAtMost, 3/months)
	}
	return cell, nil
}

// looksAMonth is how many looks at spans of the window would open the circuit in a month, on average: an upper bound
// of how often it opens, since many looks see the same calls. Each failure that is counted is a look at each span.
// The calls of a span beside it are as many as a Poisson process has.
func looksAMonth(p breaker.Policy, rps, rate float64) float64 {
	counted := rps * max(p.Sampling.Least, min(1, p.Sampling.Floor/rps)) // a second
	looks := counted * rate * curveMonth.Seconds()
	if looks == 0 {
		return 0
	}
	var longest time.Duration
	for _, c := range p.Conditions {
		longest = max(longest, c.Over)
	}
	bucket := longest.Seconds() / breaker.Buckets
	var sum float64
	for _, c := range p.Conditions {
		if c.Shed != nil || c.Of != breaker.Failures || c.WhileRPS > rps {
			continue
		}
		buckets := int(math.Round(c.Over.Seconds() / bucket))
		chances := make(map[int]float64)
		for age := range buckets {
			least := 2 * c.MinRequests
			if age == buckets-1 {
				least = c.MinRequests
			}
			phases := 7
			if age < 2 { // where the span is short, what is decided changes from call to call
				phases = min(250, max(phases, int(counted*bucket/4)))
			}
			for i := range phases {
				phase := (float64(i) + 0.5) / float64(phases) // how much of the newest bucket has passed
				mean := counted * bucket * (float64(age) + phase)
				spread := 8*math.Sqrt(mean) + 20
				for n := max(0, int(mean-spread)); n <= int(mean+spread); n++ {
					if n+1 < least {
						continue
					}
					chance, known := chances[n+1]
					if !known {
						chance = chanceToExceed(n+1, rate, c)
						chances[n+1] = chance
					}
					if chance > 0 {
						sum += looks / float64(phases) * chance * math.Exp(float64(n)*math.Log(mean)-mean-logFactorial(n))
					}
				}
			}
		}
	}
	return sum
}

func logFactorial(n int) float64 {
	l, _ := math.Lgamma(float64(n + 1))
	return l
}

// chanceToExceed is the chance that the lower bound of n calls, of which the last has failed, is above the threshold
// of a condition.
func chanceToExceed(n int, rate float64, c breaker.Condition) float64 {
	k := sort.Search(n+1, func(k int) bool { return breaker.LowerBound(float64(k), float64(n), c.Level) > c.Above })
	if rate >= 1 {
		if k <= n {
			return 1
		}
		return 0
	}
	n, k = n-1, max(0, k-1)
	if far := (float64(k) - float64(n)*rate) / math.Sqrt(float64(n)*rate*(1-rate)+1); far > 20 {
		return 0
	}
	var sum float64
	for ; k <= n; k++ {
		chance := math.Exp(logFactorial(n) - logFactorial(k) - logFactorial(n-k) + float64(k)*math.Log(rate) + float64(n-k)*math.Log1p(-rate))
		if sum += chance; chance <= sum*1e-6 { // or both are 0
			break
		}
	}
	return sum
}
