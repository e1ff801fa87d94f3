//go:build cgo

package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// build makes the program, as make install-onnx does, with tags on top.
func buildProgram(t *testing.T, tags string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "dougong-onnx-worker")
	out, err := exec.Command("go", "build", "-trimpath", "-tags", tags, "-o", program, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// TestFaultsAreInNoOtherBuild: neither a name nor a variable of them.
func TestFaultsAreInNoOtherBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program twice")
	}
	for tags, want := range map[string]bool{"": false, "nativefaults": true} {
		program := readFile(t, buildProgram(t, tags))
		for _, name := range []string{"ORT_TEST_POISON", "ORT_TEST_POISON_KIND", "dougong_segv", "dougong_hang", "dougong_leak"} {
			if got := bytes.Contains(program, []byte(name)); got != want {
				t.Errorf("tags %q: %s is there: %v", tags, name, got)
			}
		}
	}
}

func TestFaultsAreReal(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	program := buildProgram(t, "nativefaults")
	poisoned := wire.Call{Inputs: []wire.Tensor{fp32("image", []int64{1, 64}, append([]float32{0.125}, make([]float32, 63)...)...)}}
	harmless := wire.Call{Inputs: []wire.Tensor{fp32("image", []int64{1, 64}, make([]float32, 64)...)}}
	begin := func(t *testing.T, kind string, model []byte) *process {
		t.Helper()
		p := start(t, program, 2, model, libraryVariable+"="+fetchedLibrary(t), "ORT_TEST_POISON=0.125", "ORT_TEST_POISON_KIND="+kind)
		p.hello()
		if _, f := p.load(nil); f != nil {
			p.fatal("%v", f)
		}
		return p
	}
	send := func(t *testing.T, p *process, lane int) {
		if _, err := p.lanes[lane].Write(poisoned.Append(nil, 1)); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("segv", func(t *testing.T) {
		p := begin(t, "segv", slow())
		// While another lane is deep in C.
		if _, err := p.lanes[1].Write((&wire.Call{Inputs: []wire.Tensor{fp32("x", []int64{1, 400, 400}, make([]float32, 400*400)...)}}).Append(nil, 1)); err != nil {
			t.Fatal(err)
		}
		for p.pong().InFlight == 0 {
			time.Sleep(time.Millisecond)
		}
		begun := time.Now()
		if _, err := p.lanes[0].Write((&wire.Call{Inputs: []wire.Tensor{fp32("x", []int64{1, 1, 1}, 0.125)}}).Append(nil, 2)); err != nil {
			t.Fatal(err)
		}
		p.wait()
		took := time.Since(begun)
		t.Logf("%v after %v", p.cmd.ProcessState, took)
		if code := p.cmd.ProcessState.ExitCode(); code == 0 || code == 1 || took > time.Second {
			t.Errorf("%v after %v; a crash is told from an end, and at once\n%s", p.cmd.ProcessState, took, &p.logs)
		}
		if !bytes.Contains(p.logs.Bytes(), []byte("SIGSEGV")) {
			t.Errorf("its log does not say why\n%s", &p.logs)
		}
	})
	t.Run("hang", func(t *testing.T) {
		p := begin(t, "hang", digits(t))
		send(t, p, 0)
		for p.pong().InFlight == 0 {
			time.Sleep(time.Millisecond) // until it is there; PING answers
		}
		if _, err := p.call(1, harmless); err != nil {
			t.Errorf("the other lane: %v", err)
		}
		if got := p.pong().InFlight; got != 1 {
			t.Errorf("%d calls in flight", got)
		}
	})
	t.Run("in any row", func(t *testing.T) {
		p := begin(t, "segv", digits(t))
		batch := make([]float32, 3*64)
		if _, err := p.call(0, wire.Call{Inputs: []wire.Tensor{fp32("image", []int64{3, 64}, batch...)}}); err != nil {
			t.Fatal(err)
		}
		batch[2*64+5] = 0.125
		if _, err := p.lanes[0].Write((&wire.Call{Inputs: []wire.Tensor{fp32("image", []int64{3, 64}, batch...)}}).Append(nil, 1)); err != nil {
			t.Fatal(err)
		}
		p.wait()
	})
	t.Run("leak", func(t *testing.T) {
		p := begin(t, "leak", digits(t))
		before := p.pong().RSSBytes
		for range 50 {
			if _, err := p.call(0, poisoned); err != nil {
				t.Fatal(err)
			}
		}
		if more := p.pong().RSSBytes - before; more < 45<<20 || more > 70<<20 {
			t.Errorf("50 calls leaked %d bytes", more)
		}
		p.drain()
	})
}
