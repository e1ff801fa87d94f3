//go:build cgo

package main

import (
	"encoding/binary"
	"fmt"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// Models for tests are written as ONNX's protobuf messages, field by field: just what is needed here.

type message []byte

func (m *message) key(field, kind int) { *m = binary.AppendUvarint(*m, uint64(field<<3|kind)) }

func (m *message) number(field int, n int64) {
	m.key(field, 0)
	*m = binary.AppendUvarint(*m, uint64(n))
}

func (m *message) put(field int, content []byte) {
	m.key(field, 2)
	*m = append(binary.AppendUvarint(*m, uint64(len(content))), content...)
}

func (m *message) text(field int, s string) { m.put(field, []byte(s)) }

// onnxTypes are the numbers of TensorProto.DataType.
var onnxTypes = map[wire.Datatype]int64{
	wire.FP32: 1, wire.UINT8: 2, wire.INT8: 3, wire.UINT16: 4, wire.INT16: 5, wire.INT32: 6, wire.INT64: 7, wire.BYTES: 8,
	wire.BOOL: 9, wire.FP16: 10, wire.FP64: 11, wire.UINT32: 12, wire.UINT64: 13, wire.BF16: 16,
}

// node is an operator; attributes are whole numbers.
type node struct {
	op      string
	in, out []string
	set     map[string]int64
}

// valueInfo describes a tensor; a dimension of -1 is any length, and each such has a name of its own. A nil shape is none.
func valueInfo(spec wire.Spec) message {
	var tensor, kind, info message
	tensor.number(1, onnxTypes[spec.Datatype])
	if spec.Shape != nil {
		var shape message
		for i, d := range spec.Shape {
			var dim message
			if d < 0 {
				dim.text(2, spec.Name+string(rune('a'+i)))
			} else {
				dim.number(1, d)
			}
			shape.put(1, dim)
		}
		tensor.put(2, shape)
	}
	kind.put(1, tensor)
	info.text(1, spec.Name)
	info.put(2, kind)
	return info
}

// sequenceInfo describes a sequence of such tensors.
func sequenceInfo(spec wire.Spec) message {
	var tensor, element, sequence, kind, info message
	tensor.number(1, onnxTypes[spec.Datatype])
	element.put(1, tensor)
	sequence.put(1, element)
	kind.put(4, sequence)
	info.text(1, spec.Name)
	info.put(2, kind)
	return info
}

func onnxModel(inputs, outputs []wire.Spec, nodes ...node) []byte {
	var infos []message
	for _, spec := range outputs {
		infos = append(infos, valueInfo(spec))
	}
	return onnxModelOf(inputs, infos, nodes...)
}

func onnxModelOf(inputs []wire.Spec, outputs []message, nodes ...node) []byte {
	var graph, opset, model message
	for _, n := range nodes {
		var m message
		for _, name := range n.in {
			m.text(1, name)
		}
		for _, name := range n.out {
			m.text(2, name)
		}
		m.text(4, n.op)
		for name, value := range n.set {
			var a message
			a.text(1, name)
			a.number(3, value)
			a.number(20, 2)
			m.put(5, a)
		}
		graph.put(1, m)
	}
	graph.text(2, "test")
	for _, spec := range inputs {
		graph.put(11, valueInfo(spec))
	}
	for _, info := range outputs {
		graph.put(12, info)
	}
	opset.text(1, "")
	opset.number(2, 17)
	model.number(1, 8)
	model.put(7, graph)
	model.put(8, opset)
	return model
}

func identity(in, out string) node { return node{op: "Identity", in: []string{in}, out: []string{out}} }

// slow multiplies a row's matrix with itself again and again: seconds, in operators of some milliseconds.
func slow() []byte {
	const times = 2000
	x := wire.Spec{Name: "x", Datatype: wire.FP32, Shape: []int64{-1, -1, -1}}
	y := wire.Spec{Name: "y", Datatype: wire.FP32, Shape: []int64{-1, -1, -1}}
	nodes := []node{}
	from := "x"
	for i := range times {
		to := "y"
		if i < times-1 {
			to = fmt.Sprint("m", i)
		}
		nodes = append(nodes, node{op: "MatMul", in: []string{from, "x"}, out: []string{to}})
		from = to
	}
	return onnxModel([]wire.Spec{x}, []wire.Spec{y}, nodes...)
}
