//go:build unix

package worker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// service is the other side of a worker under test.
type service struct {
	t       *testing.T
	control *os.File
	lanes   []*os.File
	exit    chan int
	log     *lines
	loaded  wire.Loaded

	readers map[*os.File]*wire.Reader
}

type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// pair is a socketpair: our end, and the worker's.
func pair(t testing.TB) (ours *os.File, theirs int) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fds[0]) // or a worker would keep its own control socket open
	syscall.CloseOnExec(fds[1])
	ours = os.NewFile(uintptr(fds[0]), "service")
	t.Cleanup(func() { ours.Close() })
	return ours, fds[1]
}

// serve runs engine as a worker in a goroutine. Before the test ends, everything that it started has ended.
func serve(t *testing.T, engine Engine, lanes int) *service {
	t.Helper()
	s := &service{t: t, exit: make(chan int, 1), log: &lines{}, readers: map[*os.File]*wire.Reader{}}
	var control int
	s.control, control = pair(t)
	theirs := []int{control}
	o := Options{Name: "tested", Build: "v0", Engine: "e", Control: control, Log: slog.New(slog.NewTextHandler(s.log, nil))}
	for range lanes {
		ours, fd := pair(t)
		s.lanes = append(s.lanes, ours)
		o.Lanes = append(o.Lanes, fd)
		theirs = append(theirs, fd)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.exit <- Serve(engine, o)
	}()
	t.Cleanup(func() {
		s.control.Close()
		for _, lane := range s.lanes {
			lane.Close()
		}
		select {
		case <-served:
		case <-time.After(10 * time.Second):
			t.Errorf("the worker goes on; its log:\n%s", s.log)
		}
		for _, fd := range theirs {
			syscall.Close(fd)
		}
	})
	return s
}

func (s *service) write(to *os.File, frame []byte) {
	s.t.Helper()
	if _, err := to.Write(frame); err != nil {
		s.t.Fatal(err)
	}
}

// read reads a frame, and gives up after ten seconds.
func (s *service) read(from *os.File) (wire.Header, []byte) {
	s.t.Helper()
	h, body, err := s.next(from)
	if err != nil {
		s.t.Fatalf("%v; the log:\n%s", err, s.log)
	}
	return h, body
}

func (s *service) next(from *os.File) (wire.Header, []byte, error) {
	r := s.readers[from]
	if r == nil {
		r = &wire.Reader{R: from, Max: 64 << 20}
		s.readers[from] = r
	}
	give := time.AfterFunc(10*time.Second, func() { from.Close() })
	defer give.Stop()
	return r.Next()
}

func (s *service) ask(t wire.Type, id uint64, message any) (wire.Header, []byte) {
	s.t.Helper()
	frame := wire.AppendHeader(nil, wire.Header{Type: t, ID: id})
	if message != nil {
		var err error
		if frame, err = wire.AppendControl(nil, t, id, message); err != nil {
			s.t.Fatal(err)
		}
	}
	s.write(s.control, frame)
	return s.read(s.control)
}

func (s *service) hello() {
	s.t.Helper()
	h, body := s.ask(wire.TypeHello, 1, wire.Hello{Versions: []int{1}, MaxFrameBytes: 8 << 20, Lanes: len(s.lanes)})
	var w wire.Welcome
	if err := wire.ParseControl(h.Type, body, &w); err != nil || h.Type != wire.TypeHello || h.ID != 1 || w != (wire.Welcome{Version: 1, Name: "tested", Build: "v0", Engine: "e"}) {
		s.t.Fatalf("%+v %s %v", h, body, err)
	}
}

// model is a file with these bytes.
func model(t testing.TB, data string) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(data); err != nil {
		t.Fatal(err)
	}
	return f
}

