//go:build cgo

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// beWorker has the test binary be the worker: so its code runs as it will, in a process, and with the race detector or
// the address sanitiser when the tests do.
const beWorker = "DOUGONG_TEST_BE_WORKER"

const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(beWorker) != "" {
		main()
	}
	os.Exit(m.Run())
}

var fetched = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("../../scripts/onnx.sh", "--check").Output()
	return filepath.Join(strings.TrimSpace(string(out)), libraryName()), err
})

// fetchedLibrary is what scripts/onnx.sh has fetched.
func fetchedLibrary(t testing.TB) string {
	t.Helper()
	path, err := fetched()
	if err != nil {
		t.Fatalf("ONNX Runtime's library is needed: %v; run make install-onnx", err)
	}
	return path
}

// process is a worker, seen from the other side of its sockets.
type process struct {
	t       testing.TB
	cmd     *exec.Cmd
	control *os.File
	lanes   []*os.File
	replies wire.Reader
	logs    bytes.Buffer
	ended   chan struct{}
	id      uint64
}

// start starts a worker of a program, with a model's bytes. With env none but what is in it and a worker needs is set.
func start(t testing.TB, program string, lanes int, model []byte, env ...string) *process {
	t.Helper()
	p := &process{t: t, ended: make(chan struct{})}
	p.cmd = exec.Command(program)
	p.cmd.Env = append([]string{"GORACE=atexit_sleep_ms=0", beWorker + "=1", "DOUGONG_WORKER_LANES=" + strconv.Itoa(lanes), "HOME=" + os.Getenv("HOME")}, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.logs, &p.logs
	p.cmd.WaitDelay = patience
	var theirs []*os.File
	for range 1 + lanes {
		ours, other := socketPair(t)
		p.lanes, theirs = append(p.lanes, ours), append(theirs, other)
	}
	p.control, p.lanes = p.lanes[0], p.lanes[1:]
	path := filepath.Join(t.TempDir(), "model")
	if err := os.WriteFile(path, model, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.ExtraFiles = append(theirs, file)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range p.cmd.ExtraFiles {
		f.Close()
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended is looked at in ProcessState
	}()
	p.replies = wire.Reader{R: p.control, Max: wire.MaxControlBytes}
	t.Cleanup(func() {
		p.control.Close()
		for _, l := range p.lanes {
			l.Close()
		}
		_ = p.cmd.Process.Kill()
		<-p.ended
		if strings.Contains(p.logs.String(), "forgotten") || strings.Contains(p.logs.String(), "does not close") || strings.Contains(p.logs.String(), "DATA RACE") {
			t.Errorf("the worker says\n%s", &p.logs)
		}
	})
	return p
}

func socketPair(t testing.TB) (ours, theirs *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(fds[0], true); err != nil { // ours takes deadlines
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
}

// ask sends a message on the control socket and reads the answer into reply; or it is a failure.
func (p *process) ask(kind wire.Type, message any, answer wire.Type, reply any) *wire.Failure {
	p.t.Helper()
	p.id++
	frame, err := wire.AppendControl(nil, kind, p.id, message)
	if message == nil {
		frame, err = wire.AppendHeader(nil, wire.Header{Type: kind, ID: p.id}), nil
	}
	if err != nil {
		p.t.Fatal(err)
	}
	_ = p.control.SetDeadline(time.Now().Add(patience))
	if _, err := p.control.Write(frame); err != nil {
		p.fatal("%v", err)
	}
	h, body, err := p.replies.Next()
	if err != nil || h.ID != p.id {
		p.fatal("%v: %+v, %v", kind, h, err)
	}
	if h.Type == wire.TypeFailure {
		f := new(wire.Failure)
		if err := f.Parse(body); err != nil {
			p.t.Fatal(err)
		}
		return f
	}
	if h.Type != answer {
		p.fatal("%v was answered with %v", kind, h.Type)
	}
	if err := wire.ParseControl(h.Type, body, reply); err != nil {
		p.t.Fatal(err)
	}
	return nil
}

func (p *process) fatal(format string, args ...any) {
	p.t.Helper()
	_ = p.cmd.Process.Kill()
	<-p.ended
	p.t.Fatalf(format+"\nthe worker: %v\n%s", append(args, p.cmd.ProcessState, &p.logs)...)
}

func (p *process) hello() (w wire.Welcome) {
	p.t.Helper()
	hello := wire.Hello{Versions: []int{wire.Version}, MaxFrameBytes: 64 << 20, Lanes: len(p.lanes)}
	if f := p.ask(wire.TypeHello, hello, wire.TypeHello, &w); f != nil {
		p.fatal("HELLO: %v", f)
	}
	return w
}

func (p *process) load(options map[string]string) (loaded wire.Loaded, f *wire.Failure) {
	p.t.Helper()
	info, err := os.Stat(p.cmd.ExtraFiles[len(p.cmd.ExtraFiles)-1].Name())
	if err != nil {
		p.t.Fatal(err)
	}
	load := wire.Load{Model: "test", Version: "1", Format: "onnx", FD: 4 + len(p.lanes), Bytes: info.Size(), Threads: 1, Options: options}
	f = p.ask(wire.TypeLoad, load, wire.TypeLoaded, &loaded)
	return loaded, f
}

func (p *process) pong() (pong wire.Pong) {
	p.t.Helper()
	if f := p.ask(wire.TypePing, nil, wire.TypePong, &pong); f != nil {
		p.fatal("PING: %v", f)
	}
	return pong
}

// call sends a call on a lane and reads its answer, whose tensors are its own, or a failure.
func (p *process) call(lane int, call wire.Call) (*wire.Answer, error) {
	p.t.Helper()
	const id = 7
	socket := p.lanes[lane]
	_ = socket.SetDeadline(time.Now().Add(patience))
	if _, err := socket.Write(call.Append(nil, id)); err != nil {
		p.fatal("%v", err)
	}
	return p.answer(lane, id)
}

func (p *process) answer(lane int, id uint64) (*wire.Answer, error) {
	p.t.Helper()
	r := wire.Reader{R: p.lanes[lane], Max: 64 << 20}
	h, body, err := r.Next()
	if err != nil || h.ID != id {
		p.fatal("CALL: %+v, %v", h, err)
	}
	if h.Type == wire.TypeFailure {
		f := new(wire.Failure)
		if err := f.Parse(body); err != nil {
			p.fatal("%v", err)
		}
		return nil, f
	}
	a := new(wire.Answer)
	if err := a.Parse(bytes.Clone(body)); err != nil {
		p.fatal("%v", err)
	}
	return a, nil
}

// theirLeak is all that the address sanitiser may find: the binding forgets the name of a session's file, once a process.
const theirLeak = "SUMMARY: AddressSanitizer: 16 byte(s) leaked in 1 allocation(s)."

// drain ends the worker as the service does, and holds it to its exit code.
func (p *process) drain() {
	p.t.Helper()
	if _, err := p.control.Write(wire.AppendHeader(nil, wire.Header{Type: wire.TypeDrain, ID: 99})); err != nil {
		p.fatal("%v", err)
	}
	for _, l := range p.lanes {
		l.Close()
	}
	p.wait()
	if code := p.cmd.ProcessState.ExitCode(); code != 0 && !strings.Contains(p.logs.String(), theirLeak) {
		p.fatal("exit code %d after DRAIN", code)
	}
}

func (p *process) wait() {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.fatal("it does not end")
	}
}

// ready is a worker that has loaded a model.
func ready(t testing.TB, lanes int, model []byte, env ...string) (*process, wire.Loaded) {
	t.Helper()
	p := start(t, os.Args[0], lanes, model, append([]string{libraryVariable + "=" + fetchedLibrary(t)}, env...)...)
	p.hello()
	loaded, f := p.load(nil)
	if f != nil {
		p.fatal("LOAD: %v", f)
	}
	return p, loaded
}

func fp32(name string, shape []int64, numbers ...float32) wire.Tensor {
	t := wire.Tensor{Name: []byte(name), Datatype: wire.FP32, Shape: shape}
	for _, n := range numbers {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(n))
	}
	return t
}

func numbers(t *wire.Tensor) (all []float32) {
	for i := 0; i+4 <= len(t.Data); i += 4 {
		all = append(all, math.Float32frombits(binary.LittleEndian.Uint32(t.Data[i:])))
	}
	return all
}

// output finds one by name.
func output(t testing.TB, a *wire.Answer, name string) *wire.Tensor {
	t.Helper()
	for i := range a.Outputs {
		if string(a.Outputs[i].Name) == name {
			return &a.Outputs[i]
		}
	}
	t.Fatalf("no output %q in %s", name, fmt.Sprint(a.Outputs))
	return nil
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func openFile(t testing.TB, path string) *os.File {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}
