package tree

import "math"

// zeroThreshold is LightGBM's kZeroThreshold, a float32 constant that it compares in float64.
const zeroThreshold = float64(float32(1e-35))

// Reference walks an ensemble node by node as its definition reads. It is slow and obviously right:
// the oracle that the kernels behind Compile are tested against, to the bit.
// The ensemble must be one that Compile accepts.
type Reference struct{ Ensemble *Ensemble }

// Predict answers one row, like [Model.Predict]: row holds a value for each feature, dst one for each output.
func (r Reference) Predict(dst, row []float64) {
	r.Margins(dst, row)
	transformOf(r.Ensemble).apply(dst)
}

// Margins answers the sums of the leaves of one row, before the transform.
func (r Reference) Margins(dst, row []float64) {
	e := r.Ensemble
	copy(dst, e.Base)
	if e.Precision == Float32 {
		for o := range dst {
			dst[o] = float64(float32(dst[o]))
		}
	}
	for t := range e.Trees {
		tree := &e.Trees[t]
		leaf := &tree.Nodes[0]
		for leaf.Split != Leaf {
			leaf = &tree.Nodes[r.child(leaf, row[leaf.Feature])]
		}
		if e.Precision == Float32 {
			dst[tree.Output] = float64(float32(dst[tree.Output]) + float32(leaf.Value))
		} else {
			dst[tree.Output] += leaf.Value
		}
	}
}

func (r Reference) child(n *Node, x float64) int32 {
	if r.Ensemble.Precision == Float32 {
		x = float64(float32(x))
	}
	var left bool
	switch {
	case n.Split == Category:
		left = inCategories(n.Categories, x)
	case n.Missing == MissingNaN && math.IsNaN(x),
		n.Missing == MissingZero && (math.IsNaN(x) || math.Abs(x) <= zeroThreshold):
		left = n.DefaultLeft
	default:
		if math.IsNaN(x) {
			x = 0
		}
		left = x < n.Threshold || n.Split == LessEqual && x == n.Threshold
	}
	if left {
		return n.Left
	}
	return n.Right
}

// inCategories truncates towards zero as LightGBM does: -0.5 is category 0.
func inCategories(set []uint32, x float64) bool {
	if !(x > -1 && x < math.MaxInt32) { // NaN too
		return false
	}
	c := uint(int(x))
	return c < uint(len(set))*32 && set[c/32]&(1<<(c%32)) != 0
}
