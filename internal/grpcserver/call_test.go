package grpcserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/api/inference"
	"github.com/dougong-io/dougong/internal/auth"
	"github.com/dougong-io/dougong/internal/httpserver"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestHandlerSeesDeadlineTraceAndHeader(t *testing.T) {
	type seen struct {
		left  time.Duration
		trace httpserver.Trace
		who   *auth.Identity
	}
	got := make(chan seen, 1)
	cfg := testConfig()
	cfg.RequestTimeout, cfg.DeadlineMargin = time.Minute, time.Second
	r := start(t, cfg, Deps{}, inference(func(ctx context.Context, _ *inferencepb.ModelReadyRequest) (*inferencepb.ModelReadyResponse, error) {
		deadline, _ := ctx.Deadline()
		got <- seen{time.Until(deadline), httpserver.TraceFrom(ctx), auth.IdentityFrom(ctx)}
		grpc.SetHeader(ctx, metadata.Pairs("queue", "1"))
		grpc.SetTrailer(ctx, metadata.Pairs("compute", "2"))
		return &inferencepb.ModelReadyResponse{Ready: true}, nil
	}))
	cc := r.dial(t, grpc.WithUserAgent("tester"))
	var header, trailer metadata.MD
	ctx := metadata.AppendToOutgoingContext(context.Background(), "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if err := ask(ctx, cc, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	g := <-got
	if g.left < 50*time.Second || g.left > time.Minute || g.who != nil {
		t.Errorf("without a deadline: %+v", g)
	}
	if g.trace.ID() != "0af7651916cd43dd8448eb211c80319c" || g.trace.Flags != 1 || g.trace.SpanID == g.trace.Parent {
		t.Errorf("trace %+v", g.trace)
	}
	if len(header["queue"]) != 1 || len(trailer["compute"]) != 1 {
		t.Errorf("header %v, trailer %v", header, trailer)
	}
	if err := ask(within(t, 20*time.Second), cc); err != nil {
		t.Fatal(err)
	}
	if g = <-got; g.left > 19*time.Second || g.left < 10*time.Second || g.trace.IsZero() {
		t.Errorf("with 20s less a margin of 1s: %+v", g)
	}
	ctx = metadata.AppendToOutgoingContext(context.Background(), "traceparent", "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if err := ask(ctx, cc); err != nil {
		t.Fatal(err)
	}
	if g = <-got; g.trace.IsZero() || g.trace.ID() == "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("a malformed traceparent: %+v", g.trace)
	}

	for _, o := range r.seen.wait(t, readyMethod, 3) {
		if o.Code != codes.OK || o.BytesIn != 6 || o.BytesOut != 2 || o.Duration <= 0 {
			t.Errorf("outcome %+v", o)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	var line map[string]any
	if err := json.Unmarshal([]byte(strings.Split(r.access.String(), "\n")[0]), &line); err != nil {
		t.Fatal(err, r.access.String())
	}
	for key, want := range map[string]any{
		"level": "INFO", "msg": "call", "service": "test", "method": readyMethod, "code": "OK",
		"bytes_in": 6.0, "bytes_out": 2.0, "trace_id": "0af7651916cd43dd8448eb211c80319c",
	} {
		if line[key] != want {
			t.Errorf("%s: %v, want %v", key, line[key], want)
		}
	}
	if agent, _ := line["user_agent"].(string); !strings.HasPrefix(agent, "tester") {
		t.Errorf("line %v", line)
	}
	if remote, _ := line["remote"].(string); !strings.HasPrefix(remote, "127.0.0.1:") {
		t.Errorf("line %v", line)
	}
}

func TestCallThatComesTooLateIsRefusedBeforeWork(t *testing.T) {
	cfg := testConfig()
	cfg.RequestTimeout, cfg.DeadlineMargin = 20*time.Second, 10*time.Second
	r := start(t, cfg, Deps{}, inference(func(context.Context, *inferencepb.ModelReadyRequest) (*inferencepb.ModelReadyResponse, error) {
		t.Error("the handler was called")
		return nil, nil
	}))
	err := ask(within(t, 5*time.Second), r.dial(t))
	wantCode(t, err, codes.DeadlineExceeded, "work did not begin")
	if o := r.seen.wait(t, readyMethod, 1); o[0].Code != codes.DeadlineExceeded || o[0].BytesIn != 0 {
		t.Errorf("outcome %+v", o[0])
	}
}

func TestHandlerThatOutlastsItsTimeIsDeadlineExceeded(t *testing.T) {
	cfg := testConfig()
	cfg.RequestTimeout = 50 * time.Millisecond
	wait := func(ctx context.Context, _ *inferencepb.ModelReadyRequest) (*inferencepb.ModelReadyResponse, error) {
		<-ctx.Done()
		return nil, fmt.Errorf("scoring: %w", ctx.Err())
	}
	r := start(t, cfg, Deps{}, inference(wait))
	wantCode(t, ask(context.Background(), r.dial(t)), codes.DeadlineExceeded, "")
	if o := r.seen.wait(t, readyMethod, 1); o[0].Code != codes.DeadlineExceeded {
		t.Errorf("outcome %+v", o[0])
	}
	own := inference(wait)
	own.Method = func(string) Method { return Method{Timeout: 20 * time.Millisecond} }
	cfg.RequestTimeout = time.Hour
	r = start(t, cfg, Deps{}, own)
	wantCode(t, ask(context.Background(), r.dial(t)), codes.DeadlineExceeded, "")
}

func TestPanicIsInternalCountedAndLogged(t *testing.T) {
	r := start(t, testConfig(), Deps{}, texts(func(_ context.Context, dec func(any) error) (any, error) {
		var m text
		if err := dec(&m); err != nil {
			return nil, err
		}
		switch m.s {
		case "handler":
			panic("out of wit")
		case "marshal":
			return &text{marshal: func() error { panic("out of words") }}, nil
		case "error":
			return nil, errors.New("password is hunter2")
		case "own":
			return nil, status.Error(codes.AlreadyExists, "there is one")
		case "internal", "unknown":
			code := map[string]codes.Code{"internal": codes.Internal, "unknown": codes.Unknown}[m.s]
			st, err := status.New(code, "secret "+m.s).WithDetails(&errdetails.ErrorInfo{Reason: "model_failed"})
			if err != nil {
				t.Error(err)
			}
			return nil, st.Err()
		case "wrapped":
			return nil, fmt.Errorf("asking: %w", status.Error(codes.AlreadyExists, "there is one"))
		}
		return &m, nil
	}, func(ss grpc.ServerStream) error { panic("out of patience") }))
	cc := r.dial(t)
	var trailer metadata.MD
	for _, s := range []string{"handler", "marshal"} {
		_, err := say(context.Background(), cc, s, grpc.Trailer(&trailer))
		wantCode(t, err, codes.Internal, "the handler failed")
		if id := trailer["x-request-id"]; len(id) != 1 || !strings.Contains(r.logs.String(), id[0]) {
			t.Errorf("request id %v is not in %s", id, r.logs)
		}
	}
	stream, err := cc.NewStream(context.Background(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Texts/Stream", grpc.ForceCodecV2(clientCodec{}))
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, stream.RecvMsg(&text{}), codes.Internal, "the handler failed")
	for _, want := range []string{"out of wit", "out of words", "out of patience", "call_test.go", `"error_code":"panic"`, `"method":"/test.Texts/Unary"`} {
		if !strings.Contains(r.logs.String(), want) {
			t.Errorf("%q is not in %s", want, r.logs)
		}
	}
	r.seen.locked(func() {
		if r.seen.panics != 3 {
			t.Errorf("%d panics counted", r.seen.panics)
		}
	})

	_, err = say(context.Background(), cc, "error")
	if st := wantCode(t, err, codes.Internal, "the call failed"); strings.Contains(st.Message(), "hunter2") || !strings.Contains(r.logs.String(), "hunter2") {
		t.Errorf("%v; logged %s", err, r.logs)
	}
	_, err = say(context.Background(), cc, "wrapped")
	if st := wantCode(t, err, codes.Internal, "the call failed"); strings.Contains(st.Message(), "there is one") || !strings.Contains(r.logs.String(), "there is one") {
		t.Errorf("%v; logged %s", err, r.logs)
	}
	_, err = say(context.Background(), cc, "own")
	wantCode(t, err, codes.AlreadyExists, "there is one")
	for _, s := range []string{"internal", "unknown"} {
		_, err = say(context.Background(), cc, s)
		st, _ := status.FromError(err)
		if strings.Contains(st.Message(), "secret") || !strings.Contains(st.Message(), "the call failed") || !strings.Contains(r.logs.String(), "secret "+s) || len(st.Details()) != 1 {
			t.Errorf("%v; logged %s", err, r.logs)
		}
	}
	if got, err := say(context.Background(), cc, "fine"); got != "fine" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

func TestUnknownMethodIsUnimplementedAndCountedApart(t *testing.T) {
	r := start(t, testConfig(), Deps{}, texts(echo, echoes))
	cc := r.dial(t)
	for _, name := range []string{"/test.Texts/Nothing", "/test.Nothing/Unary"} {
		err := cc.Invoke(context.Background(), name, &text{}, &text{}, grpc.ForceCodecV2(clientCodec{}))
		wantCode(t, err, codes.Unimplemented, name)
	}
	for _, o := range r.seen.wait(t, otherMethod, 2) {
		if o.Code != codes.Unimplemented {
			t.Errorf("outcome %+v", o)
		}
	}
	r.stop()
	if strings.Contains(r.access.String(), "Nothing") || strings.Count(r.access.String(), `"method":"other"`) != 2 {
		t.Errorf("logged %s", r.access)
	}
}

func TestStreamsCountWhatPasses(t *testing.T) {
	r := start(t, testConfig(), Deps{}, texts(echo, echoes))
	stream, err := r.dial(t).NewStream(context.Background(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Texts/Stream", grpc.ForceCodecV2(clientCodec{}))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := stream.SendMsg(&text{s: "twelve bytes"}); err != nil {
			t.Fatal(err)
		}
		var m text
		if err := stream.RecvMsg(&m); err != nil || m.s != "twelve bytes" {
			t.Fatal(m.s, err)
		}
	}
	stream.CloseSend()
	if err := stream.RecvMsg(&text{}); err != io.EOF {
		t.Error(err)
	}
	if o := r.seen.wait(t, "/test.Texts/Stream", 1)[0]; o.Code != codes.OK || o.BytesIn != 36 || o.BytesOut != 36 {
		t.Errorf("outcome %+v", o)
	}
}

func TestAuditOfMethodsThatChangeWhatIsServed(t *testing.T) {
	events := make(chan AuditEvent, 8)
	svc := inference(isReady)
	svc.Name = "models"
	svc.Method = func(method string) Method {
		if method == "ModelReady" {
			return Method{Role: auth.Release}
		}
		return Method{}
	}
	cfg := testConfig()
	path, plain := writeTokens(t)
	cfg.TokensFile = path
	r := start(t, cfg, Deps{Audit: func(e AuditEvent) { events <- e }}, svc)
	cc := r.dial(t)
	if err := ask(withToken(plain[auth.Release]), cc); err != nil {
		t.Fatal(err)
	}
	e := <-events
	if e.Service != "models" || e.Name != "release" || e.Tenant != "acme" || e.Method != readyMethod || e.Code != codes.OK || e.TraceID == "" || !strings.HasPrefix(e.Remote, "127.0.0.1:") || e.Time.IsZero() {
		t.Errorf("event %+v", e)
	}
	ask(withToken(plain[auth.Read]), cc)
	if e := <-events; e.Name != "read" || e.Code != codes.PermissionDenied {
		t.Errorf("event %+v", e)
	}
	inferencepb.NewGRPCInferenceServiceClient(cc).ServerLive(context.Background(), &inferencepb.ServerLiveRequest{})
	r.seen.wait(t, inferencepb.GRPCInferenceService_ServerLive_FullMethodName, 1)
	if len(events) != 0 {
		t.Errorf("event %+v", <-events)
	}

	logged := start(t, cfg, Deps{}, svc)
	ask(withToken(plain[auth.Release]), logged.dial(t))
	logged.stop()
	if !strings.Contains(logged.logs.String(), `"msg":"audit","service":"models","caller":"release","tenant":"acme","method":"`+readyMethod+`","code":"OK"`) {
		t.Errorf("logged %s", logged.logs)
	}
}
