package tree

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"
)

const examples = "../../../examples/"

// readLoan reads just as much of XGBoost's JSON as the demonstration models need. Package modelfile,
// which reads the format in earnest, imports this one.
func readLoan(t testing.TB, path string) *Ensemble {
	t.Helper()
	text, err := os.ReadFile(examples + path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Learner struct {
			Booster struct {
				Model struct {
					Trees []struct {
						Left        []int32   `json:"left_children"`
						Right       []int32   `json:"right_children"`
						Feature     []int32   `json:"split_indices"`
						Condition   []float32 `json:"split_conditions"`
						DefaultLeft []int     `json:"default_left"`
					}
				}
			} `json:"gradient_booster"`
			Names []string `json:"feature_names"`
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	e := &Ensemble{Precision: Float32, Transform: Sigmoid, SigmoidScale: 1, Features: file.Learner.Names, Outputs: 1, Base: []float64{0}}
	for _, from := range file.Learner.Booster.Model.Trees {
		nodes := make([]Node, len(from.Left))
		for i := range nodes {
			if from.Left[i] == -1 {
				nodes[i] = Node{Value: float64(from.Condition[i])}
				continue
			}
			nodes[i] = Node{Split: Less, DefaultLeft: from.DefaultLeft[i] != 0, Feature: from.Feature[i],
				Left: from.Left[i], Right: from.Right[i], Threshold: float64(from.Condition[i])}
		}
		e.Trees = append(e.Trees, Tree{Nodes: nodes})
	}
	return e
}

// readCases answers the rows of a file of cases, and one of its columns of expected answers.
func readCases(t testing.TB, path string, features int, expected string) (rows, want []float64) {
	t.Helper()
	f, err := os.Open(examples + path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range records[1:] {
		for i, cell := range record {
			x := math.NaN()
			if cell != "" {
				if x, err = strconv.ParseFloat(cell, 64); err != nil {
					t.Fatal(err)
				}
			}
			if i < features {
				rows = append(rows, x)
			} else if records[0][i] == expected {
				want = append(want, x)
			}
		}
	}
	return rows, want
}

var loans = []struct{ name, path, cases, expected string }{
	{"full", "models/loan-default/1/model.json", "data/loan-default/cases.csv", "full"},
	{"v2", "models/loan-default/2/model.json", "data/loan-default/cases.csv", "v2"},
	{"lite", "models/loan-lite/1/model.json", "data/loan-default/cases.csv", "lite"},
	{"mini", "models/loan-mini/1/model.json", "data/loan-mini/cases.csv", "expected"},
}

func TestPredictEqualsXGBoostOnLoans(t *testing.T) {
	for _, loan := range loans {
		t.Run(loan.name, func(t *testing.T) {
			e := readLoan(t, loan.path)
			rows, want := readCases(t, loan.cases, len(e.Features), loan.expected)
			m, err := Compile(e)
			if err != nil {
				t.Fatal(err)
			}
			checkRows(t, e, m, rows)
			got := make([]float64, len(want))
			if err := m.Predict(got, rows); err != nil {
				t.Fatal(err)
			}
			var worst float64
			for i := range got {
				worst = max(worst, math.Abs(got[i]-want[i]))
			}
			t.Logf("%d rows, at most %.2g apart", len(got), worst)
			if worst > 1e-6 {
				t.Errorf("answers differ by up to %g", worst)
			}
		})
	}
}

// BenchmarkLoan scores all cases in turn, a batch a call: a repeated row would train the branch
// predictor and flatter every engine.
func BenchmarkLoan(b *testing.B) {
	for _, loan := range loans {
		e := readLoan(b, loan.path)
		rows, _ := readCases(b, loan.cases, len(e.Features), loan.expected)
		m, err := Compile(e)
		if err != nil {
			b.Fatal(err)
		}
		benchmarkBatches(b, loan.name, m, rows)
	}
}

func BenchmarkCompile(b *testing.B) {
	e := readLoan(b, loans[0].path)
	for b.Loop() {
		if _, err := Compile(e); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkBatches(b *testing.B, name string, m *Model, rows []float64) {
	f := m.Features()
	n := len(rows) / f
	for _, batch := range []int{1, 4, 16, 64, 128, 256} {
		b.Run(fmt.Sprintf("%s/batch=%d", name, batch), func(b *testing.B) {
			dst := make([]float64, batch*m.Outputs())
			at, scored := 0, 0
			b.ReportAllocs()
			for b.Loop() {
				if at+batch > n {
					at = 0
				}
				if err := m.Predict(dst, rows[at*f:(at+batch)*f]); err != nil {
					b.Fatal(err)
				}
				at += batch
				scored += batch
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(scored), "ns/row")
		})
	}
}
