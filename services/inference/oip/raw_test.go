package oip

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestBodyThatIsTheTensor(t *testing.T) {
	limits := Limits{MaxRows: 3, MaxInputs: 1}
	for _, d := range []Datatype{FP32, FP64} {
		sig := testSignature(2, d)
		one := tensor{datatype: d, bits: []uint64{math.Float64bits(0.5), math.Float64bits(-1.25)}}.raw()
		if d == FP32 {
			one = tensor{datatype: d, bits: []uint64{uint64(math.Float32bits(0.5)), uint64(math.Float32bits(-1.25))}}.raw()
		}
		for rows := 1; rows <= 3; rows++ {
			var r Request
			body := []byte(strings.Repeat(string(one), rows))
			if err := r.ParseJSON(body, 0, limits); err != nil {
				t.Fatal(err)
			}
			if err := r.Bind(sig); err != nil {
				t.Fatal(err)
			}
			want := strings.TrimSpace(strings.Repeat("0.5 -1.25 ", rows))
			if values, n := r.Rows(); n != rows || fmt.Sprint(values) != "["+want+"]" {
				t.Errorf("%v: %d rows: %v, %d", d, rows, values, n)
			}
			if answer, header := r.AppendJSON(nil, sig, make([]float64, rows*sig.Outputs)); header != -1 || !strings.Contains(string(answer), `"data"`) {
				t.Errorf("%s, %d", answer, header)
			}
		}
		for want, body := range map[string]string{
			"the body has 5 bytes; a row":   "12345",
			"the body has 0 bytes":          "",
			"more than 3 rows":              strings.Repeat(string(one), 4),
			fmt.Sprint(len(one), ", which"): string(one) + "1",
		} {
			var r Request
			err := r.ParseJSON([]byte(body), 0, limits)
			if err == nil {
				err = r.Bind(sig)
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %q: %v", d, want, err)
			}
		}
	}
	// Also where the only feature has the name of the tensor.
	sig := testSignature(1, FP32)
	sig.Features[0] = InputName
	var r Request
	if err := r.ParseJSON(make([]byte, 8), 0, limits); err != nil {
		t.Fatal(err)
	}
	if err := r.Bind(sig); err != nil {
		t.Fatal(err)
	}
	if _, n := r.Rows(); n != 2 {
		t.Error(n)
	}
	if err := new(Request).ParseJSON([]byte("12345678"), 0, Limits{MaxRows: 1}); err == nil {
		t.Error("without room for an input it passes")
	}
}
