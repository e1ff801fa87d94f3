//go:build unix

package workercheck

import (
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/services/inference/wire"
)

const example = "../../../examples/workers/numpy"

// python has numpy. Where it is not installed the test is skipped, except in CI.
func python(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("../../../scripts/clients.sh", "--check").Output()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("there is no python with numpy; run make deps: %v", err)
		}
		t.Skip("there is no python with numpy; run make deps")
	}
	return filepath.Join(strings.TrimSpace(string(out)), "bin", "python")
}

func TestTheWorkerInPythonPasses(t *testing.T) {
	file, err := os.Open(filepath.Join(example, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cases, err := ReadCases(file)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(example, "digits.npz"))
	if err != nil {
		t.Fatal(err)
	}
	// One thread of BLAS: many workers are started, on few processors.
	command := Command{Path: python(t), Args: []string{"-B", filepath.Join(example, "worker.py")}, Env: []string{"OPENBLAS_NUM_THREADS=1"}}
	results, err := Run(t.Context(), command, Model{Format: "npz", Data: data, Cases: cases}, nil)
	if err != nil {
		t.Fatal(err)
	}
	allPass(t, results)
	source, err := os.ReadFile(filepath.Join(example, "worker.py"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), "\n"); n > 150 {
		t.Errorf("the worker has %d lines: an example is short", n)
	}
}

// TestTheWorkerInPythonAnswersAllReferenceRows: not only those that the example ships.
func TestTheWorkerInPythonAnswersAllReferenceRows(t *testing.T) {
	file, err := os.Open("../../../cmd/dougong-onnx-worker/testdata/digits.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var cases Cases
	for _, row := range rows[1:] {
		cases.Cases = append(cases.Cases, digit(t, row))
	}
	data, err := os.ReadFile(filepath.Join(example, "digits.npz"))
	if err != nil {
		t.Fatal(err)
	}
	s := &suite{ctx: t.Context(), command: Command{Path: python(t), Args: []string{"-B", filepath.Join(example, "worker.py")}, LoadWithin: patience}, model: Model{Name: "digits", Format: "npz", Data: data, Cases: cases}}
	s.model.Tolerance = 1e-5
	defer s.stop()
	p, _, err := s.ready(1)
	if err != nil {
		t.Fatal(err)
	}
	for i, one := range cases.Cases {
		if err := s.right(p, p.lanes[0], one); err != nil {
			t.Errorf("row %d: %v", i, err)
		}
	}
}

func digit(t *testing.T, row []string) Case {
	t.Helper()
	floats := func(fields []string, scale float64) (b []byte) {
		for _, f := range fields {
			v, err := strconv.ParseFloat(f, 64)
			if err != nil {
				t.Fatal(err)
			}
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v/scale)))
		}
		return b
	}
	if len(row) != 75 {
		t.Fatal(fmt.Errorf("%d columns", len(row)))
	}
	return Case{
		Inputs:  []wire.Tensor{{Name: []byte("image"), Datatype: wire.FP32, Shape: []int64{1, 64}, Data: floats(row[:64], 16)}},
		Outputs: []wire.Tensor{{Name: []byte("probabilities"), Datatype: wire.FP32, Shape: []int64{1, 10}, Data: floats(row[65:], 1)}},
	}
}
