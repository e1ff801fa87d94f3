package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// worker is a process that serves, or is about to, or has.
type worker struct {
	pool  *Pool
	slot  int
	proc  *process
	born  time.Time
	log   *slog.Logger
	lines *logLines

	engine   string
	input    []byte // name
	datatype wire.Datatype
	output   []byte // name
	answers  wire.Datatype
	pong     atomic.Pointer[wire.Pong]
	calls    atomic.Int64

	// Guarded by the pool's lock.
	ready    time.Time // zero: not yet
	lanes    []*lane
	free     []*lane
	draining bool
	planned  End    // of one that is draining
	lonely   bool   // it has a call that must be alone
	used     uint64 // when it was last, as Pool.uses counts
	lone     bool   // it died with one call
	guilty   *lane  // whose call it died of, if that is known

	control sync.Mutex // of who writes there
	reader  wire.Reader
	pings   uint64

	once  sync.Once
	gone  chan struct{} // closed when it serves no more
	idle  chan struct{} // one is sent when a draining worker has no call any more
	end   End           // once gone is closed
	cause error
}

// events are what a process tells.
type events struct {
	stopped func()            // a signal has stopped it
	reaped  func()            // it has ended
	line    func(line string) // it has printed one
}

// endLost is an end of which the process itself will tell more.
const endLost = Ends

// busy is how many calls or batches it has. The pool's lock is held.
func (w *worker) busy() int { return len(w.lanes) - len(w.free) }

// die ends a worker, for the first reason that is given. What its lanes carry fails at once. guilty is the lane whose call
// made that necessary, if one did.
func (w *worker) die(end End, cause error, guilty *lane) {
	w.once.Do(func() {
		p := w.pool
		p.mu.Lock()
		if end == endLost && w.draining { // as it was told to
			end = w.planned
		}
		w.end, w.cause, w.guilty = end, cause, guilty
		carried := 0
		for _, ln := range w.lanes {
			carried += len(ln.batch)
		}
		w.lone = carried == 1
		served := slices.Contains(p.ready, w)
		p.ended = cause
		p.remove(w)
		n := len(p.ready)
		close(w.gone)
		p.mu.Unlock()
		w.proc.kill()
		w.proc.closeSockets()
		if served {
			p.observer.Ready(n)
			p.tell()
		}
	})
}

// why tells how a worker ended whose process is reaped.
func (w *worker) why() (End, error) {
	if w.end != endLost {
		return w.end, w.cause
	}
	cause := errors.New(w.proc.describe()) // our own kill comes after its end: a process that has ended keeps its status
	if last := w.lines.last(); last != "" {
		cause = fmt.Errorf("%w; its last words: %s", cause, last)
	}
	if w.proc.status.Signaled() {
		return EndKilled, cause
	}
	return EndExited, cause
}

// sentence is what a call is blamed with that alone was with a worker when it died, and why the worker did. It waits until the
// process is reaped, which is when its sockets have ended.
func (w *worker) sentence() (blame int, cause string) {
	switch {
	case w.end == EndSilent:
		return struck, w.cause.Error()
	case w.end != endLost:
		return crashed, w.cause.Error()
	}
	<-w.proc.reaped
	if s := w.proc.status; s.Signaled() && (s.Signal() == syscall.SIGKILL || s.Signal() == syscall.SIGTERM || s.Signal() == syscall.SIGINT) {
		return struck, w.proc.describe()
	}
	if last := w.lines.last(); last != "" {
		return crashed, w.proc.describe() + "; its last words: " + last
	}
	return crashed, w.proc.describe()
}

// failure is a worker's FAILURE as an error.
func (w *worker) failure(f *wire.Failure) error {
	switch f.Code {
	case wire.Invalid:
		return fmt.Errorf("%w: %s", ErrInput, f.Message)
	case wire.Expired:
		return context.DeadlineExceeded
	case wire.Cancelled:
		return context.Canceled
	}
	return fmt.Errorf("model %s version %s: worker: %w", w.pool.model.Name, w.pool.model.Version, f)
}

