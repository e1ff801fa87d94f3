package app

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/api/inference"
	"github.com/dougong-io/dougong/internal/auth"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// logs is a bytes.Buffer for many goroutines.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// TestTokensOverGRPC: each method of the whole process needs the role that it should, and what a caller did is found
// under its name and tenant.
func TestTokensOverGRPC(t *testing.T) {
	cfg := DefaultConfig()
	cfg.HTTP.Listen, cfg.GRPC.Listen, cfg.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Lifecycle.DrainDelay = 0
	cfg.GRPC.TokensFile = filepath.Join(t.TempDir(), "tokens.json")
	tokens := map[auth.Role]string{}
	for _, role := range auth.Roles() {
		plaintext, entry, err := auth.Create("bot-"+string(role), "shop", role)
		if err != nil {
			t.Fatal(err)
		}
		if err := auth.AppendTo(cfg.GRPC.TokensFile, entry); err != nil {
			t.Fatal(err)
		}
		tokens[role] = plaintext
	}
	var written logs
	a, err := New(cfg, Services(), &written)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	up, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- a.Run(ctx, func() { close(up) }) }()
	select {
	case <-up:
	case err := <-ended:
		t.Fatal(err)
	}
	cc, err := grpc.NewClient("passthrough:///"+a.grpc.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	call, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	as := func(role auth.Role) context.Context {
		return metadata.AppendToOutgoingContext(call, "authorization", "Bearer "+tokens[role])
	}

	// An empty message is wrong for most methods: that it is refused as such shows that its caller may.
	needs := map[string]auth.Role{
		"ServerLive": "", "ServerReady": "", "ServerMetadata": "",
		"ModelReady": auth.Read, "ModelMetadata": auth.Read, "ModelInfer": auth.Read, "ModelConfig": auth.Read, "ModelStatistics": auth.Read, "RepositoryIndex": auth.Read,
		"RepositoryModelLoad": auth.Release, "RepositoryModelUnload": auth.Release,
	}
	if n := len(inferencepb.GRPCInferenceService_ServiceDesc.Methods); n != len(needs) {
		t.Errorf("%d methods, the test knows %d", n, len(needs))
	}
	for method, need := range needs {
		path := "/" + inferencepb.GRPCInferenceService_ServiceDesc.ServiceName + "/" + method
		ask := func(ctx context.Context) codes.Code {
			return status.Code(cc.Invoke(ctx, path, &emptypb.Empty{}, &emptypb.Empty{}))
		}
		if got := ask(call); (got == codes.Unauthenticated) != (need != "") {
			t.Errorf("%s without a token: %v", method, got)
		}
		if got := ask(metadata.AppendToOutgoingContext(call, "authorization", "Bearer dg_nobody")); (got == codes.Unauthenticated) != (need != "") {
			t.Errorf("%s with an unknown token: %v", method, got)
		}
		for _, role := range auth.Roles() {
			got := ask(as(role))
			if got == codes.Unauthenticated || (got == codes.PermissionDenied) != (need != "" && role != need) {
				t.Errorf("%s with the role %s: %v", method, role, got)
			}
		}
	}
	if _, err := grpc_health_v1.NewHealthClient(cc).Check(call, &grpc_health_v1.HealthCheckRequest{Service: "inference.GRPCInferenceService"}); err != nil {
		t.Errorf("health needs a token: %v", err)
	}

	client := inferencepb.NewGRPCInferenceServiceClient(cc)
	about, err := client.ModelMetadata(as(auth.Read), &inferencepb.ModelMetadataRequest{Name: "loan-mini"})
	if err != nil {
		t.Fatal(err)
	}
	width := about.Inputs[0].Shape[1]
	answer, err := client.ModelInfer(as(auth.Read), &inferencepb.ModelInferRequest{
		ModelName: "loan-mini", RawInputContents: [][]byte{make([]byte, 4*width)},
		Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{{Name: "input", Datatype: "FP32", Shape: []int64{1, width}}},
	})
	if err != nil || len(answer.RawOutputContents) != 1 {
		t.Errorf("%v, %v", answer, err)
	}
	_, err = client.RepositoryModelLoad(as(auth.Release), &inferencepb.RepositoryModelLoadRequest{ModelName: "loan-mini"})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("load: %v", err)
	}

	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	text := written.b.String()
	var inferred, audited bool
	for line := range strings.Lines(text) {
		about := func(parts ...string) bool {
			for _, part := range parts {
				if !strings.Contains(line, part) {
					return false
				}
			}
			return true
		}
		inferred = inferred || about(`"msg":"call"`, `/ModelInfer"`, `"code":"OK"`, `"caller":"bot-read"`, `"tenant":"shop"`)
		audited = audited || about(`"msg":"audit"`, `/RepositoryModelLoad"`, `"code":"Unimplemented"`, `"caller":"bot-release"`, `"tenant":"shop"`)
	}
	if !inferred || !audited {
		t.Errorf("a line for the prediction: %v, for the audit: %v, in\n%s", inferred, audited, text)
	}
	for role, token := range tokens {
		if strings.Contains(text, token) {
			t.Errorf("the token with the role %s is in the log", role)
		}
	}
}
