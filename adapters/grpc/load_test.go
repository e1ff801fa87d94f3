package grpcmw

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/limit"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func newLimit(t *testing.T, c limit.Config) (*limit.Limit, Option) {
	t.Helper()
	l, err := limit.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return l, WithLimit(func(context.Context, Call) *limit.Limit { return l }, nil)
}

func TestLimitOfAServerLearnsFromDeadlinesHoweverTheyCome(t *testing.T) {
	for name, test := range map[string]struct {
		leave  time.Duration // of 400 ms; 0: our own clock is first
		answer func(context.Context) error
		learns bool
	}{
		"its own clock":               {0, func(ctx context.Context) error { return status.FromContextError(ctx.Err()).Err() }, true},
		"and another status":          {0, func(context.Context) error { return status.Error(codes.Internal, "interrupted") }, true},
		"and no status":               {0, func(context.Context) error { return errors.New("interrupted") }, true},
		"as a cancel":                 {375 * time.Millisecond, func(ctx context.Context) error { return status.FromContextError(ctx.Err()).Err() }, true},
		"as a cancel, another status": {375 * time.Millisecond, func(context.Context) error { return status.Error(codes.Unavailable, "interrupted") }, true},
		"a caller who leaves":         {200 * time.Millisecond, func(ctx context.Context) error { return status.FromContextError(ctx.Err()).Err() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, with := newLimit(t, limit.DefaultConfig())
				unary, streams := ServerInterceptors(with)
				for _, call := range []func(ctx context.Context) error{
					func(ctx context.Context) error {
						_, err := unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: unaryMethod}, func(ctx context.Context, _ any) (any, error) {
							<-ctx.Done()
							return nil, test.answer(ctx)
						})
						if want := test.learns; (l.Stats().Hold > 0) != want {
							t.Errorf("learned %v", l.Stats().Hold)
						}
						return err
					},
					func(ctx context.Context) error { // a stream teaches nothing
						before := l.Stats().Hold
						err := streams(nil, &streamOf{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: bidiMethod}, func(_ any, s grpc.ServerStream) error {
							<-s.Context().Done()
							time.Sleep(time.Second)
							return test.answer(s.Context())
						})
						if l.Stats().Hold != before {
							t.Errorf("learned %v from a stream", l.Stats().Hold)
						}
						return err
					},
				} {
					ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
					if test.leave > 0 {
						time.AfterFunc(test.leave, cancel)
					}
					if err := call(ctx); err == nil {
						t.Error("answered")
					}
					cancel()
				}
				if n := l.Stats().Admitted; n != 0 {
					t.Errorf("%d places are taken", n)
				}
			})
		})
	}
}

// streamOf is a stream that has only a context.
type streamOf struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *streamOf) Context() context.Context { return s.ctx }

func TestHowLongAStreamLastsTeachesNothing(t *testing.T) {
	server, asServer := newLimit(t, limit.DefaultConfig())
	client, asClient := newLimit(t, limit.DefaultConfig())
	_, serve := ServerInterceptors(asServer)
	unary, open := ClientInterceptors(asClient)
	f := &flaky{}
	conn := serving(t, handlers{f.unary, func(*stream) error { time.Sleep(time.Millisecond); return nil }},
		[]grpc.ServerOption{grpc.StreamInterceptor(serve)}, grpc.WithUnaryInterceptor(unary), grpc.WithStreamInterceptor(open))
	s, err := conn.NewStream(t.Context(), bidi, bidiMethod)
	if err != nil {
		t.Fatal(err)
	}
	s.RecvMsg(&wrapperspb.StringValue{})
	eventually(t, "no place is taken", func() bool { return client.Stats().Admitted == 0 && server.Stats().Admitted == 0 })
	if a, b := client.Stats().Hold, server.Stats().Hold; a != 0 || b != 0 {
		t.Errorf("learned %v, %v", a, b)
	}
	if _, err := call(t.Context(), conn, "x"); err != nil || client.Stats().Hold == 0 { // a short call does
		t.Errorf("%v, learned %v", err, client.Stats().Hold)
	}
}

func TestLimitOfAClientShrinksWhenTheServerHasTooMuch(t *testing.T) {
	for code, want := range map[codes.Code]int{codes.OK: 10, codes.Internal: 10, codes.Unavailable: 10, codes.ResourceExhausted: 7} {
		a := limit.DefaultAdaptive()
		l, with := newLimit(t, limit.Config{Slots: 10, Queue: 10, Adaptive: &a})
		unary, _ := ClientInterceptors(with)
		f := &flaky{}
		if code != codes.OK {
			f.fails(status.Error(code, "so"))
		}
		conn := serving(t, handlers{unary: f.unary}, nil, grpc.WithUnaryInterceptor(unary))
		if _, err := call(t.Context(), conn, "x"); status.Code(err) != code {
			t.Error(err)
		}
		if got := l.Stats().Slots; got != want {
			t.Errorf("%d slots after %v, want %d", got, code, want)
		}
	}
}

func TestRefusedTogetherDoNotReturnTogether(t *testing.T) {
	r := refuse(&limit.RejectedError{RetryAfter: time.Second})
	seen := make(map[int]bool)
	for range 300 {
		ms, err := strconv.Atoi(r.pushback().Get("grpc-retry-pushback-ms")[0])
		if err != nil || ms < 1000 || ms > 1250 {
			t.Error(ms, err)
		}
		seen[ms] = true
	}
	if len(seen) < 50 {
		t.Errorf("only %d times", len(seen))
	}
}
