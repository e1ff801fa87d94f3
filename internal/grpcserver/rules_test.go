package grpcserver

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/api/inference"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func violations(t *testing.T, err error) (all []string) {
	t.Helper()
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.FieldViolations {
				all = append(all, v.Field+": "+v.Description)
			}
		}
	}
	return all
}

func TestDeclaredRulesAreKeptByEveryMessage(t *testing.T) {
	called := false
	stream := Service{Impl: struct{}{}, Desc: &grpc.ServiceDesc{ServiceName: "test.Ready", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Stream", ClientStreams: true, ServerStreams: true, Handler: func(_ any, ss grpc.ServerStream) error {
			for {
				var m inferencepb.ModelReadyRequest
				if err := ss.RecvMsg(&m); err != nil {
					return err
				}
				if err := ss.SendMsg(&inferencepb.ModelReadyResponse{}); err != nil {
					return err
				}
			}
		},
	}}}}
	r := start(t, testConfig(), Deps{}, stream, inference(func(context.Context, *inferencepb.ModelReadyRequest) (*inferencepb.ModelReadyResponse, error) {
		called = true
		return nil, nil
	}))
	cc := r.dial(t)
	client := inferencepb.NewGRPCInferenceServiceClient(cc)
	_, err := client.ModelReady(context.Background(), &inferencepb.ModelReadyRequest{Version: strings.Repeat("1", 129)})
	wantCode(t, err, codes.InvalidArgument, "invalid request: name: ")
	if got := violations(t, err); len(got) != 2 || !strings.HasPrefix(got[0], "name: ") || !strings.HasPrefix(got[1], "version: ") {
		t.Errorf("violations %q", got)
	}
	_, err = client.ModelInfer(context.Background(), &inferencepb.ModelInferRequest{
		ModelName: "m", Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{{Name: "a", Datatype: "FP32", Shape: []int64{2, -1}}},
	})
	wantCode(t, err, codes.InvalidArgument, "inputs[0].shape[1]: ")
	if called {
		t.Error("the handler was called")
	}

	s, err := cc.NewStream(context.Background(), &stream.Desc.Streams[0], "/test.Ready/Stream")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendMsg(&inferencepb.ModelReadyRequest{Name: "m"}); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(&inferencepb.ModelReadyResponse{}); err != nil {
		t.Fatal(err)
	}
	if err := s.SendMsg(&inferencepb.ModelReadyRequest{}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.RecvMsg(&inferencepb.ModelReadyResponse{}), codes.InvalidArgument, "name: ")
}

func TestRefusalIsShortWhateverWasSent(t *testing.T) {
	r := start(t, testConfig(), Deps{}, inference(isReady))
	inputs := make([]*inferencepb.ModelInferRequest_InferInputTensor, 60)
	for i := range inputs {
		inputs[i] = &inferencepb.ModelInferRequest_InferInputTensor{
			Name: "a", Datatype: "FP32", Shape: []int64{1},
			Parameters: map[string]*inferencepb.InferParameter{strings.Repeat("k", 1000): nil},
		}
	}
	_, err := inferencepb.NewGRPCInferenceServiceClient(r.dial(t)).ModelInfer(context.Background(), &inferencepb.ModelInferRequest{ModelName: "m", Inputs: inputs})
	st := wantCode(t, err, codes.InvalidArgument, "; and 44 more")
	if got := violations(t, err); len(got) != maxViolations || len(st.Message()) > maxViolations*600 {
		t.Errorf("%d violations in %d bytes", len(got), len(st.Message()))
	}
}

func TestMessagesWithoutProtobufValidateThemselves(t *testing.T) {
	var fault error
	r := start(t, testConfig(), Deps{}, texts(func(_ context.Context, dec func(any) error) (any, error) {
		m := text{validate: func() error { return fault }}
		if err := dec(&m); err != nil {
			return nil, err
		}
		return &m, nil
	}, echoes))
	cc := r.dial(t)
	fault = errors.Join(errors.New("rows: must be at most 4"), errors.New("nothing in particular"))
	_, err := say(context.Background(), cc, "x")
	wantCode(t, err, codes.InvalidArgument, "invalid request: rows: must be at most 4; nothing in particular")
	if got := violations(t, err); len(got) != 2 || got[0] != "rows: must be at most 4" || got[1] != ": nothing in particular" {
		t.Errorf("violations %q", got)
	}
	fault = status.Error(codes.ResourceExhausted, "too many rows")
	_, err = say(context.Background(), cc, "x")
	wantCode(t, err, codes.ResourceExhausted, "too many rows")
	fault = fmt.Errorf("rows: \xff")
	_, err = say(context.Background(), cc, "x")
	wantCode(t, err, codes.InvalidArgument, "rows: �")
	fault = nil
	if got, err := say(context.Background(), cc, "x"); err != nil || got != "x" {
		t.Error(got, err)
	}
}

// TestMessageFullOfFaultsCostsLittle: it is found invalid by its first fault, and the others are not even collected.
func TestMessageFullOfFaultsCostsLittle(t *testing.T) {
	rules, err := newRules()
	if err != nil {
		t.Fatal(err)
	}
	if err := rules.compile("inference.GRPCInferenceService"); err != nil {
		t.Fatal(err)
	}
	empty := &inferencepb.ModelInferRequest_InferInputTensor{}
	shape := &inferencepb.ModelInferRequest_InferInputTensor{Name: "a", Datatype: "FP32", Shape: slices.Repeat([]int64{-1}, 100_000)}
	parameters := make(map[string]*inferencepb.InferParameter)
	for i := range 100_000 {
		parameters[fmt.Sprint(i, strings.Repeat("k", 256))] = nil
	}
	for name, m := range map[string]*inferencepb.ModelInferRequest{
		"inputs":     {ModelName: "m", Inputs: slices.Repeat([]*inferencepb.ModelInferRequest_InferInputTensor{empty}, 100_000)},
		"dimensions": {ModelName: "m", Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{shape}},
		"parameters": {ModelName: "m", Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{{Name: "a", Datatype: "FP32", Shape: []int64{1}}}, Parameters: parameters},
		"as allowed": {ModelName: "m", Inputs: slices.Repeat([]*inferencepb.ModelInferRequest_InferInputTensor{empty}, maxElements)},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := rules.check(m)
		runtime.ReadMemStats(&after)
		if st := wantCode(t, err, codes.InvalidArgument, "invalid request: "); len(st.Message()) > maxViolations*600 {
			t.Errorf("%s: %d bytes of message", name, len(st.Message()))
		}
		spent := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %d bytes", name, spent)
		if spent > 8<<20 {
			t.Errorf("%s: to refuse it cost %d bytes", name, spent)
		}
	}
	err = rules.check(&inferencepb.ModelInferRequest{ModelName: "m", Inputs: slices.Repeat([]*inferencepb.ModelInferRequest_InferInputTensor{empty}, maxElements+1)})
	wantCode(t, err, codes.InvalidArgument, "inputs[0].name: ")
	wantCode(t, err, codes.InvalidArgument, "; a message of so many elements is looked at no further")
}
