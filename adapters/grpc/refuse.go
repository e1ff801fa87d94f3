package grpcmw

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/ramp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// refusal is an error of the kit that gRPC can send.
type refusal struct {
	error
	status     *status.Status
	retryAfter time.Duration // 0: there is no other try to wait for
}

func (r *refusal) Unwrap() error { return r.error }

// GRPCStatus is what status.FromError looks for.
func (r *refusal) GRPCStatus() *status.Status { return r.status }

func refuse(err error) *refusal {
	r := &refusal{error: err}
	code := codes.Unavailable
	if e, ok := errors.AsType[*limit.RejectedError](err); ok {
		r.retryAfter = e.RetryAfter
		if e.Reason != limit.Closed {
			code = codes.ResourceExhausted
		}
	} else if e, ok := errors.AsType[*breaker.RejectedError](err); ok {
		r.retryAfter = e.RetryAfter()
	} else if e, ok := errors.AsType[*ramp.RejectedError](err); ok {
		r.retryAfter = e.RetryAfter
	} else if e, ok := errors.AsType[*fault.Error](err); ok {
		code = codeOfFault(e)
		if e.RetryAfter <= 0 {
			r.status = status.New(code, err.Error())
			return r
		}
		r.retryAfter = e.RetryAfter
	} else { // the call ended while it waited
		r.status = status.FromContextError(err)
		return r
	}
	r.retryAfter = max(r.retryAfter, time.Millisecond)
	r.status = status.New(code, err.Error())
	if detailed, err := r.status.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(r.retryAfter)}); err == nil {
		r.status = detailed
	}
	return r
}

// pushback is a trailer that has a client's retry wait as long, and up to a quarter longer, so that all those who were
// refused together do not return together. nil if there is nothing to wait for.
func (r *refusal) pushback() metadata.MD {
	if r.retryAfter <= 0 {
		return nil
	}
	wait := (r.retryAfter + time.Millisecond - 1) / time.Millisecond
	wait += rand.N(wait/4 + 1)
	return metadata.MD{"grpc-retry-pushback-ms": {strconv.FormatInt(int64(wait), 10)}}
}
