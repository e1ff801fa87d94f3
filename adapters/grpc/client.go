package grpcmw

import (
	"context"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
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
	err = invoker(ctx, method, req, reply, cc, opts...)
	outcome, load = j.judge(ctx, c, time.Time{}, err)
	return err
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
	end := func(err error) { h.end(j.judge(ctx, c, time.Time{}, err)) }
	stream, err := streamer(ctx, desc, cc, method, append(opts[:len(opts):len(opts)], grpc.OnFinish(end))...)
	if err != nil {
		end(err) // if the streamer was not that of gRPC
	}
	opened = true
	return stream, err
}
