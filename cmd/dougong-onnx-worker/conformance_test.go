//go:build cgo

package main

import (
	"os"
	"testing"

	"github.com/dougong-io/dougong/services/inference/wire"
	"github.com/dougong-io/dougong/services/inference/workercheck"
)

func TestWorkerKeepsTheProtocol(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	command := workercheck.Command{Path: os.Args[0], Env: []string{beWorker + "=1", libraryVariable + "=" + fetchedLibrary(t)}}
	lines, column := table(t, "testdata/digits.csv")
	var cases []workercheck.Case
	for _, line := range lines[:20] {
		pixels := make([]float32, 64)
		for i := range pixels {
			pixels[i] = line[i] / 16
		}
		first := column["prob0"]
		cases = append(cases, workercheck.Case{
			Inputs:  []wire.Tensor{fp32("image", []int64{1, 64}, pixels...)},
			Outputs: []wire.Tensor{fp32("probabilities", []int64{1, 10}, line[first:first+10]...)},
		})
	}
	models := map[string]workercheck.Model{
		"digits": {Format: "onnx", Data: digits(t), Cases: workercheck.Cases{Cases: cases}},
		"slow": {Format: "onnx", Data: slow(), Cases: workercheck.Cases{
			Cases: []workercheck.Case{{Inputs: []wire.Tensor{fp32("x", []int64{1, 1, 1}, 1)}, Outputs: []wire.Tensor{fp32("y", []int64{1, 1, 1}, 1)}}},
			Slow:  []wire.Tensor{fp32("x", []int64{1, 350, 350}, make([]float32, 350*350)...)},
		}},
	}
	for name, model := range models {
		t.Run(name, func(t *testing.T) {
			results, err := workercheck.Run(t.Context(), command, model, func(r workercheck.Result) {
				t.Logf("%-5v %s (%v) %s", r.Verdict, r.Name, r.Took, r.Detail)
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range workercheck.Failures(results) {
				t.Errorf("%s: %s\n%s", r.Name, r.Why, r.Detail)
			}
		})
	}
}
