package grpcserver

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
)

func TestHealthFollowsReadiness(t *testing.T) {
	var ready, modelsReady atomic.Bool
	ready.Store(true)
	svc := inference(isReady)
	svc.Ready = modelsReady.Load
	r := start(t, testConfig(), Deps{Ready: func() (string, bool) { return "", ready.Load() }}, svc, texts(echo, echoes))
	client := grpc_health_v1.NewHealthClient(r.dial(t))
	check := func(service string, want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		got, err := client.Check(context.Background(), &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil || got.Status != want {
			t.Errorf("%q: %v %v, want %v", service, got, err, want)
		}
	}
	const up, down = grpc_health_v1.HealthCheckResponse_SERVING, grpc_health_v1.HealthCheckResponse_NOT_SERVING
	check("", up)
	check("test.Texts", up)
	check("inference.GRPCInferenceService", down)
	modelsReady.Store(true)
	check("inference.GRPCInferenceService", up)
	ready.Store(false)
	check("", down)
	check("test.Texts", down)
	check("inference.GRPCInferenceService", up)
	_, err := client.Check(context.Background(), &grpc_health_v1.HealthCheckRequest{Service: "nobody"})
	wantCode(t, err, codes.NotFound, "unknown service")
	all, err := client.List(context.Background(), &grpc_health_v1.HealthListRequest{})
	if err != nil || all.Statuses["inference.GRPCInferenceService"].GetStatus() != up || all.Statuses[""].GetStatus() != down {
		t.Errorf("%v %v", all, err)
	}
	ready.Store(true)
	r.Drain(context.Background())
	check("", down)
	check("inference.GRPCInferenceService", down)
	if strings.Contains(r.access.String(), "Health") {
		t.Errorf("health is in the access log: %s", r.access)
	}
}

func TestWatchTellsOfDrainAndEndsAtStop(t *testing.T) {
	r := start(t, testConfig(), Deps{}, texts(echo, echoes))
	client := grpc_health_v1.NewHealthClient(r.dial(t))
	watch, err := client.Watch(within(t, 10*time.Second), &grpc_health_v1.HealthCheckRequest{Service: "test.Texts"})
	if err != nil {
		t.Fatal(err)
	}
	next := func(want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if got, err := watch.Recv(); err != nil || got.Status != want {
			t.Fatalf("%v %v, want %v", got, err, want)
		}
	}
	next(grpc_health_v1.HealthCheckResponse_SERVING)
	unknown, err := client.Watch(within(t, 10*time.Second), &grpc_health_v1.HealthCheckRequest{Service: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := unknown.Recv(); err != nil || got.Status != grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN {
		t.Errorf("%v %v", got, err)
	}
	r.Drain(context.Background())
	next(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	begun := time.Now()
	if err := r.stop(); err != nil || time.Since(begun) > 5*time.Second {
		t.Errorf("stopped after %v with %v", time.Since(begun), err)
	}
	_, err = watch.Recv()
	wantCode(t, err, codes.Unavailable, "the server is stopping")
}

// TestWatchersShareOnePoll: what they cost grows with their number in memory only, and that is bounded.
func TestWatchersShareOnePoll(t *testing.T) {
	var ready atomic.Bool
	var polls atomic.Int64
	cfg := testConfig()
	cfg.MaxStreams = 4 * maxWatchers
	r := start(t, cfg, Deps{Ready: func() (string, bool) { polls.Add(1); return "", ready.Load() }}, texts(echo, echoes))
	client := grpc_health_v1.NewHealthClient(r.dial(t))
	var all []grpc_health_v1.Health_WatchClient
	for range maxWatchers {
		watch, err := client.Watch(within(t, 30*time.Second), &grpc_health_v1.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, watch)
	}
	next := func(want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for _, watch := range all {
			if got, err := watch.Recv(); err != nil || got.Status != want {
				t.Fatalf("%v %v, want %v", got, err, want)
			}
		}
	}
	next(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	more, err := client.Watch(within(t, 10*time.Second), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = more.Recv()
	wantCode(t, err, codes.ResourceExhausted, "others watch already")
	before := polls.Load()
	time.Sleep(3 * healthEvery)
	if n := polls.Load() - before; n == 0 || n > 100 { // two services each time
		t.Errorf("asked %d times in three turns", n)
	}
	ready.Store(true)
	next(grpc_health_v1.HealthCheckResponse_SERVING)
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if r.health.watchers != 0 {
		t.Errorf("%d watchers are left", r.health.watchers)
	}
}

func TestReflectionListsServicesAndTheirMessages(t *testing.T) {
	r := start(t, testConfig(), Deps{}, inference(isReady))
	cc := r.dial(t)
	stream, err := grpc_reflection_v1.NewServerReflectionClient(cc).ServerReflectionInfo(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	question := func(q *grpc_reflection_v1.ServerReflectionRequest) *grpc_reflection_v1.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(q); err != nil {
			t.Fatal(err)
		}
		a, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	var names []string
	for _, s := range question(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}).GetListServicesResponse().GetService() {
		names = append(names, s.Name)
	}
	want := []string{"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection", "inference.GRPCInferenceService"}
	if !slices.Equal(names, want) {
		t.Errorf("listed %q", names)
	}
	files := question(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "inference.GRPCInferenceService.ModelInfer"}}).GetFileDescriptorResponse().GetFileDescriptorProto()
	if len(files) < 2 { // its own, and what it imports
		t.Errorf("%d files", len(files))
	}
	// The older one has the same messages under another name.
	old, err := cc.NewStream(within(t, 10*time.Second), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
	if err != nil {
		t.Fatal(err)
	}
	if err := old.SendMsg(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	var a grpc_reflection_v1.ServerReflectionResponse
	if err := old.RecvMsg(&a); err != nil || len(a.GetListServicesResponse().GetService()) != 4 {
		t.Errorf("%v %v", &a, err)
	}
	begun := time.Now() // with two streams that ask no more
	if err := r.stop(); err != nil || time.Since(begun) > 5*time.Second {
		t.Errorf("stopped after %v with %v", time.Since(begun), err)
	}

	cfg := testConfig()
	cfg.Reflection = false
	silent := start(t, cfg, Deps{}, inference(isReady))
	stream, err = grpc_reflection_v1.NewServerReflectionClient(silent.dial(t)).ServerReflectionInfo(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantCode(t, err, codes.Unimplemented, "")
}
