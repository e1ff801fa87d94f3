package grpcmw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestStreamsAreOneCallFromBeginningToEnd goes through the ways in which a stream can end.
func TestStreamsAreOneCallFromBeginningToEnd(t *testing.T) {
	echo := func(s *stream) error {
		for {
			text, err := s.receive()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if err := s.send(text); err != nil {
				return err
			}
		}
	}
	hang := func(s *stream) error { <-s.Context().Done(); return s.Context().Err() }
	drain := func(s grpc.ClientStream) (err error) {
		for err == nil {
			err = s.RecvMsg(&wrapperspb.StringValue{})
		}
		return err
	}
	type env struct {
		conn   *grpc.ClientConn
		cancel context.CancelFunc
	}
	for name, test := range map[string]struct {
		desc           *grpc.StreamDesc
		method         string
		handler        func(*stream) error
		use            func(t *testing.T, s grpc.ClientStream, e env)
		timeout        time.Duration
		client, server breaker.Counts
	}{
		"read to the end": {bidi, bidiMethod, echo, func(t *testing.T, s grpc.ClientStream, _ env) {
			s.SendMsg(wrapperspb.String("x"))
			s.CloseSend()
			if err := drain(s); err != io.EOF {
				t.Error(err)
			}
		}, 0, oneSuccess, oneSuccess},
		"one answer": {clientStream, clientMethod, func(s *stream) error {
			for {
				if _, err := s.receive(); err == io.EOF {
					return s.send("sum")
				} else if err != nil {
					return err
				}
			}
		}, func(t *testing.T, s grpc.ClientStream, _ env) {
			s.SendMsg(wrapperspb.String("x"))
			s.CloseSend()
			if got, err := receive(s.RecvMsg); got != "sum" || err != nil { // and no io.EOF is read
				t.Error(got, err)
			}
		}, 0, oneSuccess, oneSuccess},
		"server stream": {serverStream, serverMethod, func(s *stream) error { s.receive(); s.send("a"); return s.send("b") }, func(t *testing.T, s grpc.ClientStream, _ env) {
			s.SendMsg(wrapperspb.String("x"))
			s.CloseSend()
			if err := drain(s); err != io.EOF {
				t.Error(err)
			}
		}, 0, oneSuccess, oneSuccess},
		"failed": {bidi, bidiMethod, func(s *stream) error { s.send("a"); return status.Error(codes.DataLoss, "lost") }, func(t *testing.T, s grpc.ClientStream, _ env) {
			if err := drain(s); status.Code(err) != codes.DataLoss {
				t.Error(err)
			}
		}, 0, oneFailure, oneFailure},
		"refused what was asked": {bidi, bidiMethod, func(s *stream) error { return status.Error(codes.NotFound, "none") }, func(t *testing.T, s grpc.ClientStream, _ env) {
			drain(s)
		}, 0, oneSuccess, oneSuccess},
		"panics": {bidi, bidiMethod, func(s *stream) error { panic("oops") }, func(t *testing.T, s grpc.ClientStream, _ env) {
			drain(s)
		}, 0, oneFailure, oneFailure},
		"canceled while it is read": {bidi, bidiMethod, hang, func(t *testing.T, s grpc.ClientStream, e env) {
			e.cancel()
			if err := drain(s); status.Code(err) != codes.Canceled {
				t.Error(err)
			}
		}, 0, oneIgnored, oneIgnored},
		"canceled and never read": {bidi, bidiMethod, hang, func(t *testing.T, s grpc.ClientStream, e env) { e.cancel() }, 0, oneIgnored, oneIgnored},
		"never read, and its time ends": {bidi, bidiMethod, hang, func(t *testing.T, s grpc.ClientStream, e env) {
		}, 300 * time.Millisecond, oneFailure, oneFailure},
		"never read, and the connection closed": {bidi, bidiMethod, hang, func(t *testing.T, s grpc.ClientStream, e env) {
			s.SendMsg(wrapperspb.String("x"))
			e.conn.Close()
		}, 0, oneIgnored, oneIgnored},
		"sending fails": {bidi, bidiMethod, hang, func(t *testing.T, s grpc.ClientStream, e env) {
			if err := s.SendMsg("no message"); status.Code(err) != codes.Internal {
				t.Error(err)
			}
		}, 0, oneFailure, oneIgnored},
		"server ends first": {bidi, bidiMethod, func(s *stream) error { return nil }, func(t *testing.T, s grpc.ClientStream, e env) {
			for s.SendMsg(wrapperspb.String("x")) == nil { // until io.EOF says so
			}
			if err := drain(s); err != io.EOF {
				t.Error(err)
			}
		}, 0, oneSuccess, oneSuccess},
	} {
		for _, faults := range []*fault.Set{nil, faulttest.New(t)} { // with points that are off nothing is different
			t.Run(fmt.Sprintf("%s, points %v", name, faults != nil), func(t *testing.T) {
				noMoreGoroutines(t)
				server, client := newJoints(t, breaker.DefaultPolicy(), WithFaults(faults)), newJoints(t, breaker.DefaultPolicy(), WithFaults(faults))
				conn := serving(t, handlers{stream: test.handler}, server.server(), client.client()...)
				ctx, cancel := context.WithCancel(t.Context())
				if test.timeout > 0 {
					ctx, cancel = context.WithTimeout(t.Context(), test.timeout)
				}
				defer cancel()
				s, err := conn.NewStream(ctx, test.desc, test.method)
				if err != nil {
					t.Fatal(err)
				}
				eventually(t, "the server has the stream", func() bool { return len(server.group.Snapshot().Circuits) == 1 })
				if n := client.limit.Stats().Running; n != 1 {
					t.Errorf("%d slots are taken", n)
				}
				test.use(t, s, env{conn, cancel})
				client.check(t, test.client)
				server.check(t, test.server)
			})
		}
	}
}

func TestStreamThatDoesNotOpenIsCounted(t *testing.T) {
	client := newJoints(t, breaker.DefaultPolicy())
	_, open := ClientInterceptors(client.opts...)
	conn := serving(t, handlers{}, nil)
	broken := errors.New("broken")
	if _, err := open(t.Context(), bidi, conn, bidiMethod, func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
		return nil, broken
	}); err != broken {
		t.Error(err)
	}
	client.check(t, oneFailure)
	func() {
		defer func() { recover() }()
		open(t.Context(), bidi, conn, bidiMethod, func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
			panic("oops")
		})
	}()
	client.check(t, breaker.Counts{Failures: 2})
}
