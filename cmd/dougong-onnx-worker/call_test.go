//go:build cgo

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// pattern is data of a datatype that tells if bytes were moved or lost.
func pattern(d wire.Datatype, elements int) (data []byte) {
	for i := range elements {
		switch {
		case d == wire.BOOL:
			data = append(data, byte(i%2))
		case d == wire.BYTES:
			s := strings.Repeat("é", i%4)
			data = append(binary.LittleEndian.AppendUint32(data, uint32(len(s))), s...)
		default:
			for b := range d.Size() {
				data = append(data, byte(1+i*7+b*3))
			}
		}
	}
	return data
}

func TestEachDatatypePassesUnchanged(t *testing.T) {
	for d := wire.BOOL; d <= wire.BF16; d++ {
		t.Run(d.String(), func(t *testing.T) {
			x, y := wire.Spec{Name: "x", Datatype: d, Shape: []int64{-1, 3}}, wire.Spec{Name: "y", Datatype: d, Shape: []int64{-1, 3}}
			p, loaded := ready(t, 1, onnxModel([]wire.Spec{x}, []wire.Spec{y}, identity("x", "y")))
			if len(loaded.Inputs) != 1 || loaded.Inputs[0].Datatype != d || !slices.Equal(loaded.Inputs[0].Shape, x.Shape) || !loaded.Parallel || !strings.HasPrefix(loaded.Engine, "onnxruntime 1.") {
				t.Errorf("%+v", loaded)
			}
			for _, rows := range []int{1, 1, 7, 0, 64, 5000, 0, 1} { // the same twice, growing, shrinking
				data := pattern(d, rows*3)
				answer, err := p.call(0, wire.Call{Inputs: []wire.Tensor{{Name: []byte("x"), Datatype: d, Shape: []int64{int64(rows), 3}, Data: data}}})
				if err != nil {
					t.Errorf("%d rows: %v", rows, err)
					continue
				}
				got := output(t, answer, "y")
				if got.Datatype != d || !slices.Equal(got.Shape, []int64{int64(rows), 3}) || !bytes.Equal(got.Data, data) {
					t.Errorf("%d rows came back as %v %v of %d bytes", rows, got.Datatype, got.Shape, len(got.Data))
				}
			}
			p.drain()
		})
	}
}

func TestTensorsWithoutDimensionsPass(t *testing.T) {
	for d := wire.BOOL; d <= wire.FP64; d++ {
		if half(d) {
			continue
		}
		x, y := wire.Spec{Name: "x", Datatype: d, Shape: []int64{}}, wire.Spec{Name: "y", Datatype: d, Shape: []int64{}}
		p, _ := ready(t, 1, onnxModel([]wire.Spec{x}, []wire.Spec{y}, identity("x", "y")))
		for _, data := range [][]byte{pattern(d, 1), pattern(d, 2)[d.Size():]} {
			answer, err := p.call(0, wire.Call{Inputs: []wire.Tensor{{Name: []byte("x"), Datatype: d, Shape: []int64{}, Data: data}}})
			if err != nil {
				t.Fatalf("%v: %v", d, err)
			}
			if got := output(t, answer, "y"); len(got.Shape) != 0 || !bytes.Equal(got.Data, data) {
				t.Errorf("%v % x came back as %v % x", d, data, got.Shape, got.Data)
			}
		}
		p.drain()
	}
}

