package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/services/inference/wire"
)

// Pool answers rows of one version of a model by worker processes. It is safe for concurrent use.
type Pool struct {
	cfg      Config
	command  Command
	model    Model
	deps     Deps
	log      *slog.Logger
	observer Observer
	points   points
	limit    *limit.Limit
	suspects *quarantine

	spawner *spawner
	bytes   *os.File // the model
	size    int64
	others  sync.WaitGroup // goroutines that carry calls whose callers have left
	recycle chan struct{}  // who has the token replaces a worker that serves

	mu         sync.Mutex
	ready      []*worker
	queue      []*call // that no lane carries yet, in order
	alone      []*call // that were with a worker when it died, in order: each goes to a worker that does nothing else
	left       int     // of both, calls whose callers have left
	alonefor   *worker // that does nothing else
	uses       uint64  // of workers
	collecting *lane   // whose batch may still grow
	closed     bool
	ended      error // why the last worker is gone that is
	restarts   int64

	answered atomic.Int64  // when the last call or batch was, in Unix nanoseconds
	flying   atomic.Int32  // calls and batches that a caller carries
	datatype atomic.Uint32 // of rows, as the workers take them

	changed chan struct{} // the number of workers that are ready has
	health  atomic.Pointer[health]
}

// New checks what it is given and starts nothing. The pool keeps model.Bytes until Run has copied them.
func New(cfg Config, command Command, model Model, deps Deps) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(model.Golden) == 0 || model.Features < 1 || model.Outputs < 1 || len(model.Bytes) == 0 {
		return nil, errors.New("a model needs bytes, features, outputs and a golden row")
	}
	for i, row := range model.Golden {
		if len(row.Input) != model.Features || len(row.Output) != model.Outputs {
			return nil, fmt.Errorf("golden row %d has %d inputs and %d outputs, the model %d and %d", i, len(row.Input), len(row.Output), model.Features, model.Outputs)
		}
	}
	if deps.Observer == nil {
		deps.Observer = silent{}
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	limits := limit.DefaultConfig()
	limits.Slots, limits.Queue, limits.Arriving = 2*cfg.Workers*cfg.Lanes*max(1, cfg.Batch.Rows), cfg.Queue, max(1, cfg.Queue)
	admits, err := limit.New(limits)
	if err != nil {
		return nil, err
	}
	p := &Pool{
		cfg: cfg, command: command, model: model, deps: deps, observer: deps.Observer, points: newPoints(deps.Faults), limit: admits, suspects: newQuarantine(cfg.Quarantine),
		log:     deps.Log.With("model", model.Name, "version", model.Version),
		recycle: make(chan struct{}, 1), changed: make(chan struct{}, 1), size: int64(len(model.Bytes)),
	}
	p.health.Store(&health{why: errNotYet})
	return p, nil
}

// Limit admits calls: who calls Predict holds one of its slots.
func (p *Pool) Limit() *limit.Limit { return p.limit }

// Run keeps the workers until ctx ends, and returns when each has ended. It is called once.
func (p *Pool) Run(ctx context.Context) error {
	bytes, err := memoryFile(p.model.Bytes)
	if err != nil {
		return fmt.Errorf("model %s version %s: %w", p.model.Name, p.model.Version, err)
	}
	defer bytes.Close()
	p.bytes, p.model.Bytes = bytes, nil
	p.spawner = newSpawner()
	defer p.spawner.close()
	var own sync.WaitGroup
	for slot := range p.cfg.Workers {
		own.Go(func() { p.keep(ctx, slot) })
	}
	own.Go(func() { p.probes(ctx) })
	own.Wait()
	p.close()
	p.others.Wait()
	return nil
}

// close answers those that wait for a worker which will not come.
func (p *Pool) close() {
	p.limit.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.refuseAll()
}

