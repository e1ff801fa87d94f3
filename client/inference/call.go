package inferenceclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
)

func randomShare() float64 { return rand.Float64() }

// operation is what a call asks of a server, by each of its attempts.
type operation[T any] struct {
	call   string // in errors
	id     string // of the request; "": none
	hedged bool
	run    func(ctx context.Context, w wire, h *head) (T, *Error)
}

// call is one operation on its way: attempts in rounds, each of which is one of them, or two side by side.
type call[T any] struct {
	*Client
	operation[T]
	head head
	past attempts
}

// outcome is what an attempt came to. failed is nil if there is an answer.
type outcome[T any] struct {
	answer T
	by     *lease
	failed *Error
}

// do makes a call. by says which attempt answered.
func do[T any](ctx context.Context, c *Client, op operation[T]) (answer T, by *lease, failed *Error) {
	x := call[T]{Client: c, operation: op}
	if !c.enter() {
		return answer, nil, x.final(&Error{Kind: ErrClosed}, nil)
	}
	defer c.running.Done()
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if x.head, failed = c.head(ctx, op.id); failed != nil {
		return answer, nil, x.final(failed, nil)
	}
	c.retries.earn()
	if op.hedged {
		c.hedges.earn()
	}
	for round := 0; ; round++ {
		l, refused := x.choose(ctx, x.call, &x.head, &x.past)
		switch {
		case refused != nil && failed != nil: // what an attempt said is worth more
			return answer, nil, x.final(failed, nil)
		case refused != nil:
			return answer, nil, x.final(refused, nil)
		}
		o := x.round(ctx, l)
		if o.failed == nil {
			return o.answer, o.by, nil
		}
		wait, again := x.again(ctx, o.failed, round)
		if !again {
			return answer, nil, x.final(o.failed, failed)
		}
		failed = o.failed
		if !sleep(ctx, wait) {
			left := broken(ctx, failed)
			left.Endpoint = failed.Endpoint
			return answer, nil, x.final(left, failed)
		}
	}
}

// final makes an error that of the call. An observer may have seen that of the attempt, so it is copied. A deadline
// that passed says little of why, so the error tells of the attempt before.
func (x *call[T]) final(e, before *Error) *Error {
	own := *e
	own.Call, own.Attempts = x.call, x.past.made
	if before != nil && own.Kind == ErrDeadline {
		own.cause = fmt.Errorf("%w; the attempt before: %v", cmp.Or(own.cause, own.Kind), before)
	}
	return &own
}

// round makes an attempt, and maybe one beside it.
func (x *call[T]) round(ctx context.Context, l *lease) outcome[T] {
	delay, hedged := x.hedgeDelay()
	if !hedged || x.past.made >= x.cfg.Attempts {
		return x.attempt(ctx, l)
	}
	return x.race(ctx, l, delay)
}

// hedgeDelay is how long an attempt may take before another is made beside it.
func (x *call[T]) hedgeDelay() (time.Duration, bool) {
	if !x.hedged {
		return 0, false
	}
	delay := x.cfg.Hedge.After
	if x.cfg.Hedge.Quantile > 0 {
		delay = max(delay, time.Duration(x.latencies.value.Load()))
	}
	return delay, delay > 0
}

var errOvertaken = errors.New("another attempt answered first")

// race makes an attempt, and another one when that takes longer than the delay. The first answer ends both. It does
// not wait for the one that lost: Close does.
func (x *call[T]) race(ctx context.Context, first *lease, delay time.Duration) outcome[T] {
	ctx, end := context.WithCancelCause(ctx)
	defer end(errOvertaken)
	ended := make(chan outcome[T], 2)
	start := func(l *lease) {
		x.running.Add(1) // the call itself is counted, so this is not after Close has waited
		go func() {
			defer x.running.Done()
			ended <- x.attempt(ctx, l)
		}()
	}
	start(first)
	running := 1
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for {
		select {
		case o := <-ended:
			running--
			if running == 0 || judge(o.failed, false, false) != breaker.Failure { // what the server did wrong, the other may do right
				return o
			}
		case <-timer.C:
			if second := x.hedge(ctx); second != nil {
				start(second)
				running++
			}
		case <-ctx.Done():
			failed := broken(ctx, ctx.Err())
			failed.Endpoint, failed.at, failed.retry = first.endpoint.url, first.at, false
			return outcome[T]{failed: failed}
		}
	}
}

