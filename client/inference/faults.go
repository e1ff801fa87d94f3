package inferenceclient

import (
	"cmp"
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dougong-io/dougong/kit/fault"
)

var pointAttempt = fault.Def{Name: "inferenceclient.attempt", Doc: "A client of the Open Inference Protocol is about to ask a server.", Attrs: []string{"call", "endpoint"}, Effects: fault.Call}

// WithFaults has the point inferenceclient.attempt of a set strike each attempt, in the place of the network: an error is
// one of the server, with the HTTP status or the gRPC code of its rule, or none that came. A panic is an error too, since
// attempts run on goroutines where nobody recovers.
func WithFaults(set *fault.Set) Option { return func(p *parts) { p.attempt = set.Point(pointAttempt) } }

func strike(ctx context.Context, point *fault.Point, call, endpoint string) *Error {
	err := hit(ctx, point, call, endpoint)
	rule, ok := errors.AsType[*fault.Error](err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil || !ok:
		return broken(ctx, err)
	}
	failed := broken(ctx, err)
	switch {
	case rule.HTTPStatus != 0:
		failed = failureOfStatus(rule.HTTPStatus, rule.Error(), rule.RetryAfter)
	case rule.GRPCCode != 0:
		failed = failureOf(ctx, status.Error(codes.Code(rule.GRPCCode), rule.Error()), nil)
	}
	failed.cause, failed.RetryAfter = err, cmp.Or(failed.RetryAfter, rule.RetryAfter)
	return failed
}

func hit(ctx context.Context, point *fault.Point, call, endpoint string) (err error) {
	defer fault.Contain(&err)
	return point.Hit(ctx, fault.Attr{Key: "call", Value: call}, fault.Attr{Key: "endpoint", Value: endpoint})
}
