package inference

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/ramp"
	"github.com/dougong-io/dougong/services/inference/supervisor"
)

// servedByHeader says which version has answered, where it was a fallback. It is in canonical form.
const servedByHeader = "X-Dougong-Served-By"

// Reasons why a fallback answers.
const (
	ReasonUnavailable = "unavailable" // no worker serves the version
	ReasonRecovering  = "recovering"  // it is back, and takes a share of the calls
	ReasonDied        = "died"        // its workers died of the call, or with it
	ReasonFailing     = "failing"     // its circuit is open
	ReasonOverloaded  = "overloaded"  // more calls wait for its workers than may
	ReasonTimeout     = "timeout"     // it did not answer in time, and the caller has some left
	ReasonFailed      = "failed"      // any other failure
)

// Reasons lists them.
func Reasons() []string {
	return []string{ReasonUnavailable, ReasonRecovering, ReasonDied, ReasonFailing, ReasonOverloaded, ReasonTimeout, ReasonFailed}
}

// errTooSlow says that workers had a request for as long as they may.
var errTooSlow = errors.New("the model did not answer within inference.workers.call_timeout")

// answerRows has the version that was asked for score the rows of a request, or else its fallback.
func (x *exchange) answerRows(v *served, m message, sc *scratch) error {
	values, rows := m.table()
	err := x.scoreBy(v, values, rows, sc)
	if err == nil || v.fallback == nil {
		return err
	}
	reason, ok := x.reason(v, err)
	if !ok {
		return err
	}
	switch instead := x.fallBack(v, reason, values, rows, sc); {
	case instead == nil:
		return nil
	case expired(x.ctx):
		return instead
	default:
		return fmt.Errorf("%w; and its fallback %s: %w", err, v.fallback.named[0], instead)
	}
}

// reason is why the fallback answers instead of an error, if it is to.
func (x *exchange) reason(v *served, err error) (reason string, ok bool) {
	var refused *limit.RejectedError
	switch {
	case expired(x.ctx): // nobody would see it
		return "", false
	case errors.Is(err, supervisor.ErrInput), errors.Is(err, supervisor.ErrQuarantined), errors.Is(err, errNoMemory):
		return "", false
	case errors.Is(err, supervisor.ErrUnavailable):
		return ReasonUnavailable, true
	case errors.Is(err, ramp.ErrRejected):
		return ReasonRecovering, true
	case errors.Is(err, breaker.ErrRejected):
		return ReasonFailing, true
	case errors.As(err, &refused):
		return ReasonOverloaded, v.pool != nil && refused.Reason != limit.Closed // the slots of trees are what the fallback needs, too
	case errors.Is(err, supervisor.ErrDied):
		return ReasonDied, true
	case errors.Is(err, errTooSlow):
		return ReasonTimeout, true
	}
	return ReasonFailed, true
}

// fallBack has the fallback of a version score the rows, in a slot.
func (x *exchange) fallBack(v *served, reason string, values []float64, rows int, sc *scratch) error {
	if x.freed {
		asks := time.Since(x.start)
		permit, err := x.service.limiter.AcquireFor(x.ctx, x.admission())
		x.yielded += time.Since(x.start) - asks
		if err != nil {
			return err
		}
		x.permit, x.freed = permit, false
	}
	if err := x.scoreBy(v.fallback, values, rows, sc); err != nil {
		return err
	}
	x.by = v.fallback
	x.observer.FellBack(v.fallback.named[0], reason)
	return nil
}

// turn asks whether a version that workers serve, and that has a fallback, takes this call.
func (v *served) turn(x *exchange) (ramp.Permit, error) {
	if v.recovery == nil {
		return ramp.Permit{}, nil
	}
	if why := v.health(); why != nil {
		return ramp.Permit{}, v.unavailable(why)
	}
	return v.recovery.Allow(ramp.Call{Ctx: x.ctx, Hash: x.hash, Marked: x.marked})
}

func (v *served) unavailable(why error) error {
	return &supervisor.UnavailableError{Model: v.Model, Version: v.Name, RetryAfter: retryAfter, Cause: why}
}

// predictByWorkers has the workers of a version score rows into outputs, which it grows as needed. The slot is given back:
// what computes is another process, and its pool has slots of its own.
func (x *exchange) predictByWorkers(v *served, values []float64, rows int, outputs []float64) (_ []float64, err error) {
	outputs = roomForOutputs(outputs, rows*v.Outputs())
	// More requests may wait for workers than have slots: the memory of their rows counts as that of bodies does.
	held := share{of: &x.service.memory}
	defer held.give()
	if !held.take(8 * (cap(values) + cap(outputs))) {
		return outputs, errNoMemory
	}
	why := v.health()
	left, alone := time.Duration(0), errors.Is(why, supervisor.ErrUnavailable)
	if alone {
		if left = v.patienceLeft(); left <= 0 {
			return outputs, v.unavailable(why)
		}
	}
	x.permit.Done()
	x.freed = true
	asks := time.Since(x.start)
	permit, err := v.pool.Limit().AcquireFor(x.ctx, x.admission())
	x.yielded += time.Since(x.start) - asks
	if err != nil {
		return outputs, err
	}
	defer func() {
		if err != nil {
			permit.DoneWith(limit.Ignored)
		} else {
			permit.Done()
		}
	}()
	ctx := x.ctx
	if alone {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, left)
		defer cancel()
	}
	err = v.pool.Predict(ctx, outputs, values[:rows*v.Features()])
	switch {
	case err == nil:
		return outputs, finite(v.Version, outputs)
	case expired(x.ctx) || !errors.Is(err, context.DeadlineExceeded):
		return outputs, err
	case alone:
		return outputs, v.unavailable(why)
	}
	return outputs, fmt.Errorf("model %s version %s: %w", v.Model, v.Name, errTooSlow)
}
