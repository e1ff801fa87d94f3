// Command inference runs Dougong's tree engine side by side with its peers on one real model, and
// checks the answers of ours on all of them.
//
//	cd bench && ./setup-peers.sh && go run ./inference
//
// Each engine is a process of its own, pinned to one core and one thread. They take turns, a short
// slice each, and every slice goes through all the rows: an engine that saw one row again and again
// would have its branches learnt by the processor. What counts is CPU time, the median of the rounds.
// Before anything is timed, each engine must give the answers that the training library gave.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

type options struct {
	full, v2, lite, mini, wine string // models
	onnx                       string
	data                       string // folder of the cases
	peers                      string // folder of bench/setup-peers.sh
	rounds, slice, core        int
	serve                      string
}

func main() {
	var o options
	flag.StringVar(&o.full, "full", "../examples/models/loan-default/1/model.json", "the model to time")
	flag.StringVar(&o.v2, "v2", "../examples/models/loan-default/2/model.json", "its second version, for parity")
	flag.StringVar(&o.lite, "lite", "../examples/models/loan-lite/1/model.json", "the lightweight model, for parity")
	flag.StringVar(&o.mini, "mini", "../examples/models/loan-mini/1/model.json", "the model of two features, for parity")
	flag.StringVar(&o.wine, "wine", "../examples/data/wine/wine.json", "a model of three classes, for parity")
	flag.StringVar(&o.onnx, "onnx", "../examples/data/loan-default/loan_default_full.onnx", "the model to time as ONNX")
	flag.StringVar(&o.data, "data", "../examples/data", "folder of the cases")
	flag.StringVar(&o.peers, "peers", "peers", "folder that setup-peers.sh filled")
	flag.IntVar(&o.rounds, "rounds", 10, "slices of each engine and batch")
	flag.IntVar(&o.slice, "slice", 100, "milliseconds of CPU time a slice")
	flag.IntVar(&o.core, "core", runtime.NumCPU()-1, "core to pin to")
	flag.StringVar(&o.serve, "serve", "", "be the child process of this engine (ours, onnx)")
	flag.Parse()
	if err := run(&o); err != nil {
		fmt.Fprintln(os.Stderr, "inference:", err)
		os.Exit(1)
	}
}

func run(o *options) error {
	c, err := readCases(filepath.Join(o.data, "loan-default/cases.csv"), 72, "full")
	if err != nil {
		return err
	}
	switch o.serve {
	case "ours":
		s, err := newOurs(o.full, c)
		if err != nil {
			return err
		}
		return serve(s, c.len(), os.Stdin, os.Stdout)
	case "onnx":
		s, err := newONNX(filepath.Join(o.peers, "libonnxruntime.so"), o.onnx, c)
		if err != nil {
			return err
		}
		return serve(s, c.len(), os.Stdin, os.Stdout)
	}
	sound, err := parity(o, os.Stdout)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "bench-inference-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	engines, err := startAll(o, c, folder)
	defer func() {
		for _, e := range engines {
			if err := e.stop(); err != nil {
				fmt.Fprintf(os.Stderr, "inference: %s: %v\n", e.name, err)
			}
		}
	}()
	if err != nil {
		return err
	}
	if engines, err = verify(engines, c, os.Stdout); err != nil {
		return err
	}
	table, err := measure(engines, o)
	if err != nil {
		return err
	}
	if !table.print(os.Stdout) || !sound {
		return fmt.Errorf("a bar was missed")
	}
	return nil
}

// Names of the engines, in the order in which they take turns.
const (
	portable     = "dougong, portable"
	assembly     = "dougong, assembly"
	onnxRuntime  = "ONNX Runtime"
	xgboost17    = "XGBoost 1.7"
	xgboostNewer = "XGBoost, current"
	compiledC    = "tl2cgen, gcc -O3"
	oneDAL       = "oneDAL"
)

// startAll starts an engine after the other. A peer that is not installed is left out, and said so.
func startAll(o *options, c *cases, folder string) (engines []*engine, err error) {
	rows, flat := filepath.Join(folder, "rows"), filepath.Join(folder, "model")
	if err := c.writeRows(rows); err != nil {
		return nil, err
	}
	e, _, err := readModel(o.full)
	if err != nil {
		return nil, err
	}
	f, err := os.Create(flat)
	if err != nil {
		return nil, err
	}
	flatten(f, e)
	if err := f.Close(); err != nil {
		return nil, err
	}
	ours := func(tag string) (string, error) { // noasm, or a tag that means nothing
		program := filepath.Join(folder, "inference-"+tag)
		build := exec.Command("go", "build", "-tags", tag, "-o", program, "./inference")
		build.Stderr = os.Stderr
		return program, build.Run()
	}
	withAssembly, err := ours("assembly")
	if err != nil {
		return nil, err
	}
	withoutAssembly, err := ours("noasm")
	if err != nil {
		return nil, err
	}
	bin := filepath.Join(o.peers, "bin")
	for _, child := range []struct {
		name, program string
		args          []string
	}{
		{portable, withoutAssembly, []string{"-serve", "ours", "-full", o.full, "-data", o.data}},
		{assembly, withAssembly, []string{"-serve", "ours", "-full", o.full, "-data", o.data}},
		{onnxRuntime, withAssembly, []string{"-serve", "onnx", "-onnx", o.onnx, "-data", o.data, "-peers", o.peers}},
		{xgboost17, filepath.Join(bin, "xgboost"), []string{rows, filepath.Join(o.peers, "libxgboost-1.7.so"), o.full}},
		{xgboostNewer, filepath.Join(bin, "xgboost"), []string{rows, filepath.Join(o.peers, "libxgboost-current.so"), o.full}},
		{compiledC, filepath.Join(bin, "tl2cgen"), []string{rows}},
		{oneDAL, filepath.Join(bin, "onedal"), []string{rows, flat}},
	} {
		e, err := start(child.name, o.core, child.program, child.args...)
		if err != nil {
			fmt.Fprintln(os.Stderr, "inference:", err)
			continue
		}
		engines = append(engines, e)
	}
	return engines, nil
}
