// doubler is the worker of tests: it answers "x" (FP32 [-1,4]) with "y", twice as much. A row whose first number is
// negative orders something else (see Call). DOUGONG_TEST_LIE makes it break the protocol; see lie.go.
package main

import (
	"context"
	"encoding/binary"
	"io"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
	"github.com/dougong-io/dougong/services/inference/worker"
)

func main() {
	if kind := os.Getenv("DOUGONG_TEST_LIE"); kind != "" {
		lie(kind)
	}
	os.Exit(worker.Serve(engine{}, worker.Options{Name: "doubler", Build: "v0.0.1", Engine: "doubling 1.0"}))
}

// The bytes of its model.
const model = "doubler v1: y = 2 x\n"

type engine struct{}

func (engine) Load(_ context.Context, load wire.Load, file *os.File) (worker.Model, wire.Loaded, error) {
	if err := worker.UnknownOptions(load, "parallel"); err != nil {
		return nil, wire.Loaded{}, err
	}
	if load.Format != "doubler" {
		return nil, wire.Loaded{}, wire.Failf(wire.Refused, "format %q is not doubler", load.Format)
	}
	data, err := io.ReadAll(io.NewSectionReader(file, 0, load.Bytes))
	if err != nil || string(data) != model {
		return nil, wire.Loaded{}, wire.Failf(wire.Refused, "the model is damaged")
	}
	shape := []int64{-1, 4}
	return &doubler{}, wire.Loaded{
		Inputs: []wire.Spec{{Name: "x", Datatype: wire.FP32, Shape: shape}}, Outputs: []wire.Spec{{Name: "y", Datatype: wire.FP32, Shape: shape}},
		Engine: "doubling 1.0", Parallel: load.Options["parallel"] != "off",
	}, nil
}

type doubler struct{ bytes atomic.Int64 }

func (d *doubler) NewLane() (worker.Lane, error) { return &lane{doubler: d}, nil }
func (d *doubler) Memory() worker.Memory         { return worker.Memory{Native: d.bytes.Load()} }
func (d *doubler) Close() error                  { return nil }

type lane struct {
	doubler *doubler
	buffer  []byte
}

func (l *lane) Close() { l.doubler.bytes.Add(-int64(len(l.buffer))) }

func (l *lane) Buffer(n int) []byte {
	l.Close()
	l.buffer = make([]byte, n)
	l.doubler.bytes.Add(int64(n))
	return l.buffer
}

func (l *lane) Call(ctx context.Context, call *wire.Call, answer *worker.Answer) error {
	if len(call.Inputs) != 1 || string(call.Inputs[0].Name) != "x" {
		var names []string
		for _, in := range call.Inputs {
			names = append(names, string(in.Name))
		}
		return wire.Failf(wire.Invalid, "inputs %q; x was expected", strings.Join(names, ", "))
	}
	x := call.Inputs[0]
	if x.Datatype != wire.FP32 || len(x.Shape) != 2 || x.Shape[1] != 4 {
		return wire.Failf(wire.Invalid, "x is %v %d; FP32 [-1 4] was expected", x.Datatype, x.Shape)
	}
	number := func(i int) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(x.Data[4*i:])) }
	if x.Shape[0] == 1 {
		ms := time.Duration(number(1)) * time.Millisecond
		switch number(0) {
		case -1: // sleep
			timer := time.NewTimer(ms)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		case -2: // sleep, and do not listen
			time.Sleep(ms)
		case -3:
			panic("ordered by the call")
		case -4:
			os.Exit(9)
		case -5:
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case -6: // another failure
			return wire.Failf(wire.Code(number(1)), "ordered by the call")
		case -7: // an answer that cannot be
			return answer.Add("y", wire.FP32, []int64{3}, nil)
		case -8: // compute, with the processor
			for end := time.Now().Add(ms); time.Now().Before(end); {
			}
		}
	}
	space, err := answer.Space("y", wire.FP32, x.Shape)
	if err != nil {
		return err
	}
	for i := range len(x.Data) / 4 {
		binary.LittleEndian.PutUint32(space[4*i:], math.Float32bits(2*number(i)))
	}
	return nil
}
