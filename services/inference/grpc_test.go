package inference

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	inferencepb "github.com/dougong-io/dougong/api/inference"
	"github.com/dougong-io/dougong/examples/models"
	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/limit"
)

// wireCodec hands messages that want it their bytes, as the house's server does.
type wireCodec struct{ encoding.CodecV2 }

func (c wireCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(interface{ UnmarshalBuffers(mem.BufferSlice) error }); ok {
		return m.UnmarshalBuffers(data)
	}
	return c.CodecV2.Unmarshal(data, v)
}

func (c wireCodec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(interface {
		MarshalBuffers() (mem.BufferSlice, error)
	}); ok {
		return m.MarshalBuffers()
	}
	return c.CodecV2.Marshal(v)
}

// grpcClient serves s over gRPC and returns a client of it.
func grpcClient(t testing.TB, s *Service) inferencepb.GRPCInferenceServiceClient {
	t.Helper()
	server := grpc.NewServer(grpc.ForceServerCodecV2(wireCodec{encoding.GetCodecV2("proto")}))
	s.RegisterGRPC(func(desc *grpc.ServiceDesc, impl any, roles map[string]string) {
		for _, method := range desc.Methods {
			want := "read"
			switch {
			case strings.HasPrefix(method.MethodName, "Server"):
				want = ""
			case strings.HasPrefix(method.MethodName, "RepositoryModel"):
				want = "release"
			}
			if roles[method.MethodName] != want {
				t.Errorf("method %s asks for role %q, not %q", method.MethodName, roles[method.MethodName], want)
			}
		}
		server.RegisterService(desc, impl)
	})
	listener := bufconn.Listen(1 << 20)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return inferencepb.NewGRPCInferenceServiceClient(conn)
}