// handed is a descriptor that the worker may close.
func handed(t *testing.T, f *os.File) int {
	t.Helper()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func (s *service) load(data string) (wire.Header, []byte) {
	s.t.Helper()
	return s.ask(wire.TypeLoad, 2, wire.Load{Model: "m", Format: "f", FD: handed(s.t, model(s.t, data)), Bytes: int64(len(data)), Threads: 1})
}

// ready is a worker with a model.
func ready(t *testing.T, engine Engine, lanes int) *service {
	t.Helper()
	s := serve(t, engine, lanes)
	s.hello()
	h, body := s.load("bytes")
	if err := wire.ParseControl(h.Type, body, &s.loaded); err != nil || h.Type != wire.TypeLoaded {
		t.Fatalf("%v %s, %v", h, body, err)
	}
	return s
}

func numbers(x ...float32) []byte {
	var b []byte
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func call(id uint64, timeout time.Duration, x ...float32) []byte {
	c := wire.Call{Timeout: timeout, Inputs: []wire.Tensor{{Name: []byte("x"), Datatype: wire.FP32, Shape: []int64{int64(len(x))}, Data: numbers(x...)}}}
	return c.Append(nil, id)
}

// answered asks a lane for y = x, and fails if that is not what comes.
func (s *service) answered(lane *os.File, id uint64, x ...float32) {
	s.t.Helper()
	s.write(lane, call(id, time.Minute, x...))
	h, body := s.read(lane)
	var a wire.Answer
	if err := a.Parse(body); err != nil || h.Type != wire.TypeAnswer || h.ID != id || !bytes.Equal(a.Outputs[0].Data, numbers(x...)) {
		s.t.Fatalf("%+v %q: %v", h, body, err)
	}
}

// failed reads a failure.
func (s *service) failed(from *os.File, id uint64, code wire.Code) string {
	s.t.Helper()
	h, body := s.read(from)
	var f wire.Failure
	if h.Type != wire.TypeFailure || h.ID != id || f.Parse(body) != nil || f.Code != code {
		s.t.Fatalf("%+v %q: a failure with code %d was expected", h, body, code)
	}
	return f.Message
}

func (s *service) exits(code int) {
	s.t.Helper()
	select {
	case got := <-s.exit:
		if got != code {
			s.t.Errorf("exit code %d, not %d; the log:\n%s", got, code, s.log)
		}
	case <-time.After(10 * time.Second):
		s.t.Fatalf("the worker goes on; the log:\n%s", s.log)
	}
}

// echo is an engine in Go whose calls do what the test says. Without that, y is x.
type echo struct {
	serial bool
	load   func(wire.Load) error
	call   func(ctx context.Context, call *wire.Call, answer *Answer) error

	mu     sync.Mutex
	closed int // lanes and models
	sizes  []int
	most   int // bytes that a buffer may have; 0: any
}

func (e *echo) Load(_ context.Context, load wire.Load, file *os.File) (Model, wire.Loaded, error) {
	if e.load != nil {
		if err := e.load(load); err != nil {
			return nil, wire.Loaded{}, err
		}
	}
	if data, err := io.ReadAll(io.NewSectionReader(file, 0, load.Bytes)); err != nil || string(data) != "bytes" {
		return nil, wire.Loaded{}, errors.New("damaged")
	}
	specs := func(name string) []wire.Spec {
		return []wire.Spec{{Name: name, Datatype: wire.FP32, Shape: []int64{-1}}}
	}
	return e, wire.Loaded{Inputs: specs("x"), Outputs: specs("y"), Engine: "e", Parallel: !e.serial}, nil
}

func (e *echo) NewLane() (Lane, error) { return &echoLane{e}, nil }
func (e *echo) Memory() Memory         { return Memory{Native: 11, Device: 12} }
func (e *echo) Close() error           { e.count(); return nil }

func (e *echo) count() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed++
}

type echoLane struct{ engine *echo }

func (l *echoLane) Close() { l.engine.count() }

func (l *echoLane) Buffer(n int) []byte {
	l.engine.mu.Lock()
	defer l.engine.mu.Unlock()
	l.engine.sizes = append(l.engine.sizes, n)
	if l.engine.most > 0 && n > l.engine.most {
		return nil
	}
	return make([]byte, n)
}

func (l *echoLane) Call(ctx context.Context, call *wire.Call, answer *Answer) error {
	if l.engine.call != nil {
		if err := l.engine.call(ctx, call, answer); err != nil || answer.tensors > 0 {
			return err
		}
	}
	x := call.Inputs[0]
	return answer.Add("y", x.Datatype, x.Shape, x.Data)
}

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
