package grpcmw

import (
	"context"

	"github.com/dougong-io/dougong/kit/fault"
	"google.golang.org/grpc"
)

// streamOfServer is the stream of a server whose messages pass fault points. One that breaks is, for its handler, as one
// whose client is gone: its context ends, and SendMsg and RecvMsg fail. But a RecvMsg that waits already goes on waiting
// until the client sends, half-closes or leaves: nothing of gRPC lets it go before the handler returns. Only then does
// the client hear of it.
type streamOfServer struct {
	grpc.ServerStream
	broken
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// Context implements grpc.ServerStream.
func (s *streamOfServer) Context() context.Context { return s.ctx }

// SendMsg implements grpc.ServerStream.
func (s *streamOfServer) SendMsg(m any) error {
	if r := s.by.Load(); r != nil {
		return r
	}
	if s.cut(&s.sends) {
		return s.breakOff(cutOff(pointServerStream.Name))
	}
	s.sends.passed++
	if p := s.j.points.send; p.On() {
		d, r := s.j.strike(s.ctx, p, s.call)
		switch {
		case r != nil:
			return s.breakOff(r)
		case d.Drop:
			return nil
		}
	}
	return s.ServerStream.SendMsg(m)
}

// RecvMsg implements grpc.ServerStream.
func (s *streamOfServer) RecvMsg(m any) error {
	if r := s.by.Load(); r != nil {
		return r
	}
	for {
		err := s.ServerStream.RecvMsg(m)
		if r := s.by.Load(); r != nil { // meanwhile, in the other direction
			return r
		}
		if err != nil {
			return err
		}
		if s.cut(&s.receives) {
			return s.breakOff(cutOff(pointServerStream.Name))
		}
		s.receives.passed++
		var d fault.Damage
		if p := s.j.points.receive; p.On() {
			var r *refusal
			if d, r = s.j.strike(s.ctx, p, s.call); r != nil {
				return s.breakOff(r)
			}
		}
		lost, r := s.received(m, &d, pointServerStream.Name, pointServerReceive.Name)
		switch {
		case r != nil:
			return s.breakOff(r)
		case !lost:
			return nil
		}
	}
}

// breakOff ends the stream, and returns what did.
func (s *streamOfServer) breakOff(r *refusal) *refusal {
	if s.by.CompareAndSwap(nil, r) {
		s.cancel(r)
	}
	return s.by.Load()
}

// handle calls a handler. That the stream broke is the result, whatever the handler makes of it.
func (s *streamOfServer) handle(handler func(grpc.ServerStream) error) error {
	defer s.cancel(nil)
	err := handler(s)
	if r := s.by.Load(); r != nil {
		s.SetTrailer(r.pushback())
		return r
	}
	return err
}