// start spawns a worker and has it prove itself. On an error nothing is left of it.
func (p *Pool) start(ctx context.Context, slot int) (*worker, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.StartTimeout)
	defer cancel()
	if p.points.start.On() {
		if err := p.strikeStart(ctx); err != nil {
			return nil, fmt.Errorf("worker %s cannot be started: %w", p.command.Path, err)
		}
	}
	w := &worker{pool: p, slot: slot, born: time.Now(), gone: make(chan struct{}), idle: make(chan struct{}, 1)}
	w.log = p.log.With("worker", slot)
	w.lines = &logLines{worker: w}
	spawned := make(chan struct{}) // w is whole
	var err error
	w.proc, err = p.spawner.spawn(p.command, p.cfg.Lanes, p.bytes, events{
		stopped: func() { <-spawned; w.die(EndSilent, errors.New("a signal has stopped it"), nil) },
		reaped:  func() { <-spawned; w.die(endLost, errors.New(w.proc.describe()), nil) },
		line:    func(line string) { <-spawned; w.lines.add(line) },
	})
	if err != nil {
		close(spawned)
		return nil, fmt.Errorf("worker %s cannot be started: %w", p.command.Path, err)
	}
	w.log = w.log.With("pid", w.proc.pid)
	w.reader = wire.Reader{R: w.proc.control, Max: wire.MaxControlBytes}
	for i, f := range w.proc.lanes {
		w.lanes = append(w.lanes, &lane{worker: w, file: f, looker: newLooker(f), id: uint64(i+1) << 48}) // CANCEL names a call by its id alone
	}
	close(spawned)
	// Whatever it is doing, it ends when ctx does.
	stop := context.AfterFunc(ctx, func() {
		w.die(EndFailed, fmt.Errorf("it was not ready within %v: %w", p.cfg.StartTimeout, context.Cause(ctx)), nil)
	})
	defer stop()
	err = w.introduce()
	if err == nil {
		err = w.golden()
	}
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err == nil {
		return w, nil
	}
	w.die(EndFailed, err, nil)
	<-w.proc.ended
	return nil, w.failed(err)
}

// failed says why a worker could not start, with what it said last.
func (w *worker) failed(err error) error {
	if _, ok := errors.AsType[*wire.Failure](err); !ok && w.cause != nil {
		err = w.cause
	}
	if _, said := errors.AsType[*wire.Failure](err); said {
		return err
	}
	if w.proc.status.Exited() { // else it was us
		err = fmt.Errorf("%w; %s", err, w.proc.describe())
	}
	if last := w.lines.last(); last != "" {
		err = fmt.Errorf("%w; its last words: %s", err, last)
	}
	return err
}

// introduce shakes hands and has the model loaded.
func (w *worker) introduce() error {
	p, m := w.pool, &w.pool.model
	var welcome wire.Welcome
	if err := w.ask(wire.TypeHello, wire.Hello{Versions: versions, MaxFrameBytes: maxFrame, Lanes: p.cfg.Lanes}, wire.TypeHello, &welcome); err != nil {
		return err
	}
	if _, ok := wire.Choose(versions, []int{welcome.Version}); !ok {
		return fmt.Errorf("%w: the worker chose version %d of %d", wire.ErrBreach, welcome.Version, versions)
	}
	var loaded wire.Loaded
	if err := w.ask(wire.TypeLoad, wire.Load{
		Model: m.Name, Version: m.Version, Format: m.Format, FD: 4 + p.cfg.Lanes, Bytes: p.size, Threads: p.cfg.threads(), Options: m.Options,
	}, wire.TypeLoaded, &loaded); err != nil {
		return err
	}
	if err := loaded.Check(); err != nil {
		return fmt.Errorf("%w: LOADED: %w", wire.ErrBreach, err)
	}
	w.engine = loaded.Engine
	if w.engine == "" {
		w.engine = welcome.Engine
	}
	return w.accept(&loaded)
}

// versions of the protocol that are spoken: the present one, and the one before it once there is one.
var versions = []int{wire.Version}

// maxFrame is what a worker is told. What it is sent is bounded by the rows of a request.
const maxFrame = math.MaxInt32

// ask sends a message on the control socket and reads the answer.
func (w *worker) ask(t wire.Type, message any, want wire.Type, answer any) error {
	w.pings++
	frame, err := wire.AppendControl(nil, t, w.pings, message)
	if err != nil {
		return err
	}
	if err := w.send(frame); err != nil {
		return err
	}
	return w.hear(w.pool.cfg.StartTimeout, want, answer)
}

// hear reads the answer to the last message.
func (w *worker) hear(patience time.Duration, want wire.Type, answer any) error {
	if err := w.proc.control.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	h, body, err := w.reader.Next()
	if err != nil {
		return err
	}
	switch {
	case h.ID != w.pings:
		return fmt.Errorf("%w: %v answers message %d, asked was %d", wire.ErrBreach, h.Type, h.ID, w.pings)
	case h.Type == wire.TypeFailure:
		f := new(wire.Failure)
		if err := f.Parse(body); err != nil {
			return err
		}
		return f
	case h.Type != want:
		return fmt.Errorf("%w: %v where %v was due", wire.ErrBreach, h.Type, want)
	}
	return wire.ParseControl(h.Type, body, answer)
}

// send writes a frame to the control socket.
func (w *worker) send(frame []byte) error {
	w.control.Lock()
	defer w.control.Unlock()
	if err := w.proc.control.SetWriteDeadline(time.Now().Add(w.pool.cfg.Silence)); err != nil {
		return err
	}
	_, err := w.proc.control.Write(frame)
	return err
}

