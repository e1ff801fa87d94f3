package oip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	inferencepb "github.com/dougong-io/dougong/api/inference"
)

// refused checks an error's text, kind and length.
func refused(t *testing.T, what string, err error, kind Kind, want string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s is taken, want %s", what, want)
		return
	}
	if err.Error() != want {
		t.Errorf("%s:\n got %s\nwant %s", what, err, want)
	}
	var fault *Error
	if !errors.As(err, &fault) || fault.Kind != kind || !errors.Is(err, kind) {
		t.Errorf("%s: %v is not %v", what, err, kind)
	}
	if len(err.Error()) > 1024 || !utf8.ValidString(err.Error()) {
		t.Errorf("%s: an error of %d bytes: %q", what, len(err.Error()), err)
	}
}

const valid = `{"name":"input","shape":[1,3],"datatype":"FP32","data":[1,2,3]}`

// limited has room for three rows and four inputs.
var limited = Limits{MaxRows: 3, MaxInputs: 4}

// parseAndBind is for a model of three features.
func parseAndBind(r *Request, body []byte, header int, d Datatype) error {
	if err := r.ParseJSON(body, header, limited); err != nil {
		return err
	}
	return r.Bind(testSignature(3, d))
}

func TestJSONIsRefusedWithAReason(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, c := range []struct{ body, want string }{
		// What is no request.
		{``, "the body is not an inference request: at byte 0: an object expected, the document ends here"},
		{`null`, "the body is not an inference request: at byte 0: an object expected, not 'n'"},
		{`{"inputs":[` + valid + `]} x`, "the body is not an inference request: at byte 77: the end of the document expected, not 'x'"},
		{`{"inputs":[` + valid + `],"more":[1,]}`, "the body is not an inference request: at byte 86: a value expected, not ']'"},
		{`{}`, `inputs is missing or empty; expected one tensor "input", or one a feature`},
		{`{"inputs":[]}`, `inputs is missing or empty; expected one tensor "input", or one a feature`},
		{`{"inputs":null}`, "inputs: at byte 10: an array of inputs expected, not 'n'"},
		{`{"inputs":{}}`, "inputs: at byte 10: an array of inputs expected, not '{'"},
		{`{"inputs":[1]}`, "inputs[0]: at byte 11: an object expected, not '1'"},
		{`{"inputs":[null]}`, "inputs[0]: at byte 11: an object expected, not 'n'"},
		{`{"inputs":[` + valid + `],"inputs":[` + valid + `]}`, "inputs appears twice"},
		{"{\"inputs\":[" + valid + "],\"id\":\"\xff\"}", "id: at byte 82: the string is not valid UTF-8"},
		{`{"inputs":[` + valid + `],"id":7}`, "id: at byte 81: a string expected, not '7'"},
		{`{"id":"a","id":"b","inputs":[` + valid + `]}`, "id appears twice"},
		{`{"id":"` + strings.Repeat("i", 1025) + `","inputs":[` + valid + `]}`, "id of 1025 bytes; expected at most 1024"},
		{`{"inputs":[` + strings.Repeat(valid+",", 4) + valid + `]}`, "more than 4 inputs; expected one, or one a feature"},

		// What is no input.
		{`{"inputs":[{"shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`, "inputs[0]: name is missing"},
		{`{"inputs":[` + valid + `,{"data":[1,2,x]}]}`, "inputs[1]: at byte 88: a number expected, not 'x'"},
		{`{"inputs":[{"name":"input","datatype":"FP32","data":[1,2,3]}]}`, `input "input": shape is missing`},
		{`{"inputs":[{"name":"input","shape":[1,3],"data":[1,2,3]}]}`, `input "input": datatype is missing`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32"}]}`, `input "input": data is missing`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":null}]}`, `input "input": data is missing`},
		{`{"inputs":[{"name":"","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`, "inputs[0]: name of 0 bytes; expected 1 to 256"},
		{`{"inputs":[{"name":"` + long + `","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`, "inputs[0]: name of 300 bytes; expected 1 to 256"},
		{`{"inputs":[{"name":"input","name":"f0","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`, `input "input": name appears twice`},
		{`{"inputs":[{"name":"input","shape":[1,3],"shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`, `input "input": shape appears twice`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","datatype":"FP64","data":[1,2,3]}]}`, `input "input": datatype appears twice`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":[1,2,3],"data":[1,2,3]}]}`, `input "input": data appears twice`},
		{`{"inputs":[{"name":"input","parameters":{},"parameters":{},"shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`, `input "input": parameters appears twice`},

		// Datatypes.
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"BYTES","data":["a","b","c"]}]}`, `input "input": datatype BYTES is not supported; expected BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, BF16, FP32 or FP64`},
		{`{"inputs":[{"name":"input","shape":[1],"data":["a"],"datatype":"BYTES"}]}`, `input "input": at byte 47: a number expected, not '"'`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"fp32","data":[1,2,3]}]}`, `input "input": unknown datatype "fp32"; expected BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, BF16, FP32 or FP64`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"` + long + `","data":[1,2,3]}]}`, `input "input": unknown datatype "` + long[:64] + `"…; expected BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, BF16, FP32 or FP64`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":7,"data":[1,2,3]}]}`, `input "input": at byte 52: a string expected, not '7'`},

		// Shapes.
		{`{"inputs":[{"name":"input","shape":[],"datatype":"FP32","data":[1,2,3]}]}`, `input "input": shape has 0 dimensions; expected [rows, features], [features] for one row, or for a single feature [rows] or [rows, 1]`},
		{`{"inputs":[{"name":"input","shape":[1,1,3],"datatype":"FP32","data":[1,2,3]}]}`, `input "input": shape has 3 dimensions; expected [rows, features], [features] for one row, or for a single feature [rows] or [rows, 1]`},
		{`{"inputs":[{"name":"input","shape":[-1,3],"datatype":"FP32","data":[1,2,3]}]}`, `input "input": shape [-1, 3] has a negative dimension`},
		{`{"inputs":[{"name":"input","shape":[0,3],"datatype":"FP32","data":[]}]}`, `input "input": shape [0, 3] holds nothing; expected at least one row`},
		{`{"inputs":[{"name":"input","shape":[1,0],"datatype":"FP32","data":[]}]}`, `input "input": shape [1, 0] holds nothing; expected at least one row`},
		{`{"inputs":[{"name":"input","shape":[0],"datatype":"FP32","data":[]}]}`, `input "input": shape [0] holds nothing; expected at least one row`},
		{`{"inputs":[{"name":"input","shape":[1.5,2],"datatype":"FP32","data":[1,2,3]}]}`, `input "input": a dimension of shape is 1.5; expected an integer of at most 2⁵³`},
		{`{"inputs":[{"name":"input","shape":[1e300],"datatype":"FP32","data":[1,2,3]}]}`, `input "input": a dimension of shape is 1e+300; expected an integer of at most 2⁵³`},
		{`{"inputs":[{"name":"input","shape":["1"],"datatype":"FP32","data":[1,2,3]}]}`, `input "input": at byte 36: a number expected, not '"'`},
		{`{"inputs":[{"name":"input","shape":3,"datatype":"FP32","data":[1,2,3]}]}`, `input "input": at byte 35: an array of dimensions expected, not '3'`},
		{`{"inputs":[{"name":"input","shape":[2147483648],"datatype":"FP32","data":[1,2,3]}]}`, `input "input": shape [2147483648] has more elements than a request can hold`},
		{`{"inputs":[{"name":"input","shape":[9007199254740992,9007199254740992],"datatype":"FP32","data":[1,2,3]}]}`, `input "input": shape [9007199254740992, 9007199254740992] has more elements than a request can hold`},
		{`{"inputs":[{"name":"input","shape":[65536,65536],"datatype":"FP32","data":[1,2,3]}]}`, `input "input": shape [65536, 65536] has more elements than a request can hold`},
		{`{"inputs":[{"name":"input","shape":[2,3],"datatype":"FP32","data":[1,2,3]}]}`, `input "input": shape [2, 3] takes 6 values; data has 3`},
		{`{"inputs":[{"name":"input","shape":[3],"datatype":"FP32","data":[1,2,3,4]}]}`, `input "input": shape [3] takes 3 values; data has 4`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":[]}]}`, `input "input": shape [1, 3] takes 3 values; data has 0`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":[[]]}]}`, `input "input": shape [1, 3] takes 3 values; data has 0`},

		// Data.
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":{}}]}`, `input "input": at byte 66: an array expected, not '{'`},
		{`{"inputs":[{"name":"input","shape":[2,3],"datatype":"FP32","data":[[1,2,3],[4,5]]}]}`, `input "input": data[1] has 2 values, data[0] has 3; expected as many in each`},
		{`{"inputs":[{"name":"input","shape":[2,3],"datatype":"FP32","data":[[1,2],[3,4],[5,6]]}]}`, `input "input": data is nested as [3, 2], shape is [2, 3]`},
		{`{"inputs":[{"name":"input","shape":[3],"datatype":"FP32","data":[[1,2,3]]}]}`, `input "input": data is nested as [1, 3], shape is [3]`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":[[[1,2,3]]]}]}`, `input "input": at byte 68: a number expected, not '['`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":[[1,2],3]}]}`, `input "input": at byte 73: an array expected, not '3'`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":[1,[2,3]]}]}`, `input "input": at byte 69: a number expected, not '['`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":[1,2,Infinity]}]}`, `input "input": at byte 71: a number expected; JSON has no Infinity, a missing value is null`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"INT64","data":[1,2,NaN]}]}`, `input "input": element 2 of data is null; only FP16, BF16, FP32 and FP64 have missing values`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP64","data":[1,2,1e999]}]}`, `input "input": at byte 71: number out of float64 range`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":[true,false,true]}]}`, `input "input": data is of true and false; its datatype is FP32`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"BOOL","data":[true,0,true]}]}`, `input "input": at byte 72: true or false expected, not '0'`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"BOOL","data":[0,true,0]}]}`, `input "input": at byte 69: a number expected, not 't'`},
		{`{"inputs":[{"name":"input","shape":[2,2],"datatype":"BOOL","data":[[0,1],[true,false]]}]}`, `input "input": data has numbers as well as true and false; expected one or the other`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"BOOL","data":[0,1,2]}]}`, `input "input": element 2 of data is 2, which is out of the range of BOOL`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"INT8","data":[1,-129,2]}]}`, `input "input": element 1 of data is -129, which is out of the range of INT8`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"UINT64","data":[1,2,-1]}]}`, `input "input": element 2 of data is -1, which is out of the range of UINT64`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"INT32","data":[1,2,0.5]}]}`, `input "input": element 2 of data is 0.5, which is no integer; its datatype is INT32`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"INT64","data":[1,null,3]}]}`, `input "input": element 1 of data is null; only FP16, BF16, FP32 and FP64 have missing values`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP16","data":[1,2,65520]}]}`, `input "input": element 2 of data is 65520, which is out of the range of FP16`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":[1,2,1e39]}]}`, `input "input": element 2 of data is 1e+39, which is out of the range of FP32`},
		{`{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP64","data":[1,2,1e39]}]}`, `row 0, "f2": 1e+39 is out of float32 range, in which model loan computes`},

		// Parameters.
		{`{"inputs":[` + valid + `],"parameters":7}`, "parameters: at byte 89: an object of parameters expected, not '7'"},
		{`{"inputs":[` + valid + `],"parameters":{"binary_data_output":"yes"}}`, `parameter binary_data_output: at byte 111: true or false expected, not '"'`},
		{`{"inputs":[` + valid + `],"parameters":{"classification":3}}`, "parameter classification is not supported; ask for the output itself"},
		{`{"inputs":[` + valid + `],"parameters":{},"parameters":{}}`, "parameters appears twice"},
		{`{"inputs":[{"name":"input","parameters":{"shared_memory_region":"r"},"shape":[1,3],"datatype":"FP32"}]}`, `parameter "shared_memory_region" is not supported; send the tensor in the request`},
		{`{"inputs":[{"name":"input","parameters":{"binary_data_size":12},"shape":[1,3],"datatype":"FP32"}]}`, `input "input": it has binary_data_size, but the request has no Inference-Header-Content-Length`},

		// Outputs.
		{`{"inputs":[` + valid + `],"outputs":[{"name":"scores"}]}`, `unknown output "scores"; expected "output", or no outputs for all`},
		{`{"inputs":[` + valid + `],"outputs":[{"name":"output"},{"name":"output"}]}`, `output "output" is asked for twice`},
		{`{"inputs":[` + valid + `],"parameters":{"binary_data_output":true,"binary_data_output":false}}`, `parameter binary_data_output appears twice`},
		{`{"inputs":[` + valid + `],"outputs":[{"name":"output","parameters":{"binary_data":true,"binary_data":true}}]}`, `parameter binary_data appears twice`},
		{`{"inputs":[` + valid + `],"outputs":[{"name":"output"}],"outputs":null}`, `outputs appears twice`},
		{`{"inputs":[` + valid + `],"outputs":[{"name":"output","name":"output"}]}`, `name of an output appears twice`},
		{`{"inputs":[` + valid + `],"outputs":[{"name":"output","parameters":{},"parameters":null}]}`, `parameters of an output appears twice`},
		{`{"inputs":[` + valid + `],"outputs":[{}]}`, `an output has no name; expected the model's, or no outputs for all`},
		{`{"inputs":[` + valid + `],"outputs":["output"]}`, `outputs: at byte 87: an object expected, not '"'`},
		{`{"inputs":[` + valid + `],"outputs":[{"name":"output","parameters":{"classification":2}}]}`, "parameter classification is not supported; ask for the output itself"},
		{`{"inputs":[` + valid + `],"outputs":[{"name":"output","parameters":{"shared_memory_offset":2}}]}`, `parameter "shared_memory_offset" is not supported; send the tensor in the request`},
		{`{"inputs":[` + valid + `],"outputs":[{"name":"output","parameters":{"binary_data":1}}]}`, `parameter binary_data: at byte 132: true or false expected, not '1'`},

		// What the model does not take.
		{`{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP32","data":[1,2]}]}`, `input "input": shape is [1, 2]; model loan version 1 expects [rows, 3]: f0, f1, f2`},
		{`{"inputs":[{"name":"input","shape":[2],"datatype":"FP32","data":[1,2]}]}`, `input "input": shape is [2]; model loan version 1 expects [rows, 3]: f0, f1, f2`},
		{`{"inputs":[{"name":"input-0","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`, `unknown input "input-0"; model loan version 1 expects "input" of shape [rows, 3], or one input a feature: f0, f1, f2`},
		{`{"inputs":[` + valid + `,` + valid + `]}`, `input "input" is one of 2 inputs; expected it alone, or one input a feature`},
		{`{"inputs":[` + column("f0", 1) + `,` + valid + `]}`, `input "input" is one of 2 inputs; expected it alone, or one input a feature`},
		{`{"inputs":[` + column("f0", 1) + `,` + column("f2", 1) + `]}`, `input "f1" is missing; model loan version 1 expects 3 features, the request has 2`},
		{`{"inputs":[` + column("f0", 1) + `,` + column("f1", 1) + `,` + column("f0", 1) + `]}`, `input "f0": it appears twice`},
		{`{"inputs":[` + column("f0", 1) + `,` + column("f1", 2) + `,` + column("f2", 1) + `]}`, `input "f1": it has 2 rows, input "f0" has 1; expected as many in each`},
		{`{"inputs":[{"name":"f0","shape":[1,2],"datatype":"FP32","data":[1,2]}]}`, `input "f0": shape is [1, 2]; a feature's is [rows] or [rows, 1]`},
	} {
		var r Request
		refused(t, c.body, parseAndBind(&r, []byte(c.body), -1, FP32), Invalid, c.want)
	}
}