// hedge asks for leave to make another attempt; nil if there is none.
func (x *call[T]) hedge(ctx context.Context) *lease {
	if !x.hedges.take() {
		x.parts.observer.Withheld(Withheld{Call: x.call, Why: HedgeBudget})
		return nil
	}
	l, refused := x.choose(ctx, x.call, &x.head, &x.past)
	if refused != nil {
		return nil
	}
	l.hedge = true
	return l
}

// attempt asks a server once.
func (x *call[T]) attempt(ctx context.Context, l *lease) outcome[T] {
	defer l.permit.Release() // if a function of the caller panics
	begun := time.Now()
	own := ctx
	if x.cfg.AttemptTimeout > 0 {
		var cancel context.CancelFunc
		own, cancel = context.WithTimeout(ctx, x.cfg.AttemptTimeout)
		defer cancel()
	}
	answer, failed := x.send(own, l)
	took := time.Since(begun)
	lost := failed != nil && failed.Kind == context.Canceled
	overtaken := lost && context.Cause(ctx) == errOvertaken
	if failed != nil {
		failed.Call, failed.Endpoint, failed.Attempts, failed.took, failed.at = x.call, l.endpoint.url, l.number, took, l.at
		failed.RetryAfter = min(failed.RetryAfter, farOff)
		if failed.RetryAfter > 0 {
			l.endpoint.hold(failed.RetryAfter)
		}
	}
	if failed == nil || overtaken && !l.hedge {
		x.latencies.observe(took)
	}
	l.permit.Done(judge(failed, lost, overtaken && !l.hedge))
	x.parts.observer.Attempted(Attempt{Call: x.call, Endpoint: l.endpoint.url, Number: l.number, Hedge: l.hedge, Lost: lost, Err: failed, Took: took})
	return outcome[T]{answer, l, failed}
}

// send passes the fault point on the way.
func (x *call[T]) send(ctx context.Context, l *lease) (answer T, failed *Error) {
	if x.parts.attempt.On() {
		if failed = strike(ctx, x.parts.attempt, x.call, l.endpoint.url); failed != nil {
			return answer, failed
		}
	}
	return x.run(ctx, l.endpoint.wire, &x.head)
}

// farOff is as good as never, and can be added to.
const farOff = 24 * time.Hour

// judge says what an attempt tells about its server. One that was overtaken by its hedge was slow; that a caller left,
// or that a hedge was not needed, tells nothing.
func judge(failed *Error, lost, slow bool) breaker.Outcome {
	switch {
	case slow:
		return breaker.SlowCall
	case lost:
		return breaker.Ignored
	case failed == nil:
		return breaker.Success
	}
	switch failed.Kind {
	case ErrOverloaded, ErrUnavailable, ErrDeadline, ErrInternal, ErrProtocol:
		return breaker.Failure
	}
	return breaker.Success
}

// again tells whether another round may help, is allowed and has the time; and how long to wait before it.
func (x *call[T]) again(ctx context.Context, failed *Error, round int) (wait time.Duration, ok bool) {
	if !failed.retry || x.past.made >= x.cfg.Attempts {
		return 0, false
	}
	wait = x.backoff(round)
	if failed.RetryAfter > 0 && !x.another(failed.at) {
		wait += failed.RetryAfter // and not all of those who were told so at once
	}
	need := wait
	if failed.Kind == ErrDeadline {
		need += failed.took // with less time it would not end better
	}
	if deadline, _ := ctx.Deadline(); time.Until(deadline) <= need {
		return 0, false
	}
	if !x.retries.take() {
		x.parts.observer.Withheld(Withheld{Call: x.call, Why: RetryBudget})
		return 0, false
	}
	return wait, true
}

// backoff is a random part of a bound that doubles ("full jitter": Brooker, Exponential Backoff and Jitter, 2015).
func (x *call[T]) backoff(round int) time.Duration {
	bound := x.cfg.Backoff
	for ; round > 0 && bound < x.cfg.MaxBackoff; round-- {
		bound *= 2
	}
	return time.Duration(x.random() * float64(min(bound, x.cfg.MaxBackoff)))
}

// sleep reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