func float32Bytes(values ...float32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestGRPCAnswersTypedAndRaw(t *testing.T) {
	s, _, seen := serve(t, miniConfig(), mini(t))
	client := grpcClient(t, s)
	tensor := func(name string, shape ...int64) *inferencepb.ModelInferRequest_InferInputTensor {
		return &inferencepb.ModelInferRequest_InferInputTensor{Name: name, Datatype: "FP32", Shape: shape}
	}
	typed := func(t *inferencepb.ModelInferRequest_InferInputTensor, values ...float32) *inferencepb.ModelInferRequest_InferInputTensor {
		t.Contents = &inferencepb.InferTensorContents{Fp32Contents: values}
		return t
	}
	for name, request := range map[string]*inferencepb.ModelInferRequest{
		"typed":   {ModelName: "loan-mini", Id: "7", Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{typed(tensor("input", 1, 2), 0.1, 0.9)}},
		"columns": {ModelName: "loan-mini", Id: "7", Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{typed(tensor("revol_util", 1), 0.9), typed(tensor("int_rate", 1, 1), 0.1)}},
		"raw": {ModelName: "loan-mini", ModelVersion: "1", Id: "7", Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{tensor("input", 1, 2)},
			RawInputContents: [][]byte{float32Bytes(0.1, 0.9)}},
	} {
		t.Run(name, func(t *testing.T) {
			var trailer metadata.MD
			answer, err := client.ModelInfer(within(t), request, grpc.Trailer(&trailer))
			if err != nil {
				t.Fatal(err)
			}
			if answer.ModelName != "loan-mini" || answer.ModelVersion != "1" || answer.Id != "7" || len(answer.Outputs) != 1 {
				t.Fatalf("%v", answer)
			}
			o := answer.Outputs[0]
			if o.Name != "output" || o.Datatype != "FP32" || fmt.Sprint(o.Shape) != "[1 1]" {
				t.Errorf("%v", o)
			}
			var got float32
			if name == "raw" {
				got = math.Float32frombits(binary.LittleEndian.Uint32(answer.RawOutputContents[0]))
			} else {
				got = o.Contents.Fp32Contents[0]
			}
			if got != float32(miniAnswer) {
				t.Errorf("%v", got)
			}
			if timing := trailer.Get("server-timing"); len(timing) != 1 || !strings.HasPrefix(timing[0], "queue;dur=") {
				t.Errorf("trailer %v", trailer)
			}
		})
	}
	if got := seen.of("loan-mini/1 ok"); got != 3 {
		t.Errorf("%d observed", got)
	}
	waitFor(t, func() bool {
		got := s.Status()
		return got.HeldBytes == 0 && got.Running+got.Arriving == 0 && got.Buffers.InUse == 0
	})
}

func TestGRPCRefusesWithACodeThatClientsKnow(t *testing.T) {
	cfg := miniConfig()
	cfg.MaxRows = 4
	ready := true
	s, _ := serveWith(t, cfg, Deps{Models: mini(t), Decode: decode, Ready: func() (string, bool) { return "Ready", ready }})
	client := grpcClient(t, s)
	raw := func(model, version, datatype string, shape []int64, contents ...[]byte) *inferencepb.ModelInferRequest {
		return &inferencepb.ModelInferRequest{ModelName: model, ModelVersion: version, RawInputContents: contents,
			Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{{Name: "input", Datatype: datatype, Shape: shape}}}
	}
	row := float32Bytes(0.1, 0.9)
	for name, c := range map[string]struct {
		request *inferencepb.ModelInferRequest
		code    codes.Code
		reason  string
		says    string
	}{
		"nothing":         {&inferencepb.ModelInferRequest{}, codes.InvalidArgument, CodeInvalidRequest, "model_name"},
		"no inputs":       {&inferencepb.ModelInferRequest{ModelName: "loan-mini"}, codes.InvalidArgument, CodeInvalidRequest, "inputs"},
		"unknown model":   {raw("nobody", "", "FP32", []int64{1, 2}, row), codes.NotFound, CodeModelNotFound, "loan-mini"},
		"unknown version": {raw("loan-mini", "9", "FP32", []int64{1, 2}, row), codes.NotFound, CodeVersionNotFound, "9"},
		"short":           {raw("loan-mini", "", "FP32", []int64{1, 2}, row[:7]), codes.InvalidArgument, CodeInvalidRequest, "input"},
		"bytes":           {raw("loan-mini", "", "BYTES", []int64{1, 2}, row), codes.InvalidArgument, CodeInvalidRequest, "BYTES"},
		"negative":        {raw("loan-mini", "", "FP32", []int64{-1, 2}, row), codes.InvalidArgument, CodeInvalidRequest, "-1"},
		"two contents":    {raw("loan-mini", "", "FP32", []int64{1, 2}, row, row), codes.InvalidArgument, CodeInvalidRequest, "raw_input_contents"},
		"too many rows":   {raw("loan-mini", "", "FP32", []int64{5, 2}, make([]byte, 40)), codes.ResourceExhausted, CodeTooManyRows, "4"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.ModelInfer(within(t), c.request)
			st := status.Convert(err)
			if st.Code() != c.code || !strings.Contains(st.Message(), c.says) {
				t.Fatalf("%v", err)
			}
			var info *errdetails.ErrorInfo
			for _, d := range st.Details() {
				if d, ok := d.(*errdetails.ErrorInfo); ok {
					info = d
				}
			}
			if info.GetReason() != c.reason {
				t.Errorf("%v", st.Details())
			}
		})
	}
	if _, err := client.ModelMetadata(within(t), &inferencepb.ModelMetadataRequest{Name: "nobody"}); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
	_, err := client.RepositoryModelLoad(within(t), &inferencepb.RepositoryModelLoadRequest{ModelName: "loan-mini"})
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "policy.yaml") {
		t.Error(err)
	}
	if _, err := client.RepositoryModelUnload(within(t), &inferencepb.RepositoryModelUnloadRequest{ModelName: "nobody"}); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "take the version out") {
		t.Error(err)
	}
	if _, err := client.RepositoryIndex(within(t), &inferencepb.RepositoryIndexRequest{RepositoryName: "other"}); status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
	if _, err := client.ModelStatistics(within(t), &inferencepb.ModelStatisticsRequest{Version: "1"}); status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
	for _, unknown := range []*inferencepb.ModelReadyRequest{{Name: "nobody"}, {Name: "loan-mini", Version: "9"}} {
		if answer, err := client.ModelReady(within(t), unknown); err != nil || answer.Ready { // as Triton answers who waits for a model
			t.Error(answer, err)
		}
	}
	ready = false
	if answer, err := client.ServerReady(within(t), &inferencepb.ServerReadyRequest{}); err != nil || answer.Ready {
		t.Error(answer, err)
	}
	if answer, err := client.ModelReady(within(t), &inferencepb.ModelReadyRequest{Name: "loan-mini"}); err != nil || answer.Ready {
		t.Error(answer, err)
	}
}

