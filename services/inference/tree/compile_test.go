package tree

import (
	"errors"
	"math"
	"testing"
)

// allKernels forces each kernel upon every batch that it can score.
var allKernels = map[string]kernels{
	"chosen":   {},
	"quick":    {row: quickKernel, block: walkerKernel},
	"walker":   {row: walkerKernel, block: walkerKernel},
	"portable": {block: slicedKernel, blockFrom: 1, words: 1},
	"assembly": {block: slicedKernel, blockFrom: 1},
}

func TestPredictEqualsReferenceToTheBit(t *testing.T) {
	for name, s := range shapes() {
		t.Run(name, func(t *testing.T) {
			r := newRand(t)
			for range 4 {
				e := randomEnsemble(r, s)
				rows := randomRows(r, e, 300)
				for name, k := range allKernels {
					m, err := compile(e, k)
					if err != nil {
						t.Fatal(err)
					}
					t.Run(name, func(t *testing.T) {
						for _, n := range []int{0, 1, 2, 1 + r.IntN(300)} {
							checkRows(t, e, m, rows[:n*len(e.Features)])
						}
					})
				}
			}
		})
	}
}

// checkRows compares m's answers with the reference's.
func checkRows(t *testing.T, e *Ensemble, m *Model, rows []float64) {
	t.Helper()
	n := len(rows) / len(e.Features)
	got := make([]float64, n*e.Outputs)
	want := make([]float64, e.Outputs)
	if err := m.Predict(got, rows); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		row := rows[i*len(e.Features):][:len(e.Features)]
		Reference{e}.Predict(want, row)
		for o, w := range want {
			if g := got[i*e.Outputs+o]; math.Float64bits(g) != math.Float64bits(w) && !(g != g && w != w) {
				t.Fatalf("row %d of %d, output %d: %v, want %v; row %v", i, n, o, g, w, row)
			}
		}
	}
}

func TestEveryBatchSizeEqualsReference(t *testing.T) {
	r := newRand(t)
	s := shapes()["everything"]
	s.trees = 10
	e := randomEnsemble(r, s)
	rows := randomRows(r, e, 300)
	for name, k := range allKernels {
		m, err := compile(e, k)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			for n := 1; n <= 300; n++ {
				checkRows(t, e, m, rows[:n*len(e.Features)])
			}
		})
	}
}

// Every threshold is met exactly, missed by one step of the precision, and passed by all special
// values.
func TestNeighboursOfThresholdsEqualReference(t *testing.T) {
	for _, precision := range []Precision{Float32, Float64} {
		for _, kind := range []Split{Less, LessEqual} {
			for missing := MissingNaN; missing <= MissingNone; missing++ {
				e := &Ensemble{Precision: precision, Outputs: 1, Base: []float64{0}, Features: []string{"x"}}
				rows := append([]float64{math.NaN()}, values...)
				for i, v := range values {
					if precision == Float32 {
						v = float64(float32(v))
						rows = append(rows, float64(math.Nextafter32(float32(v), float32(math.Inf(1)))),
							float64(math.Nextafter32(float32(v), float32(math.Inf(-1)))))
					} else {
						rows = append(rows, math.Nextafter(v, math.Inf(1)), math.Nextafter(v, math.Inf(-1)))
					}
					e.Trees = append(e.Trees, Tree{Nodes: []Node{
						{Split: kind, Missing: missing, DefaultLeft: i%2 == 0, Threshold: v, Left: 1, Right: 2},
						{Value: 0}, {Value: float64(int64(1) << (i % 23))},
					}})
				}
				for name, k := range allKernels {
					m, err := compile(e, k)
					if err != nil {
						t.Fatal(err)
					}
					t.Run(name, func(t *testing.T) { checkRows(t, e, m, rows) })
				}
			}
		}
	}
}

func TestKernelsFitTheirEnsembles(t *testing.T) {
	loan, err := Compile(readLoan(t, loans[0].path))
	if err != nil {
		t.Fatal(err)
	}
	if g := loan.engine.(*engine[uint32, float32]); g.quick == nil || g.sliced == nil || g.blockFrom > 32 {
		t.Errorf("loan model: quick %t, sliced %t from %d rows", g.quick != nil, g.sliced != nil, g.blockFrom)
	}
	s := shapes()["1000 leaves"]
	s.trees = 100
	large, err := Compile(randomEnsemble(newRand(t), s))
	if err != nil {
		t.Fatal(err)
	}
	if g := large.engine.(*engine[uint32, float32]); g.walker == nil || g.sliced != nil {
		t.Errorf("trees of 1,000 leaves: walker %t, sliced %t", g.walker != nil, g.sliced != nil)
	}
}

func TestPredictAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("a sync.Pool forgets at random under the race detector")
	}
	r := newRand(t)
	for name, s := range shapes() {
		e := randomEnsemble(r, s)
		for kernel, k := range allKernels {
			m, err := compile(e, k)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{1, 200} {
				rows, dst := randomRows(r, e, n), make([]float64, n*s.outputs)
				if got := testing.AllocsPerRun(20, func() { _ = m.Predict(dst, rows) }); got != 0 {
					t.Errorf("%s, %s, %d rows: %v allocations", name, kernel, n, got)
				}
			}
		}
	}
}

func TestModelIsSafeForConcurrentUse(t *testing.T) {
	r := newRand(t)
	e := randomEnsemble(r, shapes()["everything"])
	rows := randomRows(r, e, 300)
	for name, k := range allKernels {
		m, err := compile(e, k)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			for i := range 8 {
				t.Run("", func(t *testing.T) {
					t.Parallel()
					for n := range 5 {
						checkRows(t, e, m, rows[i*len(e.Features):(i+1+n*60)*len(e.Features)])
					}
				})
			}
		})
	}
}

func TestPredictRefusesPartOfARow(t *testing.T) {
	m, err := Compile(randomEnsemble(newRand(t), shapes()["xgboost"]))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Predict(make([]float64, 2), make([]float64, 13)); err == nil {
		t.Error("13 values for two rows of 7 were accepted")
	}
	if err := m.Predict(make([]float64, 2), make([]float64, 21)); err == nil {
		t.Error("three rows for two answers were accepted")
	}
}

func TestCompileRefusesMalformedEnsembles(t *testing.T) {
	sound := func() *Ensemble {
		return &Ensemble{Features: []string{"a"}, Outputs: 1, Base: []float64{0}, SigmoidScale: 1, Trees: []Tree{{Nodes: []Node{
			{Split: Less, Threshold: 1, Left: 1, Right: 2},
			{Value: 1},
			{Split: LessEqual, Threshold: 2, Left: 3, Right: 4},
			{Value: 2}, {Value: 3},
		}}}}
	}
	if _, err := Compile(sound()); err != nil {
		t.Fatal(err)
	}
	nodes := func(e *Ensemble) []Node { return e.Trees[0].Nodes }
	for name, damage := range map[string]func(e *Ensemble){
		"cycle":                 func(e *Ensemble) { nodes(e)[2].Left = 0 },
		"self":                  func(e *Ensemble) { nodes(e)[2].Left = 2 },
		"two parents":           func(e *Ensemble) { nodes(e)[2].Left = 1 },
		"child beyond":          func(e *Ensemble) { nodes(e)[0].Right = 5 },
		"negative child":        func(e *Ensemble) { nodes(e)[0].Left = -1 },
		"no nodes":              func(e *Ensemble) { e.Trees[0].Nodes = nil },
		"NaN threshold":         func(e *Ensemble) { nodes(e)[2].Threshold = math.NaN() },
		"threshold of float64":  func(e *Ensemble) { nodes(e)[2].Threshold = 0.1 },
		"NaN leaf":              func(e *Ensemble) { nodes(e)[3].Value = math.NaN() },
		"feature beyond":        func(e *Ensemble) { nodes(e)[2].Feature = 1 },
		"negative feature":      func(e *Ensemble) { nodes(e)[2].Feature = -1 },
		"output beyond":         func(e *Ensemble) { e.Trees[0].Output = 1 },
		"negative output":       func(e *Ensemble) { e.Trees[0].Output = -1 },
		"no outputs":            func(e *Ensemble) { e.Outputs = 0; e.Base = nil },
		"too few base values":   func(e *Ensemble) { e.Outputs = 2 },
		"NaN base":              func(e *Ensemble) { e.Base[0] = math.NaN() },
		"unknown split":         func(e *Ensemble) { nodes(e)[0].Split = Category + 1 },
		"unknown missing":       func(e *Ensemble) { nodes(e)[0].Missing = MissingNone + 1 },
		"unknown transform":     func(e *Ensemble) { e.Transform = Softmax + 1 },
		"unknown precision":     func(e *Ensemble) { e.Precision = Float64 + 1 },
		"sigmoid without scale": func(e *Ensemble) { e.Transform = Sigmoid; e.SigmoidScale = 0 },
	} {
		e := sound()
		damage(e)
		if _, err := Compile(e); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
