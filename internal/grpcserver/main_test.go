package grpcserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/api/inference"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer is a bytes.Buffer for many goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// recorder is an Observer that remembers.
type recorder struct {
	mu     sync.Mutex
	begun  map[string]int
	ended  map[string][]Outcome
	panics int
}

type methodRecorder struct {
	r    *recorder
	name string
}

func (r *recorder) locked(f func())                   { r.mu.Lock(); defer r.mu.Unlock(); f() }
func (r *recorder) Method(name string) MethodObserver { return methodRecorder{r, name} }
func (r *recorder) LogLinesDropped(int)               {}
func (m methodRecorder) Begin()                       { m.r.locked(func() { m.r.begun[m.name]++ }) }
func (m methodRecorder) Panic()                       { m.r.locked(func() { m.r.panics++ }) }
func (m methodRecorder) End(o Outcome) {
	m.r.locked(func() { m.r.ended[m.name] = append(m.r.ended[m.name], o) })
}

// wait returns the first n outcomes of a method.
func (r *recorder) wait(t *testing.T, name string, n int) (all []Outcome) {
	t.Helper()
	for range 2000 {
		r.locked(func() { all = append([]Outcome(nil), r.ended[name]...) })
		if len(all) >= n {
			return all
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatalf("%d outcomes of %s, want %d", len(all), name, n)
	return nil
}

// running is a server under test.
type running struct {
	*Server
	addr   string
	cancel context.CancelFunc
	ended  chan error
	once   sync.Once
	err    error
	logs   *buffer
	access *buffer
	seen   *recorder
}

func testConfig() Config {
	c := DefaultConfig()
	c.Listen = "127.0.0.1:0"
	return c
}

// start runs a server with the given services; the test stops it, or the cleanup does.
func start(t *testing.T, cfg Config, deps Deps, services ...Service) *running {
	t.Helper()
	r := &running{logs: &buffer{}, access: &buffer{}, seen: &recorder{begun: map[string]int{}, ended: map[string][]Outcome{}}, ended: make(chan error, 1)}
	deps.Service, deps.Logger = "test", slog.New(slog.NewJSONHandler(r.logs, nil))
	if deps.AccessLog == nil {
		deps.AccessLog = r.access
	}
	deps.Observer = r.seen
	s, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	for _, svc := range services {
		s.Register(svc)
	}
	r.Server = s
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	ready := make(chan struct{})
	go func() { r.ended <- s.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-r.ended:
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(s.Addr().String())
	r.addr = "127.0.0.1:" + port
	t.Cleanup(func() { _ = r.stop() })
	return r
}

// stop ends the server and returns what Run does.
func (r *running) stop() error {
	r.once.Do(func() {
		r.cancel()
		r.err = <-r.ended
	})
	return r.err
}

func (r *running) dial(t *testing.T, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+r.addr, append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func wantCode(t *testing.T, err error, code codes.Code, text string) *status.Status {
	t.Helper()
	st, _ := status.FromError(err)
	if st.Code() != code || !strings.Contains(st.Message(), text) {
		t.Errorf("got %v, want %v with %q", err, code, text)
	}
	return st
}

// models is an inference service of which a test fills what it calls.
type models struct {
	inferencepb.UnimplementedGRPCInferenceServiceServer
	ready func(context.Context, *inferencepb.ModelReadyRequest) (*inferencepb.ModelReadyResponse, error)
}

func (m *models) ModelReady(ctx context.Context, r *inferencepb.ModelReadyRequest) (*inferencepb.ModelReadyResponse, error) {
	return m.ready(ctx, r)
}

const readyMethod = inferencepb.GRPCInferenceService_ModelReady_FullMethodName

func inference(ready func(context.Context, *inferencepb.ModelReadyRequest) (*inferencepb.ModelReadyResponse, error)) Service {
	return Service{Desc: &inferencepb.GRPCInferenceService_ServiceDesc, Impl: &models{ready: ready}}
}

func isReady(context.Context, *inferencepb.ModelReadyRequest) (*inferencepb.ModelReadyResponse, error) {
	return &inferencepb.ModelReadyResponse{Ready: true}, nil
}

// ask calls ModelReady.
func ask(ctx context.Context, cc grpc.ClientConnInterface, opts ...grpc.CallOption) error {
	_, err := inferencepb.NewGRPCInferenceServiceClient(cc).ModelReady(ctx, &inferencepb.ModelReadyRequest{Name: "loan"}, opts...)
	return err
}

// text is a message without protobuf.
type text struct {
	s         string
	unmarshal func(string) error
	marshal   func() error
	validate  func() error
}

func (m *text) UnmarshalBuffers(data mem.BufferSlice) error {
	m.s = string(data.Materialize())
	if m.unmarshal != nil {
		return m.unmarshal(m.s)
	}
	return nil
}

func (m *text) MarshalBuffers() (mem.BufferSlice, error) {
	if m.marshal != nil {
		if err := m.marshal(); err != nil {
			return nil, err
		}
	}
	return mem.BufferSlice{mem.SliceBuffer(m.s)}, nil
}

func (m *text) Validate() error {
	if m.validate != nil {
		return m.validate()
	}
	return nil
}

// clientCodec lets a client send and receive text.
type clientCodec struct{}

func (clientCodec) Name() string { return "proto" }
func (clientCodec) Marshal(v any) (mem.BufferSlice, error) {
	return v.(*text).MarshalBuffers()
}

func (clientCodec) Unmarshal(data mem.BufferSlice, v any) error {
	return v.(*text).UnmarshalBuffers(data)
}

// texts is a service by hand: Unary answers what handle makes of a text, Stream answers each, and Late reads only when
// it is told to.
func texts(handle func(ctx context.Context, dec func(any) error) (any, error), stream func(grpc.ServerStream) error) Service {
	return Service{Impl: struct{}{}, Desc: &grpc.ServiceDesc{
		ServiceName: "test.Texts", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			return handle(ctx, dec)
		}}},
		Streams: []grpc.StreamDesc{{StreamName: "Stream", ServerStreams: true, ClientStreams: true, Handler: func(_ any, ss grpc.ServerStream) error { return stream(ss) }}},
	}}
}

// echo answers what it gets.
func echo(_ context.Context, dec func(any) error) (any, error) {
	var m text
	if err := dec(&m); err != nil {
		return nil, err
	}
	return &text{s: "echo " + m.s}, nil
}

func echoes(ss grpc.ServerStream) error {
	for {
		var m text
		if err := ss.RecvMsg(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := ss.SendMsg(&m); err != nil {
			return err
		}
	}
}

func say(ctx context.Context, cc *grpc.ClientConn, s string, opts ...grpc.CallOption) (string, error) {
	var answer text
	err := cc.Invoke(ctx, "/test.Texts/Unary", &text{s: s}, &answer, append(opts, grpc.ForceCodecV2(clientCodec{}))...)
	return answer.s, err
}
