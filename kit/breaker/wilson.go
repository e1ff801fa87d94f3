package breaker

import (
	"math"
	"time"
)

// quantile is the z of a one-sided level: Φ(z) = level.
func quantile(level float64) float64 { return math.Sqrt2 * math.Erfinv(2*level-1) }

// LowerBound is the one-sided lower confidence bound of a rate of which k of n were seen, at a level such as
// 0.96: the lower end of the score interval (E. B. Wilson, Probable Inference, the Law of Succession, and
// Statistical Inference, JASA 22, 1927). It is 0 when nothing was seen.
func LowerBound(k, n, level float64) float64 { return lowerBound(k, n, n, quantile(level)) }

// lowerBound is that of sums of weighted samples, with v the sum of the squared weights: n*n/v samples of equal
// weight would say as much (Kish's effective sample size).
func lowerBound(k, n, v, z float64) float64 {
	if n <= 0 || v <= 0 {
		return 0
	}
	p, m, zz := k/n, n*n/v, z*z
	centre := p + zz/(2*m)
	half := z * math.Sqrt(p*(1-p)/m+zz/(4*m*m))
	return max(0, (centre-half)/(1+zz/m))
}

// rule is a condition as it is evaluated on sums of weighted samples.
type rule struct {
	Condition
	z        float64
	zzt      float64 // z² t (1-t)
	buckets  int     // of the window that Over has
	leastBad float64 // fewest bad calls with which the rule can hold; a bound from below
}

// exceeds reports whether the lower bound of k/n is above the threshold. The interval is the inversion of the
// score test, so the bound is above t exactly when (k - n t)² > z² t (1-t) v, with k > n t: no division, no root.
func (r *rule) exceeds(k, n, v float64) bool {
	above := k - r.Above*n
	return above > 0 && above*above > r.zzt*v
}

// enough reports whether there are samples for a decision; m of them are asked for.
func enough(n, v, m float64) bool { return n*n >= m*v && n > 0 }

func newRule(c Condition, bucket time.Duration) rule {
	r := rule{Condition: c, z: quantile(c.Level)}
	r.zzt = r.z * r.z * c.Above * (1 - c.Above)
	r.buckets = min(Buckets, max(1, int(math.Round(float64(c.Over)/float64(bucket)))))
	m := float64(c.MinRequests)
	r.leastBad = c.Above*m + math.Sqrt(r.zzt*m)
	return r
}
