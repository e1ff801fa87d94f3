package breaker

import (
	"context"
	"time"
)

// Permit is leave to make one call. Its result is given once, with Done. A permit belongs to one goroutine at a
// time and is not copied; that of no call, the zero Permit, has nothing to give back.
type Permit struct {
	_       noCopy
	circuit *Circuit
	word    uint64 // of the circuit when it was given, and then spent
	aux     int64  // of a probe its number, else when it was given, if it is timed
}

// spent is the word of a permit whose result was given.
const spent = ^uint64(0)

// noCopy has go vet report copies.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}

// Done says what became of the call. Only the first of Done and Release counts; a second Done is reported to the
// observer, as is a result that comes when the state in which the call was allowed has ended: neither is counted.
func (p *Permit) Done(o Outcome) {
	c, word := p.circuit, p.word
	if o != Success || c == nil || word&flagBits != 0 {
		p.finish(context.Background(), o)
		return
	}
	p.word = spent
	// The short way of succeeded, which takes over where it does not lead.
	if c.word.Load() != word || int64(c.clock.Now()) >= c.due.Load() {
		c.succeeded(word)
		return
	}
	if keep := c.keep.Load(); keep != all {
		if c.core.rand != nil {
			if c.core.rand() > keep {
				return
			}
		} else if draw(p) > keep {
			return
		}
	}
	if n := c.ok.Load(); n%burst == burst-1 || uint32(n>>32) != uint32(word/generation) || !c.ok.CompareAndSwap(n, n+1) {
		c.count(word)
	}
}

// Release gives back a permit whose call was not made, or about which nothing can be said. After Done it does
// nothing, so it can be deferred against panics.
func (p *Permit) Release() {
	if p.word != spent {
		p.finish(context.Background(), Ignored)
	}
}

// finish is Done. A fault holds the result no longer than until ctx ends.
func (p *Permit) finish(ctx context.Context, o Outcome) {
	c, word := p.circuit, p.word
	if c == nil {
		return
	}
	p.word = spent
	if word == spent {
		c.tooLate(o)
		return
	}
	if word&struck != 0 && o != Ignored {
		var lost bool
		if o, lost = c.ends(ctx, o); lost {
			return
		}
	}
	if State(word&stateBits) == HalfOpen {
		c.probed(word, p.aux, o)
		return
	}
	slow := o == SlowCall
	if limit := c.core.plan.Load().SlowAfter; word&timed != 0 && limit > 0 { // it may have changed since
		slow = slow || c.core.stopwatch.Now()-time.Duration(p.aux) >= limit
	}
	switch {
	case o == Ignored:
		c.ignored.Add(1)
	case o == Success && !slow:
		c.succeeded(word)
	default:
		c.failed(word, o, slow)
	}
}