// refuseAll answers all that wait. The lock is held.
func (p *Pool) refuseAll() {
	err := p.unavailable()
	for _, c := range slices.Concat(p.alone, p.queue) {
		c.queued = false
		c.finish(err)
	}
	p.alone, p.queue, p.left = nil, nil, 0
}

// unavailable is why there is no worker. The lock is held.
func (p *Pool) unavailable() error {
	return &UnavailableError{Model: p.model.Name, Version: p.model.Version, RetryAfter: retryAfter, Cause: p.ended}
}

// retryAfter is what a caller is told to wait where nobody knows better.
const retryAfter = time.Second

// Predict scores rows, one behind another and each Model.Features long, into answers, each Model.Outputs long; NaN is a
// missing value. It returns when the answers are there or ctx has ended, whatever the worker does, and touches neither slice
// after that.
func (p *Pool) Predict(ctx context.Context, answers, rows []float64) error {
	width, outputs := p.model.Features, p.model.Outputs
	n := len(rows) / width
	if len(rows) != n*width || len(answers) != n*outputs {
		return fmt.Errorf("%w: %d numbers are no rows of %d with answers of %d in %d", ErrInput, len(rows), width, outputs, len(answers))
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.cfg.CallTimeout)
		defer cancel()
	}
	if p.points.call.On() && n > 0 {
		if err := p.strike(ctx, p.points.call); err != nil {
			return err
		}
	}
	piece := n
	if p.cfg.Batch.Rows > 1 {
		piece = min(n, p.cfg.Batch.Rows)
	}
	for n > 0 {
		k := min(n, piece)
		if err := p.send(ctx, answers[:k*outputs], rows[:k*width], k, false); err != nil {
			return err
		}
		answers, rows, n = answers[k*outputs:], rows[k*width:], n-k
	}
	return nil
}

// calls are used again, if nobody but their own goroutine can have them.
var calls = sync.Pool{New: func() any { return &call{wake: make(chan wake, 1)} }}

// send has one call carried.
func (p *Pool) send(ctx context.Context, answers, rows []float64, count int, probe bool) error {
	c := calls.Get().(*call)
	c.rows, c.answers, c.count, c.single, c.probe = rows, answers, count, probe, probe
	c.deadline, _ = ctx.Deadline()
	if p.deps.Trace != nil {
		c.trace, c.span, c.flags = p.deps.Trace(ctx)
	}
	var known content
	if p.suspects.known.Load() > 0 && !probe {
		known = p.contentOf(rows)
		refused, suspect := p.suspects.look(known, time.Now())
		if refused != nil {
			p.observer.Refused()
			return refused
		}
		c.lone = suspect
	}
	if err := p.enter(c); err != nil {
		return err
	}
	for {
		w, err := c.await(ctx)
		if err != nil {
			if waited := p.abandon(c); waited && probe {
				err = errBusy
			}
			return err
		}
		if w.lane == nil {
			err := c.err
			if err == nil && c.lone {
				p.suspects.clear(p.contentOf(rows))
			}
			c.reset()
			return err
		}
		done, err := w.lane.carry(ctx, c)
		if !done {
			continue
		}
		if !c.left { // by its own hand alone
			if err == nil && c.lone {
				p.suspects.clear(p.contentOf(rows))
			}
			c.reset()
		}
		return err
	}
}

// contentOf is what rows are known by, once they are as a worker takes them.
func (p *Pool) contentOf(rows []float64) content {
	return contentOfRows(rows, wire.Datatype(p.datatype.Load()))
}

// reset makes a call that nobody else knows ready for another.
func (c *call) reset() {
	*c = call{wake: c.wake}
	calls.Put(c)
}

