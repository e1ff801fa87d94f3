package effect

import "math"

// proportion is hits of so many.
type proportion struct{ hits, of float64 }

func (p proportion) share() float64               { return p.hits / p.of }
func (p proportion) plus(o proportion) proportion { return proportion{p.hits + o.hits, p.of + o.of} }

// wilson is the score interval of a share (E. B. Wilson, 1927): unlike the textbook's, it is right for shares near 0
// and 1, and does not shrink to nothing at them.
func (p proportion) wilson(z float64) (low, high float64) {
	centre := (p.hits + z*z/2) / (p.of + z*z)
	half := z / (p.of + z*z) * math.Sqrt(p.hits*(1-p.share())+z*z/4)
	return max(centre-half, 0), min(centre+half, 1)
}

// newcombe is the interval of the difference of two independent shares, on less off, from their score intervals (R. G.
// Newcombe, 1998, method 10).
func newcombe(off, on proportion, z float64) (low, high float64) {
	offLow, offHigh := off.wilson(z)
	onLow, onHigh := on.wilson(z)
	value := on.share() - off.share()
	return value - math.Hypot(on.share()-onLow, offHigh-off.share()), value + math.Hypot(onHigh-on.share(), off.share()-offLow)
}
