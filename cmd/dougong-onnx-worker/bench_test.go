//go:build cgo

package main

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/dougong-io/dougong/services/inference/wire"
	ort "github.com/yalue/onnxruntime_go"
)

// BenchmarkLane is what a lane adds to a bare Run in the same process, but for the socket: a row of digits.
func BenchmarkLane(b *testing.B) {
	b.Setenv(libraryVariable, fetchedLibrary(b))
	if err := openLibrary(""); err != nil {
		b.Fatal(err)
	}
	e := newEngine(slog.Default())
	path, err := filepath.Abs("../../examples/models/digits/1/digits.onnx")
	if err != nil {
		b.Fatal(err)
	}
	file := openFile(b, path)
	m, err := e.newModel(wire.Load{Bytes: int64(len(digits(b))), Threads: 1}, settings{providers: []string{"cpu"}, optimization: ort.GraphOptimizationLevelEnableAll}, file)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	b.Run("bare Run", func(b *testing.B) {
		in, err := ort.NewTensor(ort.NewShape(1, 64), make([]float32, 64))
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = in.Destroy() }()
		var outs []ort.Value
		for _, spec := range m.outputs {
			out, err := ort.NewEmptyTensor[float32](ort.NewShape(1, spec.Shape[1]))
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = out.Destroy() }()
			outs = append(outs, out)
		}
		b.ReportAllocs()
		for b.Loop() {
			if err := m.session.Run([]ort.Value{in}, outs); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, reuse := range map[string]bool{"lane": true, "lane with new values each time": false} {
		b.Run(name, func(b *testing.B) {
			made, err := m.NewLane()
			if err != nil {
				b.Fatal(err)
			}
			l := made.(*lane)
			defer l.Close()
			call := wire.Call{Inputs: []wire.Tensor{fp32(m.inputs[0].Name, []int64{1, 64}, make([]float32, 64)...)}}
			copy(l.Buffer(4096), call.Append(nil, 1))
			var parsed wire.Call
			frame := l.frame.Bytes()
			n := wire.HeaderBytes + call.BodyBytes()
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				if !reuse {
					dropAll(l.inputs)
					dropAll(l.outputs)
				}
				if err := parsed.Parse(frame[wire.HeaderBytes:n]); err != nil {
					b.Fatal(err)
				}
				if err := l.match(&parsed); err != nil {
					b.Fatal(err)
				}
				if err := l.give(); err != nil {
					b.Fatal(err)
				}
				if err := l.prepare(); err != nil {
					b.Fatal(err)
				}
				if err := l.compute(ctx); err != nil {
					b.Fatal(err)
				}
				l.release()
			}
		})
	}
}