func TestGRPCMessagesAndAnswersCountInTheBudget(t *testing.T) {
	cfg := miniConfig()
	cfg.InFlightBytes, cfg.MaxRows = 200_000, 40_000
	s, _ := serveWith(t, cfg, Deps{Models: mini(t), Decode: decode})
	client := grpcClient(t, s)
	rows := func(n int) error {
		_, err := client.ModelInfer(within(t), &inferencepb.ModelInferRequest{ModelName: "loan-mini", RawInputContents: [][]byte{make([]byte, 8*n)},
			Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{{Name: "input", Datatype: "FP32", Shape: []int64{int64(n), 2}}}})
		return err
	}
	for range 20 { // what is counted is given back
		if err := rows(4000); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows(30_000); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("240 KB of rows in memory of 200 KB in all: %v", err)
	}
	// The transport gives an answer's memory back when it has sent it, which may be after the caller has it.
	waitFor(t, func() bool { got := s.Status(); return got.HeldBytes == 0 && got.Buffers.InUse == 0 })
}

// Who has little patience does not close a version to others, also when it waits between two blocks.
func TestDeadlinesBetweenBlocksDoNotOpenTheCircuit(t *testing.T) {
	for _, err := range []error{&limit.RejectedError{Reason: limit.Deadline}, &limit.RejectedError{Reason: limit.Closed}, context.Canceled, context.DeadlineExceeded} {
		if got := outcomeOf(err); got != breaker.Ignored {
			t.Errorf("%v counts as %v", err, got)
		}
	}
}

func TestGRPCTellsWhenToComeBack(t *testing.T) {
	s, err := New(miniConfig(), Deps{Models: mini(t), Decode: decode}) // and does not run, so that it is not ready
	if err != nil {
		t.Fatal(err)
	}
	_, refused := grpcClient(t, s).ModelInfer(within(t), &inferencepb.ModelInferRequest{ModelName: "loan-mini"})
	st := status.Convert(refused)
	var wait time.Duration
	for _, d := range st.Details() {
		if d, ok := d.(*errdetails.RetryInfo); ok {
			wait = d.RetryDelay.AsDuration()
		}
	}
	if st.Code() != codes.Unavailable || wait != time.Second {
		t.Errorf("%v, come back after %v", refused, wait)
	}
}

func TestGRPCDescribesServerAndModels(t *testing.T) {
	s, _, _ := serve(t, miniConfig(), mini(t))
	s.deps.Version = "1.2.3"
	client := grpcClient(t, s)
	if a, err := client.ServerLive(within(t), &inferencepb.ServerLiveRequest{}); err != nil || !a.Live {
		t.Error(a, err)
	}
	if a, err := client.ServerReady(within(t), &inferencepb.ServerReadyRequest{}); err != nil || !a.Ready {
		t.Error(a, err)
	}
	if a, err := client.ServerMetadata(within(t), &inferencepb.ServerMetadataRequest{}); err != nil || a.Name != "dougong" || a.Version != "1.2.3" || len(a.Extensions) != 4 {
		t.Error(a, err)
	}
	if a, err := client.ModelReady(within(t), &inferencepb.ModelReadyRequest{Name: "loan-mini", Version: "1"}); err != nil || !a.Ready {
		t.Error(a, err)
	}
	if a, err := client.ModelMetadata(within(t), &inferencepb.ModelMetadataRequest{Name: "loan-mini"}); err != nil || a.Platform != "dougong_tree" || a.Inputs[0].Datatype != "FP32" ||
		fmt.Sprint(a.Inputs[0].Shape, a.Outputs[0].Shape, a.Versions) != "[-1 2] [-1 1] [1]" {
		t.Error(a, err)
	}
	if a, err := client.ModelConfig(within(t), &inferencepb.ModelConfigRequest{Name: "loan-mini"}); err != nil || a.Config.MaxBatchSize != 16384 ||
		a.Config.Input[0].DataType != inferencepb.DataType_TYPE_FP32 || fmt.Sprint(a.Config.Input[0].Dims) != "[2]" {
		t.Error(a, err)
	}
	if a, err := client.RepositoryIndex(within(t), &inferencepb.RepositoryIndexRequest{}); err != nil || len(a.Models) != 1 || a.Models[0].State != "READY" {
		t.Error(a, err)
	}
}

