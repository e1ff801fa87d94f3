package oip

import (
	"strings"
	"testing"
)

// TestRequestsOfRealClients: bodies as the clients of the protocol write them, of one row 1, 2, 3 each.
func TestRequestsOfRealClients(t *testing.T) {
	raw := "\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40"
	for _, c := range []struct {
		client, text, raw string
		header            bool // is sent though nothing is binary
		id                string
		binary            bool // the answer
	}{
		{client: "tritonclient.http", raw: raw, binary: true,
			text: `{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}}],"parameters":{"binary_data_output":true}}`},
		{client: "tritonclient.http with outputs", raw: raw, id: "1", binary: true,
			text: `{"id":"1","inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}}],"outputs":[{"name":"output","parameters":{"binary_data":true}}]}`},
		{client: "tritonclient.http with binary_data=False",
			text: `{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":[1.0,2.0,3.0]}],"outputs":[{"name":"output","parameters":{"binary_data":false}}]}`},
		{client: "tritonclient.http with a sequence, a priority and a time-out",
			text: `{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":[1.0,2.0,3.0]}],"parameters":{"sequence_id":7,"sequence_start":true,"sequence_end":false,"priority":1,"timeout":5000000},"outputs":[{"name":"output","parameters":{"binary_data":false}}]}`},
		{client: "an output against the request's parameter", raw: raw,
			text: `{"parameters":{"binary_data_output":true},"outputs":[{"name":"output","parameters":{"binary_data":false}}],"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}}]}`},
		{client: "an output that leaves it open", raw: raw, binary: true,
			text: `{"parameters":{"binary_data_output":true},"outputs":[{"name":"output"}],"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}}]}`},
		{client: "perf_analyzer with JSON", header: true, id: "0",
			text: `{"id":"0","inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":[1,2,3]}],"outputs":[{"name":"output"}]}`},
		{client: "perf_analyzer", raw: raw, id: "", binary: true,
			text: `{"id":"","parameters":{"binary_data_output":true},"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}}]}`},
		{client: "kserve", id: "b1e1a4de-0000-4000-8000-000000000000",
			text: `{"id": "b1e1a4de-0000-4000-8000-000000000000", "model_name": "loan", "inputs": [{"name": "input", "shape": [1, 3], "datatype": "FP32", "data": [[1.0, 2.0, 3.0]]}], "parameters": {"temperature": 0.5, "debug": {"on": [true, null]}}}`},
		{client: "kserve in binary", raw: raw, id: "7",
			text: `{"id":"7","model_name":"loan","inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12},"data":null}]}`},
		{client: "MLServer's",
			text: `{"id":null,"parameters":{"content_type":"np","headers":null},"inputs":[{"name":"input","shape":[1,3],"datatype":"FP64","parameters":{"content_type":"np"},"data":[1.0,2.0,3.0]}],"outputs":null}`},
		{client: "MLServer's with a data frame",
			text: `{"parameters":{"content_type":"pd"},"inputs":[{"name":"f0","shape":[1,1],"datatype":"INT64","parameters":null,"data":[1]},{"name":"f1","shape":[1,1],"datatype":"FP64","data":[2.0]},{"name":"f2","shape":[1],"datatype":"UINT8","data":[3]}],"outputs":[]}`},
		{client: "a person",
			text: "\n{ \"inputs\" : [ { \"name\" : \"input\" , \"datatype\" : \"INT32\" ,\r\n\t\"shape\" : [ 3 ] , \"data\" : [ 1 , 2 , 3 ] } ] }\n"},
		{client: "one who escapes", id: "a/é",
			text: `{"id":"a\/\u00e9","inputs":[{"n\u0061me":"\u0069nput","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`},
	} {
		header := -1
		if c.raw != "" || c.header {
			header = len(c.text)
		}
		var r Request
		sig := testSignature(3, FP32)
		err := r.ParseJSON([]byte(c.text+c.raw), header, testLimits)
		if err == nil {
			err = r.Bind(sig)
		}
		values, rows := r.Rows()
		if err != nil || rows != 1 || !same(values, []float64{1, 2, 3}) || string(r.ID()) != c.id {
			t.Errorf("%s: %d rows %v of id %q, %v", c.client, rows, values, r.ID(), err)
			continue
		}
		answer, header := r.AppendJSON(nil, sig, []float64{0.5})
		want := `{"model_name":"loan","model_version":"1","outputs":[{"name":"output","datatype":"FP32","shape":[1,1],"data":[0.5]}]}` + "\n"
		if c.binary {
			want = `{"model_name":"loan","model_version":"1","outputs":[{"name":"output","datatype":"FP32","shape":[1,1],"parameters":{"binary_data_size":4}}]}` + "\x00\x00\x00\x3f"
		}
		if c.id != "" {
			want = strings.Replace(want, `"1",`, `"1","id":"`+c.id+`",`, 1)
		}
		if string(answer) != want || (header == len(want)-4) != c.binary || (header == -1) == c.binary {
			t.Errorf("%s: header %d of\n     %q\nwant %q", c.client, header, answer, want)
		}
	}
}

// TestAModelWhoseOnlyFeatureIsCalledInput is asked for it by name or as a whole, which is the same.
func TestAModelWhoseOnlyFeatureIsCalledInput(t *testing.T) {
	sig := testSignature(1, FP64)
	sig.Features[0] = InputName
	sig.Column = func(name string) (int, bool) { return 0, name == InputName }
	var r Request
	for _, shape := range []string{"[2]", "[2,1]"} {
		err := r.ParseJSON([]byte(`{"inputs":[{"name":"input","shape":`+shape+`,"datatype":"FP32","data":[1,2]}]}`), -1, testLimits)
		if err == nil {
			err = r.Bind(sig)
		}
		if values, rows := r.Rows(); err != nil || rows != 2 || !same(values, []float64{1, 2}) {
			t.Errorf("%s: %d rows %v, %v", shape, rows, values, err)
		}
	}
}

// TestInfinityIsTakenByAModelInFloat64, which can compute with it, from what can say it.
func TestInfinityIsTakenByAModelInFloat64(t *testing.T) {
	var r Request
	err := r.ParseProto(oneTensor([]float64{1, inf}, 1, 2, FP32).proto(wireRaw), testLimits)
	if err == nil {
		err = r.Bind(testSignature(2, FP64))
	}
	if values, _ := r.Rows(); err != nil || !same(values, []float64{1, inf}) {
		t.Errorf("%v, %v", values, err)
	}
}
