package grpcmw

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/ramp"
)

// joints are what calls need leave of, in this order: a limit, where they may wait; a ramp; a breaker.
type joints struct {
	caller   Caller
	limit    func(context.Context, Call) *limit.Limit
	request  func(context.Context, Call) limit.Request
	ramp     *ramp.Ramp
	circuit  func(context.Context, Call, breaker.Call) (breaker.Permit, error)
	outcome  func(error) breaker.Outcome
	fallback *Fallback
	faults   *fault.Set
	points   points
}

// Option gives interceptors one of their parts.
type Option func(*joints)

// WithBreaker guards calls by a circuit for each key, such as [ByMethod].
func WithBreaker[K comparable](g *breaker.Group[K], key func(context.Context, Call) K) Option {
	return func(j *joints) {
		j.circuit = func(ctx context.Context, c Call, of breaker.Call) (breaker.Permit, error) {
			return g.AllowCall(key(ctx, c), of)
		}
	}
}

// WithLimit bounds the calls that run at once. pick gives the limit of a call, nil for none: streams better have one of
// their own, since each keeps its slot until it ends. request may be nil; it says what the limit can know of a call
// beside the deadline of its context.
//
// An adaptive limit learns from unary calls: those that succeed and those whose deadline passes, on a server also when
// that comes as a cancel a little before. In a client RESOURCE_EXHAUSTED makes it shrink at once.
func WithLimit(pick func(context.Context, Call) *limit.Limit, request func(context.Context, Call) limit.Request) Option {
	return func(j *joints) { j.limit, j.request = pick, request }
}

// WithRamp brings calls back by degrees.
func WithRamp(r *ramp.Ramp) Option { return func(j *joints) { j.ramp = r } }

// WithCaller says for whom calls are.
func WithCaller(c Caller) Option { return func(j *joints) { j.caller = c } }

// WithOutcome replaces [OutcomeOf], for a breaker, a ramp and a fallback. It is not asked when the caller has canceled,
// nor about a panic, which is a failure; on a server, nor about one that leaves when its deadline has as good as passed,
// which is a failure too.
func WithOutcome(outcome func(error) breaker.Outcome) Option {
	return func(j *joints) { j.outcome = outcome }
}

// WithFallback answers in place of unary calls of a client that fail or are refused. A server does not use it.
func WithFallback(f *Fallback) Option { return func(j *joints) { j.fallback = f } }

func join(opts []Option) *joints {
	j := &joints{outcome: OutcomeOf}
	for _, opt := range opts {
		opt(j)
	}
	return j
}

// held is what one call holds, until it ends.
type held struct {
	ended   atomic.Bool
	limit   limit.Permit
	ramp    ramp.Permit
	breaker breaker.Permit
}

// begin takes what the call needs leave of, or gives back what it has and says why there is none.
func (j *joints) begin(ctx context.Context, c Call) (_ *held, err error) {
	h := &held{}
	begun := false
	defer func() {
		if !begun {
			h.end(breaker.Ignored, limit.Ignored)
		}
		if ended := ctx.Err(); err != nil && ended != nil && !isRejection(err) && !errors.Is(err, ended) {
			err = fmt.Errorf("%w: %w", ended, err) // whatever the cause is, this has a status
		}
	}()
	if j.limit != nil {
		if l := j.limit(ctx, c); l != nil {
			var asked limit.Request
			if j.request != nil {
				asked = j.request(ctx, c)
			}
			if h.limit, err = l.AcquireFor(ctx, asked); err != nil {
				return nil, err
			}
		}
	}
	if j.ramp != nil {
		if h.ramp, err = j.ramp.Allow(j.caller.ofRamp(ctx, c)); err != nil {
			return nil, err
		}
	}
	if j.circuit != nil {
		if h.breaker, err = j.circuit(ctx, c, j.caller.ofBreaker(ctx, c)); err != nil {
			return nil, err
		}
	}
	begun = true
	return h, nil
}

// end gives back what the call holds, once.
func (h *held) end(o breaker.Outcome, load limit.Outcome) {
	if h.ended.Swap(true) {
		return
	}
	// Deferred, so that each has its own back whatever another does: observers and fault points may panic. The slot
	// comes first, since a rule may hold the call at breaker.done.
	defer h.breaker.Done(o)
	if o != breaker.Ignored { // what says nothing need not be given back to a ramp
		defer h.ramp.Done(o != breaker.Failure)
	}
	h.limit.DoneWith(load)
}
