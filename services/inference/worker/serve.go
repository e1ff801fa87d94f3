package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// What Serve returns, for os.Exit.
const (
	drained   = 0
	refused   = 1 // after a FAILURE to HELLO or LOAD
	broken    = 2 // the other side breaks the protocol; the log says how
	abandoned = 3 // the control socket ended: the service is gone
)

// firstFD is the control socket's in a worker; the lanes follow it.
const firstFD = 3

// lanesVariable tells how many.
const lanesVariable = "DOUGONG_WORKER_LANES"

// Options say who the worker is. Descriptors are sockets in blocking mode; without any, those that the service handed
// to the process are used, and SIGTERM and SIGINT are ignored from then on.
type Options struct {
	Name   string // of the program
	Build  string // its version
	Engine string // name and version of what computes

	// Spin is how long a lane looks for a next call before it sleeps, where calls follow each other closely: it takes
	// processor time and saves the wake-up. 0: 50 µs, where there are two processors; less: never.
	Spin time.Duration

	Control int // descriptor; 0: those of the process
	Lanes   []int
	Log     *slog.Logger // nil: lines on standard error
}

// Serve speaks the protocol until the service ends it, and returns the exit code of the process, which must end then:
// unless the worker was drained (0), calls may still be computing.
func Serve(engine Engine, o Options) int {
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if o.Control == 0 {
		n, err := strconv.Atoi(os.Getenv(lanesVariable))
		if err != nil || n < 1 {
			o.Log.Error("this program is a worker: dougong starts it and hands it sockets", lanesVariable, os.Getenv(lanesVariable))
			return broken
		}
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
		o.Control = firstFD
		for i := range n {
			o.Lanes = append(o.Lanes, firstFD+1+i)
		}
	}
	w := &worker{engine: engine, options: o, control: socket(o.Control), exit: make(chan int, 1)}
	for _, fd := range append([]int{o.Control}, o.Lanes...) {
		if err := socket(fd).own(); err != nil {
			o.Log.Error("a socket was not handed over", "descriptor", fd, "error", err)
			return broken
		}
	}
	go w.listen()
	return <-w.exit
}

// worker is the conversation on the control socket.
type worker struct {
	engine  Engine
	options Options
	control socket
	exit    chan int // the first reason to end
	calls   atomic.Uint64
	active  atomic.Int32 // lanes in a call, or looking for one

	writing sync.Mutex // held while a frame is written to control

	mu     sync.Mutex
	max    uint32
	model  Model
	lanes  []*lane
	ended  sync.WaitGroup // lanes
	drains bool
}

func (w *worker) end(code int) {
	select {
	case w.exit <- code:
	default: // there is an earlier reason
	}
}

// breach ends the worker because of what the other side did.
func (w *worker) breach(err error) {
	w.options.Log.Error("the service breaks the protocol", "error", err)
	w.end(broken)
}

// listen reads the control socket, also while lanes compute and while the model loads.
func (w *worker) listen() {
	r := wire.Reader{R: w.control, Max: wire.MaxControlBytes}
	h, body, err := r.Next()
	if !w.goesOn(err) || !w.hello(h, body) {
		return
	}
	loading := false
	for {
		h, body, err := r.Next()
		if !w.goesOn(err) {
			return
		}
		switch {
		case h.Type == wire.TypeLoad && !loading:
			loading = true
			var load wire.Load
			if err := wire.ParseControl(h.Type, body, &load); err != nil {
				w.breach(err)
				return
			}
			go w.load(h.ID, load)
		case h.Type == wire.TypePing && len(body) == 0:
			w.send(wire.TypePong, h.ID, w.pong())
		case h.Type == wire.TypeCancel && len(body) == 0:
			for _, l := range w.all() {
				l.stop(h.ID)
			}
		case h.Type == wire.TypeDrain && len(body) == 0:
			w.drain()
		default:
			w.breach(fmt.Errorf("%w: %v with %d bytes on the control socket, where it is not expected", wire.ErrBreach, h.Type, len(body)))
			return
		}
	}
}

// goesOn says why the conversation ends, if it does.
func (w *worker) goesOn(err error) bool {
	switch {
	case err == nil:
		return true
	case errors.Is(err, wire.ErrBreach), errors.Is(err, io.ErrUnexpectedEOF):
		w.breach(err)
	default:
		w.end(abandoned)
	}
	return false
}

