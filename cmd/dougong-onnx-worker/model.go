//go:build cgo

package main

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/dougong-io/dougong/adapters/cguard"
	"github.com/dougong-io/dougong/services/inference/wire"
	"github.com/dougong-io/dougong/services/inference/worker"
	ort "github.com/yalue/onnxruntime_go"
)

// model is a session, which all lanes use at a time.
type model struct {
	heap            *cguard.Heap
	inputs, outputs []wire.Spec
	plans           []plan // one an output
	session         *ort.DynamicAdvancedSession
	poison          poison
}

// plan says where an output's shape comes from. If it is known before the call, ONNX Runtime computes straight into the
// answer; otherwise it allocates the output, which is copied.
type plan struct {
	ahead  bool        // the shape is known: fixed, or all but a first dimension, which is that of the inputs
	denied atomic.Bool // the model turned out to give another shape than it says
}

func (m *model) plan() {
	m.plans = make([]plan, len(m.outputs))
	for i, out := range m.outputs {
		ahead := out.Datatype != wire.BYTES
		for d, length := range out.Shape {
			if length < 0 && (d > 0 || !m.batched()) {
				ahead = false
			}
		}
		m.plans[i].ahead = ahead
	}
}

// batched reports whether a first dimension of any length is in an input.
func (m *model) batched() bool {
	for _, in := range m.inputs {
		if len(in.Shape) > 0 && in.Shape[0] < 0 {
			return true
		}
	}
	return false
}

// check refuses what the binding cannot do.
func (m *model) check() error {
	var faults []error
	for i, out := range m.outputs {
		switch {
		case half(out.Datatype) && len(out.Shape) == 0:
			faults = append(faults, fmt.Errorf("output %q is a single %v, which this worker cannot read; give it a dimension or another datatype", out.Name, out.Datatype))
		case half(out.Datatype) && !m.plans[i].ahead:
			faults = append(faults, fmt.Errorf("output %q is %v %d, and of that datatype this worker reads only outputs whose dimensions are fixed but for the first; cast it to FP32 in the model", out.Name, out.Datatype, out.Shape))
		}
	}
	for _, in := range m.inputs {
		if len(in.Shape) == 0 && (half(in.Datatype) || in.Datatype == wire.BYTES) {
			faults = append(faults, fmt.Errorf("input %q is a single %v, which this worker cannot give; give it a dimension", in.Name, in.Datatype))
		}
	}
	return errors.Join(faults...)
}

func (m *model) NewLane() (worker.Lane, error) {
	run, err := ort.NewRunOptions()
	if err != nil {
		return nil, err
	}
	return &lane{
		model: m, run: run,
		inputs: make([]value, len(m.inputs)), outputs: make([]value, len(m.outputs)),
		given: make([]ort.Value, len(m.inputs)), taken: make([]ort.Value, len(m.outputs)),
		matched: make([]*wire.Tensor, len(m.inputs)), shapes: make([][]int64, len(m.outputs)),
	}, nil
}

// Memory is that of the lanes' buffers. What a session holds, ONNX Runtime does not tell; the process's resident memory
// has it.
func (m *model) Memory() worker.Memory { return worker.Memory{Native: m.heap.Stats().Bytes} }

// Close comes after that of the lanes, which have freed what they allocated then.
func (m *model) Close() error {
	err := m.session.Destroy()
	if s := m.heap.Stats(); s.Buffers > 0 {
		err = errors.Join(err, fmt.Errorf("%d buffers of %d bytes were not freed", s.Buffers, s.Bytes))
	}
	return err
}