// column is an input of one feature.
func column(name string, rows int) string {
	return fmt.Sprintf(`{"name":%q,"shape":[%d],"datatype":"FP32","data":[%s]}`, name, rows, strings.TrimSuffix(strings.Repeat("1,", rows), ","))
}

func TestTooManyRowsAreRefusedAsThat(t *testing.T) {
	const want = "more than 3 rows; send them in several requests"
	var r Request
	for _, body := range []string{
		`{"inputs":[{"name":"input","shape":[4,3],"datatype":"FP32","data":[1,2,3,4,5,6,7,8,9,10,11,12]}]}`,
		`{"inputs":[{"name":"input","data":[[1],[2],[3],[4],`,
		`{"inputs":[` + column("f0", 4) + `,` + column("f1", 4) + `,` + column("f2", 4) + `]}`,
	} {
		refused(t, body, parseAndBind(&r, []byte(body), -1, FP32), TooManyRows, want)
	}
	three := oneTensor(make([]float64, 9), 3, 3, FP64)
	if err := parseAndBind(&r, three.json(true), -1, FP32); err != nil {
		t.Errorf("three rows: %v", err)
	}
	four := oneTensor(make([]float64, 12), 4, 3, FP64)
	body, header := four.binary()
	refused(t, "binary", parseAndBind(&r, body, header, FP32), TooManyRows, want)
	refused(t, "raw", r.ParseProto(four.proto(wireRaw), limited), TooManyRows, want)
	refused(t, "typed", r.ParseProto(four.proto(wirePacked), limited), TooManyRows, want)
	flat := four.columns()
	for i := range flat.tensors {
		flat.tensors[i].shape = []int64{4} // which could be four features
	}
	if err := r.ParseProto(flat.proto(wireRaw), limited); err != nil {
		t.Fatal(err)
	}
	refused(t, "columns", r.Bind(testSignature(3, FP32)), TooManyRows, want)
	// Nothing passes where nothing may.
	refused(t, "no limits", r.ParseJSON(three.json(true), -1, Limits{}), Invalid, "more than 0 inputs; expected one, or one a feature")
	one := []byte(`{"inputs":[{"name":"input","shape":[3],"datatype":"FP32","data":[1,2,3]}]}`)
	if err := r.ParseJSON(one, -1, Limits{MaxInputs: 1}); err != nil {
		t.Fatal(err)
	}
	refused(t, "one row", r.Bind(testSignature(3, FP32)), TooManyRows, "more than 0 rows; send them in several requests")
	refused(t, "no rows", r.ParseJSON(three.json(false), -1, Limits{MaxInputs: 1}), TooManyRows, "more than 0 rows; send them in several requests")
}

