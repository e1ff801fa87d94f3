package oip

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	inferencepb "github.com/dougong-io/dougong/api/inference"
)

// TestTensorsAreCalledAsTheModelCallsThem: in requests, in what is said of them, and in answers, in every form.
func TestTensorsAreCalledAsTheModelCallsThem(t *testing.T) {
	sig := testSignature(3, FP32)
	sig.Input, sig.Output = "image", `a "name"`
	outputs := make([]float64, sig.Outputs)
	body := func(input, output string) string {
		return `{"inputs":[{"name":"` + input + `","datatype":"FP32","shape":[1,3],"data":[1,2,3]}],"outputs":[{"name":"` + output + `"}]}`
	}
	var r Request
	for range 2 { // the second time by the head of the first
		r.Reset()
		if err := r.ParseJSON([]byte(body("image", `a \"name\"`)), -1, limited); err != nil {
			t.Fatal(err)
		}
		if err := r.Bind(sig); err != nil {
			t.Fatal(err)
		}
		answer, _ := r.AppendJSON(nil, sig, outputs)
		if !strings.Contains(string(answer), `"outputs":[{"name":"a \"name\"","datatype"`) || len(answer) > r.AnswerBytes(sig) {
			t.Errorf("%s", answer)
		}
	}
	for name, c := range map[string]struct{ body, says string }{
		"our name of the input":  {body("input", `a \"name\"`), `unknown input "input"; model loan version 1 expects "image" of shape [rows, 3]`},
		"our name of the output": {body("image", "output"), `unknown output "output"; expected "a \"name\"", or no outputs for all`},
	} {
		r.Reset()
		err := r.ParseJSON([]byte(c.body), -1, limited)
		if err == nil {
			err = r.Bind(sig)
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	message, err := proto.Marshal(&inferencepb.ModelInferRequest{
		ModelName: "loan", Outputs: []*inferencepb.ModelInferRequest_InferRequestedOutputTensor{{Name: sig.Output}},
		Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{{Name: "image", Datatype: "FP32", Shape: []int64{1, 3}, Contents: &inferencepb.InferTensorContents{Fp32Contents: []float32{1, 2, 3}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Reset()
	if err := r.ParseProto(message, limited); err != nil {
		t.Fatal(err)
	}
	if err := r.Bind(sig); err != nil {
		t.Fatal(err)
	}
	var answer inferencepb.ModelInferResponse
	if err := proto.Unmarshal(r.AppendProto(nil, sig, outputs), &answer); err != nil || answer.Outputs[0].Name != sig.Output {
		t.Errorf("%v %v", &answer, err)
	}
}
