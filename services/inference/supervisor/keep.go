package supervisor

import (
	"context"
	"errors"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

// calm is how long a worker must have served for its end not to count as one more failed start.
const calm = time.Second

// keep has a worker in a place until ctx ends.
func (p *Pool) keep(ctx context.Context, slot int) {
	attempt := 0
	for ctx.Err() == nil {
		w, err := p.start(ctx, slot)
		if err != nil {
			if ctx.Err() == nil {
				p.ends(slot, EndFailed, err)
				pause(ctx, p.cfg.backoffOf(attempt))
				attempt++
			}
			continue
		}
		p.join(w)
		p.log.Info("worker serves", "worker", slot, "pid", w.proc.pid, "engine", w.engine, "took_ms", time.Since(w.born).Milliseconds())
		w = p.watch(ctx, w)
		<-w.proc.ended
		end, cause := w.why()
		if end == EndStopped {
			p.observer.Ended(end)
			return
		}
		p.ends(slot, end, cause)
		if time.Since(w.ready) >= calm {
			attempt = 0
			continue // at once
		}
		pause(ctx, p.cfg.backoffOf(attempt))
		attempt++
	}
}

// ends tells of a worker that is gone.
func (p *Pool) ends(slot int, end End, cause error) {
	p.observer.Ended(end)
	p.mu.Lock()
	p.ended = cause
	p.restarts++
	p.mu.Unlock()
	p.log.Error("worker ended", "error_code", "worker_"+end.String(), "worker", slot, "cause", cause)
	p.tell()
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// watch asks a worker for its heartbeat until it is gone, replaces it when that is due, and stops it when ctx ends. It returns
// the last worker of its place.
func (p *Pool) watch(ctx context.Context, w *worker) *worker {
	beats := time.NewTicker(p.cfg.Heartbeat)
	defer beats.Stop()
	var again pace
	for {
		select {
		case <-w.gone:
			return w
		case <-ctx.Done():
			p.retire(w, EndStopped)
			return w
		case <-beats.C:
		}
		if err := w.beat(); err != nil {
			end := EndSilent
			switch {
			case errors.Is(err, wire.ErrBreach):
				end = EndBreach
			case isEnd(err):
				end = endLost
			}
			w.die(end, err, nil)
			continue
		}
		if why := p.due(w); why != notDue && time.Now().After(again.next) && p.mayReplace() {
			next := p.replace(ctx, w)
			again.done(p.cfg, next != w && (why == tooOld || next.ready.Sub(w.ready) > 3*p.cfg.MaxBackoff))
			w = next
			<-p.recycle
		}
	}
}

// mayReplace takes the token of who replaces a worker that serves, if nobody has it.
func (p *Pool) mayReplace() bool {
	select {
	case p.recycle <- struct{}{}:
		return true
	default:
		return false
	}
}

// pace keeps what helps nothing from being done all the time: to replace a worker by one that is as large, or to try to.
type pace struct {
	next  time.Time // not before
	tries int       // that helped nothing, in a row
}

func (a *pace) done(cfg Config, helped bool) {
	if helped {
		*a = pace{}
		return
	}
	a.next = time.Now().Add(cfg.backoffOf(a.tries))
	a.tries++
}

// What is due of a worker that serves.
type dueTo uint8

const (
	notDue dueTo = iota
	tooOld
	tooLarge
)

// due tells whether a worker is to be replaced.
func (p *Pool) due(w *worker) dueTo {
	if p.cfg.MaxAge > 0 && time.Since(w.born) > p.cfg.MaxAge {
		return tooOld
	}
	if pong := w.pong.Load(); p.cfg.MaxMemory > 0 && pong != nil && pong.RSSBytes > p.cfg.MaxMemory {
		return tooLarge
	}
	return notDue
}

// replace has another worker take a place, and then ends the one that has it. If no other one can be started, it stays.
func (p *Pool) replace(ctx context.Context, w *worker) *worker {
	next, err := p.start(ctx, w.slot)
	if err != nil {
		if ctx.Err() == nil {
			p.log.Error("a worker that is due cannot be replaced", "error_code", "worker_failed", "worker", w.slot, "cause", err)
		}
		return w
	}
	p.join(next)
	p.retire(w, EndRecycled)
	<-w.proc.ended
	end, _ := w.why()
	p.observer.Ended(end)
	p.log.Info("worker replaced", "worker", w.slot, "pid", w.proc.pid, "by", next.proc.pid, "cause", end.String())
	return next
}

// retire lets a worker end its calls, and then end itself.
func (p *Pool) retire(w *worker, end End) {
	p.mu.Lock()
	p.remove(w)
	w.free, w.draining, w.planned = nil, true, end
	for _, ln := range w.lanes { // those that nothing uses; the others come back by themselves
		if len(ln.batch) == 0 {
			w.free = append(w.free, ln)
		}
	}
	idle := w.busy() == 0
	n := len(p.ready)
	p.mu.Unlock()
	p.observer.Ready(n)
	bound := time.NewTimer(p.cfg.DrainAfter)
	defer bound.Stop()
	if !idle {
		select {
		case <-w.idle:
		case <-w.gone:
			return
		case <-bound.C:
			w.die(end, errors.New("its calls went on for too long"), nil)
			return
		}
	}
	w.pings++
	_ = w.send(wire.AppendHeader(nil, wire.Header{Type: wire.TypeDrain, ID: w.pings}))
	for _, lane := range w.proc.lanes {
		lane.Close()
	}
	select {
	case <-w.proc.ended:
	case <-bound.C:
	}
	w.die(end, nil, nil)
}