func TestBinaryIsRefusedWithAReason(t *testing.T) {
	raw := string(make([]byte, 12))
	input := func(rest string) string {
		return `{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32",` + rest + `}]}`
	}
	whole := input(`"parameters":{"binary_data_size":12}`)
	for _, c := range []struct {
		text, raw string
		header    int // 0: the length of text
		want      string
	}{
		{whole, raw, -2, "Inference-Header-Content-Length is -2; the body has 110 bytes"},
		{whole, raw, 111, "Inference-Header-Content-Length is 111; the body has 110 bytes"},
		{whole, raw, 110, "the body is not an inference request: at byte 98: the end of the document expected, not '\\x00'"},
		{whole, raw, 96, "inputs: at byte 96: ',' or ']' expected, the document ends here"},
		{whole, raw[:11], 0, `input "input": binary_data_size is 12; 11 bytes are left of the 11 behind the JSON`},
		{whole, raw + "more", 0, "4 bytes are left behind the binary data of the inputs; expected binary_data_size of the inputs to add up to 16"},
		{input(`"data":[1,2,3]`), "rest", 0, "4 bytes are left behind the binary data of the inputs; expected binary_data_size of the inputs to add up to 4"},
		{input(`"parameters":{"binary_data_size":11}`), raw[:11], 0, `input "input": shape [1, 3] of FP32 takes 12 bytes; the binary data has 11`},
		{input(`"parameters":{"binary_data_size":0}`), "", 0, `input "input": shape [1, 3] of FP32 takes 12 bytes; the binary data has 0`},
		{input(`"parameters":{"binary_data_size":-12}`), raw, 0, `input "input": binary_data_size is -12; expected a number of bytes`},
		{input(`"parameters":{"binary_data_size":1e18}`), raw, 0, `input "input": binary_data_size is 1e+18; expected a number of bytes`},
		{input(`"parameters":{"binary_data_size":"12"}`), raw, 0, `input "input": at byte 92: a number expected, not '"'`},
		{input(`"parameters":{"binary_data_size":12,"binary_data_size":12}`), raw, 0, `input "input": binary_data_size appears twice`},
		{input(`"data":[1,2,3],"parameters":{"binary_data_size":12}`), raw, 0, `input "input": both data and binary_data_size; expected one of them`},
		{strings.Replace(whole, "[1,3]", "[65536,65536]", 1), raw, 0, `input "input": shape [65536, 65536] has more elements than a request can hold`},
		{strings.Replace(whole, "[1,3]", "[1000000,3]", 1), raw, 0, `input "input": shape [1000000, 3] of FP32 takes 12000000 bytes; the binary data has 12`},
		{strings.Replace(whole, "FP32", "BYTES", 1), raw, 0, `input "input": datatype BYTES is not supported; expected BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, BF16, FP32 or FP64`},
		{`{"inputs":[{"name":"input","shape":[3],"datatype":"BOOL","parameters":{"binary_data_size":3}}]}`, "\x00\x01\x02", 0, `input "input": element 2 is 2; a BOOL is 0 or 1`},
		{whole, raw[:8] + "\x00\x00\x80\x7f", 0, `row 0, "f2": +Inf is out of float32 range, in which model loan computes`},
		{`{"inputs":[{"name":"input","shape":[3],"datatype":"FP16","parameters":{"binary_data_size":6}}]}`, raw[:4] + "\x00\xfc", 0, `row 0, "f2": -Inf is out of float32 range, in which model loan computes`},
	} {
		if c.header == 0 {
			c.header = len(c.text)
		}
		var r Request
		refused(t, c.text, parseAndBind(&r, []byte(c.text+c.raw), c.header, FP32), Invalid, c.want)
	}
}

