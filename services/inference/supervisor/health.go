package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// health is what the last probes have told.
type health struct {
	why  error     // nil: healthy
	last time.Time // when it was looked at
}

var errNotYet = errors.New("no worker has answered the golden row yet")

// Healthy is nil if the golden row was answered, through the way of all calls, within the last two probes; else it tells why
// not. It does not wait.
func (p *Pool) Healthy() error {
	h := p.health.Load()
	if h.why == nil && time.Since(h.last) > 2*p.cfg.Probe+p.cfg.Silence { // nobody probes any more
		return fmt.Errorf("the golden row was not asked for since %v", h.last.Format(time.RFC3339))
	}
	return h.why
}

// probes asks for the golden row until ctx ends: each Probe, and when a worker has come or gone.
func (p *Pool) probes(ctx context.Context) {
	t := time.NewTicker(p.cfg.Probe)
	defer t.Stop()
	failed, answered := 0, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-p.changed:
		}
		switch err := p.probe(ctx); {
		case ctx.Err() != nil:
			return
		case err == nil:
			failed, answered = 0, time.Now()
			p.setHealth(nil)
		case errors.Is(err, errBusy) && time.Since(later(answered, time.Unix(0, p.answered.Load()))) < 2*p.cfg.Probe+p.cfg.HangAfter:
			// No news yet: each worker computes, and a worker that hangs is replaced.
			p.setHealth(p.health.Load().why)
		case failed == 0 && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrDied)):
			// One that took too long may be the load's fault, and one whose worker died under it says nothing of the others.
			failed++
			p.tell()
		default:
			failed++
			p.setHealth(err)
		}
	}
}

// probe asks for the first golden row, before all calls that wait: that there are many of them is no illness.
func (p *Pool) probe(ctx context.Context) error {
	p.mu.Lock()
	n, err := len(p.ready), error(nil)
	if n == 0 {
		err = p.unavailable()
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Probe)
	defer cancel()
	row := p.model.Golden[0]
	answer := make([]float64, p.model.Outputs)
	if err := p.send(ctx, answer, row.Input, 1, true); err != nil {
		return fmt.Errorf("the golden row was not answered: %w", err)
	}
	if err := p.model.check(answer, row.Output); err != nil {
		return err
	}
	if p.suspects.known.Load() > 0 { // whoever else has sent it
		p.suspects.release(p.contentOf(row.Input).String())
		p.suspects.clear(p.contentOf(row.Input))
	}
	return nil
}

// errBusy says that no lane was free for a probe.
var errBusy = errors.New("all workers were busy")

func (p *Pool) setHealth(why error) {
	was := p.health.Swap(&health{why: why, last: time.Now()})
	if (was.why == nil) != (why == nil) && p.deps.Healthy != nil {
		p.deps.Healthy(why)
	}
}

// isEnd tells whether an error is that of a socket whose other side has ended.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrClosed) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
