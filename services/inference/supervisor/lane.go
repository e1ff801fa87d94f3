package supervisor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// lane is a socket to a worker that carries one call at a time, or one batch of them. The goroutine of one of those calls
// reads and writes it; when its caller leaves, a goroutine of the pool goes on with that.
type lane struct {
	worker *worker
	file   *os.File

	// Guarded by the pool's lock.
	batch []*call // that it carries; the first one's goroutine has the lane
	rows  int     // of the batch

	full chan struct{} // closed to have it go before the delay of batches is over
	goBy time.Time     // when it is

	// Of who has the lane.
	id     uint64
	begun  time.Time
	until  time.Time // the last deadline of the batch
	frame  []byte    // that goes out
	sent   int       // of it
	in     []byte    // that has come
	want   int       // rows that were sent
	call   wire.Call
	answer wire.Answer
	looker looker
	peeked [1]byte
	shape  [2]int64
	stale  bool // something was there that was no answer to this call
	hungUp bool // its worker was replaced for a call whose callers had hung up
	apart  bool // its calls are to be sent again, each by itself

	interrupts  sync.Mutex
	turn        int // of the one that an interrupt is for
	interrupted atomic.Bool
}

// quick is how long a call goes on before anything is done to hear of a caller that hangs up. Most calls are shorter.
const quick = 20 * time.Millisecond