// request is a ModelInferRequest with one change.
func request(change func(m *inferencepb.ModelInferRequest)) []byte {
	m := &inferencepb.ModelInferRequest{
		ModelName: "loan",
		Inputs:    []*inferencepb.ModelInferRequest_InferInputTensor{{Name: "input", Datatype: "FP32", Shape: []int64{1, 3}}},
	}
	m.Inputs[0].Contents = &inferencepb.InferTensorContents{Fp32Contents: []float32{1, 2, 3}}
	change(m)
	body, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return body
}

// makeRaw takes the contents away.
func makeRaw(m *inferencepb.ModelInferRequest, raws ...[]byte) {
	for _, in := range m.Inputs {
		in.Contents = nil
	}
	m.RawInputContents = raws
}

func TestProtoIsRefusedWithAReason(t *testing.T) {
	type infer = inferencepb.ModelInferRequest
	parameter := func(name string) map[string]*inferencepb.InferParameter {
		return map[string]*inferencepb.InferParameter{name: {ParameterChoice: &inferencepb.InferParameter_Int64Param{Int64Param: 1}}}
	}
	many := parameter("x")
	for i := range 256 {
		many[featureName(i)] = many["x"]
	}
	for _, c := range []struct {
		change func(m *infer)
		want   string
	}{
		{func(m *infer) { m.ModelName = "" }, "model_name is missing"},
		{func(m *infer) { m.ModelName = strings.Repeat("m", 129) }, "model_name of 129 bytes; expected at most 128"},
		{func(m *infer) { m.ModelVersion = strings.Repeat("1", 129) }, "model_version of 129 bytes; expected at most 128"},
		{func(m *infer) { m.Id = strings.Repeat("i", 1025) }, "id of 1025 bytes; expected at most 1024"},
		{func(m *infer) { m.Inputs = nil }, `inputs is empty; expected one tensor "input", or one a feature`},
		{func(m *infer) { m.Inputs = append(m.Inputs, m.Inputs[0], m.Inputs[0], m.Inputs[0], m.Inputs[0]) }, "more than 4 inputs; expected one, or one a feature"},
		{func(m *infer) { makeRaw(m, nil, nil, nil, nil, nil) }, "more than 4 raw_input_contents; expected one an input"},
		{func(m *infer) { m.Inputs[0].Name = "" }, "inputs[0]: name is missing"},
		{func(m *infer) { m.Inputs[0].Name = strings.Repeat("n", 257) }, "inputs[0]: name of 257 bytes; expected 1 to 256"},
		{func(m *infer) { m.Inputs[0].Datatype = "" }, `input "input": datatype is missing`},
		{func(m *infer) { m.Inputs[0].Datatype = "FLOAT" }, `input "input": unknown datatype "FLOAT"; expected BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, BF16, FP32 or FP64`},
		{func(m *infer) { m.Inputs[0].Datatype = "BYTES" }, `input "input": datatype BYTES is not supported; expected BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, BF16, FP32 or FP64`},
		{func(m *infer) { m.Inputs[0].Shape = nil }, `input "input": shape has 0 dimensions; expected [rows, features], [features] for one row, or for a single feature [rows] or [rows, 1]`},
		{func(m *infer) { m.Inputs[0].Shape = []int64{-1, 3} }, `input "input": shape [-1, 3] has a negative dimension`},
		{func(m *infer) { m.Inputs[0].Shape = []int64{0, 3} }, `input "input": shape [0, 3] holds nothing; expected at least one row`},
		{func(m *infer) { m.Inputs[0].Shape = []int64{math.MaxInt64, math.MaxInt64} }, `input "input": shape [9223372036854775807, 9223372036854775807] has more elements than a request can hold`},
		{func(m *infer) { m.Inputs[0].Shape = []int64{2, 3} }, `input "input": shape [2, 3] takes 6 values; fp32_contents has 3`},
		{func(m *infer) { m.Inputs[0].Contents = nil }, `input "input": shape [1, 3] takes 3 values; fp32_contents has 0`},
		{func(m *infer) { m.Inputs[0].Datatype = "FP64" }, `input "input": contents of FP64 are expected in fp64_contents, not in fp32_contents`},
		{func(m *infer) { m.Inputs[0].Datatype = "FP16" }, `input "input": FP16 travels in raw_input_contents only`},
		{func(m *infer) { m.Inputs[0].Contents.BoolContents = []bool{true} }, `input "input": contents has bool_contents and fp32_contents; expected the one of its datatype`},
		{func(m *infer) { m.Inputs[0].Contents = &inferencepb.InferTensorContents{BytesContents: [][]byte{nil}} }, `input "input": contents of FP32 are expected in fp32_contents, not in bytes_contents`},
		{func(m *infer) {
			m.Inputs[0].Datatype = "INT8"
			m.Inputs[0].Contents = &inferencepb.InferTensorContents{IntContents: []int32{1, 2, 300}}
		}, `input "input": element 2 of int_contents is 300, which is out of the range of INT8`},
		{func(m *infer) {
			m.Inputs[0].Datatype = "UINT16"
			m.Inputs[0].Contents = &inferencepb.InferTensorContents{UintContents: []uint32{1, 65536, 3}}
		}, `input "input": element 1 of uint_contents is 65536, which is out of the range of UINT16`},
		{func(m *infer) { m.Inputs[0].Contents.Fp32Contents[1] = float32(math.Inf(-1)) }, `row 0, "f1": -Inf is out of float32 range, in which model loan computes`},
		{func(m *infer) {
			m.Inputs[0].Datatype = "FP64"
			m.Inputs[0].Contents = &inferencepb.InferTensorContents{Fp64Contents: []float64{1, 2, 1e300}}
		}, `row 0, "f2": 1e+300 is out of float32 range, in which model loan computes`},

		{func(m *infer) { m.RawInputContents = [][]byte{make([]byte, 12)} }, `input "input": it has contents, and the request has raw_input_contents; expected one of them`},
		{func(m *infer) {
			m.RawInputContents = [][]byte{make([]byte, 12)}
			m.Inputs[0].Contents = &inferencepb.InferTensorContents{}
		}, `input "input": it has contents, and the request has raw_input_contents; expected one of them`},
		{func(m *infer) { makeRaw(m, make([]byte, 12), make([]byte, 12)) }, "raw_input_contents has 2 elements; expected one for each of 1 inputs"},
		{func(m *infer) { makeRaw(m, make([]byte, 11)) }, `input "input": shape [1, 3] of FP32 takes 12 bytes; the binary data has 11`},

		{func(m *infer) { m.Parameters = parameter("shared_memory_region") }, `parameter "shared_memory_region" is not supported; send the tensor in the request`},
		{func(m *infer) { m.Inputs[0].Parameters = parameter("shared_memory_byte_size") }, `parameter "shared_memory_byte_size" is not supported; send the tensor in the request`},
		{func(m *infer) { m.Parameters = parameter("") }, "the name of a parameter has 0 bytes; expected 1 to 256"},
		{func(m *infer) { m.Parameters = parameter(strings.Repeat("p", 257)) }, "the name of a parameter has 257 bytes; expected 1 to 256"},
		{func(m *infer) { m.Parameters = many }, "more than 256 parameters in one place"},
		{func(m *infer) {
			m.Outputs = []*inferencepb.ModelInferRequest_InferRequestedOutputTensor{{Name: "output", Parameters: parameter("classification")}}
		}, "parameter classification is not supported; ask for the output itself"},
		{func(m *infer) {
			m.Outputs = []*inferencepb.ModelInferRequest_InferRequestedOutputTensor{{Name: "output"}, {Name: "output"}}
		}, `output "output" is asked for twice`},
		{func(m *infer) { m.Outputs = []*inferencepb.ModelInferRequest_InferRequestedOutputTensor{{}} }, `the name of an output has 0 bytes; expected 1 to 256`},
		{func(m *infer) {
			m.Outputs = []*inferencepb.ModelInferRequest_InferRequestedOutputTensor{{Name: "output"}, {Name: "scores"}}
		}, `outputs "output" and "scores" are asked for; a model has one`},
		{func(m *infer) { m.Inputs[0].Shape = []int64{3, 1} }, `input "input": shape is [3, 1]; model loan version 1 expects [rows, 3]: f0, f1, f2`},
	} {
		var r Request
		err := r.ParseProto(request(c.change), limited)
		if err == nil {
			err = r.Bind(testSignature(3, FP32))
		}
		refused(t, "the request", err, Invalid, c.want)
	}
}