// Two inputs, and outputs of all kinds: known before, unknown, and other than the model says.
func TestInputsAndOutputsByName(t *testing.T) {
	pair := func(name string) wire.Spec { return wire.Spec{Name: name, Datatype: wire.FP32, Shape: []int64{-1, 2}} }
	p, loaded := ready(t, 1, onnxModel(
		[]wire.Spec{pair("a"), pair("b")},
		[]wire.Spec{pair("sum"), {Name: "where", Datatype: wire.INT64, Shape: []int64{2, -1}}, pair("less"), {Name: "count", Datatype: wire.INT64, Shape: []int64{}}},
		node{op: "Add", in: []string{"a", "b"}, out: []string{"sum"}},
		node{op: "Sub", in: []string{"a", "b"}, out: []string{"less"}},
		node{op: "NonZero", in: []string{"less"}, out: []string{"where"}},
		node{op: "Size", in: []string{"a"}, out: []string{"count"}},
	))
	if len(loaded.Outputs) != 4 || loaded.Outputs[1].Shape[1] != -1 {
		t.Errorf("%+v", loaded)
	}
	for range 3 {
		answer, err := p.call(0, wire.Call{Inputs: []wire.Tensor{fp32("b", []int64{2, 2}, 1, 2, 3, 4), fp32("a", []int64{2, 2}, 1, 2, 30, 40)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := numbers(output(t, answer, "sum")); !slices.Equal(got, []float32{2, 4, 33, 44}) {
			t.Errorf("sum %v", got)
		}
		if got := numbers(output(t, answer, "less")); !slices.Equal(got, []float32{0, 0, 27, 36}) {
			t.Errorf("less %v", got)
		}
		where := output(t, answer, "where")
		if want := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(make([]byte, 0), 1), 1); !slices.Equal(where.Shape, []int64{2, 2}) || !bytes.Equal(where.Data[:16], want) {
			t.Errorf("where %v % x", where.Shape, where.Data)
		}
		if got := binary.LittleEndian.Uint64(output(t, answer, "count").Data); got != 4 {
			t.Errorf("count %d", got)
		}
	}
	// Lengths that do not agree: only ONNX Runtime can know whether that is wrong.
	if _, err := p.call(0, wire.Call{Inputs: []wire.Tensor{fp32("b", []int64{3, 2}, make([]float32, 6)...), fp32("a", []int64{2, 2}, 1, 2, 3, 4)}}); !errors.Is(err, wire.Invalid) {
		t.Errorf("3 rows and 2: %v", err)
	}
	if answer, err := p.call(0, wire.Call{Inputs: []wire.Tensor{fp32("b", []int64{1, 2}, 1, 2), fp32("a", []int64{2, 2}, 1, 2, 3, 4)}}); err != nil {
		t.Errorf("1 row for 2: %v", err)
	} else if got := numbers(output(t, answer, "sum")); !slices.Equal(got, []float32{2, 4, 4, 6}) {
		t.Errorf("sum %v", got)
	}
	p.drain()
}

func TestModelThatLiesAboutItsOutputIsAnsweredWithTheTruth(t *testing.T) {
	x := wire.Spec{Name: "x", Datatype: wire.FP32, Shape: []int64{-1, 2}}
	y := wire.Spec{Name: "y", Datatype: wire.FP32, Shape: []int64{-1, 2}}
	p, _ := ready(t, 2, onnxModel([]wire.Spec{x}, []wire.Spec{y}, node{op: "Concat", in: []string{"x", "x"}, out: []string{"y"}, set: map[string]int64{"axis": 0}}))
	for i := range 4 {
		answer, err := p.call(i%2, wire.Call{Inputs: []wire.Tensor{fp32("x", []int64{1, 2}, 1, 2)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := output(t, answer, "y"); !slices.Equal(got.Shape, []int64{2, 2}) || !slices.Equal(numbers(got), []float32{1, 2, 1, 2}) {
			t.Errorf("%v %v", got.Shape, numbers(got))
		}
	}
	p.drain()
	if strings.Contains(p.logs.String(), "panic") {
		t.Error(p.logs.String())
	}
}

func TestWrongInputsAreRefusedWithWhatIsExpectedAndTheLaneLivesOn(t *testing.T) {
	p, _ := ready(t, 1, onnxModel(
		[]wire.Spec{{Name: "x", Datatype: wire.FP32, Shape: []int64{-1, 2}}, {Name: "i", Datatype: wire.INT64, Shape: []int64{-1}}},
		[]wire.Spec{{Name: "y", Datatype: wire.FP32, Shape: []int64{-1, 2}}},
		node{op: "Gather", in: []string{"x", "i"}, out: []string{"y"}}))
	index := func(n int64) wire.Tensor {
		return wire.Tensor{Name: []byte("i"), Datatype: wire.INT64, Shape: []int64{1}, Data: binary.LittleEndian.AppendUint64(nil, uint64(n))}
	}
	good := []wire.Tensor{fp32("x", []int64{1, 2}, 5, 6), index(0)}
	takes := "; the model takes x FP32 [? 2], i INT64 [?]"
	for _, c := range []struct {
		want   string
		inputs []wire.Tensor
	}{
		{`there is no input "z"` + takes, []wire.Tensor{fp32("z", []int64{1, 2}, 1, 2), index(0)}},
		{`input "i" is missing` + takes, good[:1]},
		{`input "x" is missing` + takes, nil},
		{`there is no input "more"` + takes, append(slices.Clone(good), fp32("more", []int64{1}, 1))},
		{`input "x" has the shape [? 2], not [1 3]` + takes, []wire.Tensor{fp32("x", []int64{1, 3}, 1, 2, 3), index(0)}},
		{`input "x" has the shape [? 2], not [2]` + takes, []wire.Tensor{fp32("x", []int64{2}, 1, 2), index(0)}},
		{`input "x" is FP32, not INT64` + takes, []wire.Tensor{{Name: []byte("x"), Datatype: wire.INT64, Shape: []int64{1, 2}, Data: make([]byte, 16)}, index(0)}},
		{`out of data bounds`, []wire.Tensor{good[0], index(3)}}, // ONNX Runtime's own
	} {
		if _, err := p.call(0, wire.Call{Inputs: c.inputs}); !errors.Is(err, wire.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v\nwant %s", err, c.want)
		}
		answer, err := p.call(0, wire.Call{Inputs: good})
		if err != nil || !slices.Equal(numbers(output(t, answer, "y")), []float32{5, 6}) {
			t.Errorf("after it: %v", err)
		}
	}
	p.drain()
}

func TestDeadlineAndCancelEndACallThatComputes(t *testing.T) {
	p, _ := ready(t, 2, slow())
	square := func(n int64) []wire.Tensor {
		return []wire.Tensor{fp32("x", []int64{1, n, n}, make([]float32, n*n)...)}
	}
	begun := time.Now()
	if _, err := p.call(0, wire.Call{Timeout: 50 * time.Millisecond, Inputs: square(400)}); !errors.Is(err, wire.Expired) {
		t.Errorf("deadline: %v", err)
	}
	t.Logf("a deadline of 50 ms was kept in %v", time.Since(begun))
	if _, err := p.lanes[1].Write((&wire.Call{Inputs: square(400)}).Append(nil, 123)); err != nil {
		t.Fatal(err)
	}
	for p.pong().InFlight == 0 {
		time.Sleep(time.Millisecond) // it has to come to the engine; PING answers meanwhile
	}
	if _, err := p.control.Write(wire.AppendHeader(nil, wire.Header{Type: wire.TypeCancel, ID: 123})); err != nil {
		t.Fatal(err)
	}
	if _, err := p.answer(1, 123); !errors.Is(err, wire.Cancelled) {
		t.Errorf("cancelled: %v", err)
	}
	if time.Since(begun) > 10*time.Second {
		t.Errorf("it took %v: nothing ended early", time.Since(begun))
	}
	for lane := range 2 { // and what ended early leaves nothing behind
		if _, err := p.call(lane, wire.Call{Timeout: patience, Inputs: square(2)}); err != nil {
			t.Errorf("lane %d: %v", lane, err)
		}
	}
	p.drain()
}

func TestLanesComputeAtATime(t *testing.T) {
	const lanes, rounds = 4, 200
	p, _ := ready(t, lanes, digits(t))
	crowd(p, rounds)
	if got := p.pong(); got.Calls != lanes*rounds || got.InFlight != 0 || got.NativeBytes == 0 {
		t.Errorf("%+v", got)
	}
	p.drain()
}

// crowd calls on all lanes at a time, with batches of all sizes.
func crowd(p *process, rounds int) {
	var all sync.WaitGroup
	for lane := range p.lanes {
		all.Go(func() {
			for i := range rounds {
				n := int64(1 + i*37%300)
				answer, err := p.call(lane, wire.Call{Inputs: []wire.Tensor{fp32("image", []int64{n, 64}, make([]float32, 64*n)...)}})
				if err != nil {
					p.t.Error(err)
					return
				}
				if got := answer.Outputs[0].Shape[0]; got != n {
					p.t.Errorf("%d rows for %d", got, n)
				}
			}
		})
	}
	all.Wait()
}

func TestLargeFramesComeAndGo(t *testing.T) {
	x, y := wire.Spec{Name: "x", Datatype: wire.FP32, Shape: []int64{-1}}, wire.Spec{Name: "y", Datatype: wire.FP32, Shape: []int64{-1}}
	p, _ := ready(t, 1, onnxModel([]wire.Spec{x}, []wire.Spec{y}, identity("x", "y")))
	sizes := []int64{8 << 20}
	for range 70 { // by then what is too large is given back
		sizes = append(sizes, 2)
	}
	for _, n := range append(sizes, 3<<20, 1) {
		data := make([]float32, n)
		data[n-1] = 9
		answer, err := p.call(0, wire.Call{Inputs: []wire.Tensor{fp32("x", []int64{n}, data...)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := numbers(output(t, answer, "y")); int64(len(got)) != n || got[n-1] != 9 {
			t.Fatalf("%d numbers for %d", len(got), n)
		}
	}
	if got := p.pong().NativeBytes; got > 16<<20 {
		t.Errorf("%d bytes of buffers are held for calls of few", got)
	}
	p.drain()
}

func TestStringsWithAZeroByteAreRefused(t *testing.T) {
	x, y := wire.Spec{Name: "x", Datatype: wire.BYTES, Shape: []int64{-1}}, wire.Spec{Name: "y", Datatype: wire.BYTES, Shape: []int64{-1}}
	p, _ := ready(t, 1, onnxModel([]wire.Spec{x}, []wire.Spec{y}, identity("x", "y")))
	data := []byte("\x01\x00\x00\x00a\x02\x00\x00\x00b\x00")
	_, err := p.call(0, wire.Call{Inputs: []wire.Tensor{{Name: []byte("x"), Datatype: wire.BYTES, Shape: []int64{2}, Data: data}}})
	if !errors.Is(err, wire.Invalid) || !strings.Contains(fmt.Sprint(err), "element 1 of BYTES has a zero byte") {
		t.Errorf("%v", err)
	}
	p.drain()
}
