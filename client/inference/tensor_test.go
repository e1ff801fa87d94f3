package inferenceclient

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

// each is a tensor of each datatype, with what is at its edges.
func each() []Tensor {
	return []Tensor{
		NewTensor("BOOL", []bool{true, false, true, false}, 2, 2),
		NewTensor("INT8", []int8{math.MinInt8, -1, 0, math.MaxInt8}, 2, 2),
		NewTensor("INT16", []int16{math.MinInt16, -1, 0, math.MaxInt16}, 2, 2),
		NewTensor("INT32", []int32{math.MinInt32, -1, 0, math.MaxInt32}, 2, 2),
		NewTensor("INT64", []int64{math.MinInt64, -1, 0, math.MaxInt64}, 2, 2),
		NewTensor("UINT8", []uint8{0, 1, 2, math.MaxUint8}, 2, 2),
		NewTensor("UINT16", []uint16{0, 1, 2, math.MaxUint16}, 2, 2),
		NewTensor("UINT32", []uint32{0, 1, 2, math.MaxUint32}, 2, 2),
		NewTensor("UINT64", []uint64{0, 1, 2, math.MaxUint64}, 2, 2),
		NewTensor("FP32", []float32{-0.1, 1e-45, math.MaxFloat32, 3}, 2, 2),
		NewTensor("FP64", []float64{-0.1, 5e-324, math.MaxFloat64, 3}, 2, 2),
		NewTensor("BYTES", []string{"", "a\"\\]\n", "七,[", "plain"}, 2, 2),
		NewTensor("FP16", []Float16{0x3c00, 0xc000, 0x7bff, 0x0001}, 2, 2),
		NewTensor("BF16", []BFloat16{0x3f80, 0xc000, 0x7f7f, 0x0001}, 2, 2),
		NewTensor("FP32", []float32{}, 0, 2),
		NewTensor("INT64", []int64(nil)),
	}
}

func TestTensorsComeBackAsTheyWere(t *testing.T) {
	for _, tensor := range each() {
		if err := tensor.check(); err != nil {
			t.Fatal(err)
		}
		if tensor.datatype != tensor.name {
			t.Errorf("%s has datatype %s", tensor.name, tensor.datatype)
		}
		raw := tensor.appendRaw(nil)
		if len(raw) != tensor.rawSize() {
			t.Errorf("%s: %d bytes, not %d", tensor.name, len(raw), tensor.rawSize())
		}
		back, err := parseRaw(tensor.datatype, raw, tensor.length())
		if err != nil || !reflect.DeepEqual(back, tensor.values) {
			t.Errorf("%s in binary: %v %v", tensor.name, back, err)
		}
		for _, damaged := range [][]byte{append(append([]byte{}, raw...), 0), raw[:max(0, len(raw)-1)]} {
			if _, err := parseRaw(tensor.datatype, damaged, tensor.length()); err == nil && len(raw) > 0 {
				t.Errorf("%s: %d bytes are accepted for %d", tensor.name, len(damaged), len(raw))
			}
		}
		text, err := tensor.appendJSON(nil)
		if err != nil || !json.Valid(text) {
			t.Fatalf("%s: %s %v", tensor.name, text, err)
		}
		if tensor.datatype == "FP16" || tensor.datatype == "BF16" {
			continue // no server answers so
		}
		nested := text
		if tensor.length() == 4 && tensor.datatype != "BYTES" {
			parts := strings.Split(strings.Trim(string(text), "[]"), ",")
			nested = fmt.Appendf(nil, "[[%s, %s],\n[%s,%s]]", parts[0], parts[1], parts[2], parts[3])
		}
		for _, form := range [][]byte{text, nested} {
			back, err = parseJSON(tensor.datatype, form, tensor.length())
			if err != nil || !reflect.DeepEqual(back, tensor.values) {
				t.Errorf("%s in JSON, %s: %v %v", tensor.name, form, back, err)
			}
		}
	}
}

func TestMissingValuesAreNull(t *testing.T) {
	tensor := NewTensor("Infinity", []float32{float32(math.NaN()), 1})
	text, err := tensor.appendJSON(nil)
	if err != nil || string(text) != "[null,1]" {
		t.Fatalf("%s %v", text, err)
	}
	back, err := parseJSON("FP32", text, 2)
	if err != nil || !math.IsNaN(float64(back.([]float32)[0])) {
		t.Error(back, err)
	}
	tensor = NewTensor("a", []float64{math.Inf(-1)})
	if _, err := tensor.appendJSON([]byte("Inf")); err == nil {
		t.Error("an infinity was written")
	}
}

