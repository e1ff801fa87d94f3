package oip

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	inferencepb "github.com/dougong-io/dougong/api/inference"
)

var fuzzLimits = Limits{MaxRows: 64, MaxInputs: 8}

// bindAndAnswer does the rest of a request that was accepted: for a model that takes it, if there is one.
func bindAndAnswer(t *testing.T, r *Request, d Datatype) (values []float64, bound bool) {
	in := r.inputs[0]
	width := len(r.inputs)
	switch {
	case in.whole:
		width = 3 // of any model
	case string(in.name) == InputName && len(r.inputs) == 1:
		width = int(in.shape[in.rank-1])
	}
	sig := testSignature(width, d)
	if string(in.name) != InputName {
		for i := range r.inputs {
			sig.Features[i] = string(r.inputs[i].name)
		}
	}
	if err := r.Bind(sig); err != nil {
		return nil, false
	}
	values, rows := r.Rows()
	if rows < 1 || rows > fuzzLimits.MaxRows || len(values) != rows*width {
		t.Fatalf("%d rows of %d: %d values", rows, width, len(values))
	}
	for i, x := range values {
		if d == FP32 && math.IsInf(float64(float32(x)), 0) {
			t.Fatalf("value %d is %v", i, x)
		}
	}
	w := wanted{id: string(r.ID())}
	outputs := make([]float64, rows)
	checkAnswer(t, "an answer", r, sig, w, outputs)

	// What was understood is understood again, said plainly.
	var again Request
	if d == FP64 && !hasInfinity(values) {
		body := oneTensor(values, rows, width, FP64).json(true)
		if err := again.ParseJSON(body, -1, Limits{MaxRows: rows, MaxInputs: 1}); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if err := again.Bind(testSignature(width, FP64)); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if got, _ := again.Rows(); !same(got, values) {
			t.Fatalf("%v became %v", values, got)
		}
	}
	return values, true
}

func hasInfinity(values []float64) bool {
	for _, x := range values {
		if math.IsInf(x, 0) {
			return true
		}
	}
	return false
}

func seedsJSON(add func(text string, raw string)) {
	rows := oneTensor([]float64{1, math.NaN(), -2.5, 1e-40, 0, 7}, 2, 3, FP32)
	add(string(rows.json(false)), "")
	add(string(rows.json(true)), "")
	add(string(rows.backwards()), "")
	add(string(rows.columns().json(true)), "")
	add(`{"inputs":[{"name":"input","shape":[2],"datatype":"BOOL","data":[true,false]}],"outputs":[{"name":"output","parameters":{"binary_data":true}}]}`, "")
	add(`{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP16","data":[[65504,null]]}],"parameters":{"binary_data_output":true},"id":"\u00e9"}`, "")
	add(`{"inputs":[{"name":"input","shape":[9007199254740992,9007199254740992],"datatype":"INT64","data":[1]}]}`, "")
	for _, w := range []wanted{rows, rows.columns()} {
		body, header := w.binary()
		add(string(body[:header]), string(body[header:]))
		body, header = w.mixed(func(i int) bool { return i%2 == 1 })
		add(string(body[:header]), string(body[header:]))
	}
}

func seedsProto(add func(body []byte)) {
	rows := oneTensor([]float64{1, math.NaN(), -2.5, 1e-40, 0, 7}, 2, 3, FP32)
	ints := tensor{name: "input", datatype: INT32, shape: []int64{3}, bits: []uint64{1, 1 << 31, 0xFFFF_FFFF}}
	for _, w := range []wanted{rows, rows.columns(), oneTensor([]float64{1e300, 2}, 1, 2, FP64), {tensors: []tensor{ints}}} {
		for _, form := range []wireForm{wireRaw, wirePacked, wireUnpacked, wireSplit} {
			add(w.proto(form))
		}
	}
	add(request(func(m *inferencepb.ModelInferRequest) {
		m.Parameters = map[string]*inferencepb.InferParameter{"a": {ParameterChoice: &inferencepb.InferParameter_StringParam{StringParam: "ü"}}, "b": {ParameterChoice: &inferencepb.InferParameter_DoubleParam{DoubleParam: 1}}}
		m.Outputs = []*inferencepb.ModelInferRequest_InferRequestedOutputTensor{{Name: "output", Parameters: m.Parameters}}
		m.ModelVersion = "1"
	}))
	add([]byte("\x0b\x10\x01\x0c")) // a group that nobody knows
}

