package oip

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	inferencepb "github.com/dougong-io/dougong/api/inference"
)

// randomBits are those of an element that JSON has too: no infinity, and no NaN but the one that stands for null.
func randomBits(rnd *rand.Rand, d, model Datatype) uint64 {
	for {
		bits := rnd.Uint64() >> (64 - 8*d.Size())
		if rnd.IntN(3) == 0 {
			bits = uint64(rnd.IntN(4)) // small integers, subnormals
		}
		if d == BOOL {
			bits &= 1
		}
		if !d.float() {
			return bits
		}
		x := value(d, bits)
		if rnd.IntN(8) == 0 || math.IsNaN(x) {
			x = math.NaN()
			bits = map[Datatype]uint64{FP16: 0x7E00, BF16: 0x7FC0, FP32: 0x7FC0_0000, FP64: 0x7FF8 << 48}[d]
		}
		if d == FP64 && rnd.IntN(2) == 0 {
			x = rnd.NormFloat64()
			bits = math.Float64bits(x)
		}
		if math.IsInf(x, 0) || model == FP32 && math.Abs(x) >= beyondFloat32 {
			continue
		}
		return bits
	}
}

// randomWanted has one tensor, or a tensor a feature, each of its own datatype.
func randomWanted(rnd *rand.Rand, model Datatype) (w wanted, expected []float64) {
	rows, width := 1+rnd.IntN(9), 1+rnd.IntN(9)
	if rnd.IntN(2) == 0 {
		d := FP32 + Datatype(rnd.IntN(2))
		if rnd.IntN(2) == 0 {
			d = BOOL + Datatype(rnd.IntN(int(BYTES-BOOL)))
		}
		in := tensor{name: InputName, datatype: d, shape: []int64{int64(rows), int64(width)}}
		for range rows * width {
			bits := randomBits(rnd, d, model)
			in.bits = append(in.bits, bits)
			expected = append(expected, value(d, bits))
		}
		w.tensors = []tensor{in}
		if rnd.IntN(3) == 0 {
			w = w.columns()
		} else if rows == 1 && rnd.IntN(2) == 0 {
			w.tensors[0].shape = w.tensors[0].shape[1:]
		}
	} else {
		expected = make([]float64, rows*width)
		for c := range width {
			in := tensor{name: featureName(c), datatype: BOOL + Datatype(rnd.IntN(int(BYTES-BOOL))), shape: []int64{int64(rows)}}
			if rnd.IntN(2) == 0 {
				in.shape = append(in.shape, 1)
			}
			for row := range rows {
				bits := randomBits(rnd, in.datatype, model)
				in.bits = append(in.bits, bits)
				expected[row*width+c] = value(in.datatype, bits)
			}
			w.tensors = append(w.tensors, in)
		}
		if rnd.IntN(2) == 0 {
			rnd.Shuffle(width, func(i, j int) { w.tensors[i], w.tensors[j] = w.tensors[j], w.tensors[i] })
		}
	}
	w.id = []string{"", "42", "ünïcode \"quoted\"\n\\ \x01 \u2028", "a-b"}[rnd.IntN(4)]
	return w, expected
}

// typed tells whether protobuf has contents for all of the tensors.
func (w wanted) typed() bool {
	return !slices.ContainsFunc(w.tensors, func(in tensor) bool { return in.datatype == FP16 || in.datatype == BF16 })
}

func same(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return x == y || math.IsNaN(x) && math.IsNaN(y) })
}

// TestEveryFormOfARequestIsTheSameRequest: JSON flat, nested and in another order, binary, some of both, protobuf raw,
// packed, unpacked and in pieces give the same rows, and the same answer.
func TestEveryFormOfARequestIsTheSameRequest(t *testing.T) {
	rnd := newRand(t)
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	var r Request // one for all, so that leftovers show
	for round := range rounds {
		model := FP32 + Datatype(rnd.IntN(2))
		w, expected := randomWanted(rnd, model)
		sig := testSignature(len(expected)/rowsOf(w), model)
		sig.Outputs = 1 + rnd.IntN(3)
		outputs := make([]float64, rowsOf(w)*sig.Outputs)
		for i := range outputs {
			outputs[i] = rnd.NormFloat64() * math.Ldexp(1, rnd.IntN(200)-100)
			if model == FP32 {
				outputs[i] = float64(float32(outputs[i]))
			}
		}
		check := func(form string, parseErr error) {
			t.Helper()
			if parseErr == nil {
				parseErr = r.Bind(sig)
			}
			if parseErr != nil {
				t.Fatalf("round %d, %s: %v\n%s", round, form, parseErr, w.json(true))
			}
			values, rows := r.Rows()
			if rows != rowsOf(w) || !same(values, expected) {
				t.Fatalf("round %d, %s: %d rows %v, want %v\n%s", round, form, rows, values, expected, w.json(true))
			}
			if string(r.ID()) != w.id {
				t.Fatalf("round %d, %s: id %q, want %q", round, form, r.ID(), w.id)
			}
			checkAnswer(t, form, &r, sig, w, outputs)
		}
		check("flat", r.ParseJSON(w.json(false), -1, testLimits))
		check("nested", r.ParseJSON(w.json(true), -1, testLimits))
		check("backwards", r.ParseJSON(w.backwards(), -1, testLimits))
		text := w.json(false)
		check("with a header", r.ParseJSON(text, len(text), testLimits))
		body, header := w.binary()
		check("binary", r.ParseJSON(body, header, testLimits))
		body, header = w.mixed(func(int) bool { return rnd.IntN(2) == 0 })
		check("mixed", r.ParseJSON(body, header, testLimits))
		check("raw", r.ParseProto(w.proto(wireRaw), testLimits))
		if w.typed() {
			for _, form := range []wireForm{wirePacked, wireUnpacked, wireSplit} {
				check([]string{"", "packed", "unpacked", "split"}[form], r.ParseProto(w.proto(form), testLimits))
			}
		}
	}
}

