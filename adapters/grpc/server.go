package grpcmw

import (
	"context"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/limit"
	"google.golang.org/grpc"
)

// ServerInterceptors returns the interceptors of a server. A call ends when its handler returns or panics.
func ServerInterceptors(opts ...Option) (grpc.UnaryServerInterceptor, grpc.StreamServerInterceptor) {
	j := join(opts)
	return j.serveUnary, j.serveStream
}

func (j *joints) serveUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	c := Call{Method: info.FullMethod}
	h, err := j.begin(ctx, c)
	if err != nil {
		r := refuse(err)
		_ = grpc.SetTrailer(ctx, r.pushback()) // fails for none that a server runs
		return nil, r
	}
	err = j.serve(ctx, c, h, func() (err error) {
		resp, err = handler(ctx, req)
		return err
	})
	return resp, err
}

func (j *joints) serveStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, c := ss.Context(), Call{Method: info.FullMethod, Stream: true}
	h, err := j.begin(ctx, c)
	if err != nil {
		r := refuse(err)
		ss.SetTrailer(r.pushback())
		return r
	}
	return j.serve(ctx, c, h, func() error { return handler(srv, ss) })
}

// serve calls a handler, and ends the call with what became of it, whether it returns or not.
func (j *joints) serve(ctx context.Context, c Call, h *held, handler func() error) error {
	outcome, load := breaker.Failure, limit.Ignored
	defer func() { h.end(outcome, load) }()
	begun := time.Now()
	err := handler()
	outcome, load = j.judge(ctx, c, begun, err)
	return err
}
