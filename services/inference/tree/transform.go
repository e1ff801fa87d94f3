package tree

import "math"

// transform turns one row's margins into its answer, in the library's arithmetic.
type transform struct {
	kind      Transform
	precision Precision
	scale     float64
}

func transformOf(e *Ensemble) transform {
	return transform{kind: e.Transform, precision: e.Precision, scale: e.SigmoidScale}
}

// apply replaces margins, the outputs of one row, by the answer.
func (t transform) apply(margins []float64) {
	switch {
	case t.kind == Sigmoid && t.precision == Float32:
		for i, m := range margins {
			margins[i] = float64(sigmoid32(float32(t.scale) * float32(m)))
		}
	case t.kind == Sigmoid:
		for i, m := range margins {
			margins[i] = 1 / (1 + math.Exp(-t.scale*m))
		}
	case t.kind == Softmax && t.precision == Float32:
		softmax32(margins)
	case t.kind == Softmax:
		softmax64(margins)
	}
}

// sigmoid32 is XGBoost's common::Sigmoid: the exponent is bounded so that expf stays finite.
func sigmoid32(x float32) float32 {
	return 1 / (exp32(min(-x, 88.7)) + 1 + 1e-16)
}

// softmax32 is XGBoost's common::Softmax: exponentials in float32, their sum in float64.
func softmax32(margins []float64) {
	highest := float32(margins[0])
	for _, m := range margins[1:] {
		highest = max(highest, float32(m))
	}
	var sum float64
	for i, m := range margins {
		e := float64(exp32(float32(m) - highest))
		margins[i] = e
		sum += e
	}
	for i, e := range margins {
		margins[i] = float64(float32(e) / float32(sum))
	}
}

// softmax64 is LightGBM's Common::Softmax.
func softmax64(margins []float64) {
	highest := margins[0]
	for _, m := range margins[1:] {
		highest = max(highest, m)
	}
	var sum float64
	for i, m := range margins {
		margins[i] = math.Exp(m - highest)
		sum += margins[i]
	}
	for i := range margins {
		margins[i] /= sum
	}
}

func exp32(x float32) float32 { return float32(math.Exp(float64(x))) }
