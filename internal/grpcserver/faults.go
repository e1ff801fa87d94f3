package grpcserver

import (
	"context"
	"errors"

	"github.com/dougong-io/dougong/kit/fault"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

var pointRequest = fault.Def{
	Name: "grpc.request", Doc: "A call of the gRPC port goes to its handler, before its message is read, unless it asks for health or reflection. What is dropped is never answered: its caller waits until the deadline.",
	Attrs: []string{"method", "tenant"}, Effects: fault.Fail | fault.Lose,
}

// strike is passed by a call that was admitted. Its error is the call's.
func (c *call) strike(ctx context.Context) error {
	attrs := []fault.Attr{{Key: "method", Value: c.method.name}}
	if c.who != nil {
		attrs = append(attrs, fault.Attr{Key: "tenant", Value: c.who.Tenant})
	}
	damage, err := c.srv.fault.Damage(ctx, attrs...)
	if injected, ok := errors.AsType[*fault.Error](err); ok {
		st := status.New(codeOfFault(injected), injected.Error())
		if injected.RetryAfter > 0 {
			if detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(injected.RetryAfter)}); err == nil {
				st = detailed
			}
		}
		return st.Err()
	}
	if err == nil && damage.Drop {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

// codeOfFault is the status that a rule asked for, or else what a service that failed likewise would have answered.
func codeOfFault(e *fault.Error) codes.Code {
	switch {
	case e.GRPCCode != 0:
		return codes.Code(e.GRPCCode)
	case errors.Is(e.Cause, context.Canceled):
		return codes.Canceled
	case e.Timeout():
		return codes.DeadlineExceeded
	}
	return codes.Internal
}