// TestMalformedProtoIsRefused: what no protobuf library would write.
func TestMalformedProtoIsRefused(t *testing.T) {
	field := func(num protowire.Number, value []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), value)
	}
	input := func(rest ...[]byte) []byte {
		start := bytes.Join([][]byte{field(1, []byte("input")), field(2, []byte("FP32")), field(3, []byte{1, 3})}, nil)
		return append(field(1, []byte("loan")), field(5, append(start, bytes.Join(rest, nil)...))...)
	}
	for want, body := range map[string][]byte{
		"malformed ModelInferRequest":                                     []byte("\x0a\x05loan"),
		"malformed ModelInferRequest: in inputs":                          input([]byte{0x1a, 0x01, 0x80}),
		"malformed ModelInferRequest: in contents":                        input(field(5, field(6, make([]byte, 11)))),
		"malformed ModelInferRequest: in parameters":                      field(4, []byte{0x0a, 0x05}),
		"malformed ModelInferRequest: in outputs":                         field(6, []byte{0x0c}),
		"model_name is not valid UTF-8":                                   field(1, []byte("\xff")),
		"model_version is not valid UTF-8":                                field(2, []byte("\xff")),
		"id is not valid UTF-8":                                           field(3, []byte("\xff")),
		"the name of a parameter is not valid UTF-8":                      field(4, field(1, []byte("\xff"))),
		"string_param of a parameter is not valid UTF-8":                  field(4, append(field(1, []byte("p")), field(2, field(3, []byte("\xff")))...)),
		"the name of an input is not valid UTF-8":                         field(5, field(1, []byte("\xff"))),
		"the datatype of an input is not valid UTF-8":                     field(5, field(2, []byte("\xff"))),
		"the name of an output is not valid UTF-8":                        field(6, field(1, []byte("\xff"))),
		"model_name is missing":                                           {},
		`input "input": shape [1, 3] takes 3 values; fp32_contents has 0`: input([]byte{0x2d, 0, 0, 0, 0}), // contents as fixed32: a field that nobody knows
	} {
		var r Request
		refused(t, string(body), r.ParseProto(body, limited), Invalid, want)
	}
	for _, body := range [][]byte{
		protowire.AppendVarint(protowire.AppendVarint(nil, uint64(protowire.MaxValidNumber+1)<<3), 0), // a field number too large
		{0x00, 0x00},       // or too small
		{0x0c},             // the end of a group that did not begin
		{0x0b, 0x14},       // or of another
		{0x0f, 0x00},       // a wire type that there is not
		{0x08, 0x80, 0x80}, // a varint that does not end
	} {
		var r Request
		refused(t, fmt.Sprintf("%x", body), r.ParseProto(body, limited), Invalid, "malformed ModelInferRequest")
		if err := proto.Unmarshal(body, &inferencepb.ModelInferRequest{}); err == nil {
			t.Errorf("the library takes %x", body)
		}
	}
}

