package breaker

import (
	"context"
	"errors"
)

// Do calls f if the circuit allows it, and counts what [OutcomeOf] says of its error, or the function given by
// WithOutcome. A context.Canceled of which ctx knows nothing is a failure: not the caller has left, but f gave up. A
// call that panics, or that ends its goroutine, is a failure.
//
// If f was not called the error is a [RejectedError]; or it wraps the cause of ctx, and the call counts as Ignored, when
// ctx ended while an injected fault held the call. A fault holds the result no longer than until ctx ends, either.
func (c *Circuit) Do(ctx context.Context, f func(ctx context.Context) error) error {
	p, err := c.allowFor(ctx)
	if err != nil {
		return err
	}
	return p.run(ctx, c.core, f)
}

// Do is [Circuit.Do] for the circuit of a key.
func (g *Group[K]) Do(ctx context.Context, key K, f func(ctx context.Context) error) error {
	p, err := g.allowFor(ctx, key)
	if err != nil {
		return err
	}
	return p.run(ctx, &g.core, f)
}

// allowFor is Allow for a call that a fault may hold until ctx ends.
func (c *Circuit) allowFor(ctx context.Context) (Permit, error) {
	if c.core.faulty() {
		return c.AllowCall(Call{Ctx: ctx})
	}
	return c.Allow()
}

func (g *Group[K]) allowFor(ctx context.Context, key K) (Permit, error) {
	if g.faulty() {
		return g.AllowCall(key, Call{Ctx: ctx})
	}
	return g.Allow(key)
}

func (p *Permit) run(ctx context.Context, k *core, f func(ctx context.Context) error) error {
	outcome := Failure // if f does not return
	defer func() {
		if p.word&struck != 0 {
			p.finish(ctx, outcome)
			return
		}
		p.Done(outcome)
	}()
	err := f(ctx)
	switch {
	case k.outcome != nil:
		outcome = k.outcome(err)
	case ctx.Err() == nil && errors.Is(err, context.Canceled):
	default:
		outcome = OutcomeOf(err)
	}
	return err
}
