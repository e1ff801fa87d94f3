package e2e

import (
	"context"
	le "encoding/binary"
	"math"
	"strings"
	"syscall"
	"testing"
	"time"

	inferencepb "github.com/dougong-io/dougong/api/inference"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// dialGRPC connects to the process.
func (p *process) dialGRPC() *grpc.ClientConn {
	p.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	return conn
}

func miniCall(rows int) *inferencepb.ModelInferRequest {
	var tensor []byte
	for range rows {
		tensor = le.LittleEndian.AppendUint32(tensor, math.Float32bits(0.1))
		tensor = le.LittleEndian.AppendUint32(tensor, math.Float32bits(0.9))
	}
	return &inferencepb.ModelInferRequest{ModelName: "loan-mini", RawInputContents: [][]byte{tensor},
		Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{{Name: "input", Datatype: "FP32", Shape: []int64{int64(rows), 2}}}}
}

func (p *process) within() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p.t.Cleanup(cancel)
	return ctx
}

// TestGRPCIsServedBesideHTTP: the same models, readiness, deadlines and metrics.
func TestGRPCIsServedBesideHTTP(t *testing.T) {
	p := up(t)
	conn := p.dialGRPC()
	client := inferencepb.NewGRPCInferenceServiceClient(conn)
	answer, err := client.ModelInfer(p.within(), miniCall(1))
	if err != nil {
		t.Fatal(err)
	}
	if got := math.Float32frombits(le.LittleEndian.Uint32(answer.RawOutputContents[0])); got != 0.03645608 {
		t.Errorf("%v", got)
	}
	health := grpc_health_v1.NewHealthClient(conn)
	for _, service := range []string{"", "inference.GRPCInferenceService"} {
		if answer, err := health.Check(p.within(), &grpc_health_v1.HealthCheckRequest{Service: service}); err != nil || answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v %v", service, answer, err)
		}
	}
	// What is left is less than grpc.deadline_margin: no work is done.
	short, cancel := context.WithTimeout(p.within(), 4*time.Millisecond)
	defer cancel()
	if _, err := client.ModelInfer(short, miniCall(1)); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("late: %v", err)
	}
	if _, err := client.ModelMetadata(p.within(), &inferencepb.ModelMetadataRequest{}); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "name") {
		t.Errorf("a declared rule: %v", err)
	}
	_, metrics := p.get(p.admin + "/metrics")
	for _, line := range []string{
		`ai_inference_result{model="loan-mini",result="ok",version="1"} 1`,
		`grpc_server_handling_seconds_count{grpc_code="OK",grpc_method="ModelInfer",grpc_service="inference.GRPCInferenceService"} 1`,
		`grpc_server_handling_seconds_count{grpc_code="InvalidArgument",grpc_method="ModelMetadata",grpc_service="inference.GRPCInferenceService"} 1`,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("no line %s", line)
		}
	}
	p.eventually("the log line of the call", func() bool { return strings.Contains(p.stderr.String(), "ModelInfer") })
}

// TestTermAnswersCallsInFlight: health says so first, calls that had begun are answered, then the process ends in order.
func TestTermAnswersCallsInFlight(t *testing.T) {
	p := up(t, "DOUGONG_LIFECYCLE_DRAIN_DELAY=300ms")
	conn := p.dialGRPC()
	watch, err := grpc_health_v1.NewHealthClient(conn).Watch(p.within(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := watch.Recv(); err != nil || first.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Fatal(first, err)
	}
	if code, _ := do(t, "PUT", p.admin+"/faults/rules/slow", `{"point":"inference.score","delay":{"fixed":"300ms"},"for":"1m"}`); code >= 300 {
		t.Fatal("no rule:", code)
	}
	answered := make(chan error, 4)
	for range cap(answered) {
		go func() {
			_, err := inferencepb.NewGRPCInferenceServiceClient(conn).ModelInfer(p.within(), miniCall(1))
			answered <- err
		}()
	}
	p.eventually("calls in flight", func() bool {
		_, metrics := p.get(p.admin + "/metrics")
		return strings.Contains(metrics, `dougong_grpc_inflight_calls{grpc_method="ModelInfer",grpc_service="inference.GRPCInferenceService"} 4`)
	})
	p.signal(syscall.SIGTERM)
	if next, err := watch.Recv(); err != nil || next.Status != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Error("health while draining: ", next, err)
	}
	for range cap(answered) {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