// accept holds what the worker says of the model against what the repository does.
func (w *worker) accept(l *wire.Loaded) error {
	m := &w.pool.model
	input, err := find("input", l.Inputs, m.Input)
	if err != nil {
		return err
	}
	output, err := find("output", l.Outputs, m.Output)
	if err != nil {
		return err
	}
	if len(l.Inputs) != 1 {
		return fmt.Errorf("the model has %d inputs; models of one input are served", len(l.Inputs))
	}
	if len(l.Outputs) != 1 {
		return fmt.Errorf("the model has %d outputs; models of one output are served", len(l.Outputs))
	}
	if !numeric(input.Datatype) || !numeric(output.Datatype) {
		return fmt.Errorf("the model takes %v and gives %v; FP32 and FP64 are served", input.Datatype, output.Datatype)
	}
	if len(input.Shape) != 2 || input.Shape[0] != -1 || input.Shape[1] != -1 && input.Shape[1] != int64(m.Features) {
		return fmt.Errorf("input %s has the shape %d; for %d inputs it must be [-1 %d]", input.Name, input.Shape, m.Features, m.Features)
	}
	if n := len(output.Shape); n == 0 || n > 2 || n == 2 && output.Shape[1] != -1 && output.Shape[1] != int64(m.Outputs) || n == 1 && m.Outputs != 1 {
		return fmt.Errorf("output %s has the shape %d; the golden rows have %d outputs", output.Name, output.Shape, m.Outputs)
	}
	w.pool.datatype.Store(uint32(input.Datatype))
	w.input, w.datatype = []byte(input.Name), input.Datatype
	w.output, w.answers = []byte(output.Name), output.Datatype
	return nil
}

func numeric(d wire.Datatype) bool { return d == wire.FP32 || d == wire.FP64 }

// find is the tensor of that name, or the only one.
func find(what string, specs []wire.Spec, name string) (wire.Spec, error) {
	if name == "" && len(specs) == 1 {
		return specs[0], nil
	}
	var names []string
	for _, s := range specs {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	if name == "" {
		return wire.Spec{}, fmt.Errorf("the model has several %ss, %q: name one in model.yaml", what, names)
	}
	return wire.Spec{}, fmt.Errorf("the model has no %s %q; it has %q", what, name, names)
}

// golden has the worker answer the golden rows, on each lane, before anyone else may ask it.
func (w *worker) golden() error {
	m := &w.pool.model
	for _, ln := range w.lanes {
		answers := make([]float64, m.Outputs)
		for i, row := range m.Golden {
			c := &call{rows: row.Input, answers: answers, count: 1, deadline: time.Now().Add(w.pool.cfg.StartTimeout), wake: make(chan wake, 1)}
			w.load(ln, c)
			ln.encode()
			if err := ln.exchange(c.deadline); err != nil {
				return fmt.Errorf("golden row %d: %w", i, err)
			}
			err := ln.settle(c)
			if err == nil {
				err = c.err
			}
			if err == nil {
				err = m.check(answers, row.Output)
			}
			if err != nil {
				return fmt.Errorf("golden row %d: %w", i, err)
			}
		}
		w.load(ln)
	}
	return nil
}

// load puts calls on a lane that nobody else has.
func (w *worker) load(ln *lane, calls ...*call) {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	ln.batch, ln.rows = calls, len(calls)
}

// ErrGolden says that a worker does not reproduce the answers of the library that made the model.
var ErrGolden = errors.New("the golden rows are not reproduced")

func (m *Model) check(got, want []float64) error {
	for k, y := range want {
		if off := math.Abs(got[k]-y) / max(1, math.Abs(y)); !(off <= m.Tolerance) { // NaN fails too
			return fmt.Errorf("%w: output %d is %v, expected %v", ErrGolden, k, got[k], y)
		}
	}
	return nil
}

// beat asks a worker whether it lives.
func (w *worker) beat() error {
	w.pings++
	if err := w.send(wire.AppendHeader(nil, wire.Header{Type: wire.TypePing, ID: w.pings})); err != nil {
		return err
	}
	pong := new(wire.Pong)
	err := w.hear(w.pool.cfg.Silence, wire.TypePong, pong)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// It may have been us who did not run: then its answer is there.
		err = w.hear(grace, wire.TypePong, pong)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("it has not answered a heartbeat for %v", w.pool.cfg.Silence)
	}
	if err != nil {
		return err
	}
	w.pong.Store(pong)
	w.pool.observer.Memory(w.slot, pong.RSSBytes, pong.NativeBytes, pong.DeviceBytes)
	return nil
}

// grace is for what should be there already.
const grace = 50 * time.Millisecond

// cancel tells the worker that nobody waits for a call.
func (w *worker) cancel(id uint64) {
	_ = w.send(wire.AppendHeader(nil, wire.Header{Type: wire.TypeCancel, ID: id})) // advice: if it does not arrive, the worker is replaced
}
