//go:build cgo

package main

import (
	"encoding/csv"
	"math"
	"os"
	"strconv"
	"testing"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// table is a file of numbers with a head; what is empty is not a number.
func table(t testing.TB, path string) (rows [][]float32, column map[string]int) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column = map[string]int{}
	for i, name := range lines[0] {
		column[name] = i
	}
	for _, line := range lines[1:] {
		row := make([]float32, len(line))
		for i, field := range line {
			n, err := strconv.ParseFloat(field, 32)
			if field == "" {
				n = math.NaN()
			} else if err != nil {
				t.Fatal(err)
			}
			row[i] = float32(n)
		}
		rows = append(rows, row)
	}
	return rows, column
}

// compare sends the rows in batches of n and holds what comes against what is wanted.
func compare(t *testing.T, p *process, loaded wire.Loaded, n int, rows, want [][]float32) {
	t.Helper()
	in, out := loaded.Inputs[0], loaded.Outputs[0]
	worst := 0.0
	for at := 0; at < len(rows); at += n {
		batch := rows[at:min(at+n, len(rows))]
		var flat []float32
		for _, row := range batch {
			flat = append(flat, row...)
		}
		answer, err := p.call(0, wire.Call{Inputs: []wire.Tensor{fp32(in.Name, []int64{int64(len(batch)), int64(len(rows[0]))}, flat...)}})
		if err != nil {
			p.fatal("%v", err)
		}
		got := output(t, answer, out.Name)
		if got.Shape[0] != int64(len(batch)) || len(got.Data) != 4*len(batch)*len(want[0]) {
			t.Fatalf("%d rows gave %v", len(batch), got.Shape)
		}
		for i, x := range numbers(got) {
			worst = max(worst, math.Abs(float64(x)-float64(want[at+i/len(want[0])][i%len(want[0])])))
		}
	}
	t.Logf("%d rows by %d: at most %.1e from the references", len(rows), n, worst)
	if !(worst <= 1e-5) {
		t.Errorf("by %d: %v from the references", n, worst)
	}
}

func TestDigitsAreAsTheirReferences(t *testing.T) {
	p, loaded := ready(t, 1, readFile(t, "../../examples/models/digits/1/digits.onnx"))
	lines, column := table(t, "testdata/digits.csv")
	var rows, want [][]float32
	for _, line := range lines {
		pixels := make([]float32, 64)
		for i := range pixels {
			pixels[i] = line[i] / 16
		}
		rows, want = append(rows, pixels), append(want, line[column["prob0"]:column["prob0"]+10])
	}
	if len(rows) < 200 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, n := range []int{1, 7, 64, len(rows)} {
		compare(t, p, loaded, n, rows, want)
	}
	p.drain()
}

func TestLoansAreAsTheirReferences(t *testing.T) {
	lines, column := table(t, "../../examples/data/loan-default/cases.csv")
	for name, path := range map[string]string{"full": "../../examples/data/loan-default/loan_default_full.onnx", "lite": "testdata/loan_default_lite.onnx"} {
		t.Run(name, func(t *testing.T) {
			p, loaded := ready(t, 1, readFile(t, path))
			var rows, want [][]float32
			missing := 0
			for _, line := range lines {
				rows, want = append(rows, line[:column["label"]]), append(want, line[column[name]:column[name]+1])
				for _, x := range line {
					if x != x {
						missing++
					}
				}
			}
			if missing == 0 {
				t.Error("no value is missing in the data")
			}
			for _, n := range []int{1, 64, len(rows)} {
				compare(t, p, loaded, n, rows, want)
			}
			p.drain()
		})
	}
}