// enter queues a call, and gives it a lane if one is free.
func (p *Pool) enter(c *call) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.model.FailFast && len(p.ready) == 0 {
		return p.unavailable()
	}
	switch ln := p.collecting; {
	case c.lone:
		p.alone = append(p.alone, p.enqueue(c)...)
	case c.probe:
		p.queue = slices.Insert(p.queue, 0, p.enqueue(c)...)
	case ln != nil && p.joins(ln, c):
		ln.batch, ln.rows = append(ln.batch, c), ln.rows+c.count
		if ln.rows >= p.cfg.Batch.Rows || p.goBy(c).Before(ln.goBy) {
			p.collecting = nil
			close(ln.full)
		}
		return nil
	default:
		p.queue = append(p.queue, p.enqueue(c)...)
	}
	p.assign()
	return nil
}

// joins tells whether a call may go with a batch.
func (p *Pool) joins(ln *lane, c *call) bool {
	return !c.single && ln.rows+c.count <= p.cfg.Batch.Rows && !ln.batch[0].single
}

// goBy is how long a call waits for others at most: the delay of batches, or half of the time that it has.
func (p *Pool) goBy(c *call) time.Time {
	now := time.Now()
	return now.Add(min(p.cfg.Batch.Delay, c.deadline.Sub(now)/2))
}

// assign gives lanes that are free to calls that wait. The lock is held.
func (p *Pool) assign() {
	for len(p.alone) > 0 {
		c := p.alone[0]
		if c.gone() {
			p.take(&p.alone)
			continue
		}
		if p.tooRisky(c) {
			if p.alonefor != nil && p.alonefor.busy() == 0 { // others may have it meanwhile
				p.alonefor = nil
			}
			break
		}
		if w := p.leastBusy(nil, false, false); p.alonefor == nil || p.alonefor.busy() > 0 && !p.alonefor.lonely && w != nil && w.busy() == 0 {
			p.alonefor = w
		}
		if p.alonefor == nil || p.alonefor.busy() > 0 {
			break
		}
		if c = p.take(&p.alone); c == nil {
			break
		}
		p.alonefor.lonely = true
		c.wake <- wake{p.hand(p.alonefor, c)}
	}
	if len(p.alone) == 0 && p.alonefor != nil && p.alonefor.busy() == 0 {
		p.alonefor = nil
	}
	for len(p.queue) > 0 {
		w := p.leastBusy(p.alonefor, true, p.queue[0].probe)
		if w == nil {
			return
		}
		c := p.take(&p.queue)
		if c == nil {
			return
		}
		ln := p.hand(w, c)
		for len(p.queue) > 0 && p.joins(ln, p.queue[0]) {
			if next := p.take(&p.queue); next != nil && p.joins(ln, next) {
				ln.batch, ln.rows = append(ln.batch, next), ln.rows+next.count
			} else if next != nil {
				p.queue = slices.Insert(p.queue, 0, p.enqueue(next)...)
				break
			}
		}
		if p.cfg.Batch.Delay > 0 && ln.rows < p.cfg.Batch.Rows && p.collecting == nil && !c.single {
			p.collecting, ln.full, ln.goBy = ln, make(chan struct{}), p.goBy(c)
		}
		c.wake <- wake{ln}
	}
}

// hand gives a call a lane of a worker, of which it has yet to be told. The lock is held.
func (p *Pool) hand(w *worker, c *call) *lane {
	ln := w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	ln.batch, ln.rows = append(ln.batch[:0], c), c.count
	w.calls.Add(1)
	return ln
}

// leastBusy is the worker that has least to do, but one; with a lane that is free, if that is asked for. Of several it is the
// one that was used last, which is awake, or for a probe the one that was used least. The lock is held.
func (p *Pool) leastBusy(but *worker, free, probe bool) (best *worker) {
	for _, w := range p.ready {
		switch {
		case w == but || free && len(w.free) == 0:
		case best == nil || w.busy() < best.busy():
			best = w
		case w.busy() == best.busy() && (w.used > best.used) != probe:
			best = w
		}
	}
	if best != nil {
		p.uses++
		best.used = p.uses
	}
	return best
}

