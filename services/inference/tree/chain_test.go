package tree

import (
	"runtime"
	"testing"
)

// TestLongChainCompilesInProportion: a tree that is a list is small in a file and must stay small in memory.
func TestLongChainCompilesInProportion(t *testing.T) {
	const n = 50_000
	nodes := make([]Node, 0, 2*n+1)
	for i := range n {
		at := int32(2 * i)
		nodes = append(nodes, Node{Split: Less, Left: at + 1, Right: at + 2, Threshold: float64(i)}, Node{Value: float64(i)})
	}
	nodes = append(nodes, Node{Value: n})
	e := &Ensemble{Features: []string{"x"}, Outputs: 1, Base: []float64{0}, SigmoidScale: 1, Trees: []Tree{{Nodes: nodes}}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := Compile(e)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 64<<20 {
		t.Errorf("%d MiB for %d nodes", allocated>>20, n)
	}
	var got [1]float64
	for _, x := range []float64{-1, 0, 17, n - 1, n + 1} {
		if err := m.Predict(got[:], []float64{x}); err != nil {
			t.Fatal(err)
		}
		if want := min(max(float64(int(x)+1), 0), n); got[0] != want && x >= 0 || x < 0 && got[0] != 0 {
			t.Errorf("%v: %v, want %v", x, got[0], want)
		}
	}
}
