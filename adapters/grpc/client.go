package grpcmw

import (
	"context"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/limit"
	"google.golang.org/grpc"
)

// ClientInterceptors returns the interceptors of a client. What is refused is an error with a status that also wraps
// that of the kit; nothing is sent.
//
// A stream ends when gRPC says that it has: when RecvMsg returns an error or io.EOF, or the one answer of a client
// stream; when SendMsg returns an error other than io.EOF; when its context ends; or when the connection is closed. One
// that is never received from, under a context that never ends, keeps its slot, as it keeps its place in gRPC.
//
// Interceptors after these in the chain must call the streamer once: retries belong before them.
func ClientInterceptors(opts ...Option) (grpc.UnaryClientInterceptor, grpc.StreamClientInterceptor) {
	j := join(opts)
	j.points = clientPoints(j.faults)
	if j.fallback != nil {
		return j.callOrFallBack, j.openStream
	}
	return j.callUnary, j.openStream
}

func (j *joints) callUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	c := Call{Target: cc.Target(), Method: method}
	h, err := j.begin(ctx, c)
	if err != nil {
		return refuse(err)
	}
	outcome, load := breaker.Failure, limit.Ignored // if invoker does not return
	defer func() { h.end(outcome, load) }()
	err = j.invoke(ctx, c, method, req, reply, cc, invoker, opts)
	outcome, load = j.judge(ctx, c, never, err)
	return err
}

// invoke makes the call, with what rules do to it.
func (j *joints) invoke(ctx context.Context, c Call, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts []grpc.CallOption) error {
	if !j.points.unary.On() {
		return invoker(ctx, method, req, reply, cc, opts...)
	}
	d, r := j.strike(ctx, j.points.unary, c)
	if r != nil {
		return r
	}
	if err := invoker(ctx, method, req, reply, cc, opts...); err != nil || !d.Any() {
		return err
	}
	if r := mangleAll(reply, pointClientUnary.Name, &d); r != nil {
		return r
	}
	return nil
}

func (j *joints) openStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	c := Call{Target: cc.Target(), Method: method, Stream: true}
	h, err := j.begin(ctx, c)
	if err != nil {
		return nil, refuse(err)
	}
	opened := false
	defer func() {
		if !opened {
			h.end(breaker.Failure, limit.Ignored)
		}
	}()
	if j.points.stream == nil {
		end := func(err error) { h.end(j.judge(ctx, c, never, err)) }
		stream, err := streamer(ctx, desc, cc, method, append(opts[:len(opts):len(opts)], grpc.OnFinish(end))...)
		if err != nil {
			end(err) // if the streamer was not that of gRPC
		}
		opened = true
		return stream, err
	}
	var damage fault.Damage
	if j.points.stream.On() {
		d, r := j.strike(ctx, j.points.stream, c)
		if r != nil {
			h.end(j.judge(ctx, c, never, r))
			return nil, r
		}
		damage = d
	}
	below, cancel := context.WithCancel(ctx)
	defer func() {
		if !opened {
			cancel()
		}
	}()
	s := &streamOfClient{broken: newBroken(j, c, desc.ClientStreams, desc.ServerStreams, damage), ctx: ctx, cancel: cancel, held: h}
	s.ClientStream, err = streamer(below, desc, cc, method, append(opts[:len(opts):len(opts)], grpc.OnFinish(s.finished))...)
	if err != nil {
		s.finished(err) // if the streamer was not that of gRPC
		opened = true
		return nil, err
	}
	opened = true
	return s, nil
}
