package effect

import "math"

// normal is z with a chance of tails that a standard normal variable lies outside ±z.
func normal(tails float64) float64 { return math.Sqrt2 * math.Erfinv(1-tails) }

// student is t with a chance of tails that a Student variable with df degrees of freedom lies outside ±t. df is 1 or more.
func student(df int, tails float64) float64 {
	low, high := 0.0, 1.0
	for 1-inside(df, high) > tails {
		high *= 2
	}
	for range 60 {
		if middle := (low + high) / 2; 1-inside(df, middle) > tails {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

// inside is the chance that a Student variable lies within ±t: the finite series for whole degrees of freedom
// (Abramowitz and Stegun, 26.7.3 and 26.7.4).
func inside(df int, t float64) float64 {
	angle := math.Atan(t / math.Sqrt(float64(df)))
	sin, cos := math.Sincos(angle)
	first, start := 1.0, 2 // even: 1 + cos²/2 + 1·3/(2·4)·cos⁴ + …
	if df%2 == 1 {
		first, start = cos, 3 // odd: cos + 2/3·cos³ + …
	}
	term, series := first, first
	for k := start; k <= df-2; k += 2 {
		term *= cos * cos * float64(k-1) / float64(k)
		series += term
	}
	if df%2 == 0 {
		return sin * series
	}
	if df == 1 {
		series = 0
	}
	return 2 / math.Pi * (angle + sin*series)
}
