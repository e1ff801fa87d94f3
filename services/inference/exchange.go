package inference

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/pool"
)

// exchange is one request on its way through the service, whatever protocol it came by: admit, read the body, wait for
// a slot, parse, score, encode, write. Admission comes before the body so that a refusal costs next to nothing; the
// slot comes after it so that a slow sender holds none.
type exchange struct {
	service *Service
	caller
	protocol
	outcome
	sample

	loaded *loadedModels
	permit limit.Permit
	answer pool.Buffer // encoded
	coding string      // of the answer, "": none
	asked  *served     // nil until it is known
	by     *served     // its fallback, if that has answered
	freed  bool        // the slot was given back while workers compute
	length int         // of its JSON part if something follows it, else -1
}

// outcome is how a request goes: what the observer is told when it has ended, and the caller in a header.
type outcome struct {
	start    time.Time
	took     time.Duration // 0: until now
	began    time.Duration // when it got its slot, since start
	queued   time.Duration // for a slot
	yielded  time.Duration // for it again, between blocks
	computed time.Duration // in it, of which
	parsed   time.Duration // for reading the request
	scored   time.Duration // for the rows
	observer VersionObserver
	result   Result
	rows     int
}

// begin makes the exchange of a request. Its outcome is what is told when a panic passes through.
func (s *Service) begin(c caller, p protocol) exchange {
	return exchange{service: s, caller: c, protocol: p, outcome: outcome{start: time.Now(), observer: s.unnamed, result: Failed}, sample: s.choose()}
}

// report tells how it went.
func (x *exchange) report() {
	if x.took == 0 {
		x.took = time.Since(x.start)
	}
	x.observer.Predicted(x.result, x.rows, x.took)
	if x.asked != nil {
		x.asked.stats.count(x)
	}
	x.log()
}

// admit asks for a place, before anything of the body is read.
func (x *exchange) admit() error {
	s := x.service
	if x.loaded = s.models.Load(); x.loaded == nil || !s.open.Load() {
		return notReady(s.state)
	}
	if s.points.admit.On() {
		if err := x.strike(s.points.admit, &limit.RejectedError{Reason: limit.QueueFull}); err != nil {
			return err
		}
	}
	var err error
	x.permit, err = s.limiter.AdmitFor(x.admission())
	return err
}

// leave gives the place back, when the answer is there or err says why there is none.
func (x *exchange) leave(err error) {
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		x.permit.DoneWith(limit.Ignored) // a refusal is quick, and says nothing of how long work takes
		return
	}
	x.permit.Done()
}

// receive reads the body and computes the answer to it. When it returns, nothing else of the request is in memory.
func (x *exchange) receive(r *http.Request) error {
	from, err := x.open(r)
	if err != nil {
		return readError(x.ctx, err)
	}
	if from.give != nil {
		defer from.give()
	}
	body := x.service.buffers.Get(roomFor(from.length, 0))
	defer body.Release()
	held := share{of: &x.service.memory}
	defer held.give()
	if err := x.readBody(body, &held, from); err != nil {
		return err
	}
	return x.compute(body.Bytes())
}

// compute waits for a slot, and encodes the answer to a body.
func (x *exchange) compute(body []byte) error {
	waits := time.Since(x.start)
	if len(body) > largeBody {
		x.permit.Long()
	}
	if err := x.permit.Start(x.ctx); err != nil {
		return err
	}
	x.began = time.Since(x.start)
	x.queued = x.began - waits
	defer func() {
		x.computed = time.Since(x.start) - x.began - x.yielded
		x.queued += x.yielded
	}()
	lease := x.service.scratch.Get() // not before: there are more requests that arrive than slots
	defer lease.Release()
	sc := lease.Value()
	m := x.message(sc)
	v, err := x.score(m, body, sc)
	if err != nil {
		return err
	}
	if x.service.points.encode.On() {
		if err := x.strike(x.service.points.encode, nil, named(v.Version)...); err != nil {
			return err
		}
	}
	says := v
	if x.by != nil && x.kind == predict { // the protocol's clients want the name that they asked for
		says = x.by
	}
	x.answer.Grow(m.answerBytes(says))
	answer, length := m.appendAnswer(x.answer.Bytes(), says, sc.outputs)
	x.answer.SetBytes(answer)
	x.length = length
	x.squeeze()
	values, rows := m.table()
	x.rows = rows
	x.note(v, values, sc.outputs)
	return nil
}

// refusal is why the caller gets no answer: who does not wait for it any more is not told to try again later.
func (x *exchange) refusal(err error) error {
	if errors.Is(err, limit.ErrRejected) && expired(x.ctx) {
		return context.DeadlineExceeded
	}
	return err
}

// strike has the rules of a point that is on strike a request. What they order is answered as failure is, which is
// what the boundary itself fails with.
func (x *exchange) strike(p *fault.Point, failure error, about ...fault.Attr) error {
	return ordered(x.ctx, p.Hit(x.ctx, append(about, x.attr())...), failure)
}