// carry brings a call, which has the lane, and those that go with it, to the worker and back. It reports whether the call is
// done; if not, the worker has died, and the call waits for another one.
func (ln *lane) carry(ctx context.Context, c *call) (done bool, err error) {
	ln.collect(ctx)
	if err := overdue(ctx, c.deadline); err != nil {
		c.leave()
		ln.worker.pool.pass(ln)
		return true, err
	}
	flying := &ln.worker.pool.flying
	flying.Add(1)
	defer flying.Add(-1)
	ln.encode()
	if ln.stale = ln.looker.peek(ln.peeked[:]) > 0; ln.stale {
		err = fmt.Errorf("%w: it has sent something that nobody asked for", wire.ErrBreach)
	} else {
		err = ln.exchange(earlier(c.deadline, ln.begun.Add(quick)))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil && time.Now().Before(c.deadline) {
		stop := ln.interruptBy(ctx)
		err = ln.exchange(c.deadline)
		stop()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.leave()
		ln.worker.pool.others.Go(ln.follow)
		if err := ctx.Err(); err != nil {
			return true, err
		}
		return true, context.DeadlineExceeded
	}
	if err == nil {
		err = ln.settle(c)
	}
	if err != nil {
		cause := err
		ln.worker.pool.others.Go(func() { ln.lose(cause) }) // it may have to wait for the kernel, and c's caller must not
		return false, nil
	}
	return !ln.worker.pool.giveBack(ln), c.err
}

// collect waits for others that may go with a batch that is not full.
func (ln *lane) collect(ctx context.Context) {
	p := ln.worker.pool
	if ln.full == nil {
		return
	}
	delay := time.NewTimer(time.Until(ln.goBy))
	defer delay.Stop()
	select {
	case <-ln.full:
	case <-delay.C:
	case <-ctx.Done():
	case <-ln.worker.gone:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.collecting == ln {
		p.collecting = nil
	}
	ln.full = nil
}

// overdue is why nobody waits for a call any more.
func overdue(ctx context.Context, deadline time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// cancelTakes is how long a worker may take to end a call that it was told to.
const cancelTakes = 500 * time.Millisecond

// follow goes on when the caller of the call that had the lane has left: for the others of its batch, and to see whether the
// worker ever ends it.
func (ln *lane) follow() {
	w := ln.worker
	err := os.ErrDeadlineExceeded
	for errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(ln.until) && ln.awaited() {
		err = ln.exchange(earlier(ln.until, time.Now().Add(quick)))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.cancel(ln.id)
		err = ln.exchange(later(time.Now().Add(cancelTakes), ln.begun.Add(w.pool.cfg.HangAfter)))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("a call has gone on for %v, and nobody waits for it any more", time.Since(ln.begun).Round(time.Millisecond))
		guilty := ln
		if time.Now().Before(ln.until) { // its callers hung up: it might have ended in time
			guilty, ln.hungUp = nil, true
		}
		w.die(EndHung, err, guilty)
	} else if err == nil {
		err = ln.settle(nil)
	}
	if err != nil {
		ln.lose(err)
		return
	}
	w.pool.giveBack(ln)
}

// awaited tells whether anyone waits for the batch.
func (ln *lane) awaited() bool {
	return slices.ContainsFunc(ln.batch, func(c *call) bool { return !c.gone() })
}

// interruptBy has the end of ctx end what waits on the lane, until stop is called.
func (ln *lane) interruptBy(ctx context.Context) (stop func()) {
	ln.interrupts.Lock()
	ln.turn++
	turn := ln.turn
	ln.interrupts.Unlock()
	cancel := context.AfterFunc(ctx, func() {
		ln.interrupts.Lock()
		defer ln.interrupts.Unlock()
		if ln.turn == turn {
			ln.interrupted.Store(true) // for who sets another deadline after this
			_ = ln.file.SetDeadline(time.Unix(1, 0))
		}
	})
	return func() {
		if !cancel() { // it runs, or has run: after this it does nothing
			ln.interrupts.Lock()
			ln.turn++
			ln.interrupted.Store(false)
			ln.interrupts.Unlock()
		}
	}
}

// encode makes the frame of the batch. A call whose caller has left by now is left out.
func (ln *lane) encode() {
	m := &ln.worker.pool.model
	t := wire.Tensor{Name: ln.worker.input, Datatype: ln.worker.datatype, Shape: ln.shape[:]}
	head := wire.HeaderBytes + wire.CallBytes + t.HeadBytes()
	b := slices.Grow(ln.frame[:0], head+ln.rows*m.Features*t.Datatype.Size()+8)[:head]
	ln.want, ln.until = 0, time.Time{}
	for _, c := range ln.batch {
		c.mu.Lock()
		c.from, c.to = len(b), len(b)
		if !c.left {
			b = appendValues(b, c.rows, t.Datatype)
			c.to = len(b)
			ln.want += c.count
			ln.until = later(ln.until, c.deadline)
		}
		c.mu.Unlock()
	}
	data := len(b) - head
	b = wire.AppendPadding(b, data)
	ln.shape = [2]int64{int64(ln.want), int64(m.Features)}
	ln.begun = time.Now()
	ln.id++
	first := ln.batch[0]
	ln.call.Timeout = max(ln.until.Sub(ln.begun), time.Microsecond)
	ln.call.Trace, ln.call.Span, ln.call.Flags = first.trace, first.span, first.flags
	ln.call.Inputs = append(ln.call.Inputs[:0], t)
	t.AppendHead(ln.call.AppendHead(b[:0], ln.id, len(b)-wire.HeaderBytes), data) // into its place, exactly
	ln.frame, ln.sent, ln.in = b, 0, ln.in[:0]
}

// appendValues appends numbers as a tensor has them.
func appendValues(b []byte, values []float64, as wire.Datatype) []byte {
	if as == wire.FP64 {
		for _, v := range values {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		}
		return b
	}
	n := len(b)
	b = slices.Grow(b, 4*len(values))[:n+4*len(values)]
	for i, v := range values {
		binary.LittleEndian.PutUint32(b[n+4*i:], math.Float32bits(float32(v)))
	}
	return b
}

// maxAnswerHead is more than what comes before the numbers of an answer.
const maxAnswerHead = wire.HeaderBytes + 8192

// exchange writes what is left of the frame and reads the answer. After os.ErrDeadlineExceeded it may be called again.
func (ln *lane) exchange(until time.Time) error {
	if err := ln.file.SetDeadline(until); err != nil {
		return err
	}
	if ln.interrupted.Load() {
		return os.ErrDeadlineExceeded
	}
	if ln.sent < len(ln.frame) {
		n, err := ln.file.Write(ln.frame[ln.sent:])
		ln.sent += n
		if err != nil {
			return err
		}
	}
	for {
		if len(ln.in) >= wire.HeaderBytes {
			h, err := wire.ParseHeader(ln.in, uint32(ln.maxAnswer()))
			if err != nil {
				return err
			}
			total := wire.HeaderBytes + int(h.Length)
			switch {
			case h.ID != ln.id:
				ln.stale = h.ID < ln.id // it is an earlier call's, once more
				return fmt.Errorf("%w: %v answers call %d, asked was call %d", wire.ErrBreach, h.Type, h.ID, ln.id)
			case len(ln.in) > total:
				return fmt.Errorf("%w: %d bytes follow the answer", wire.ErrBreach, len(ln.in)-total)
			case len(ln.in) == total:
				ln.looker.took(time.Since(ln.begun))
				return nil
			}
			ln.in = slices.Grow(ln.in, total-len(ln.in))
		}
		ln.in = slices.Grow(ln.in, 512)
		room := ln.in[len(ln.in):cap(ln.in)]
		n, err := 0, error(nil)
		if ln.worker.pool.flying.Load() == 1 { // who looks beside others takes their processor
			n = ln.looker.look(room)
		}
		if n == 0 {
			n, err = ln.file.Read(room)
		}
		ln.in = ln.in[:len(ln.in)+n]
		if err != nil {
			return err
		}
	}
}

// maxAnswer is the longest body that answers what was sent, or says why not.
func (ln *lane) maxAnswer() int { return maxAnswerHead + 8*ln.want*ln.worker.pool.model.Outputs }

// settle reads what has come and gives each call its answer. c is the one whose goroutine this is, if any, which is not woken.
// An error is a breach.
func (ln *lane) settle(c *call) error {
	h, _ := wire.ParseHeader(ln.in, math.MaxUint32) // again, as exchange did
	body := ln.in[wire.HeaderBytes:]
	switch h.Type {
	case wire.TypeFailure:
		var f wire.Failure
		if err := f.Parse(body); err != nil {
			return err
		}
		ln.fail(&f, c)
		return nil
	case wire.TypeAnswer:
	default:
		return fmt.Errorf("%w: %v on a lane", wire.ErrBreach, h.Type)
	}
	if err := ln.answer.Parse(body); err != nil {
		return err
	}
	m := &ln.worker.pool.model
	if len(ln.answer.Outputs) != 1 {
		return fmt.Errorf("%w: ANSWER has %d tensors; the model has one output", wire.ErrBreach, len(ln.answer.Outputs))
	}
	t := &ln.answer.Outputs[0]
	rows, _ := wire.Elements(t.Shape)
	switch {
	case string(t.Name) != string(ln.worker.output):
		return fmt.Errorf("%w: ANSWER has a tensor %.40q; the output is %q", wire.ErrBreach, t.Name, ln.worker.output)
	case t.Datatype != ln.worker.answers, len(t.Shape) == 0, t.Shape[0] != int64(ln.want), rows != int64(ln.want*m.Outputs):
		return fmt.Errorf("%w: ANSWER is %v %d; for %d rows it must be %v of %d numbers each", wire.ErrBreach, t.Datatype, t.Shape, ln.want, ln.worker.answers, m.Outputs)
	}
	data := t.Data
	for _, of := range ln.batch {
		if of.to == of.from {
			continue
		}
		n := of.count * m.Outputs
		of.mu.Lock()
		if !of.left {
			values(of.answers[:n], data, t.Datatype)
		}
		of.mu.Unlock()
		data = data[n*t.Datatype.Size():]
		if of == c {
			c.err = nil
		} else {
			of.finish(nil)
		}
	}
	return nil
}

// values reads numbers as a tensor has them.
func values(into []float64, data []byte, as wire.Datatype) {
	if as == wire.FP64 {
		for i := range into {
			into[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
		}
		return
	}
	for i := range into {
		into[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
	}
}

// fail answers the calls with a failure. Of several that went together one may be at fault: each is sent again by itself.
func (ln *lane) fail(f *wire.Failure, c *call) {
	if len(ln.batch) > 1 {
		ln.apart = true
		return
	}
	of, err := ln.batch[0], ln.worker.failure(f)
	if of != c {
		of.finish(err)
		return
	}
	c.err = err
}

// lose is for the lane of a worker that died, or that must.
func (ln *lane) lose(err error) {
	end := endLost
	if errors.Is(err, wire.ErrBreach) {
		end = EndBreach
	}
	ln.worker.die(end, err, nil)
	ln.worker.pool.bereave(ln)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
