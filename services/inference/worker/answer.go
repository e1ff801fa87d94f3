package worker

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// Answer is put together by a call, in one piece of memory that is then written. It is for the time of that call.
type Answer struct {
	frame   []byte
	max     int // bytes of a body
	tensors int
	names   []byte // of all tensors, each ended by a zero byte
	name    []byte
	small   int // answers in a row that needed little of the memory
	own     []byte
	lent    bool // frame began in the engine's memory; own waits
}

const answerHead = wire.HeaderBytes + wire.AnswerBytes

// reset begins a new answer in the memory of the last.
func (a *Answer) reset(max int) {
	a.max, a.tensors, a.names = max, 0, a.names[:0]
	if a.lent {
		a.frame, a.lent = a.own, false
	}
	if a.small++; 4*len(a.frame) >= cap(a.frame) {
		a.small = 0
	}
	if a.small >= patience && cap(a.frame) > largeBytes {
		a.frame = nil
	}
	a.frame = slices.Grow(a.frame[:0], answerHead)[:answerHead]
}

// Into makes this answer use memory of the engine's, which must hold until the lane's next Buffer, Call or Close. It is
// called before the first tensor. An answer that outgrows it goes on in memory of Go's.
func (a *Answer) Into(memory []byte) {
	if a.tensors == 0 && !a.lent && cap(memory) >= answerHead {
		a.own, a.frame, a.lent = a.frame, memory[:answerHead], true
	}
}

// Add copies a tensor into the answer.
func (a *Answer) Add(name string, datatype wire.Datatype, shape []int64, data []byte) error {
	a.name = append(a.name[:0], name...)
	t := wire.Tensor{Name: a.name, Datatype: datatype, Shape: shape, Data: data}
	if err := t.Check(); err != nil {
		return fmt.Errorf("the engine's answer: %w", err)
	}
	space, err := a.space(&t, len(data))
	copy(space, data)
	return err
}

// Space adds a tensor, not of BYTES, whose data is written into what is returned, before the next tensor is added.
func (a *Answer) Space(name string, datatype wire.Datatype, shape []int64) ([]byte, error) {
	elements, ok := wire.Elements(shape)
	size := datatype.Size()
	a.name = append(a.name[:0], name...)
	if !ok || size == 0 || len(shape) > wire.MaxRank || elements > int64(a.max/size) {
		return nil, fmt.Errorf("the engine's answer: tensor %.40q: %v %d does not fit into a frame of %d bytes", name, datatype, shape, a.max)
	}
	t := wire.Tensor{Name: a.name, Datatype: datatype, Shape: shape}
	if len(name) == 0 || len(name) > wire.MaxName {
		return nil, fmt.Errorf("the engine's answer: tensor %.40q: %w", name, t.Check())
	}
	return a.space(&t, int(elements)*size)
}

func (a *Answer) space(t *wire.Tensor, data int) ([]byte, error) {
	need := t.HeadBytes() + data + wire.Padding(data)
	switch {
	case a.has(t.Name):
		return nil, fmt.Errorf("the engine's answer: tensor %.40q is there twice", t.Name)
	case a.tensors == wire.MaxTensors:
		return nil, fmt.Errorf("the engine's answer: more than %d tensors", wire.MaxTensors)
	case len(a.frame)-wire.HeaderBytes+need > a.max:
		return nil, wire.Failf(wire.Exhausted, "the answer does not fit into a frame of %d bytes", a.max)
	}
	a.tensors++
	a.names = append(append(a.names, t.Name...), 0)
	a.frame = slices.Grow(a.frame, need)
	a.frame = t.AppendHead(a.frame, data)
	at := len(a.frame)
	a.frame = a.frame[:at+data]
	a.frame = wire.AppendPadding(a.frame, data)
	return a.frame[at : at+data : at+data], nil
}

// has looks for the name of an earlier tensor.
func (a *Answer) has(name []byte) bool {
	for rest := a.names; len(rest) > 0; {
		end := bytes.IndexByte(rest, 0)
		if bytes.Equal(rest[:end], name) {
			return true
		}
		rest = rest[end+1:]
	}
	return false
}

// finish writes the heads and returns the whole frame.
func (a *Answer) finish(id uint64, compute time.Duration) []byte {
	wire.PutHeader(a.frame, wire.Header{Type: wire.TypeAnswer, ID: id, Length: uint32(len(a.frame) - wire.HeaderBytes)})
	wire.PutAnswerHead(a.frame[wire.HeaderBytes:], compute, a.tensors)
	return a.frame
}
