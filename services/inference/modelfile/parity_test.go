package modelfile

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/services/inference/tree"
)

// fixtures returns the model files under testdata, supported ones or refused ones.
func fixtures(t testing.TB, refused bool) []string {
	t.Helper()
	all, err := filepath.Glob("testdata/*-*/*")
	if err != nil || len(all) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	var found []string
	for _, path := range all {
		if filepath.Ext(path) != ".csv" && strings.HasPrefix(filepath.Base(path), "refused-") == refused {
			found = append(found, path)
		}
	}
	if len(found) < 20 {
		t.Fatalf("only %d fixtures", len(found))
	}
	return found
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parseFile(t testing.TB, path string) *tree.Ensemble {
	t.Helper()
	e, err := Parse(path, read(t, path))
	if err != nil {
		t.Fatal(err)
	}
	if err := wellFormed(e); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return e
}

// cases reads rows and the library's predictions for them.
func cases(t testing.TB, path string, features int) (rows, answers [][]float64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines[1:] {
		numbers := make([]float64, len(line))
		for i, cell := range line {
			if cell == "" {
				numbers[i] = math.NaN()
			} else if numbers[i], err = strconv.ParseFloat(cell, 64); err != nil {
				t.Fatal(err)
			}
		}
		rows = append(rows, numbers[:features])
		answers = append(answers, numbers[features:])
	}
	return rows, answers
}

// tolerance is relative for answers beyond 1: a float32 has only so many digits.
func tolerance(e *tree.Ensemble) float64 {
	if e.Precision == tree.Float32 {
		return 2e-7
	}
	return 1e-14
}

func TestScoresEqualTheLibrarys(t *testing.T) {
	worst := map[string]float64{}
	for _, path := range fixtures(t, false) {
		t.Run(strings.TrimPrefix(path, "testdata/"), func(t *testing.T) {
			e := parseFile(t, path)
			rows, answers := cases(t, strings.TrimSuffix(path, filepath.Ext(path))+".csv", len(e.Features))
			if len(rows) < 30 {
				t.Fatalf("only %d rows", len(rows))
			}
			wrong := 0
			for i, row := range rows {
				got := reference(e, row)
				if len(got) != len(answers[i]) {
					t.Fatalf("%d outputs, the library has %d", len(got), len(answers[i]))
				}
				for k := range got {
					want := answers[i][k]
					diff := math.Abs(got[k]-want) / max(1, math.Abs(want))
					group := filepath.Base(filepath.Dir(path)) + filepath.Ext(path)
					worst[group] = max(worst[group], diff)
					if !(diff <= tolerance(e)) {
						if wrong++; wrong <= 3 {
							t.Errorf("row %d %v, output %d: %v, the library says %v", i, row, k, got[k], want)
						}
					}
				}
			}
		})
	}
	for group, diff := range worst {
		t.Logf("%s: largest difference %.2g", group, diff)
	}
}

func TestJSONAndUBJSONOfAModelAreTheSameEnsemble(t *testing.T) {
	for _, path := range fixtures(t, false) {
		if filepath.Ext(path) != ".ubj" {
			continue
		}
		u := parseFile(t, path)
		j := parseFile(t, strings.TrimSuffix(path, ".ubj")+".json")
		if len(u.Trees) != len(j.Trees) || strings.Join(u.Features, "|") != strings.Join(j.Features, "|") || u.Base[0] != j.Base[0] {
			t.Fatalf("%s: headers differ", path)
		}
		for i := range u.Trees {
			if len(u.Trees[i].Nodes) != len(j.Trees[i].Nodes) {
				t.Fatalf("%s: tree %d differs", path, i)
			}
			for k, n := range u.Trees[i].Nodes {
				m := j.Trees[i].Nodes[k]
				// The JSON is written with as many digits as a float32 has.
				if n.Threshold != m.Threshold || n.Value != m.Value || n.Feature != m.Feature || n.Left != m.Left || n.Right != m.Right || n.DefaultLeft != m.DefaultLeft || n.Split != m.Split {
					t.Fatalf("%s: tree %d node %d: %+v and %+v", path, i, k, n, m)
				}
			}
		}
	}
}
