//go:build linux

package workers

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// message is one of ONNX's protobuf messages, written field by field: just what is needed here.
type message []byte

func (m *message) number(field protowire.Number, n uint64) {
	*m = protowire.AppendVarint(protowire.AppendTag(*m, field, protowire.VarintType), n)
}

func (m *message) put(field protowire.Number, content []byte) {
	*m = protowire.AppendBytes(protowire.AppendTag(*m, field, protowire.BytesType), content)
}

// node is an operator whose attributes are whole numbers, or lists of one.
type node struct {
	op      string
	in, out []string
	set     map[string]int64
	lists   map[string]int64
}

// tensorOf describes rows of width numbers; -1 is any number of rows.
func tensorOf(name string, rows, width int64) message {
	var shape message
	for _, d := range []int64{rows, width} {
		var dim message
		if d < 0 {
			dim.put(2, []byte("rows"))
		} else {
			dim.number(1, uint64(d))
		}
		shape.put(1, dim)
	}
	var tensor, kind, info message
	tensor.number(1, 1) // FP32
	tensor.put(2, shape)
	kind.put(1, tensor)
	info.put(1, []byte(name))
	info.put(2, kind)
	return info
}

// weights is a constant matrix.
func weights(name string, rows, width int) message {
	var m message
	m.number(1, uint64(rows))
	m.number(1, uint64(width))
	m.number(2, 1) // FP32
	m.put(8, []byte(name))
	data := make([]byte, 0, 4*rows*width)
	for i := range rows * width {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(i%7)))
	}
	m.put(9, data)
	return m
}

// onnx is a model of rows of in numbers to rows of one.
func onnx(in int64, constants []message, nodes ...node) []byte {
	var graph, opset, model message
	for _, n := range nodes {
		var m message
		for _, name := range n.in {
			m.put(1, []byte(name))
		}
		for _, name := range n.out {
			m.put(2, []byte(name))
		}
		m.put(4, []byte(n.op))
		for name, value := range n.set {
			var a message
			a.put(1, []byte(name))
			a.number(3, uint64(value))
			a.number(20, 2)
			m.put(5, a)
		}
		for name, value := range n.lists {
			var a message
			a.put(1, []byte(name))
			a.number(8, uint64(value))
			a.number(20, 7)
			m.put(5, a)
		}
		graph.put(1, m)
	}
	graph.put(2, []byte("test"))
	for _, c := range constants {
		graph.put(5, c)
	}
	graph.put(11, tensorOf("x", -1, in))
	graph.put(12, tensorOf("y", -1, 1))
	opset.put(1, nil)
	opset.number(2, 13)
	model.number(1, 8)
	model.put(7, graph)
	model.put(8, opset)
	return model
}

// slowModel multiplies two matrices as large as the largest number of its rows says, in one operator that nothing ends: a
// thousand takes some ten milliseconds, four thousand seconds. Its answer for {1, 1} is 1.
func slowModel() []byte {
	const int64Type = 7
	return onnx(2, nil,
		node{op: "ReduceMax", in: []string{"x"}, out: []string{"n"}, set: map[string]int64{"keepdims": 1}},
		node{op: "Cast", in: []string{"n"}, out: []string{"whole"}, set: map[string]int64{"to": int64Type}},
		node{op: "Concat", in: []string{"whole", "whole"}, out: []string{"both"}, set: map[string]int64{"axis": 1}},
		node{op: "Squeeze", in: []string{"both"}, out: []string{"size"}},
		node{op: "Expand", in: []string{"n", "size"}, out: []string{"a"}},
		node{op: "MatMul", in: []string{"a", "a"}, out: []string{"product"}},
		node{op: "ReduceMean", in: []string{"product"}, out: []string{"mean"}, set: map[string]int64{"keepdims": 1}},
		node{op: "ReduceMean", in: []string{"x"}, out: []string{"row"}, set: map[string]int64{"keepdims": 1}, lists: map[string]int64{"axes": 1}},
		node{op: "Sub", in: []string{"row", "row"}, out: []string{"zero"}},
		node{op: "Add", in: []string{"zero", "mean"}, out: []string{"y"}},
	)
}

// largeModel has 10 MiB of weights. Its answer for {0, 0} is 0.
func largeModel() []byte {
	const wide = 10 << 20 / 4 / 3
	return onnx(2, []message{weights("w", 2, wide), weights("v", wide, 1)},
		node{op: "MatMul", in: []string{"x", "w"}, out: []string{"h"}},
		node{op: "MatMul", in: []string{"h", "v"}, out: []string{"y"}},
	)
}
