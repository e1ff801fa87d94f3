package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

const (
	firstBytes = 4 << 10
	// A buffer of more than largeBytes of which patience frames in a row needed less than a quarter is given back.
	largeBytes = 1 << 20
	patience   = 64
)

// lane is the worker's end of one.
type lane struct {
	socket socket
	engine Lane
	max    uint32        // of a frame's body
	turn   chan struct{} // held during a call where the model is not parallel; else nil
	log    *slog.Logger
	calls  *atomic.Uint64 // answered, of all lanes
	spin   spin

	buffer []byte
	small  int // frames in a row that needed little of it
	begun  [firstBytes]byte
	call   wire.Call
	answer Answer
	out    []byte // failures

	mu     sync.Mutex
	busy   bool
	id     uint64
	cancel context.CancelCauseFunc
}

// run answers calls until the lane ends (nil) or its other side breaks the protocol.
func (l *lane) run() error {
	for {
		h, body, err := l.receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		frame := []byte(nil)
		if body == nil {
			frame = l.failure(h.ID, wire.Failf(wire.Exhausted, "no memory for a call of %d bytes", h.Length))
		} else if err := l.call.Parse(body); err != nil {
			return err
		} else {
			l.spin.active.Add(1)
			frame = l.serve(h.ID)
			l.spin.active.Add(-1)
		}
		if _, err := l.socket.Write(frame); err != nil {
			return nil // nobody waits for it any more
		}
	}
}

// receive reads the frame of a call, mostly in a single read: no byte may follow it before it is answered, so there is
// nothing to read ahead. body is nil where the engine has no memory for it; the frame has been read then.
func (l *lane) receive() (h wire.Header, body []byte, err error) {
	l.trim()
	n := 0
	for n < wire.HeaderBytes {
		m, err := l.spin.read(l.socket, l.buffer[n:])
		if err != nil {
			if n > 0 && errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: the lane ends within a frame's header", wire.ErrBreach)
			}
			return h, nil, err
		}
		n += m
	}
	if h, err = wire.ParseHeader(l.buffer, l.max); err != nil {
		return h, nil, err
	}
	total := wire.HeaderBytes + int(h.Length)
	if h.Type != wire.TypeCall {
		return h, nil, fmt.Errorf("%w: %v on a lane, where there is only CALL", wire.ErrBreach, h.Type)
	}
	if n > total {
		return h, nil, fmt.Errorf("%w: %d bytes follow the CALL before it was answered", wire.ErrBreach, n-total)
	}
	if total > len(l.buffer) {
		begun := append(l.begun[:0], l.buffer[:n]...)
		if l.buffer = l.engine.Buffer(total); len(l.buffer) < total {
			l.buffer = nil
			return h, nil, l.discard(total - n)
		}
		copy(l.buffer, begun)
	}
	if total*4 < len(l.buffer) {
		l.small++
	} else {
		l.small = 0
	}
	for n < total {
		m, err := l.socket.Read(l.buffer[n:total])
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: the lane ends within a CALL, after %d of %d bytes", wire.ErrBreach, n, total)
			}
			return h, nil, err
		}
		n += m
	}
	return h, l.buffer[wire.HeaderBytes:total], nil
}

// trim gives back a large buffer that is not needed any more, and sees that there is one for a header.
func (l *lane) trim() {
	if len(l.buffer) > largeBytes && l.small >= patience {
		l.buffer = nil
	}
	if l.buffer == nil {
		l.small = 0
		l.buffer = l.engine.Buffer(firstBytes)
	}
	if len(l.buffer) < wire.HeaderBytes {
		l.buffer = l.begun[:]
	}
}

// discard reads n bytes that there is no memory for.
func (l *lane) discard(n int) error {
	for n > 0 {
		m, err := l.socket.Read(l.begun[:min(n, len(l.begun))])
		if err != nil {
			return fmt.Errorf("%w: the lane ends within a CALL", wire.ErrBreach)
		}
		n -= m
	}
	return nil
}

// serve computes the answer to l.call and returns its frame.
func (l *lane) serve(id uint64) []byte {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	l.begin(id, cancel)
	defer l.end()
	if l.call.Timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, l.call.Timeout, wire.Expired)
		defer stop()
	}
	if l.turn != nil {
		select {
		case l.turn <- struct{}{}:
			defer func() { <-l.turn }()
		case <-ctx.Done():
			return l.failure(id, failureOf(ctx, ctx.Err()))
		}
	}
	l.answer.reset(int(l.max))
	began := time.Now()
	if err := l.compute(ctx); err != nil {
		return l.failure(id, failureOf(ctx, err))
	}
	return l.answer.finish(id, time.Since(began))
}

// compute calls the engine, whose panic is an error. Nothing of the lane is in its hands then but the answer, which is
// begun anew.
func (l *lane) compute(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("the engine panicked in a call", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = wire.Failf(wire.Failed, "the engine panicked: %v", p)
		}
	}()
	return l.engine.Call(ctx, &l.call, &l.answer)
}

func (l *lane) failure(id uint64, f *wire.Failure) []byte {
	l.out = f.Append(l.out[:0], id)
	return l.out
}

// failureOf gives an engine's error its code: the engine's own, else that of the context if it has ended.
func failureOf(ctx context.Context, err error) *wire.Failure {
	var f *wire.Failure
	if errors.As(err, &f) {
		return f
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, wire.Cancelled):
		return wire.Failf(wire.Cancelled, "the call was cancelled")
	case errors.Is(cause, wire.Expired):
		return wire.Failf(wire.Expired, "the call's time was up")
	}
	return wire.Failf(wire.Failed, "%v", err)
}

func (l *lane) begin(id uint64, cancel context.CancelCauseFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy, l.id, l.cancel = true, id, cancel
}

func (l *lane) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy, l.cancel = false, nil
	l.calls.Add(1)
}

// stop cancels the lane's call if it is this one.
func (l *lane) stop(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy && l.id == id {
		l.cancel(wire.Cancelled)
	}
}

func (l *lane) inCall() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.busy
}
