package inferenceclient_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	inferencepb "github.com/dougong-io/dougong/api/inference"
	inferenceclient "github.com/dougong-io/dougong/client/inference"
)

// reply is what a fake server does with a request to infer.
type reply int

const (
	good reply = iota
	overloaded
	overloadedFor // a minute
	invalid
	denied
	notFound
	tooLarge
	unsupported
	internal
	gatewayLate
	dropped   // the connection, before an answer
	half      // an answer, and the connection drops
	hanging   // until the caller has left
	lyingSize // fewer bytes than the shape says
	lyingHead // a length of the JSON that is not so
	wrongID
	garbage
	huge
)

// fake is a server of the protocol over REST or gRPC that does what it is told, and remembers what it was sent.
type fake struct {
	inferencepb.UnimplementedGRPCInferenceServiceServer
	url    string
	script func(n int) reply // of the n-th request, from 0

	mu    sync.Mutex
	seen  []request
	conns map[net.Conn]bool
}

// request is what came of one.
type request struct {
	header  func(name string) string
	timeout time.Duration
	output  string // that it names
}

var protocols = []string{"http", "http json", "grpc"}

// serve starts a fake, and returns it with a client's configuration for it.
func serve(t testing.TB, protocol string, script func(n int) reply) (*fake, inferenceclient.Config) {
	t.Helper()
	f := &fake{script: script, conns: map[net.Conn]bool{}}
	cfg := inferenceclient.DefaultConfig()
	cfg.Backoff, cfg.MaxBackoff = time.Millisecond, time.Millisecond
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	watched := &watchedListener{listener, f}
	if protocol == "grpc" {
		server := grpc.NewServer()
		inferencepb.RegisterGRPCInferenceServiceServer(server, f)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = server.Serve(watched)
		}()
		t.Cleanup(func() {
			server.Stop()
			<-ended
		})
		f.url = "grpc://" + listener.Addr().String()
	} else {
		server := httptest.NewUnstartedServer(f)
		server.Listener.Close()
		server.Listener = watched
		server.Start()
		t.Cleanup(server.Close)
		f.url = server.URL
		cfg.JSON = protocol == "http json"
	}
	cfg.URLs = []string{f.url}
	return f, cfg
}

func always(r reply) func(int) reply { return func(int) reply { return r } }

// firstThen does one thing once, and is good from then on.
func firstThen(r reply) func(int) reply {
	return func(n int) reply {
		if n == 0 {
			return r
		}
		return good
	}
}

func connect(t testing.TB, cfg inferenceclient.Config, opts ...inferenceclient.Option) *inferenceclient.Client {
	t.Helper()
	c, err := inferenceclient.New(cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func ask() inferenceclient.Request {
	return inferenceclient.Request{
		Model: "m", ID: "7", Outputs: []string{"output"},
		Inputs: []inferenceclient.Tensor{inferenceclient.NewTensor("input", []float32{1, 2}, 1, 2)},
	}
}

// next notes a request, and says what to do.
func (f *fake) next(r request) reply {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, r)
	return f.script(len(f.seen) - 1)
}

func (f *fake) requests() []request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]request{}, f.seen...)
}

// drop closes all connections, with a reset.
func (f *fake) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.conns {
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	clear(f.conns)
}

type watchedListener struct {
	net.Listener
	f *fake
}

func (l *watchedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.f.mu.Lock()
		l.f.conns[conn] = true
		l.f.mu.Unlock()
	}
	return conn, err
}

const timing = "queue;dur=1.5, compute;dur=0.25"

// ServeHTTP is the REST form.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/infer") {
		f.serveMetadata(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	inJSON := r.Header.Get("Content-Type") == "application/json"
	var asked struct {
		Outputs []struct{ Name string }
	}
	_ = json.NewDecoder(strings.NewReader(string(body))).Decode(&asked)
	seen := request{header: r.Header.Get}
	if len(asked.Outputs) > 0 {
		seen.output = asked.Outputs[0].Name
	}
	seen.timeout, _ = time.ParseDuration(r.Header.Get("X-Request-Timeout"))
	fail := func(code int) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"error":"because %d"}`, code)
	}
	id, data := "7", ""
	what := f.next(seen)
	switch what {
	case overloaded:
		fail(503)
		return
	case overloadedFor:
		w.Header().Set("Retry-After", "60")
		fail(503)
		return
	case invalid:
		fail(400)
		return
	case denied:
		fail(403)
		return
	case notFound:
		fail(404)
		return
	case tooLarge:
		fail(413)
		return
	case unsupported:
		fail(501)
		return
	case internal:
		fail(500)
		return
	case gatewayLate:
		fail(504)
		return
	case dropped:
		f.drop()
		panic(http.ErrAbortHandler)
	case half:
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"outputs":[`)
		_ = http.NewResponseController(w).Flush()
		f.drop()
		panic(http.ErrAbortHandler)
	case hanging:
		<-r.Context().Done()
		return
	case wrongID:
		id = "8"
	case garbage:
		_, _ = io.WriteString(w, "{]")
		return
	case huge:
		data = strings.Repeat(" ", 2<<10)
	}
	w.Header().Set("Server-Timing", timing)
	shape := "[1,1]"
	if what == lyingSize {
		shape = "[1,2]"
	}
	if inJSON {
		if what == lyingHead {
			w.Header().Set("Inference-Header-Content-Length", "99999")
		}
		fmt.Fprintf(w, `{"model_name":"m","model_version":"3","id":%q,"outputs":[{"name":"output","datatype":"FP32","shape":%s,"data":[[0.5]]%s}]}`, id, shape, data)
		return
	}
	head := fmt.Sprintf(`{"model_name":"m","model_version":"3","id":%q,"outputs":[{"name":"output","datatype":"FP32","shape":%s,"parameters":{"binary_data_size":4}%s}]}`, id, shape, data)
	length := len(head)
	if what == lyingHead {
		length += 99
	}
	w.Header().Set("Inference-Header-Content-Length", fmt.Sprint(length))
	_, _ = io.WriteString(w, head+"\x00\x00\x00\x3f")
}

