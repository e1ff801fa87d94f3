package grpcmw

import (
	"context"
	"flag"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/ramp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var seedFlag = flag.Uint64("seed", 0, "replay a random test with this seed")

// random returns a source, and says how to replay a failure.
func random(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay with -run=%s -args -seed=%d", t.Name(), seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// noMoreGoroutines checks at the end of the test that there are as many as now.
func noMoreGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				stacks := make([]byte, 1<<16)
				t.Errorf("%d goroutines, %d at the start\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}

// handlers answer the calls of a service with a method of each kind, whose messages are strings.
type handlers struct {
	unary  func(ctx context.Context, req string) (string, error)
	stream func(s *stream) error
}

// stream is a server's side of a stream.
type stream struct{ grpc.ServerStream }

func (s *stream) send(text string) error { return s.SendMsg(wrapperspb.String(text)) }

func (s *stream) receive() (string, error) { return receive(s.RecvMsg) }

func receive(from func(any) error) (string, error) {
	m := &wrapperspb.StringValue{}
	err := from(m)
	return m.Value, err
}

const (
	unaryMethod  = "/test.Service/Unary"
	bidiMethod   = "/test.Service/Bidi"
	clientMethod = "/test.Service/Client"
	serverMethod = "/test.Service/Server"
)

var (
	bidi         = &grpc.StreamDesc{StreamName: "Bidi", ServerStreams: true, ClientStreams: true}
	clientStream = &grpc.StreamDesc{StreamName: "Client", ClientStreams: true}
	serverStream = &grpc.StreamDesc{StreamName: "Server", ServerStreams: true}
)

// serving runs a real server in memory, with a recovery from panics around its interceptors, and returns a connection
// to it.
func serving(t *testing.T, h handlers, server []grpc.ServerOption, client ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	unary := func(_ any, ctx context.Context, dec func(any) error, ic grpc.UnaryServerInterceptor) (any, error) {
		req := &wrapperspb.StringValue{}
		if err := dec(req); err != nil {
			return nil, err
		}
		handle := func(ctx context.Context, req any) (any, error) {
			s, err := h.unary(ctx, req.(*wrapperspb.StringValue).Value)
			return wrapperspb.String(s), err
		}
		if ic == nil {
			return handle(ctx, req)
		}
		return ic(ctx, req, &grpc.UnaryServerInfo{FullMethod: unaryMethod}, handle)
	}
	handle := func(_ any, ss grpc.ServerStream) error { return h.stream(&stream{ss}) }
	var streams []grpc.StreamDesc
	for _, d := range []*grpc.StreamDesc{bidi, clientStream, serverStream} {
		streams = append(streams, grpc.StreamDesc{StreamName: d.StreamName, Handler: handle, ServerStreams: d.ServerStreams, ClientStreams: d.ClientStreams})
	}
	s := grpc.NewServer(append([]grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
			defer recovered(&err)
			return next(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
			defer recovered(&err)
			return next(srv, ss)
		}),
	}, server...)...)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Service", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: unary}}, Streams: streams,
	}, struct{}{})
	l := bufconn.Listen(1 << 16)
	served := make(chan struct{})
	go func() { defer close(served); s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-served })
	conn, err := grpc.NewClient("passthrough:///test", append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
	}, client...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func recovered(err *error) {
	if recover() != nil {
		*err = io.ErrUnexpectedEOF
	}
}

func call(ctx context.Context, conn *grpc.ClientConn, req string, opts ...grpc.CallOption) (string, error) {
	reply := &wrapperspb.StringValue{}
	err := conn.Invoke(ctx, unaryMethod, wrapperspb.String(req), reply, opts...)
	return reply.Value, err
}

// joined are joints to look at.
type joined struct {
	group *breaker.Group[Call]
	limit *limit.Limit
	opts  []Option
}

func newJoints(t *testing.T, p breaker.Policy, opts ...Option) *joined {
	t.Helper()
	return newJointsBy(t, nil, p, opts...)
}

// newJointsBy has points in the joints too.
func newJointsBy(t *testing.T, faults *fault.Set, p breaker.Policy, opts ...Option) *joined {
	t.Helper()
	g, err := breaker.New(p, breaker.WithClock[Call](clock.Exact()), breaker.WithFaults[Call](faults))
	if err != nil {
		t.Fatal(err)
	}
	rm, err := ramp.New(ramp.DefaultConfig(), ramp.WithFaults(faults))
	if err != nil {
		t.Fatal(err)
	}
	l, err := limit.New(limit.DefaultConfig(), limit.WithFaults(faults))
	if err != nil {
		t.Fatal(err)
	}
	j := &joined{group: g, limit: l}
	j.opts = append([]Option{WithRamp(rm), WithBreaker(g, ByMethod), WithLimit(func(context.Context, Call) *limit.Limit { return l }, nil)}, opts...)
	return j
}

func (j *joined) server() []grpc.ServerOption {
	unary, stream := ServerInterceptors(j.opts...)
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(unary), grpc.ChainStreamInterceptor(stream)}
}

func (j *joined) client() []grpc.DialOption {
	unary, stream := ClientInterceptors(j.opts...)
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(unary), grpc.WithChainStreamInterceptor(stream)}
}

// check waits until the one call was counted as it should, and has given its place back.
func (j *joined) check(t *testing.T, want breaker.Counts) {
	t.Helper()
	var got breaker.Counts
	eventually(t, "a call is counted", func() bool {
		if s := j.group.Snapshot(); len(s.Circuits) == 1 {
			got = s.Circuits[0].Counts
		}
		return got != breaker.Counts{}
	})
	if got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	eventually(t, "no place is taken", func() bool { return j.limit.Stats().Admitted == 0 })
}

// twoFailures opens a circuit after two.
func twoFailures() breaker.Policy {
	p := breaker.DefaultPolicy()
	p.Conditions[0].MinRequests, p.Conditions[0].Level = 2, 0.5
	return p
}

var (
	oneSuccess = breaker.Counts{Successes: 1}
	oneFailure = breaker.Counts{Failures: 1}
	oneIgnored = breaker.Counts{Ignored: 1}
)

// flaky fails while it is told to.
type flaky struct {
	err   atomic.Pointer[error]
	calls atomic.Int32
}

func (f *flaky) unary(_ context.Context, req string) (string, error) {
	f.calls.Add(1)
	if err := f.err.Load(); err != nil {
		return "", *err
	}
	return req + "!", nil
}

func (f *flaky) fails(err error) { f.err.Store(&err) }

func newSource(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// failingDial never connects, and tells when it was asked to.
func failingDial(dials chan<- time.Time) func(context.Context, string) (net.Conn, error) {
	return func(context.Context, string) (net.Conn, error) {
		select {
		case dials <- time.Now():
		default:
		}
		return nil, io.ErrUnexpectedEOF
	}
}
