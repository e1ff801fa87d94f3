package tree

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

// FuzzCompile reads its input as a table of nodes: Compile refuses it, or every kernel answers as the
// reference does.
func FuzzCompile(f *testing.F) {
	f.Add([]byte{})
	for split := byte(1); split < 4; split++ {
		f.Add([]byte{
			split, 200, 1, 2, 0, 0, 0, 0, 0, 0, 128, 63, // at 1
			0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, // leaf 2
			split, 1, 3, 4, 1, 0, 0, 0, 0, 0, 0, 191, // at -0.5
			0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 64, // leaf 3
			0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 128, 64, // leaf 4
		})
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e := ensembleOf(data)
		rows := make([]float64, 70*len(e.Features))
		for i := range rows {
			rows[i] = values[i%len(values)]
			if i%7 == 0 {
				rows[i] = math.NaN()
			} else if len(data) > 8 {
				rows[i] += float64(int8(data[i%len(data)])) / 4
			}
		}
		for _, k := range allKernels {
			m, err := compile(e, k)
			if err != nil {
				if !errors.Is(err, ErrMalformed) {
					t.Fatal(err)
				}
				return
			}
			checkRows(t, e, m, rows)
		}
	})
}

// ensembleOf makes an ensemble out of anything, 12 bytes a node.
func ensembleOf(data []byte) *Ensemble {
	e := &Ensemble{Features: make([]string, 3), Outputs: 2, Base: make([]float64, 2), SigmoidScale: 1}
	if len(data) > 0 {
		e.Precision = Precision(data[0] >> 7)
		e.Transform = Transform(data[0] >> 5 & 3)
	}
	var nodes []Node
	for ; len(data) >= 12; data = data[12:] {
		x := float64(math.Float32frombits(binary.LittleEndian.Uint32(data[8:])))
		n := Node{
			Split:       Split(data[0] % 5),
			Missing:     Missing(data[1] % 4),
			DefaultLeft: data[1] > 127,
			Left:        int32(int8(data[2])),
			Right:       int32(int8(data[3])),
			Feature:     int32(data[4]%4) - int32(data[5]/255),
			Threshold:   x,
			Value:       x,
		}
		if n.Split == Category {
			n.Categories = []uint32{binary.LittleEndian.Uint32(data[8:])}
		}
		nodes = append(nodes, n)
	}
	e.Trees = []Tree{{Nodes: nodes}, {Nodes: []Node{{Value: 1}}, Output: 1}, {Nodes: nodes, Output: 1}}
	return e
}
