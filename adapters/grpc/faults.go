package grpcmw

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/dougong-io/dougong/kit/fault"
)

// The points of clients. Target is that of the connection as it was dialled; test is whether the call is marked as test
// traffic, so that a rule can spare everybody else.
var (
	pointClientUnary = fault.Def{
		Name: "grpc.client.unary", Doc: "A client makes a unary call; what is cut or damaged are the bytes of the answer.",
		Attrs: []string{"target", "service", "method", "test"}, Effects: fault.Fail | fault.Mangle,
	}
	pointClientStream = fault.Def{
		Name: "grpc.client.stream", Doc: "A client opens a stream; truncate cuts it after so many messages, corrupt damages the bytes of what is received.",
		Attrs: []string{"target", "service", "method", "test"}, Effects: fault.Fail | fault.Mangle,
	}
	pointClientSend = fault.Def{
		Name: "grpc.client.send", Doc: "A client sends a message on a stream; an error breaks the stream.",
		Attrs: []string{"target", "service", "method", "test"}, Effects: fault.Fail | fault.Lose,
	}
	pointClientReceive = fault.Def{
		Name: "grpc.client.receive", Doc: "A client has received a message on a stream; an error breaks the stream.",
		Attrs: []string{"target", "service", "method", "test"}, Effects: fault.Fail | fault.Lose | fault.Mangle,
	}
)

// The points of servers.
var (
	pointServerUnary = fault.Def{
		Name: "grpc.server.unary", Doc: "A server is about to handle a unary call; what is cut or damaged are the bytes of the request.",
		Attrs: []string{"service", "method", "test"}, Effects: fault.Fail | fault.Mangle,
	}
	pointServerStream = fault.Def{
		Name: "grpc.server.stream", Doc: "A server is about to handle a stream; truncate cuts it after so many messages, corrupt damages the bytes of what is received.",
		Attrs: []string{"service", "method", "test"}, Effects: fault.Fail | fault.Mangle,
	}
	pointServerSend = fault.Def{
		Name: "grpc.server.send", Doc: "A server sends a message on a stream; an error breaks the stream.",
		Attrs: []string{"service", "method", "test"}, Effects: fault.Fail | fault.Lose,
	}
	pointServerReceive = fault.Def{
		Name: "grpc.server.receive", Doc: "A server has received a message on a stream; an error breaks the stream.",
		Attrs: []string{"service", "method", "test"}, Effects: fault.Fail | fault.Lose | fault.Mangle,
	}
)

// WithFaults gives calls the fault points grpc.client.… or grpc.server.…, beneath the joints: a limit holds the slot of
// a call that is delayed, a breaker counts an injected error as the failure that it stands for, and a fallback answers in
// its place. Without this option, and with a nil set, streams pass as they are.
func WithFaults(s *fault.Set) Option { return func(j *joints) { j.faults = s } }

// points are those of one side.
type points struct {
	unary, stream, send, receive *fault.Point
}

func clientPoints(s *fault.Set) points {
	return points{s.Point(pointClientUnary), s.Point(pointClientStream), s.Point(pointClientSend), s.Point(pointClientReceive)}
}

func serverPoints(s *fault.Set) points {
	return points{s.Point(pointServerUnary), s.Point(pointServerStream), s.Point(pointServerSend), s.Point(pointServerReceive)}
}

// strike is what the rules of a point do to a call. Its error has a status.
func (j *joints) strike(ctx context.Context, p *fault.Point, c Call) (fault.Damage, *refusal) {
	service, method, _ := strings.Cut(strings.TrimPrefix(c.Method, "/"), "/")
	attrs := make([]fault.Attr, 0, 4)
	if c.Target != "" { // of a client
		attrs = append(attrs, fault.Attr{Key: "target", Value: c.Target})
	}
	d, err := p.Damage(ctx, append(attrs,
		fault.Attr{Key: "service", Value: service},
		fault.Attr{Key: "method", Value: method},
		fault.Attr{Key: "test", Value: strconv.FormatBool(j.caller.marked(ctx, c))},
	)...)
	switch {
	case err == nil:
		return d, nil
	case errors.Is(err, fault.ErrInjected):
		return fault.Damage{}, refuse(err)
	}
	return fault.Damage{}, refuse(ctx.Err()) // the call ended while a rule held it
}
