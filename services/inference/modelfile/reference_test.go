package modelfile

import (
	"fmt"
	"math"

	"github.com/dougong-io/dougong/services/inference/tree"
)

// reference scores a row as tree's documentation says, in the plainest way.
func reference(e *tree.Ensemble, row []float64) []float64 {
	if e.Precision == tree.Float32 {
		return reference32(e, row)
	}
	sums := append([]float64(nil), e.Base...)
	for _, t := range e.Trees {
		sums[t.Output] += leaf(e, t, row)
	}
	switch e.Transform {
	case tree.Sigmoid:
		sums[0] = 1 / (1 + math.Exp(-e.SigmoidScale*sums[0]))
	case tree.Softmax:
		top, total := math.Inf(-1), 0.0
		for _, s := range sums {
			top = max(top, s)
		}
		for i := range sums {
			sums[i] = math.Exp(sums[i] - top)
			total += sums[i]
		}
		for i := range sums {
			sums[i] /= total
		}
	}
	return sums
}

func reference32(e *tree.Ensemble, row []float64) []float64 {
	sums := make([]float32, e.Outputs)
	for i, b := range e.Base {
		sums[i] = float32(b)
	}
	for _, t := range e.Trees {
		sums[t.Output] += float32(leaf(e, t, row))
	}
	out := make([]float64, len(sums))
	switch e.Transform {
	case tree.Identity:
		out[0] = float64(sums[0])
	case tree.Sigmoid:
		out[0] = float64(1 / (1 + float32(math.Exp(-float64(sums[0])))))
	case tree.Softmax:
		var total float32
		for i, s := range sums {
			out[i] = float64(float32(math.Exp(float64(s))))
			total += float32(out[i])
		}
		for i := range out {
			out[i] = float64(float32(out[i]) / total)
		}
	}
	return out
}

func leaf(e *tree.Ensemble, t tree.Tree, row []float64) float64 {
	at := int32(0)
	for {
		n := t.Nodes[at]
		if n.Split == tree.Leaf {
			return n.Value
		}
		x := row[n.Feature]
		if e.Precision == tree.Float32 {
			x = float64(float32(x))
		}
		left := false
		switch n.Split {
		case tree.Category:
			category := math.Trunc(x)
			if category >= 0 && category < float64(32*len(n.Categories)) { // NaN is neither
				c := int(category)
				left = n.Categories[c/32]>>(c%32)&1 == 1
			}
		case tree.Less, tree.LessEqual:
			missing := math.IsNaN(x)
			switch n.Missing {
			case tree.MissingZero:
				missing = missing || math.Abs(x) <= float64(float32(1e-35))
			case tree.MissingNone:
				if missing {
					x, missing = 0, false
				}
			}
			switch {
			case missing:
				left = n.DefaultLeft
			case n.Split == tree.Less:
				left = x < n.Threshold
			default:
				left = x <= n.Threshold
			}
		}
		if left {
			at = n.Left
		} else {
			at = n.Right
		}
	}
}

// wellFormed checks an ensemble from the outside, with none of the parser's code.
func wellFormed(e *tree.Ensemble) error {
	if e.Outputs < 1 || len(e.Base) != e.Outputs || len(e.Features) == 0 || len(e.Trees) == 0 || e.SigmoidScale <= 0 {
		return fmt.Errorf("%d outputs, %d base scores, %d features, %d trees, scale %v", e.Outputs, len(e.Base), len(e.Features), len(e.Trees), e.SigmoidScale)
	}
	if (e.Transform == tree.Softmax) != (e.Outputs > 1) {
		return fmt.Errorf("transform %d with %d outputs", e.Transform, e.Outputs)
	}
	for i, b := range e.Base {
		if math.IsInf(b, 0) || math.IsNaN(b) {
			return fmt.Errorf("base %d is %v", i, b)
		}
	}
	seen := map[string]bool{}
	for _, name := range e.Features {
		if name == "" || seen[name] {
			return fmt.Errorf("feature %q is empty or occurs twice", name)
		}
		seen[name] = true
	}
	for i, t := range e.Trees {
		if t.Output < 0 || t.Output >= e.Outputs || len(t.Nodes) == 0 {
			return fmt.Errorf("tree %d: output %d, %d nodes", i, t.Output, len(t.Nodes))
		}
		parents := make([]int, len(t.Nodes))
		for k, n := range t.Nodes {
			for _, v := range []float64{n.Threshold, n.Value, n.Gain} {
				if math.IsInf(v, 0) || math.IsNaN(v) {
					return fmt.Errorf("tree %d node %d: not finite", i, k)
				}
				if e.Precision == tree.Float32 && v != float64(float32(v)) {
					return fmt.Errorf("tree %d node %d: %v is no float32", i, k, v)
				}
			}
			if n.Split == tree.Leaf {
				continue
			}
			if n.Feature < 0 || int(n.Feature) >= len(e.Features) {
				return fmt.Errorf("tree %d node %d: feature %d", i, k, n.Feature)
			}
			if (n.Split == tree.Category) != (len(n.Categories) > 0) {
				return fmt.Errorf("tree %d node %d: categories", i, k)
			}
			for _, child := range []int32{n.Left, n.Right} {
				if child <= 0 || int(child) >= len(t.Nodes) {
					return fmt.Errorf("tree %d node %d: child %d", i, k, child)
				}
				parents[child]++
			}
		}
		for k := 1; k < len(parents); k++ {
			if parents[k] != 1 {
				return fmt.Errorf("tree %d node %d: %d parents", i, k, parents[k])
			}
		}
		// One parent each still allows a circle beside the tree.
		level, reached := []int32{0}, 0
		for len(level) > 0 && reached <= len(t.Nodes) {
			var below []int32
			for _, k := range level {
				reached++
				if n := t.Nodes[k]; n.Split != tree.Leaf {
					below = append(below, n.Left, n.Right)
				}
			}
			level = below
		}
		if reached != len(t.Nodes) {
			return fmt.Errorf("tree %d: %d of %d nodes reached", i, reached, len(t.Nodes))
		}
	}
	return nil
}