// giveBack takes a lane whose batch has been answered. It reports whether its calls are to be sent again, one by one.
func (p *Pool) giveBack(ln *lane) (again bool) {
	p.observer.Sent(len(ln.batch), ln.want, time.Since(ln.begun).Seconds())
	p.mu.Lock()
	defer p.mu.Unlock()
	again, ln.apart = ln.apart, false
	p.answered.Store(time.Now().UnixNano())
	if again {
		for _, c := range ln.batch {
			c.single = true
		}
		p.release(ln, ln.batch)
	} else {
		p.release(ln, nil)
	}
	return again
}

// pass frees a lane whose first call is not sent.
func (p *Pool) pass(ln *lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release(ln, ln.batch)
}

// release frees a lane, and queues again what it did not carry. The lock is held.
func (p *Pool) release(ln *lane, rest []*call) {
	rest = slices.DeleteFunc(slices.Clone(rest), (*call).gone)
	p.queue = slices.Insert(p.queue, 0, p.enqueue(rest...)...)
	w := ln.worker
	clear(ln.batch)
	ln.batch, ln.rows = ln.batch[:0], 0
	select {
	case <-w.gone:
	default:
		w.free = append(w.free, ln)
	}
	if w.busy() == 0 {
		w.lonely = false
	}
	if p.closed {
		p.refuseAll()
		return
	}
	if w.draining && w.busy() == 0 {
		select {
		case w.idle <- struct{}{}:
		default:
		}
	}
	p.assign()
}

// bereave is told of the calls that a lane carried when its worker died. Those that may be sent again are.
func (p *Pool) bereave(ln *lane) {
	w := ln.worker
	<-w.gone
	now := time.Now()
	p.mu.Lock()
	batch := ln.batch
	ln.batch = nil
	guilty := w.guilty == ln && len(batch) == 1
	innocent := w.end == EndHung && w.guilty != ln || w.end == EndStopped || w.end == EndRecycled
	proven := guilty || w.lone
	p.mu.Unlock()
	innocent = innocent || ln.sent == 0 || ln.stale // what has not arrived kills nobody, nor do others' answers
	if ln.hungUp {                                  // nobody can tell whether it would have ended: if it goes on again, when it is alone, it counts
		for _, c := range batch {
			if c.to > c.from {
				p.suspects.blame(contentOf(ln.frame[c.from:c.to]), struck*btoi(c.lone), w.cause.Error(), now)
			}
		}
		return
	}
	if innocent {
		for _, c := range batch {
			p.observer.Retried()
			p.sendAgain(c, false, 0, time.Time{})
		}
		return
	}
	blame, cause := w.sentence()
	for _, c := range batch {
		switch {
		case c.probe:
			c.finish(fmt.Errorf("%w: %s", ErrDied, cause))
			continue
		case c.to == c.from: // it was not sent
		case proven:
			refused := p.suspects.blame(contentOf(ln.frame[c.from:c.to]), p.blameOf(c)+blame, cause, now)
			if refused == nil {
				break
			}
			p.observer.Quarantined()
			p.log.Error("an input kills workers and is refused from now on", "error_code", "input_quarantined", "reference", refused.Reference, "cause", cause)
			c.finish(refused)
			continue
		case c.gone(): // it does not come back to be cleared
			p.suspects.blame(contentOf(ln.frame[c.from:c.to]), 0, cause, now)
		}
		p.observer.Retried()
		var careful time.Time
		if blame >= crashed { // the last worker is not risked, if another is there soon
			careful = earlier(now.Add(replacedWithin), now.Add(c.deadline.Sub(now)/2))
		}
		if proven { // the quarantine has it in its books
			p.sendAgain(c, true, 0, careful)
		} else {
			p.sendAgain(c, true, blame, careful)
		}
	}
}

// blameOf is what a call is blamed with for workers that died while they had it and others.
func (p *Pool) blameOf(c *call) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.blame
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// replacedWithin is longer than it takes to have another worker, as a rule.
const replacedWithin = time.Second