func (f *fake) serveMetadata(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/v2":
		_, _ = io.WriteString(w, `{"name":"fake","version":"1","extensions":["x"]}`)
	case "/v2/health/live", "/v2/health/ready", "/v2/models/m/ready":
	case "/v2/models/away/ready":
		w.WriteHeader(503)
	case "/v2/models/m":
		_, _ = io.WriteString(w, `{"name":"m","versions":["3"],"platform":"p","inputs":[{"name":"input","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"output","datatype":"FP32","shape":[-1,1]}]}`)
	default:
		w.WriteHeader(404)
		_, _ = io.WriteString(w, `{"error":"unknown"}`)
	}
}

// ModelInfer is the gRPC form.
func (f *fake) ModelInfer(ctx context.Context, r *inferencepb.ModelInferRequest) (*inferencepb.ModelInferResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	seen := request{header: func(name string) string { return strings.Join(md.Get(name), "|") }}
	if deadline, ok := ctx.Deadline(); ok {
		seen.timeout = time.Until(deadline)
	}
	if len(r.GetOutputs()) > 0 {
		seen.output = r.GetOutputs()[0].GetName()
	}
	a := &inferencepb.ModelInferResponse{
		ModelName: "m", ModelVersion: "3", Id: "7",
		Outputs:           []*inferencepb.ModelInferResponse_InferOutputTensor{{Name: "output", Datatype: "FP32", Shape: []int64{1, 1}}},
		RawOutputContents: [][]byte{[]byte("\x00\x00\x00\x3f")},
	}
	switch f.next(seen) {
	case overloaded:
		return nil, status.Error(codes.Unavailable, "because")
	case overloadedFor:
		s, _ := status.New(codes.Unavailable, "because").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Minute)})
		return nil, s.Err()
	case invalid:
		return nil, status.Error(codes.InvalidArgument, "because")
	case denied:
		return nil, status.Error(codes.PermissionDenied, "because")
	case notFound:
		return nil, status.Error(codes.NotFound, "because")
	case tooLarge:
		return nil, status.Error(codes.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)")
	case unsupported:
		return nil, status.Error(codes.Unimplemented, "because")
	case internal:
		return nil, status.Error(codes.Internal, "because")
	case gatewayLate:
		return nil, status.Error(codes.DeadlineExceeded, "because")
	case dropped:
		f.drop()
	case half:
		_ = grpc.SendHeader(ctx, metadata.Pairs("begun", "true"))
		time.Sleep(10 * time.Millisecond) // so that it has gone out: the caller sees half an answer, or none
		f.drop()
	case hanging:
		<-ctx.Done()
		return nil, ctx.Err()
	case lyingSize:
		a.Outputs[0].Shape[1] = 2
	case lyingHead:
		a.RawOutputContents = append(a.RawOutputContents, nil)
	case wrongID:
		a.Id = "8"
	case garbage:
		a.Outputs[0].Datatype = "FP99"
	case huge:
		a.RawOutputContents[0] = make([]byte, 2<<10)
	}
	_ = grpc.SetTrailer(ctx, metadata.Pairs("server-timing", timing))
	return a, nil
}

func (f *fake) ServerLive(context.Context, *inferencepb.ServerLiveRequest) (*inferencepb.ServerLiveResponse, error) {
	return &inferencepb.ServerLiveResponse{Live: true}, nil
}

func (f *fake) ServerReady(context.Context, *inferencepb.ServerReadyRequest) (*inferencepb.ServerReadyResponse, error) {
	return &inferencepb.ServerReadyResponse{Ready: true}, nil
}

func (f *fake) ModelReady(_ context.Context, r *inferencepb.ModelReadyRequest) (*inferencepb.ModelReadyResponse, error) {
	switch r.GetName() {
	case "m", "away":
		return &inferencepb.ModelReadyResponse{Ready: r.GetName() == "m"}, nil
	}
	return nil, status.Error(codes.NotFound, "unknown")
}

func (f *fake) ServerMetadata(context.Context, *inferencepb.ServerMetadataRequest) (*inferencepb.ServerMetadataResponse, error) {
	return &inferencepb.ServerMetadataResponse{Name: "fake", Version: "1", Extensions: []string{"x"}}, nil
}

func (f *fake) ModelMetadata(_ context.Context, r *inferencepb.ModelMetadataRequest) (*inferencepb.ModelMetadataResponse, error) {
	if r.GetName() != "m" {
		return nil, status.Error(codes.NotFound, "unknown")
	}
	tensor := func(name string, width int64) []*inferencepb.ModelMetadataResponse_TensorMetadata {
		return []*inferencepb.ModelMetadataResponse_TensorMetadata{{Name: name, Datatype: "FP32", Shape: []int64{-1, width}}}
	}
	return &inferencepb.ModelMetadataResponse{Name: "m", Versions: []string{"3"}, Platform: "p", Inputs: tensor("input", 2), Outputs: tensor("output", 1)}, nil
}