// FuzzParseJSON: what is accepted is JSON, and can be bound and answered.
func FuzzParseJSON(f *testing.F) {
	seedsJSON(func(text, raw string) { f.Add([]byte(text)) })
	f.Add([]byte(`{"inputs":[{"name":"input","shape":[1],"datatype":"FP64","data":[NaN]}]}`))
	f.Fuzz(checkJSON)
}

func checkJSON(t *testing.T, body []byte) {
	var r Request
	err := r.ParseJSON(body, -1, fuzzLimits)
	checkMemory(t, &r, len(body), fuzzLimits)
	if err != nil {
		checkError(t, err)
		return
	}
	if !json.Valid(withoutNaN(body)) {
		t.Fatalf("accepted what is no JSON: %q", body)
	}
	bindAndAnswer(t, &r, FP64)
	checkMemory(t, &r, len(body), fuzzLimits)
	if err := r.ParseJSON(body, len(body), fuzzLimits); err != nil {
		t.Fatalf("with its length as a header: %v", err)
	}
	bindAndAnswer(t, &r, FP32)
}

// FuzzParseBinary: headers that lie, sizes that do not add up.
func FuzzParseBinary(f *testing.F) {
	seedsJSON(func(text, raw string) { f.Add([]byte(text+raw), len(text)) })
	f.Add([]byte(`{}`), 3)
	f.Add(make([]byte, 48), 0)
	f.Fuzz(checkBinary)
}

func checkBinary(t *testing.T, body []byte, header int) {
	var r Request
	err := r.ParseJSON(body, header, fuzzLimits)
	checkMemory(t, &r, len(body), fuzzLimits)
	if err != nil {
		checkError(t, err)
		return
	}
	text, raw := body, 0
	if header != -1 {
		text = body[:header]
	}
	for _, in := range r.inputs {
		raw += len(in.raw)
	}
	if header != 0 && !json.Valid(withoutNaN(text)) || len(text)+raw != len(body) { // without JSON it is all tensor
		t.Fatalf("header %d: %d of %d bytes are binary in %q", header, raw, len(body), body)
	}
	bindAndAnswer(t, &r, FP64)
	checkMemory(t, &r, len(body), fuzzLimits)
}

// FuzzParseProto holds the parser against a protobuf library, and against the rules that are declared in
// open_inference.proto: what either refuses is refused, what is called malformed is malformed, and the rows are those of
// the message as the library reads it.
func FuzzParseProto(f *testing.F) {
	seedsProto(func(body []byte) { f.Add(body) })
	f.Fuzz(checkProto)
}

func checkProto(t *testing.T, body []byte) {
	var r Request
	err := r.ParseProto(body, fuzzLimits)
	checkMemory(t, &r, len(body), fuzzLimits)
	var m inferencepb.ModelInferRequest
	theirs := proto.Unmarshal(body, &m)
	if err != nil {
		checkError(t, err)
		if says := err.Error(); theirs == nil && (strings.Contains(says, "malformed") || strings.Contains(says, "UTF-8")) {
			t.Fatalf("%v, but the library takes it: %x", err, body)
		}
		return
	}
	if theirs != nil {
		t.Fatalf("accepted what the library refuses: %v: %x", theirs, body)
	}
	if err := protovalidate.Validate(&m); err != nil {
		t.Fatalf("accepted what the declared rules refuse: %v: %x", err, body)
	}
	if string(r.Model()) != m.ModelName || string(r.Version()) != m.ModelVersion || string(r.ID()) != m.Id || len(r.inputs) != len(m.Inputs) {
		t.Fatalf("%q %q %q of %v", r.Model(), r.Version(), r.ID(), &m)
	}
	expected := elementsOfInput(&m, 0)
	if n := len(m.Inputs); n > 1 {
		expected = make([]float64, n*len(expected))
		for i := range m.Inputs {
			for row, x := range elementsOfInput(&m, i) {
				if at := row*n + i; at < len(expected) { // else the tensors differ in length, and will not be bound
					expected[at] = x
				}
			}
		}
	}
	if values, bound := bindAndAnswer(t, &r, FP64); bound && !same(values, expected) {
		t.Fatalf("read %v, the library %v: %x", values, expected, body)
	}
	checkMemory(t, &r, len(body), fuzzLimits)
	if err := r.ParseProto(body, fuzzLimits); err != nil {
		t.Fatal(err)
	}
	bindAndAnswer(t, &r, FP32)
}