// sendAgain queues a call whose worker has died: by itself, to a worker that does nothing else, if it may have been the cause,
// and until careful, if that is set, not to the only worker that is left.
func (p *Pool) sendAgain(c *call, suspect bool, blame int, careful time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.gone() {
		return
	}
	if p.closed || p.model.FailFast && len(p.ready) == 0 {
		c.finish(p.unavailable())
		return
	}
	if suspect {
		c.lone, c.careful = true, careful
		c.blame += blame
		p.alone = append(p.alone, p.enqueue(c)...)
		if p.tooRisky(c) {
			time.AfterFunc(time.Until(careful), func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.assign()
			})
		}
	} else {
		p.queue = slices.Insert(p.queue, 0, p.enqueue(c)...)
	}
	p.assign()
}

// tooRisky tells whether a call that may kill its worker would go to the last one. The lock is held.
func (p *Pool) tooRisky(c *call) bool {
	return len(p.ready) < min(2, p.cfg.Workers) && time.Now().Before(c.careful)
}

// abandon is for a call whose caller leaves while it waits. It reports whether no worker had it.
func (p *Pool) abandon(c *call) (waited bool) {
	c.leave()
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.queued {
		if c.lone && c.blame > 0 {
			p.suspects.blame(p.contentOf(c.rows), 0, "a worker died with it and with others", time.Now())
		}
		if p.left++; p.left > 16 && p.left > (len(p.queue)+len(p.alone))/2 {
			gone := func(c *call) bool { return c.gone() }
			p.queue, p.alone, p.left = slices.DeleteFunc(p.queue, gone), slices.DeleteFunc(p.alone, gone), 0
		}
		return true
	}
	select {
	case w := <-c.wake:
		if w.lane != nil { // it was given one in this moment
			if p.collecting == w.lane {
				p.collecting, w.lane.full = nil, nil
			}
			p.release(w.lane, w.lane.batch)
		}
	default:
	}
	return false
}

// enqueue has calls wait. The lock is held.
func (p *Pool) enqueue(calls ...*call) []*call {
	for _, c := range calls {
		c.queued = true
	}
	return calls
}

// take is the first call of a queue whose caller has not left, nil if there is none. The lock is held.
func (p *Pool) take(queue *[]*call) *call {
	for len(*queue) > 0 {
		c := (*queue)[0]
		(*queue)[0] = nil
		*queue = (*queue)[1:]
		c.queued = false
		if !c.gone() {
			return c
		}
		p.left = max(0, p.left-1)
	}
	return nil
}

// join has a worker serve.
func (p *Pool) join(w *worker) {
	p.mu.Lock()
	w.ready = time.Now()
	select {
	case <-w.gone: // in this moment
		p.mu.Unlock()
		return
	default:
	}
	w.free = append(w.free[:0], w.lanes...)
	p.ready = append(p.ready, w)
	n := len(p.ready)
	p.assign()
	p.mu.Unlock()
	p.observer.Started(w.ready.Sub(w.born).Seconds())
	p.observer.Ready(n)
	p.tell()
}

// remove takes a worker out of service. The lock is held.
func (p *Pool) remove(w *worker) {
	n := len(p.ready)
	p.ready = slices.DeleteFunc(p.ready, func(other *worker) bool { return other == w })
	w.free = nil
	if p.alonefor == w {
		p.alonefor = nil
	}
	if p.collecting != nil && p.collecting.worker == w {
		p.collecting = nil
	}
	if len(p.ready) < n && len(p.ready) == 0 && p.model.FailFast {
		p.refuseAll() // others can serve them
	}
}

// tell has the health looked at.
func (p *Pool) tell() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Quarantined lists the inputs that are refused, newest first.
func (p *Pool) Quarantined() []Quarantined { return p.suspects.list(time.Now()) }

// Release lets an input be tried again, and reports whether there was one of that reference.
func (p *Pool) Release(reference string) bool { return p.suspects.release(reference) }
