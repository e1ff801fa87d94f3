package grpcmw

import (
	"context"
	"io"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/limit"
	"google.golang.org/grpc"
)

// streamOfClient is the stream of a client whose messages pass fault points. One that breaks is, for the caller, as one
// whose connection did: its context ends, SendMsg says io.EOF, and RecvMsg why.
type streamOfClient struct {
	grpc.ClientStream
	broken
	ctx    context.Context    // of the caller
	cancel context.CancelFunc // of the stream beneath
	held   *held
}

// SendMsg implements grpc.ClientStream.
func (s *streamOfClient) SendMsg(m any) error {
	if s.by.Load() != nil {
		return io.EOF
	}
	if s.cut(&s.sends) {
		s.breakOff(cutOff(pointClientStream.Name))
		return io.EOF
	}
	if p := s.j.points.send; p.On() {
		d, r := s.strike(p)
		switch {
		case r != nil:
			s.breakOff(r)
			return io.EOF
		case d.Drop:
			s.sends.passed++
			return nil
		}
	}
	s.sends.passed++
	err := s.ClientStream.SendMsg(m)
	if s.by.Load() != nil {
		return io.EOF
	}
	return err
}

// RecvMsg implements grpc.ClientStream.
func (s *streamOfClient) RecvMsg(m any) error {
	if r := s.by.Load(); r != nil {
		return r
	}
	for {
		err := s.ClientStream.RecvMsg(m)
		if r := s.by.Load(); r != nil {
			return r
		}
		if err != nil {
			return err
		}
		if s.cut(&s.receives) {
			return s.breakOff(cutOff(pointClientStream.Name))
		}
		s.receives.passed++
		var d fault.Damage
		if p := s.j.points.receive; p.On() {
			var r *refusal
			if d, r = s.strike(p); r != nil {
				return s.breakOff(r)
			}
		}
		lost, r := s.received(m, &d, pointClientStream.Name, pointClientReceive.Name)
		switch {
		case r != nil:
			return s.breakOff(r)
		case !lost:
			if !s.receives.streams {
				s.end(nil)
			}
			return nil
		}
	}
}

// strike ends the call if a rule panics: whoever recovers may not know that there is a stream.
func (s *streamOfClient) strike(p *fault.Point) (d fault.Damage, r *refusal) {
	returned := false
	defer func() {
		if !returned {
			s.held.end(breaker.Failure, limit.Ignored)
			s.cancel()
		}
	}()
	d, r = s.j.strike(s.ctx, p, s.call)
	returned = true
	return d, r
}

// breakOff ends the stream, and returns what did.
func (s *streamOfClient) breakOff(r *refusal) *refusal {
	if s.by.CompareAndSwap(nil, r) {
		s.end(r)
		s.cancel()
	}
	return s.by.Load()
}

// finished is called when gRPC says that the stream has ended. The one answer is a success only when it has passed the
// points.
func (s *streamOfClient) finished(err error) {
	if err != nil || s.receives.streams {
		s.end(err)
	}
	s.cancel()
}

func (s *streamOfClient) end(err error) { s.held.end(s.j.judge(s.ctx, s.call, never, err)) }