// hello agrees on a version.
func (w *worker) hello(h wire.Header, body []byte) bool {
	var hello wire.Hello
	if h.Type != wire.TypeHello {
		w.breach(fmt.Errorf("%w: begins with %v, not with HELLO", wire.ErrBreach, h.Type))
		return false
	}
	if err := wire.ParseControl(h.Type, body, &hello); err != nil {
		w.breach(err)
		return false
	}
	ours := []int{wire.Version}
	version, ok := wire.Choose(ours, hello.Versions)
	if !ok {
		w.fail(h.ID, wire.Failf(wire.Unsupported, "this worker speaks versions %v of the protocol, not %v", ours, hello.Versions))
		return false
	}
	if hello.MaxFrameBytes < wire.CallBytes {
		w.breach(fmt.Errorf("%w: HELLO allows frames of %d bytes, into which no call fits", wire.ErrBreach, hello.MaxFrameBytes))
		return false
	}
	w.mu.Lock()
	w.max = hello.MaxFrameBytes
	w.mu.Unlock()
	w.send(wire.TypeHello, h.ID, wire.Welcome{Version: version, Name: w.options.Name, Build: w.options.Build, Engine: w.options.Engine})
	return true
}

// fail answers HELLO or LOAD with a failure, which ends the worker.
func (w *worker) fail(id uint64, f *wire.Failure) {
	w.options.Log.Error("refused", "code", f.Code, "message", f.Message)
	w.write(f.Append(nil, id))
	w.end(refused)
}

func (w *worker) send(t wire.Type, id uint64, message any) {
	frame, err := wire.AppendControl(nil, t, id, message)
	if err != nil {
		w.fail(id, wire.Failf(wire.Failed, "%v", err))
		return
	}
	w.write(frame)
}

func (w *worker) write(frame []byte) {
	w.writing.Lock()
	defer w.writing.Unlock()
	if _, err := w.control.Write(frame); err != nil {
		w.end(abandoned)
	}
}

// load takes the model and starts the lanes.
func (w *worker) load(id uint64, load wire.Load) {
	model, loaded, lanes, err := w.take(load)
	if err != nil {
		f := wire.Failf(wire.Refused, "%v", err)
		_ = errors.As(err, &f)
		w.fail(id, f)
		return
	}
	w.mu.Lock()
	if w.drains { // before there was anything to end
		w.mu.Unlock()
		return
	}
	w.model, w.lanes = model, lanes
	w.ended.Add(len(lanes))
	w.mu.Unlock()
	for _, l := range lanes {
		go func() {
			defer w.ended.Done()
			if err := l.run(); err != nil {
				w.breach(err)
			}
		}()
	}
	w.send(wire.TypeLoaded, id, loaded)
}

// take calls the engine, whose panic is an error like any other.
func (w *worker) take(load wire.Load) (model Model, loaded wire.Loaded, lanes []*lane, err error) {
	defer func() {
		if p := recover(); p != nil {
			w.options.Log.Error("the engine panicked while it loaded", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = wire.Failf(wire.Failed, "the engine panicked: %v", p)
		}
	}()
	file := os.NewFile(uintptr(load.FD), load.Model)
	if file == nil || load.FD < firstFD {
		return nil, loaded, nil, wire.Failf(wire.Refused, "descriptor %d of the model is none", load.FD)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, loaded, nil, wire.Failf(wire.Refused, "descriptor %d of the model: %v", load.FD, err)
	}
	if info.Size() != load.Bytes {
		return nil, loaded, nil, wire.Failf(wire.Refused, "the model has %d bytes, not the %d of LOAD", info.Size(), load.Bytes)
	}
	if model, loaded, err = w.engine.Load(context.Background(), load, file); err != nil {
		return nil, loaded, nil, err
	}
	if err := loaded.Check(); err != nil {
		return nil, loaded, nil, wire.Failf(wire.Refused, "the protocol cannot describe this model: %v", err)
	}
	var turn chan struct{}
	if !loaded.Parallel {
		turn = make(chan struct{}, 1)
	}
	for _, fd := range w.options.Lanes {
		l, err := model.NewLane()
		if err != nil {
			return nil, loaded, nil, fmt.Errorf("lane: %w", err)
		}
		lanes = append(lanes, &lane{socket: socket(fd), engine: l, max: w.max, turn: turn, spin: newSpin(w.options.Spin, &w.active), log: w.options.Log, calls: &w.calls})
	}
	return model, loaded, lanes, nil
}

func (w *worker) all() []*lane {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lanes
}

func (w *worker) pong() wire.Pong {
	rss, threads := self()
	pong := wire.Pong{RSSBytes: rss, Threads: threads, Calls: w.calls.Load()}
	for _, l := range w.all() {
		if l.inCall() {
			pong.InFlight++
		}
	}
	w.mu.Lock()
	model := w.model
	w.mu.Unlock()
	if model != nil {
		memory := model.Memory()
		pong.NativeBytes, pong.DeviceBytes = memory.Native, memory.Device
	}
	return pong
}

// drain ends the worker when its lanes have ended. The service closes them one by one, when each has answered.
func (w *worker) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.drains {
		return
	}
	w.drains = true
	model, lanes := w.model, w.lanes
	go func() {
		w.ended.Wait()
		for _, l := range lanes {
			l.engine.Close()
		}
		if model != nil {
			if err := model.Close(); err != nil {
				w.options.Log.Error("the model does not close", "error", err)
			}
		}
		w.end(drained)
	}()
}
