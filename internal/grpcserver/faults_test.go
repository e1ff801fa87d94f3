package grpcserver

import (
	"context"
	"testing"
	"time"

	"github.com/dougong-io/dougong/internal/auth"
	"github.com/dougong-io/dougong/kit/fault"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func TestFaultOfRequestStrikesItsMethodButNeverHealth(t *testing.T) {
	set, err := fault.New(fault.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	if set.Status().CompiledOut {
		t.Skip("this build has no faults")
	}
	cfg := testConfig()
	path, plain := writeTokens(t)
	cfg.TokensFile = path
	r := start(t, cfg, Deps{Faults: set}, inference(isReady), texts(echo, echoes))
	cc := r.dial(t)
	strike := func(rule fault.Rule) {
		t.Helper()
		rule.ID, rule.Point, rule.For = "r", "grpc.request", time.Minute
		rule.Where = map[string]string{"method": readyMethod}
		if err := set.Put(fault.Admin, rule); err != nil {
			t.Fatal(err)
		}
	}
	strike(fault.Rule{Error: &fault.Failure{}})
	wantCode(t, ask(context.Background(), cc), codes.Internal, "injected fault at grpc.request (rule r)")
	strike(fault.Rule{Error: &fault.Failure{GRPCStatus: "UNAVAILABLE", RetryAfter: 3 * time.Second}})
	st := wantCode(t, ask(context.Background(), cc), codes.Unavailable, "injected fault")
	if retry, ok := st.Details()[0].(*errdetails.RetryInfo); !ok || retry.RetryDelay.AsDuration() != 3*time.Second {
		t.Errorf("details %v", st.Details())
	}
	strike(fault.Rule{Error: &fault.Failure{Cause: "timeout"}})
	wantCode(t, ask(context.Background(), cc), codes.DeadlineExceeded, "injected fault")
	strike(fault.Rule{Error: &fault.Failure{Cause: "canceled"}})
	wantCode(t, ask(context.Background(), cc), codes.Canceled, "injected fault")
	strike(fault.Rule{Panic: &fault.Panicking{}})
	wantCode(t, ask(context.Background(), cc), codes.Internal, "the handler failed")
	for _, rule := range []fault.Rule{{Hang: &fault.Hang{}}, {Drop: &fault.Drop{}}} {
		strike(rule)
		wantCode(t, ask(within(t, 100*time.Millisecond), cc), codes.DeadlineExceeded, "")
	}
	if got, err := say(context.Background(), cc, "x"); err != nil || got != "echo x" {
		t.Error("another method:", got, err)
	}

	if err := set.Put(fault.Admin, fault.Rule{ID: "r", Point: "grpc.request", For: time.Minute, Error: &fault.Failure{}, Where: map[string]string{"tenant": "acme"}}); err != nil {
		t.Fatal(err)
	}
	if err := ask(context.Background(), cc); err != nil {
		t.Error("nobody's call:", err)
	}
	wantCode(t, ask(withToken(plain[auth.Read]), cc), codes.Internal, "injected fault")

	if err := set.Put(fault.Admin, fault.Rule{ID: "r", Point: "*", For: time.Minute, Error: &fault.Failure{}, Where: map[string]string{"method": "*"}}); err != nil {
		t.Fatal(err)
	}
	stream, err := cc.NewStream(context.Background(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Texts/Stream", grpc.ForceCodecV2(clientCodec{}))
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, stream.RecvMsg(&text{}), codes.Internal, "injected fault")
	if _, err := grpc_health_v1.NewHealthClient(cc).Check(context.Background(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	if err := set.Kill(fault.Admin, true); err != nil {
		t.Fatal(err)
	}
	if err := ask(context.Background(), cc); err != nil {
		t.Error("after the kill switch:", err)
	}
}