// TestFloat32RangeIsThatOfRounding: the largest float64 that rounds to a finite float32 passes, the next does not.
func TestFloat32RangeIsThatOfRounding(t *testing.T) {
	var r Request
	for _, sign := range []float64{1, -1} {
		for _, form := range []wireForm{wireRaw, wirePacked, wireUnpacked} {
			for x, passes := range map[float64]bool{sign * math.Nextafter(beyondFloat32, 0): true, sign * beyondFloat32: false, sign * inf: false} {
				if finite := !math.IsInf(float64(float32(x)), 0); finite != passes {
					t.Fatalf("%v rounds to a finite float32: %v", x, finite)
				}
				err := r.ParseProto(oneTensor([]float64{1, x, 3}, 1, 3, FP64).proto(form), limited)
				if err == nil {
					err = r.Bind(testSignature(3, FP32))
				}
				if (err == nil) != passes {
					t.Errorf("%v: %v", x, err)
				}
				if err := r.Bind(testSignature(3, FP64)); err != nil {
					t.Errorf("%v for a model in float64: %v", x, err)
				}
			}
		}
	}
}

// TestALongNameIsQuotedInPart, and never in the middle of a character.
func TestALongNameIsQuotedInPart(t *testing.T) {
	name := strings.Repeat("x", 62) + "日本" // the first character ends after byte 65
	var r Request
	err := parseAndBind(&r, []byte(`{"inputs":[{"name":"`+name+`","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`), -1, FP32)
	refused(t, name, err, Invalid, `unknown input "`+name[:62]+`"…; model loan version 1 expects "input" of shape [rows, 3], or one input a feature: f0, f1, f2`)
	sig := testSignature(12, FP32)
	sig.Features[1] = strings.Repeat("y", 100)
	if err := r.ParseJSON([]byte(`{"inputs":[`+valid+`]}`), -1, limited); err != nil {
		t.Fatal(err)
	}
	refused(t, "three of twelve", r.Bind(sig), Invalid, `input "input": shape is [1, 3]; model loan version 1 expects [rows, 12]: f0, `+strings.Repeat("y", 64)+`…, f2, f3, f4, f5, f6, f7, …`)
}

