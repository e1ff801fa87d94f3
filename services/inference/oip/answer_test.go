package oip

import (
	"encoding/json"
	"math"
	"testing"
)

var inf = math.Inf(1)

// TestWhatJSONHasNoNumberForIsNull, as in the data of a request.
func TestWhatJSONHasNoNumberForIsNull(t *testing.T) {
	for d, want := range map[Datatype]string{FP32: "[null,null,null,-0.1,1e-45,0]", FP64: "[null,null,null,-0.10000000149011612,1.401298464324817e-45,0]"} {
		var r Request
		sig := testSignature(3, d)
		sig.Outputs = 6
		if err := r.ParseJSON([]byte(`{"inputs":[`+valid+`]}`), -1, testLimits); err != nil {
			t.Fatal(err)
		}
		if err := r.Bind(sig); err != nil {
			t.Fatal(err)
		}
		answer, _ := r.AppendJSON(nil, sig, []float64{math.NaN(), inf, -inf, float64(float32(-0.1)), math.SmallestNonzeroFloat32, 0})
		if want := `{"model_name":"loan","model_version":"1","outputs":[{"name":"output","datatype":"` + d.String() + `","shape":[1,6],"data":` + want + "}]}\n"; string(answer) != want {
			t.Errorf("got  %swant %s", answer, want)
		}
	}
}

// TestLongestAnswersFit: the longest numbers that there are, and an id that is escaped all through.
func TestLongestAnswersFit(t *testing.T) {
	rnd := newRand(t)
	id := make([]byte, maxID)
	for i := range id {
		id[i] = 1
	}
	for _, d := range []Datatype{FP32, FP64} {
		sig := testSignature(1, d)
		sig.Outputs = 2000
		w := oneTensor(make([]float64, 3), 3, 1, d)
		w.id = string(id)
		for _, body := range [][]byte{w.json(false), w.proto(wireRaw), w.proto(wirePacked)} {
			var r Request
			parse := func() error { return r.ParseProto(body, testLimits) }
			if json.Valid(body) {
				parse = func() error { return r.ParseJSON(body, -1, testLimits) }
			}
			if err := parse(); err != nil {
				t.Fatal(err)
			}
			if err := r.Bind(sig); err != nil {
				t.Fatal(err)
			}
			outputs := make([]float64, 3*2000)
			for i := range outputs {
				outputs[i] = -math.Float64frombits(1<<52 + rnd.Uint64N(1<<56))
				if d == FP32 {
					outputs[i] = -float64(math.Float32frombits(1<<23 + rnd.Uint32N(1<<26)))
				}
			}
			most := r.AnswerBytes(sig)
			answer := make([]byte, 0, most)
			if r.wire {
				answer = r.AppendProto(answer, sig, outputs)
			} else {
				answer, _ = r.AppendJSON(answer, sig, outputs)
			}
			if len(answer) >= most || cap(answer) != most {
				t.Errorf("%s: %d bytes, AnswerBytes said fewer than %d", d, len(answer), most)
			}
			if len(answer) < most*3/4-256-6*maxID {
				t.Errorf("%s: %d bytes, AnswerBytes said %d, far more", d, len(answer), most)
			}
		}
	}
}
