//go:build unix

package worker

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// BenchmarkRoundTrip asks a worker that is a process of its own, by blocking reads and writes, for twice 256 bytes;
// "in process" is the same engine called without a worker: the parsing, the computing, the answer.
func BenchmarkRoundTrip(b *testing.B) {
	const bytes = 256
	frame := (&wire.Call{Timeout: time.Second, Inputs: []wire.Tensor{{Name: []byte("x"), Datatype: wire.FP32, Shape: []int64{bytes / 16, 4}, Data: make([]byte, bytes)}}}).Append(nil, 1)
	ask := func(b *testing.B, spin spin) {
		lane := doubler(b)
		buf := make([]byte, 4096)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := lane.Write(frame); err != nil {
				b.Fatal(err)
			}
			n, err := spin.read(lane, buf)
			if err != nil {
				b.Fatal(err)
			}
			if h, err := wire.ParseHeader(buf[:n], 4096); err != nil || h.Type != wire.TypeAnswer {
				b.Fatalf("%+v %v", h, err)
			}
		}
	}
	b.Run("worker", func(b *testing.B) { ask(b, spin{}) })
	b.Run("worker, asked by one who looks for the answer", func(b *testing.B) { ask(b, newSpin(0, new(atomic.Int32))) })
	b.Run("in process", func(b *testing.B) {
		l := &lane{engine: &echoLane{&echo{}}, max: 1 << 20, calls: &(&worker{}).calls}
		b.ReportAllocs()
		for b.Loop() {
			if err := l.call.Parse(frame[wire.HeaderBytes:]); err != nil {
				b.Fatal(err)
			}
			l.serve(1)
		}
	})
}

// doubler starts the test worker and returns our end of its lane.
func doubler(b *testing.B) socket {
	program := filepath.Join(b.TempDir(), "doubler")
	if out, err := exec.Command("go", "build", "-o", program, "./testdata/doubler").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	control, controlFD := pair(b)
	lane, laneFD := pair(b)
	data := "doubler v1: y = 2 x\n"
	file := model(b, data)
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), lanesVariable+"=1")
	cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(controlFD), ""), os.NewFile(uintptr(laneFD), ""), file}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	for _, f := range cmd.ExtraFiles[:2] {
		f.Close()
	}
	b.Cleanup(func() {
		control.Close()
		_ = cmd.Wait()
	})
	r := wire.Reader{R: control, Max: wire.MaxControlBytes}
	for _, ask := range []struct {
		t       wire.Type
		message any
	}{{wire.TypeHello, wire.Hello{Versions: []int{1}, MaxFrameBytes: 1 << 20, Lanes: 1}}, {wire.TypeLoad, wire.Load{Format: "doubler", FD: 5, Bytes: int64(len(data))}}} {
		frame, err := wire.AppendControl(nil, ask.t, 1, ask.message)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := control.Write(frame); err != nil {
			b.Fatal(err)
		}
		if h, body, err := r.Next(); err != nil || h.Type == wire.TypeFailure {
			b.Fatal(fmt.Errorf("%v %s: %w", h.Type, body, err))
		}
	}
	return socket(lane.Fd()) // Fd makes it blocking
}