func TestKindsAreErrors(t *testing.T) {
	if Invalid.Error() != "invalid inference request" || TooManyRows.Error() != "too many rows" || Kind(9).Error() != "unknown kind of fault" {
		t.Error(Invalid, TooManyRows, Kind(9))
	}
	if errors.Is(tooManyRows(1), Invalid) {
		t.Error("too many rows are not invalid")
	}
}

// TestLastOfAFieldThatComesTwiceCounts: encoders may write a field again to change it, and a library that reads takes
// the last, with messages merged.
func TestLastOfAFieldThatComesTwiceCounts(t *testing.T) {
	field := func(num protowire.Number, value string) string {
		return string(protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), []byte(value)))
	}
	long := strings.Repeat("x", 2000)
	floats := string(binary.LittleEndian.AppendUint32(nil, math.Float32bits(7)))
	rest := field(3, "\x01") + field(3, "\x03") + field(5, "") + field(5, field(6, floats)) + field(5, field(6, floats+floats))
	for what, c := range map[string]struct{ wrong, right string }{
		"model_name":    {field(1, long), field(1, "loan")},
		"model_version": {field(2, long), field(2, "1")},
		"id":            {field(3, long), field(3, "a")},
	} {
		whole := field(1, "loan") + field(5, field(1, "input")+field(2, "FP32")+rest)
		lastCounts(t, what, whole+c.wrong+c.right, whole+c.right+c.wrong)
	}
	for what, c := range map[string]struct{ wrong, right string }{
		"name":         {field(1, long), field(1, "input")},
		"no name":      {field(1, ""), field(1, "input")},
		"datatype":     {field(2, "FLOAT"), field(2, "FP32")},
		"no datatype":  {field(2, ""), field(2, "FP32")},
		"a known type": {field(2, "BYTES"), field(2, "FP32")},
	} {
		in := field(1, "input") + field(2, "FP32") + rest
		lastCounts(t, what, field(1, "loan")+field(5, in+c.wrong+c.right), field(1, "loan")+field(5, in+c.right+c.wrong))
	}
	whole := field(1, "loan") + field(5, field(1, "input")+field(2, "FP32")+rest)
	lastCounts(t, "the name of an output", whole+field(6, field(1, "other")+field(1, "output")), whole+field(6, field(1, "output")+field(1, "other")))
	for _, refused := range []string{long, "", "classification"} {
		lastCounts(t, "the name of a parameter", whole+field(4, field(1, refused)+field(1, "p")), whole+field(4, field(1, "p")+field(1, refused)))
	}
}

// lastCounts: of two bodies with the same fields in another order, the library and we take the one and not the other.
func lastCounts(t *testing.T, what, right, wrong string) {
	t.Helper()
	var r Request
	err := r.ParseProto([]byte(right), limited)
	if err == nil {
		err = r.Bind(testSignature(3, FP32))
	}
	if rows, _ := r.Rows(); err != nil || !same(rows, []float64{7, 7, 7}) {
		t.Errorf("%s: %v, %v", what, rows, err)
	}
	checkProto(t, []byte(right)) // against the library
	err = r.ParseProto([]byte(wrong), limited)
	if err == nil {
		err = r.Bind(testSignature(3, FP32))
	}
	if err == nil {
		t.Errorf("%s: the first counts", what)
	}
}
