//go:build cgo

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/dougong-io/dougong/adapters/cguard"
	"github.com/dougong-io/dougong/services/inference/wire"
	"github.com/dougong-io/dougong/services/inference/worker"
	ort "github.com/yalue/onnxruntime_go"
)

// lane computes one call at a time, straight from the memory that its frame was read into, and into that from which the
// answer is written. It calls C in its own goroutine: if C does not come back, the service releases its caller and
// kills this process.
type lane struct {
	model *model
	run   *ort.RunOptions

	frame  *cguard.Buffer // the call's
	answer *cguard.Buffer
	none   *cguard.Buffer // stands for data of no bytes, whose address ONNX Runtime wants nevertheless

	inputs, outputs []value // over memory of the buffers, kept from call to call
	given, taken    []ort.Value
	matched         []*wire.Tensor
	shapes          [][]int64 // of the outputs that are known before the call
	strings         []string
	name            []byte
}

// Buffer gives the memory for a frame. The values over the last one go with it.
func (l *lane) Buffer(n int) []byte {
	dropAll(l.inputs)
	if l.frame = l.resize(l.frame, n); l.frame == nil {
		return nil
	}
	return l.frame.Bytes()
}

// resize frees a buffer and allocates one of at least n bytes, in steps, so that a little more does not mean another.
func (l *lane) resize(b *cguard.Buffer, n int) *cguard.Buffer {
	if b != nil {
		b.Free()
	}
	const step = 4 << 10
	b, err := l.model.heap.Alloc((n + n/8 + step - 1) / step * step)
	if err != nil {
		return nil
	}
	return b
}

func (l *lane) Close() {
	dropAll(l.inputs)
	dropAll(l.outputs)
	for _, b := range []*cguard.Buffer{l.frame, l.answer, l.none} {
		if b != nil {
			b.Free()
		}
	}
	l.frame, l.answer, l.none = nil, nil, nil
	_ = l.run.Destroy()
}

func (l *lane) Call(ctx context.Context, call *wire.Call, answer *worker.Answer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.match(call); err != nil {
		return err
	}
	l.model.poison.strike(call)
	for {
		again, err := l.attempt(ctx, answer)
		if err == nil || !again {
			return err
		}
	}
}

// attempt computes once. again: an output has another shape than the model says, which it is not believed again.
func (l *lane) attempt(ctx context.Context, answer *worker.Answer) (again bool, err error) {
	defer l.release()
	if err := l.give(); err != nil {
		return false, err
	}
	if err := l.prepare(); err != nil {
		return false, err
	}
	if err := l.compute(ctx); err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		return l.deny(err), explain(err)
	}
	return false, l.tell(answer)
}

