package ramp

import (
	"errors"
	"fmt"

	"github.com/dougong-io/dougong/kit/fault"
)

var pointAdmit = fault.Def{Name: "ramp.admit", Doc: "A call asks to pass. An error refuses it.", Attrs: []string{"stage", "marked"}, Effects: fault.Call}

// WithFaults has the point ramp.admit of a set strike calls of Allow, with no lock held.
func WithFaults(set *fault.Set) Option { return func(r *Ramp) { r.point = set.Point(pointAdmit) } }

// struck passes the point, and returns why the call must not go on.
func (r *Ramp) struck(c Call) error {
	stage, marked := r.state.Load().stage, "false"
	if c.Marked {
		marked = "true"
	}
	err := r.point.Hit(c.Ctx, fault.Attr{Key: "stage", Value: string(stage)}, fault.Attr{Key: "marked", Value: marked})
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*fault.Error](err)
	if !ok { // the caller went away
		return fmt.Errorf("ramp: %w", err)
	}
	r.rejected.Add(1)
	retryAfter := e.RetryAfter
	if retryAfter == 0 {
		retryAfter = whileTesting
	}
	return fmt.Errorf("%w: %w", &RejectedError{Stage: stage, RetryAfter: retryAfter}, err)
}
