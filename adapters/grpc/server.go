package grpcmw

import (
	"context"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/limit"
	"google.golang.org/grpc"
)

// ServerInterceptors returns the interceptors of a server. A call ends when its handler returns or panics.
func ServerInterceptors(opts ...Option) (grpc.UnaryServerInterceptor, grpc.StreamServerInterceptor) {
	j := join(opts)
	j.points = serverPoints(j.faults)
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
		if j.points.unary.On() {
			if r := j.strikeRequest(ctx, c, req); r != nil {
				_ = grpc.SetTrailer(ctx, r.pushback())
				return r
			}
		}
		resp, err = handler(ctx, req)
		return err
	})
	return resp, err
}

// strikeRequest is what rules do to a unary call before its handler has it.
func (j *joints) strikeRequest(ctx context.Context, c Call, req any) *refusal {
	d, r := j.strike(ctx, j.points.unary, c)
	if r == nil && d.Any() {
		r = mangleAll(req, pointServerUnary.Name, &d)
	}
	return r
}

func (j *joints) serveStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, c := ss.Context(), Call{Method: info.FullMethod, Stream: true}
	h, err := j.begin(ctx, c)
	if err != nil {
		r := refuse(err)
		ss.SetTrailer(r.pushback())
		return r
	}
	return j.serve(ctx, c, h, func() error {
		if j.points.stream == nil {
			return handler(srv, ss)
		}
		var damage fault.Damage
		if j.points.stream.On() {
			d, r := j.strike(ctx, j.points.stream, c)
			if r != nil {
				ss.SetTrailer(r.pushback())
				return r
			}
			damage = d
		}
		s := &streamOfServer{ServerStream: ss, broken: newBroken(j, c, info.IsServerStream, info.IsClientStream, damage)}
		s.ctx, s.cancel = context.WithCancelCause(ctx)
		return s.handle(func(ss grpc.ServerStream) error { return handler(srv, ss) })
	})
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