// elementsOfInput reads an input of a message that was accepted.
func elementsOfInput(m *inferencepb.ModelInferRequest, i int) (values []float64) {
	in := m.Inputs[i]
	d, _ := ParseDatatype([]byte(in.Datatype))
	if len(m.RawInputContents) > 0 {
		return elementsOf(m.RawInputContents[i], d)
	}
	c := in.Contents
	for _, x := range c.BoolContents {
		if x {
			values = append(values, 1)
		} else {
			values = append(values, 0)
		}
	}
	for _, x := range c.IntContents {
		values = append(values, float64(x))
	}
	for _, x := range c.Int64Contents {
		values = append(values, float64(x))
	}
	for _, x := range c.UintContents {
		values = append(values, float64(x))
	}
	for _, x := range c.Uint64Contents {
		values = append(values, float64(x))
	}
	for _, x := range c.Fp32Contents {
		values = append(values, float64(x))
	}
	return append(values, c.Fp64Contents...)
}

// checkError: an *Error of bounded length.
func checkError(t *testing.T, err error) {
	refused(t, "the body", err, err.(*Error).Kind, err.Error())
}

// TestDamagedRequestsAreRefusedOrUnderstood is what the fuzz targets do, for a moment and from a seed.
func TestDamagedRequestsAreRefusedOrUnderstood(t *testing.T) {
	rnd := newRand(t)
	rounds := 2000
	if testing.Short() {
		rounds = 100
	}
	const letters = "0123456789-[]{},:\"ntfe.\x00\xff\x80"
	damage := func(body []byte) []byte {
		body = slices.Clone(body)
		for range 1 + rnd.IntN(3) {
			if len(body) == 0 {
				break
			}
			at := rnd.IntN(len(body))
			end := min(len(body), at+1+rnd.IntN(8))
			switch rnd.IntN(5) {
			case 0:
				body[at] ^= 1 << rnd.IntN(8)
			case 1:
				body[at] = letters[rnd.IntN(len(letters))]
			case 2:
				body = slices.Delete(body, at, end)
			case 3:
				body = slices.Insert(body, at, slices.Clone(body[at:end])...)
			case 4:
				to := rnd.IntN(len(body))
				copy(body[to:], slices.Clone(body[at:end]))
			}
		}
		return body
	}
	taken := map[string]int{}
	count := func(form string, err error) {
		if err == nil {
			taken[form]++
		}
	}
	for range rounds {
		var r Request
		seedsJSON(func(text, raw string) {
			body := damage([]byte(text))
			checkJSON(t, body)
			count("JSON", r.ParseJSON(body, -1, fuzzLimits))
			body, header := damage([]byte(text+raw)), len(text)+rnd.IntN(3)/2*(rnd.IntN(5)-2)
			checkBinary(t, body, header)
			count("binary", r.ParseJSON(body, header, fuzzLimits))
		})
		seedsProto(func(body []byte) {
			body = damage(body)
			checkProto(t, body)
			count("protobuf", r.ParseProto(body, fuzzLimits))
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("taken all the same: %v", taken)
	for _, form := range []string{"JSON", "binary", "protobuf"} {
		if taken[form] < rounds/10 {
			t.Errorf("of %s in %d rounds %d are taken: the damage is too great to show much", form, rounds, taken[form])
		}
	}
}

// withoutNaN is JSON that has null where some clients write NaN.
func withoutNaN(text []byte) []byte { return bytes.ReplaceAll(text, []byte("NaN"), []byte("null")) }
