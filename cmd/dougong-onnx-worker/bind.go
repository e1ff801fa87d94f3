//go:build cgo

package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// match puts the call's tensors into the order of the model's inputs, in l.matched. The error says what the model
// expects; ONNX Runtime has seen nothing then.
func (l *lane) match(call *wire.Call) error {
	clear(l.matched)
	for i := range call.Inputs {
		t := &call.Inputs[i]
		at := l.model.input(t.Name)
		if at < 0 {
			return invalid(l.model, "there is no input %.40q", t.Name)
		}
		spec := &l.model.inputs[at]
		if t.Datatype != spec.Datatype {
			return invalid(l.model, "input %q is %v, not %v", spec.Name, spec.Datatype, t.Datatype)
		}
		if !fits(t.Shape, spec.Shape) {
			return invalid(l.model, "input %q has the shape %s, not %s", spec.Name, shapeString(spec.Shape), shapeString(t.Shape))
		}
		l.matched[at] = t // no name is there twice: wire has seen to it
	}
	for i, t := range l.matched {
		if t == nil {
			return invalid(l.model, "input %q is missing", l.model.inputs[i].Name)
		}
	}
	return nil
}

func (m *model) input(name []byte) int {
	for i := range m.inputs {
		if string(name) == m.inputs[i].Name {
			return i
		}
	}
	return -1
}

func fits(shape, spec []int64) bool {
	if len(shape) != len(spec) {
		return false
	}
	for i, d := range spec {
		if d >= 0 && shape[i] != d {
			return false
		}
	}
	return true
}

// invalid is the caller's fault, told with all that the model takes.
func invalid(m *model, format string, args ...any) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, format, args...)
	b.WriteString("; the model takes ")
	for i, in := range m.inputs {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %v %s", in.Name, in.Datatype, shapeString(in.Shape))
	}
	return wire.Failf(wire.Invalid, "%s", b.String())
}

// shapeString writes a dimension of any length as a question mark.
func shapeString(shape []int64) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, d := range shape {
		if i > 0 {
			b.WriteByte(' ')
		}
		if d < 0 {
			b.WriteByte('?')
		} else {
			fmt.Fprint(&b, d)
		}
	}
	b.WriteByte(']')
	return b.String()
}

// foresee puts the shapes of the outputs that are known before the call into l.shapes, nil for the others, and returns
// how many bytes the answer's frame takes for those.
func (l *lane) foresee() int {
	batch, one := int64(-1), true
	for i, in := range l.model.inputs {
		if len(in.Shape) > 0 && in.Shape[0] < 0 {
			n := l.matched[i].Shape[0]
			one = one && (batch < 0 || batch == n)
			batch = n
		}
	}
	total := wire.HeaderBytes + wire.AnswerBytes
	for i := range l.model.outputs {
		spec, plan := &l.model.outputs[i], &l.model.plans[i]
		dynamic := len(spec.Shape) > 0 && spec.Shape[0] < 0
		if !plan.ahead || plan.denied.Load() || dynamic && !one {
			l.shapes[i] = nil
			continue
		}
		shape := append(l.shapes[i][:0], spec.Shape...)
		if dynamic {
			shape[0] = batch
		}
		if shape == nil {
			shape = []int64{}
		}
		n, ok := wire.Elements(shape)
		if size := int64(spec.Datatype.Size()); !ok || n > maxAhead/size {
			l.shapes[i] = nil // too large for an answer; ONNX Runtime may say why
			continue
		}
		l.shapes[i] = shape
		total += l.headBytes(i) + int(n)*spec.Datatype.Size()
		total += wire.Padding(total)
	}
	return total
}

// maxAhead bounds an output that is allocated before it is computed; a frame has less.
const maxAhead = 1 << 31

func (l *lane) headBytes(output int) int {
	l.name = append(l.name[:0], l.model.outputs[output].Name...)
	t := wire.Tensor{Name: l.name, Shape: l.shapes[output]}
	return t.HeadBytes()
}