func TestStatisticsCountWhatWasAsked(t *testing.T) {
	s, h, _ := serve(t, miniConfig(), mini(t))
	for _, body := range []string{
		`{"inputs":[{"name":"input","datatype":"FP32","shape":[3,2],"data":[1,2,3,4,5,6]}]}`,
		`{"inputs":[{"name":"input","datatype":"FP32","shape":[1,2],"data":[1,2]}]}`,
		`{"inputs":[{"name":"input","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]}`,
		`{"inputs":[{"name":"input","datatype":"FP32","shape":[1,2],"data":["no number"]}]}`,
		`{bad`,
		``,
	} {
		v2Request(h, "POST", miniPath, []byte(body))
	}
	a, err := grpcClient(t, s).ModelStatistics(within(t), &inferencepb.ModelStatisticsRequest{Name: "loan-mini"})
	if err != nil || len(a.ModelStats) != 1 {
		t.Fatal(a, err)
	}
	if m := a.ModelStats[0]; m.InferenceCount != 4 || m.ExecutionCount != 2 || m.InferenceStats.Success.Count != 2 || m.InferenceStats.Fail.Count != 4 || m.InferenceStats.ComputeInfer.Ns == 0 || m.LastInference == 0 {
		t.Errorf("%v", m)
	}
	all := v2Request(h, "GET", "/v2/models/stats", nil).Body.String()
	for _, path := range []string{"/v2/models/loan-mini/stats", "/v2/models/loan-mini/versions/1/stats"} {
		if w := v2Request(h, "GET", path, nil); w.Code != 200 || w.Body.String() != all || !strings.Contains(all, `"inference_count":4`) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := v2Request(h, "GET", "/v2/models/nobody/stats", nil); w.Code != 404 {
		t.Error(w.Code)
	}
}

func TestGRPCAnswersOfAllCasesEqualTheReference(t *testing.T) {
	s, _, _ := serve(t, DefaultConfig(), models.Repository)
	client := grpcClient(t, s)
	for model, column := range map[string]string{"loan-default": "full", "loan-lite": "lite"} {
		rows, want := readCases(t, data+"loan-default/cases.csv", column, 72)
		var values []float32
		for _, row := range rows {
			values = append(values, parseRow(t, row)...)
		}
		answer, err := client.ModelInfer(within(t), &inferencepb.ModelInferRequest{ModelName: model, RawInputContents: [][]byte{float32Bytes(values...)},
			Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{{Name: "input", Datatype: "FP32", Shape: []int64{int64(len(rows)), 72}}}})
		if err != nil {
			t.Fatal(err)
		}
		for i, raw := 0, answer.RawOutputContents[0]; i < len(want); i++ {
			if got := float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))); !(math.Abs(got-want[i]) <= 1e-6) {
				t.Fatalf("%s, row %d: %g, not %g", model, i, got, want[i])
			}
		}
	}
}

// parseRow reads a row of readCases.
func parseRow(t testing.TB, row string) []float32 {
	t.Helper()
	var values []float32
	for cell := range strings.SplitSeq(strings.Trim(row, "[]"), ",") {
		v := float64(math.NaN())
		if cell != "null" {
			if _, err := fmt.Sscan(cell, &v); err != nil {
				t.Fatal(err)
			}
		}
		values = append(values, float32(v))
	}
	return values
}