func rowsOf(w wanted) int {
	in := w.tensors[0]
	if in.name == InputName && len(in.shape) == 1 {
		return 1
	}
	return int(in.shape[0])
}

// checkAnswer reads an answer back with the libraries that clients use.
func checkAnswer(t *testing.T, form string, r *Request, sig *Signature, w wanted, outputs []float64) {
	t.Helper()
	prefix := []byte("before")
	var answer []byte
	var got []float64
	var id string
	var shape []int64
	most := r.AnswerBytes(sig)
	if r.wire {
		answer = r.AppendProto(slices.Clone(prefix), sig, outputs)
		var m inferencepb.ModelInferResponse
		if err := proto.Unmarshal(answer[len(prefix):], &m); err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if len(m.ProtoReflect().GetUnknown()) != 0 || len(m.Outputs) != 1 || m.Outputs[0].Name != OutputName || m.Outputs[0].Datatype != sig.Datatype.String() ||
			m.ModelName != sig.Model || m.ModelVersion != sig.Version {
			t.Fatalf("%s: %v", form, &m)
		}
		id, shape = m.Id, m.Outputs[0].Shape
		switch {
		case len(r.raws) > 0:
			if len(m.RawOutputContents) != 1 || m.Outputs[0].Contents != nil {
				t.Fatalf("%s: expected a raw answer: %v", form, &m)
			}
			got = elementsOf(m.RawOutputContents[0], sig.Datatype)
		case sig.Datatype == FP32:
			for _, x := range m.Outputs[0].Contents.Fp32Contents {
				got = append(got, float64(x))
			}
		default:
			got = m.Outputs[0].Contents.Fp64Contents
		}
	} else {
		var header int
		answer, header = r.AppendJSON(slices.Clone(prefix), sig, outputs)
		text := answer[len(prefix):]
		if (header != -1) != r.binary() {
			t.Fatalf("%s: header %d", form, header)
		}
		var raw []byte
		if header != -1 {
			text, raw = text[:header], text[header:]
		}
		var m struct {
			ModelName    string `json:"model_name"`
			ModelVersion string `json:"model_version"`
			ID           string
			Outputs      []struct {
				Name, Datatype string
				Shape          []int64
				Data           []float64
				Parameters     *struct {
					Size int `json:"binary_data_size"`
				}
			}
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&m); err != nil {
			t.Fatalf("%s: %v\n%s", form, err, text)
		}
		if len(m.Outputs) != 1 || m.Outputs[0].Name != OutputName || m.Outputs[0].Datatype != sig.Datatype.String() || m.ModelName != sig.Model || m.ModelVersion != sig.Version {
			t.Fatalf("%s: %s", form, text)
		}
		id, shape, got = m.ID, m.Outputs[0].Shape, m.Outputs[0].Data
		for i, x := range got {
			if sig.Datatype == FP32 {
				got[i] = float64(float32(x)) // the text is as long as a float32 needs
			}
		}
		if header != -1 {
			if m.Outputs[0].Parameters.Size != len(raw) || got != nil {
				t.Fatalf("%s: %d bytes behind %s", form, len(raw), text)
			}
			got = elementsOf(raw, sig.Datatype)
		}
	}
	if !bytes.HasPrefix(answer, prefix) || len(answer)-len(prefix) >= most {
		t.Fatalf("%s: %d bytes of answer, AnswerBytes said fewer than %d", form, len(answer)-len(prefix), most)
	}
	if id != w.id || !slices.Equal(shape, []int64{int64(len(outputs) / sig.Outputs), int64(sig.Outputs)}) || !same(got, outputs) {
		t.Fatalf("%s: answered id %q, shape %v, %v; want %q, %v", form, id, shape, got, w.id, outputs)
	}
}

func elementsOf(raw []byte, d Datatype) (values []float64) {
	for ; len(raw) > 0; raw = raw[d.Size():] {
		var bits [8]byte
		copy(bits[:], raw[:d.Size()])
		values = append(values, value(d, binary.LittleEndian.Uint64(bits[:])))
	}
	return values
}

// TestTheWireFormIsThatOfTheGeneratedTypes: what our tests write is what the library writes and reads.
func TestTheWireFormIsThatOfTheGeneratedTypes(t *testing.T) {
	rnd := newRand(t)
	var r Request
	for range 200 {
		w, expected := randomWanted(rnd, FP64)
		for _, form := range []wireForm{wireRaw, wirePacked, wireUnpacked, wireSplit} {
			if form != wireRaw && !w.typed() {
				continue
			}
			var m inferencepb.ModelInferRequest
			if err := proto.Unmarshal(w.proto(form), &m); err != nil {
				t.Fatal(err)
			}
			m.ModelVersion = "7"
			m.Parameters = map[string]*inferencepb.InferParameter{"priority": {ParameterChoice: &inferencepb.InferParameter_StringParam{StringParam: "ü"}}}
			m.Outputs = []*inferencepb.ModelInferRequest_InferRequestedOutputTensor{{Name: OutputName, Parameters: m.Parameters}}
			body, err := proto.Marshal(&m)
			if err != nil {
				t.Fatal(err)
			}
			sig := testSignature(len(expected)/rowsOf(w), FP64)
			if err = r.ParseProto(body, testLimits); err == nil {
				err = r.Bind(sig)
			}
			if values, _ := r.Rows(); err != nil || !same(values, expected) || string(r.Model()) != "loan" || string(r.Version()) != "7" || string(r.ID()) != w.id {
				t.Fatalf("%v: %v, %v; want %v", &m, err, values, expected)
			}
		}
	}
}
