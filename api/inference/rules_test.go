package inferencepb

import (
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
)

func inferRequest(change func(*ModelInferRequest)) *ModelInferRequest {
	r := &ModelInferRequest{
		ModelName: "loan",
		Inputs:    []*ModelInferRequest_InferInputTensor{{Name: "input", Datatype: "FP32", Shape: []int64{1, 2}, Contents: &InferTensorContents{Fp32Contents: []float32{1, 2}}}},
	}
	change(r)
	return r
}

// TestRulesRefuseWhatNoModelCouldTake names for each request what its fault is called; nothing for one without.
func TestRulesRefuseWhatNoModelCouldTake(t *testing.T) {
	for _, c := range []struct {
		name    string
		message proto.Message
		fault   string
	}{
		{"whole", inferRequest(func(*ModelInferRequest) {}), ""},
		{"no row", inferRequest(func(r *ModelInferRequest) { r.Inputs[0].Shape = []int64{0, 2} }), ""},
		{"no model", inferRequest(func(r *ModelInferRequest) { r.ModelName = "" }), "model_name: "},
		{"long model", inferRequest(func(r *ModelInferRequest) { r.ModelName = strings.Repeat("m", 129) }), "model_name: "},
		{"long version", inferRequest(func(r *ModelInferRequest) { r.ModelVersion = strings.Repeat("1", 129) }), "model_version: "},
		{"longest id", inferRequest(func(r *ModelInferRequest) { r.Id = strings.Repeat("i", 1024) }), ""},
		{"long id", inferRequest(func(r *ModelInferRequest) { r.Id = strings.Repeat("i", 1025) }), "id: "},
		{"no inputs", inferRequest(func(r *ModelInferRequest) { r.Inputs = nil }), "inputs: "},
		{"too many inputs", inferRequest(func(r *ModelInferRequest) {
			r.Inputs = append(r.Inputs, make([]*ModelInferRequest_InferInputTensor, 4096)...)
			for i := range r.Inputs {
				r.Inputs[i] = r.Inputs[0]
			}
		}), "inputs: "},
		{"nameless input", inferRequest(func(r *ModelInferRequest) { r.Inputs[0].Name = "" }), "inputs[0].name: "},
		{"unknown datatype", inferRequest(func(r *ModelInferRequest) { r.Inputs[0].Datatype = "FLOAT" }), "inputs[0].datatype: "},
		{"no shape", inferRequest(func(r *ModelInferRequest) { r.Inputs[0].Shape = nil }), "inputs[0].shape: "},
		{"nine dimensions", inferRequest(func(r *ModelInferRequest) { r.Inputs[0].Shape = make([]int64, 9) }), "inputs[0].shape: "},
		{"open dimension", inferRequest(func(r *ModelInferRequest) { r.Inputs[0].Shape = []int64{-1, 2} }), "inputs[0].shape[0]: "},
		{"nameless output", inferRequest(func(r *ModelInferRequest) { r.Outputs = []*ModelInferRequest_InferRequestedOutputTensor{{}} }), "outputs[0].name: "},
		{"nameless parameter", inferRequest(func(r *ModelInferRequest) { r.Parameters = map[string]*InferParameter{"": {}} }), `parameters[""]: `},
		{"raw and typed", inferRequest(func(r *ModelInferRequest) { r.RawInputContents = [][]byte{make([]byte, 8)} }), "exclude each other"},
		{"raw alone", inferRequest(func(r *ModelInferRequest) {
			r.Inputs[0].Contents, r.RawInputContents = nil, [][]byte{make([]byte, 8)}
		}), ""},
		{"raw for another number of inputs", inferRequest(func(r *ModelInferRequest) {
			r.Inputs[0].Contents, r.RawInputContents = nil, make([][]byte, 2)
		}), "one entry for each of inputs"},

		{"ready", &ModelReadyRequest{Name: "loan"}, ""},
		{"ready of no model", &ModelReadyRequest{}, "name: "},
		{"metadata of no model", &ModelMetadataRequest{}, "name: "},
		{"configuration of no model", &ModelConfigRequest{}, "name: "},
		{"statistics of all models", &ModelStatisticsRequest{}, ""},
		{"statistics of a long version", &ModelStatisticsRequest{Version: strings.Repeat("1", 129)}, "version: "},
		{"index", &RepositoryIndexRequest{}, ""},
		{"live", &ServerLiveRequest{}, ""},
	} {
		switch err := protovalidate.Validate(c.message); {
		case c.fault == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
			t.Errorf("%s: got %v, want %q", c.name, err, c.fault)
		}
	}
}
