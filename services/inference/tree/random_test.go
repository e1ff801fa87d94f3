package tree

import (
	"flag"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "replay random tests with this seed (0: a new one each)")

// newRand answers a generator whose seed is printed if the test fails.
func newRand(t testing.TB) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("replay with -seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// shape bounds a random ensemble.
type shape struct {
	precision Precision
	features  int
	outputs   int
	trees     int
	leaves    int     // a tree, at most
	chain     float64 // probability of growing the deepest leaf
	splits    []Split
	missing   []Missing
}

// values are where rounding, comparison and missing rules have their edges.
var values = []float64{
	0, math.Copysign(0, -1), 1, -1, 0.5, 2, 3, 7, 31, 32, 63.5, -0.5, -2,
	1e-35, float64(float32(1e-35)), -1e-35, 1.1e-35, 1e-36, math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64,
	math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, 1e-40, math.MaxFloat32, -math.MaxFloat32,
	math.MaxFloat64, -math.MaxFloat64, 1e300, math.Inf(1), math.Inf(-1), 0.1, 1.0 / 3, 16777217, 1e10,
}

func randomValue(r *rand.Rand) float64 {
	switch r.IntN(4) {
	case 0:
		return values[r.IntN(len(values))]
	case 1:
		return float64(r.IntN(70) - 5)
	default:
		return r.NormFloat64()
	}
}

func randomEnsemble(r *rand.Rand, s shape) *Ensemble {
	e := &Ensemble{Precision: s.precision, Outputs: s.outputs, SigmoidScale: 1, Features: make([]string, s.features)}
	if s.outputs == 1 {
		e.Transform = Transform(r.IntN(2))
	} else {
		e.Transform = Transform(r.IntN(2)) * Softmax
	}
	for range s.outputs {
		e.Base = append(e.Base, r.NormFloat64())
	}
	for t := range s.trees {
		e.Trees = append(e.Trees, Tree{Output: t % s.outputs, Nodes: randomNodes(r, s)})
	}
	return e
}

func randomNodes(r *rand.Rand, s shape) []Node {
	newLeaf := func() Node { return Node{Value: r.NormFloat64()} }
	nodes := []Node{newLeaf()}
	leaves := []int32{0}
	for n := 1 + r.IntN(s.leaves); len(leaves) < n; {
		pick := r.IntN(len(leaves))
		if r.Float64() < s.chain {
			pick = len(leaves) - 1
		}
		i := leaves[pick]
		left, right := int32(len(nodes)), int32(len(nodes)+1)
		if r.IntN(2) == 0 {
			left, right = right, left
		}
		nodes = append(nodes, newLeaf(), newLeaf())
		leaves[pick] = left
		leaves = append(leaves, right)
		nodes[i] = randomSplit(r, s)
		nodes[i].Left, nodes[i].Right = left, right
	}
	return nodes
}

func randomSplit(r *rand.Rand, s shape) Node {
	n := Node{
		Split:       s.splits[r.IntN(len(s.splits))],
		Missing:     s.missing[r.IntN(len(s.missing))],
		DefaultLeft: r.IntN(2) == 0,
		Feature:     int32(r.IntN(s.features)),
	}
	if n.Split == Category {
		for range r.IntN(3) {
			n.Categories = append(n.Categories, r.Uint32())
		}
		return n
	}
	n.Threshold = randomValue(r)
	if s.precision == Float32 {
		n.Threshold = float64(float32(n.Threshold))
	}
	return n
}

// randomRows mixes ordinary values, edges, missing values and exact thresholds of the ensemble.
func randomRows(r *rand.Rand, e *Ensemble, n int) []float64 {
	var thresholds []float64
	for _, t := range e.Trees {
		for _, node := range t.Nodes {
			if node.Split != Leaf {
				thresholds = append(thresholds, node.Threshold)
			}
		}
	}
	rows := make([]float64, n*len(e.Features))
	for i := range rows {
		switch r.IntN(8) {
		case 0:
			rows[i] = math.NaN()
		case 1, 2, 3:
			if len(thresholds) > 0 {
				rows[i] = thresholds[r.IntN(len(thresholds))]
				continue
			}
			fallthrough
		default:
			rows[i] = randomValue(r)
		}
	}
	return rows
}

// shapes covers both libraries, every split and missing kind, and trees on either side of each
// kernel's limits.
func shapes() map[string]shape {
	xgboost := shape{precision: Float32, features: 7, outputs: 1, trees: 20, leaves: 48,
		splits: []Split{Less}, missing: []Missing{MissingNaN}}
	lightgbm := shape{precision: Float64, features: 7, outputs: 1, trees: 20, leaves: 48, chain: 0.3,
		splits: []Split{LessEqual, LessEqual, Category}, missing: []Missing{MissingNaN, MissingZero, MissingNone}}
	everything := shape{precision: Float32, features: 5, outputs: 3, trees: 30, leaves: 64, chain: 0.1,
		splits: []Split{Less, LessEqual, Category}, missing: []Missing{MissingNaN, MissingZero, MissingNone}}
	with := func(s shape, change func(*shape)) shape { change(&s); return s }
	return map[string]shape{
		"xgboost":       xgboost,
		"lightgbm":      lightgbm,
		"everything":    everything,
		"no trees":      with(xgboost, func(s *shape) { s.trees = 0 }),
		"single leaves": with(xgboost, func(s *shape) { s.leaves = 1 }),
		"one feature":   with(lightgbm, func(s *shape) { s.features = 1 }),
		"many trees":    with(xgboost, func(s *shape) { s.trees = 300; s.features = 72 }),
		"200 leaves":    with(lightgbm, func(s *shape) { s.leaves = 200; s.chain = 0 }),
		"1000 leaves":   with(everything, func(s *shape) { s.leaves = 1000; s.trees = 9 }),
		"chains":        with(lightgbm, func(s *shape) { s.leaves = 64; s.chain = 1 }),
		"long chains":   with(everything, func(s *shape) { s.leaves = 400; s.chain = 1; s.trees = 6 }),
		"ten outputs":   with(lightgbm, func(s *shape) { s.outputs = 10; s.trees = 40 }),
	}
}