func TestJSONOutOfRangeIsRefused(t *testing.T) {
	for datatype, texts := range map[string][]string{
		"INT8":   {"[128]", "[1.5]", "[null]", `["1"]`, "[true]", "[1,2]", "[]", "1", "{}", `[{"a":1}]`, ""},
		"UINT64": {"[-1]", "[18446744073709551616]"},
		"FP32":   {"[1e39]", "[true]"},
		"BOOL":   {"[2]", "[null]"},
		"BYTES":  {"[1]", `{"a":"b"}`},
		"FP16":   {"[1]"},
		"FP99":   {"[1]"},
	} {
		for _, text := range texts {
			if got, err := parseJSON(datatype, []byte(text), 1); err == nil {
				t.Errorf("%s %s: %v", datatype, text, got)
			}
		}
	}
}

func TestHalfFloatsAreWidenedExactly(t *testing.T) {
	for bits, want := range map[Float16]float64{
		0x0000: 0, 0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x0400: 0x1p-14, 0x0001: 0x1p-24, 0x83ff: -1023 * 0x1p-24, 0x3555: 0.333251953125, 0x7c00: math.Inf(1), 0xfc00: math.Inf(-1),
	} {
		if got := float64(bits.Float32()); got != want {
			t.Errorf("%04x is %v, not %v", uint16(bits), got, want)
		}
	}
	if got := Float16(0x7e00).Float32(); got == got {
		t.Errorf("NaN is %v", got)
	}
	if got := Float16(0x8000).Float32(); math.Float32bits(got) != 1<<31 {
		t.Errorf("-0 is %v", got)
	}
	if got := BFloat16(0xc049).Float32(); got != -3.140625 {
		t.Error(got)
	}
}

func TestContentsMustFitDatatypeAndShape(t *testing.T) {
	if _, err := parseContents("FP32", nil, 1); err == nil {
		t.Error("nothing was taken for a value")
	}
	if _, n, err := narrow[int8]([]int32{127, 128}); err == nil {
		t.Error("128 was taken for an INT8", n)
	}
	if _, n, err := narrow[uint8]([]uint32{255, 256}); err == nil {
		t.Error("256 was taken for a UINT8", n)
	}
}

func TestRequestsAsJSON(t *testing.T) {
	r := Request{
		Model: "m", ID: `a"b`, Outputs: []string{"o"}, Parameters: map[string]any{"b": 1, "a": "x", "c": 1.5, "d": true},
		Inputs: []Tensor{NewTensor("i", []float32{0.5, 1e6}, 1, 2), NewTensor("s", []int8{3})},
	}
	m, err := r.overREST(true)
	const want = `{"id":"a\"b","parameters":{"a":"x","b":1,"c":1.5,"d":true},"inputs":[{"name":"i","datatype":"FP32","shape":[1,2],"data":[0.5,1e+06]},{"name":"s","datatype":"INT8","shape":[1],"data":[3]}],"outputs":[{"name":"o"}]}`
	if err != nil || string(m.body) != want || m.header != -1 {
		t.Errorf("%s %v", m.body, err)
	}
	m, err = r.overREST(false)
	const head = `{"id":"a\"b","parameters":{"a":"x","b":1,"c":1.5,"d":true},"inputs":[{"name":"i","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}},{"name":"s","datatype":"INT8","shape":[1],"parameters":{"binary_data_size":1}}],"outputs":[{"name":"o","parameters":{"binary_data":true}}]}`
	if err != nil || string(m.body[:m.header]) != head || string(m.body[m.header:]) != "\x00\x00\x00\x3f\x00\x24\x74\x49\x03" {
		t.Errorf("%q %v", m.body, err)
	}
	r = Request{Model: "m", Inputs: r.Inputs[1:]}
	m, err = r.overREST(false)
	const short = `{"parameters":{"binary_data_output":true},"inputs":[{"name":"s","datatype":"INT8","shape":[1],"parameters":{"binary_data_size":1}}]}`
	if err != nil || string(m.body) != short+"\x03" {
		t.Errorf("%q %v", m.body, err)
	}
}
