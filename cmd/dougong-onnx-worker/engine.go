//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/dougong-io/dougong/adapters/cguard"
	"github.com/dougong-io/dougong/services/inference/wire"
	"github.com/dougong-io/dougong/services/inference/worker"
	ort "github.com/yalue/onnxruntime_go"
)

// engine is ONNX Runtime, as package worker wants it.
type engine struct{ heap *cguard.Heap }

func newEngine(log *slog.Logger) *engine {
	return &engine{heap: cguard.NewHeap(cguard.WithObserver(forgotten{log}))}
}

// forgotten says that this program has a fault; see cguard's rule.
type forgotten struct{ log *slog.Logger }

func (f forgotten) Forgotten(bytes int, allocatedAt string) {
	f.log.Error("native memory was forgotten", "bytes", bytes, "allocated_at", allocatedAt)
}

// Load refuses with what is to be done about it.
func (e *engine) Load(_ context.Context, load wire.Load, file *os.File) (worker.Model, wire.Loaded, error) {
	if load.Format != "onnx" {
		return nil, wire.Loaded{}, wire.Failf(wire.Refused, "format %q: this worker knows onnx alone", load.Format)
	}
	s, err := parseOptions(load.Options)
	if err != nil {
		return nil, wire.Loaded{}, wire.Failf(wire.Refused, "options: %v", err)
	}
	if err := openLibrary(s.library); err != nil {
		return nil, wire.Loaded{}, wire.Failf(wire.Refused, "%v", err)
	}
	m, err := e.newModel(load, s, file)
	if err != nil {
		return nil, wire.Loaded{}, wire.Failf(wire.Refused, "model %q: %v", load.Model, err)
	}
	return m, wire.Loaded{Inputs: m.inputs, Outputs: m.outputs, Engine: "onnxruntime " + ort.GetVersion(), Parallel: true}, nil
}

// openLibrary finds and loads the library, unless a model of this process did.
func openLibrary(option string) error {
	if ort.IsInitialized() {
		return nil
	}
	found, err := findLibrary(option)
	var absent *notFoundError
	switch {
	case errors.As(err, &absent):
		if found.open() != nil { // the loader does not know one either
			return absent
		}
		return nil
	case err != nil:
		return err
	}
	return found.open()
}

// newModel makes the session. The names of a model's tensors are asked for by the binding in a session of its own, which
// it needs a path for; that session is made as quickly as can be, and is gone when the real one comes.
func (e *engine) newModel(load wire.Load, s settings, file *os.File) (*model, error) {
	quick := s
	quick.optimization = ort.GraphOptimizationLevelDisableAll
	options, err := quick.sessionOptions(1)
	if err != nil {
		return nil, err
	}
	path := fmt.Sprintf("/proc/self/fd/%d", file.Fd())
	inputs, outputs, err := ort.GetInputOutputInfoWithOptions(path, options)
	_ = options.Destroy()
	if err != nil {
		text := strings.TrimPrefix(err.Error(), "Error loading temporary session: ")
		return nil, errors.New(strings.TrimPrefix(text, "Load model from "+path+" failed:"))
	}
	m := &model{heap: e.heap, poison: newPoison()}
	if m.inputs, err = specs("input", inputs); err != nil {
		return nil, err
	}
	if m.outputs, err = specs("output", outputs); err != nil {
		return nil, err
	}
	m.plan()
	if err := m.check(); err != nil {
		return nil, err
	}
	data, err := syscall.Mmap(int(file.Fd()), 0, int(load.Bytes), syscall.PROT_READ, syscall.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("its bytes: %w", err)
	}
	defer func() { _ = syscall.Munmap(data) }()
	if options, err = s.sessionOptions(load.Threads); err != nil {
		return nil, err
	}
	defer func() { _ = options.Destroy() }()
	m.session, err = ort.NewDynamicAdvancedSessionWithONNXData(data, names(m.inputs), names(m.outputs), options)
	return m, err
}

func names(specs []wire.Spec) []string {
	var all []string
	for _, s := range specs {
		all = append(all, s.Name)
	}
	return all
}

// specs describes the tensors of one side of a model. What is no tensor has no place in the protocol.
func specs(side string, infos []ort.InputOutputInfo) ([]wire.Spec, error) {
	var all []wire.Spec
	var faults []error
	for _, info := range infos {
		datatype, known := datatypeOf(info.DataType)
		switch {
		case info.OrtValueType != ort.ONNXTypeTensor:
			faults = append(faults, fmt.Errorf("%s %q is a %v, and only tensors can be sent; a classifier is exported without ZipMap (zipmap=False)", side, info.Name, info.OrtValueType))
		case !known:
			faults = append(faults, fmt.Errorf("%s %q has elements of %v, which cannot be sent", side, info.Name, info.DataType))
		}
		shape := slices.Clone([]int64(info.Dimensions))
		if shape == nil {
			shape = []int64{}
		}
		for i, d := range shape {
			shape[i] = max(d, -1)
		}
		all = append(all, wire.Spec{Name: info.Name, Datatype: datatype, Shape: shape})
	}
	return all, errors.Join(faults...)
}
