package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/gobwas/ws"

	"github.com/dougong-io/dougong/prove/load/script"
)

// webSocket is a user's WebSocket. A goroutine reads all the time, so that messages that nobody asked for are counted
// when they come and are never taken for an answer to a later request.
type webSocket struct {
	u      *user
	dialer *dialer
	body   []byte

	mu      sync.Mutex
	conn    net.Conn
	wanted  int    // messages that the request in flight still waits for
	last    []byte // the last of them
	got     uint64 // how many came, and their bytes
	gotIn   uint64
	arrived chan error // gets nil when the last has come, or why the connection ended
	reading sync.WaitGroup
}

func newWebSocket(u *user, d *dialer) link {
	w := &webSocket{u: u, dialer: d, arrived: make(chan error, 1)}
	c := newCaller(u, w.exchange)
	c.open = w.open
	c.close = w.close
	return c
}

// open connects and upgrades.
func (w *webSocket) open(ctx context.Context) error {
	conn, err := w.dialer.dial(ctx)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	step := w.u.run.steps[0]
	if w.u.scenario != nil {
		step = w.u.current()
	}
	header := http.Header{"User-Agent": {"dougong-load"}}
	dialer := ws.Dialer{Header: ws.HandshakeHeaderHTTP(header)}
	for _, h := range step.headers {
		value := string(h.value.Append(nil, &w.u.vars))
		switch {
		case !fieldValue(value):
			conn.Close()
			return errField
		case strings.EqualFold(h.name, "host"):
			dialer.Host = value
		default:
			header.Set(h.name, value)
		}
	}
	target := *w.u.run.target
	early, _, err := dialer.Upgrade(conn, &target)
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("WebSocket upgrade: %w", err)
	}
	var reader io.Reader = conn
	if early != nil {
		reader = io.MultiReader(io.LimitReader(early, int64(early.Buffered())), conn)
	}
	w.mu.Lock()
	w.conn = conn
	w.mu.Unlock()
	w.reading.Go(func() { w.read(conn, bufio.NewReaderSize(reader, 4096)) })
	return nil
}

func (w *webSocket) close() {
	w.mu.Lock()
	if w.conn != nil {
		w.conn.Close()
	}
	w.mu.Unlock()
	w.reading.Wait()
}

// drop ends the connection, so that an answer that comes late is not taken for that of the next request.
func (w *webSocket) drop() {
	w.close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn, w.wanted = nil, 0
	select {
	case <-w.arrived:
	default:
	}
}

// read takes messages until the connection ends.
func (w *webSocket) read(conn net.Conn, r *bufio.Reader) {
	err := w.readAll(conn, r)
	conn.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn == conn {
		w.conn = nil
	}
	if w.wanted > 0 {
		w.wanted = 0
		w.arrived <- err
	}
}

func (w *webSocket) readAll(conn net.Conn, r *bufio.Reader) error {
	var message []byte
	var total int64
	limit := w.u.run.plan.MaxBody
	inMessage := false
	for {
		h, err := ws.ReadHeader(r)
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || classify(err) != ClassProtocol {
				return err
			}
			return fmt.Errorf("%w: %w", errFrame, err)
		}
		if err := ws.CheckHeader(h, frameState(inMessage)); err != nil {
			return fmt.Errorf("%w: %w", errFrame, err)
		}
		if h.Masked || !h.OpCode.IsControl() && (h.Length < 0 || h.Length > limit-total) {
			return fmt.Errorf("%w: a masked frame, or a message of more than %d bytes", errFrame, limit)
		}
		if h.OpCode.IsControl() {
			payload := make([]byte, h.Length) // 125 at most: CheckHeader has looked
			if _, err := io.ReadFull(r, payload); err != nil {
				return err
			}
			switch h.OpCode {
			case ws.OpClose:
				code, reason := ws.ParseCloseFrameData(payload)
				w.write(conn, ws.NewCloseFrame(payload))
				return fmt.Errorf("%w: the target closed the WebSocket with code %d %.60q", io.EOF, code, reason)
			case ws.OpPing:
				w.write(conn, ws.NewPongFrame(payload))
			}
			continue
		}
		if !inMessage {
			message, total = message[:0], 0
		}
		total += h.Length
		for left := h.Length; left > 0; { // memory is taken as bytes come, not as they are announced
			at := len(message)
			message = append(message, make([]byte, min(left, 32<<10))...)
			if _, err := io.ReadFull(r, message[at:]); err != nil {
				return err
			}
			left -= int64(len(message) - at)
		}
		if inMessage = !h.Fin; !inMessage {
			w.take(message)
		}
	}
}

var errFrame = errors.New("not the WebSocket protocol")

func frameState(inMessage bool) ws.State {
	state := ws.StateClientSide
	if inMessage {
		state = state.Set(ws.StateFragmented)
	}
	return state
}

// take counts a message, for the request in flight if that waits for one.
func (w *webSocket) take(message []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wanted == 0 {
		w.u.stripe.pushed(w.u.run.clock.now(), len(message), w.u.run.steps[0])
		return
	}
	w.got++
	w.gotIn += uint64(len(message))
	if w.wanted--; w.wanted == 0 {
		w.last = append(w.last[:0], message...)
		w.arrived <- nil
	}
}

func (w *webSocket) write(conn net.Conn, frame ws.Frame) error {
	data, err := ws.CompileFrame(ws.MaskFrameInPlace(frame))
	if err != nil {
		return err
	}
	_, err = conn.Write(data) // one write, so frames of two goroutines do not mix
	return err
}

func (w *webSocket) exchange(ctx context.Context, u *user) (o outcome) {
	step := u.current()
	w.mu.Lock()
	conn := w.conn
	w.mu.Unlock()
	if conn == nil {
		if err := w.open(ctx); err != nil {
			return outcome{class: classifyWebSocket(err), err: err}
		}
		w.mu.Lock()
		conn = w.conn
		w.mu.Unlock()
		if conn == nil {
			return outcome{class: ClassClosed, err: errors.New("the target closed the WebSocket at once")}
		}
	}
	w.body = step.body.Append(w.body[:0], &u.vars)
	frame := ws.NewTextFrame(w.body)
	if step.binary {
		frame = ws.NewBinaryFrame(w.body)
	}
	o.out = uint64(len(w.body))
	w.mu.Lock()
	w.wanted, w.got, w.gotIn = step.expect, 0, 0
	w.mu.Unlock()
	u.sent = u.run.clock.now()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err := w.write(conn, frame)
	if err == nil && step.expect > 0 {
		select {
		case err = <-w.arrived:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	inTime := stop()
	o.end = u.run.clock.now()
	w.mu.Lock()
	o.messages, o.in = w.got, w.gotIn
	w.mu.Unlock()
	if err == nil && !inTime {
		err = ctx.Err()
	}
	if err != nil {
		w.drop()
		o.class, o.err = classifyWebSocket(err), err
		return o
	}
	answer := script.Answer{Status: http.StatusSwitchingProtocols, Header: func(string) string { return "" }}
	if step.expect > 0 {
		answer.Body = w.last
	}
	o.class, o.err = step.judge(u, &answer)
	return o
}

func classifyWebSocket(err error) Class {
	var refused ws.StatusError
	switch {
	case errors.As(err, &refused):
		return ClassStatus
	case errors.Is(err, errFrame):
		return ClassProtocol
	case strings.Contains(err.Error(), "broken pipe"):
		return ClassReset
	}
	return classify(err)
}
