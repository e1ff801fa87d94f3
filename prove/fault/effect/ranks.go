package effect

import (
	"math"
	"slices"
)

// located is where the differences of pairs lie: the Hodges–Lehmann estimate, which is the median of the means of all
// pairs of differences (each with itself, too), and the interval in which the signed-rank test of Wilcoxon does not
// reject. With fewer than MinPairs that test rejects nothing, and Student's interval about the mean stands in.
func located(differences []float64) (value, low, high float64) {
	n := len(differences)
	if n < MinPairs {
		m, margin := mean(differences), spread(differences)
		return m, m - margin, m + margin
	}
	walsh := make([]float64, 0, n*(n+1)/2)
	for i, a := range differences {
		for _, b := range differences[i:] {
			walsh = append(walsh, a/2+b/2)
		}
	}
	slices.Sort(walsh)
	skip := skipped(n)
	return median(walsh), walsh[skip], walsh[len(walsh)-1-skip]
}

// exactPairs is up to how many pairs the distribution of the signed-rank statistic is counted out; beyond, the normal
// one is close to it.
const exactPairs = 60

// skipped is how many of the means the interval leaves out at each end: the largest k with 2·P(W ≤ k) ≤ level, where W
// is the sum of those ranks 1…n whose coin shows heads.
func skipped(n int) int {
	sums := n * (n + 1) / 2
	if n > exactPairs {
		deviation := math.Sqrt(float64(n) * float64(n+1) * float64(2*n+1) / 24)
		return int(math.Floor(float64(sums)/2 - deviation*normal(level(n)) - 0.5))
	}
	chance := make([]float64, sums+1)
	chance[0] = 1
	for rank := 1; rank <= n; rank++ {
		for sum := rank * (rank + 1) / 2; sum >= 0; sum-- {
			chance[sum] /= 2
			if sum >= rank {
				chance[sum] += chance[sum-rank] / 2
			}
		}
	}
	k, below := -1, chance[0]
	for 2*below <= level(n)+1e-12 {
		k++
		below += chance[k+1]
	}
	return k
}