// give makes values of the call's tensors, or finds those of the last call, which had them in the same place.
func (l *lane) give() error {
	for i, t := range l.matched {
		if t.Datatype != wire.BYTES && len(t.Shape) > 0 {
			data, err := l.addressable(t.Data)
			if err == nil {
				l.given[i], err = l.inputs[i].over(data, t.Shape, ortTypes[t.Datatype])
			}
			if err != nil {
				return err
			}
			continue
		}
		var err error
		if t.Datatype == wire.BYTES {
			l.given[i], err = l.stringTensor(t)
		} else {
			l.given[i], err = newScalar(t.Datatype, t.Data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addressable is data itself, or one byte where it has none.
func (l *lane) addressable(data []byte) ([]byte, error) {
	if len(data) > 0 {
		return data, nil
	}
	if l.none == nil {
		var err error
		if l.none, err = l.model.heap.Alloc(8); err != nil {
			return nil, wire.Failf(wire.Exhausted, "%v", err)
		}
	}
	return l.none.Bytes()[:1], nil
}

// prepare places the outputs whose shapes are known where they will be in the answer's frame, and leaves the others to
// ONNX Runtime.
func (l *lane) prepare() error {
	total := l.foresee()
	if l.answer == nil || l.answer.Len() < total || l.answer.Len() > 1<<20 && l.answer.Len()/8 > total {
		dropAll(l.outputs)
		if l.answer = l.resize(l.answer, total); l.answer == nil {
			return wire.Failf(wire.Exhausted, "no memory for an answer of %d bytes", total)
		}
	}
	at := wire.HeaderBytes + wire.AnswerBytes
	for i := range l.taken {
		shape := l.shapes[i]
		l.taken[i] = nil
		if shape == nil {
			continue
		}
		datatype := l.model.outputs[i].Datatype
		n, _ := wire.Elements(shape)
		size := int(n) * datatype.Size()
		at += l.headBytes(i)
		data, err := l.addressable(l.answer.Bytes()[at : at+size])
		if err == nil && len(shape) == 0 {
			l.taken[i], err = newScalar(datatype, data)
		} else if err == nil {
			l.taken[i], err = l.outputs[i].over(data, shape, ortTypes[datatype])
		}
		if err != nil {
			return err
		}
		at += size + wire.Padding(size)
	}
	return nil
}

// compute ends early when ctx does, as soon as ONNX Runtime looks: between two operators.
func (l *lane) compute(ctx context.Context) error {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = l.run.Terminate()
	})
	err := l.model.session.RunWithOptions(l.given, l.taken, l.run)
	if !stop() {
		<-ended
		_ = l.run.UnsetTerminate()
	}
	return err
}

// tell adds the outputs to the answer: those that were computed in their place, then the others.
func (l *lane) tell(answer *worker.Answer) error {
	answer.Into(l.answer.Bytes())
	for i := range l.model.outputs {
		if l.shapes[i] == nil {
			continue
		}
		spec := &l.model.outputs[i]
		space, err := answer.Space(spec.Name, spec.Datatype, l.shapes[i])
		if err != nil {
			return err
		}
		if len(l.shapes[i]) == 0 {
			copy(space, scalarBytes(l.taken[i]))
		} else if len(space) > 0 && unsafe.SliceData(space) != l.outputs[i].data {
			return fmt.Errorf("output %q was computed in another place than the answer's", spec.Name)
		}
	}
	for i := range l.model.outputs {
		if l.shapes[i] != nil {
			continue
		}
		spec := &l.model.outputs[i]
		data, shape, err := contents(l.taken[i], spec)
		if err != nil {
			return fmt.Errorf("output %q: %w", spec.Name, err)
		}
		if err := answer.Add(spec.Name, spec.Datatype, shape, data); err != nil {
			return err
		}
	}
	return nil
}

// release destroys the values that are of this call alone.
func (l *lane) release() {
	for i, v := range l.given {
		if v != nil && v != l.inputs[i].value() {
			_ = v.Destroy()
		}
		l.given[i] = nil
	}
	for i, v := range l.taken {
		if v != nil && v != l.outputs[i].value() {
			_ = v.Destroy()
		}
		l.taken[i] = nil
	}
}

// deny looks whether err says that an output got another shape than was foreseen. None is foreseen from
// then on. It is true once for each output: no call is tried for ever.
func (l *lane) deny(err error) (again bool) {
	if !contains(err.Error(), "output OrtValue provided", "shape verification failed") {
		return false
	}
	for i, shape := range l.shapes {
		if shape != nil && !half(l.model.outputs[i].Datatype) { // which can be read in no other way
			l.model.plans[i].denied.Store(true)
			again = true
		}
	}
	return again
}

// explain says whose fault an error of ONNX Runtime is, which tells it in words alone. What is not known to be the
// input's or the memory's fault is the engine's.
func explain(err error) error {
	text := err.Error()
	switch {
	case contains(text, "Got invalid dimensions for input", "Invalid rank for input", "Unexpected input data type", "out of data bounds", "out of bounds",
		"cannot be reshaped", "Attempting to broadcast an axis", "imension mismatch"):
		return wire.Failf(wire.Invalid, "%s", text)
	case contains(text, "Failed to allocate memory", "bad_alloc", "out of memory"):
		return wire.Failf(wire.Exhausted, "%s", text)
	}
	return wire.Failf(wire.Failed, "%s", text)
}

func contains(text string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}
