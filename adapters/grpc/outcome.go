package grpcmw

import (
	"context"
	"errors"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/ramp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// OutcomeOf judges a call by its status. UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN, RESOURCE_EXHAUSTED and
// DATA_LOSS are failures. CANCELED, and an error by which the kit refused something in this process, say nothing. The
// rest are successes: what a client did wrong is no fault of the server.
func OutcomeOf(err error) breaker.Outcome {
	if isRejection(err) {
		return breaker.Ignored
	}
	switch codeOf(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.Unknown, codes.ResourceExhausted, codes.DataLoss:
		return breaker.Failure
	case codes.Canceled:
		return breaker.Ignored
	}
	return breaker.Success
}

// codeOf is the code that gRPC makes of an error.
func codeOf(err error) codes.Code {
	if s, ok := status.FromError(err); ok {
		return s.Code()
	}
	return status.FromContextError(err).Code()
}

func isRejection(err error) bool {
	return errors.Is(err, breaker.ErrRejected) || errors.Is(err, limit.ErrRejected) || errors.Is(err, ramp.ErrRejected)
}

// gone reports whether the one who asked has left. A server hears of a deadline that has passed from the client too,
// as of one that leaves, and a little before its own clock says so: what comes in the last tenth of the time that a
// call had is the deadline.
func gone(ctx context.Context, begun time.Time) bool {
	if !errors.Is(ctx.Err(), context.Canceled) {
		return false
	}
	deadline, ok := ctx.Deadline()
	return begun.IsZero() || !ok || time.Until(deadline) > deadline.Sub(begun)/10
}

// never is when a call began of which it does not matter.
var never time.Time

// judge says what an error, or none, means to a breaker and to a limit.
func (j *joints) judge(ctx context.Context, c Call, begun time.Time, err error) (breaker.Outcome, limit.Outcome) {
	late := errors.Is(ctx.Err(), context.DeadlineExceeded)
	var o breaker.Outcome
	switch {
	case err == nil || !errors.Is(ctx.Err(), context.Canceled):
		o = j.outcome(err)
	case gone(ctx, begun):
		return breaker.Ignored, limit.Ignored
	default: // the deadline, which came as a cancel
		o, late = breaker.Failure, true
	}
	switch code := codeOf(err); {
	case isRejection(err):
		return o, limit.Ignored
	case c.Target != "" && code == codes.ResourceExhausted:
		return o, limit.Overloaded
	case c.Stream: // how long it lasts is not how long the work takes
		return o, limit.Ignored
	case o == breaker.Success, o == breaker.SlowCall, late, code == codes.DeadlineExceeded: // took so long, or longer
		return o, limit.Finished
	}
	return o, limit.Ignored
}
