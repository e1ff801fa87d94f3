package oip

import (
	"fmt"
	"strings"
	"testing"
)

// TestHeadsThatComeAgainMeanTheSame: requests in any order through one Request, and each through a fresh one.
func TestHeadsThatComeAgainMeanTheSame(t *testing.T) {
	texts := []string{
		`{"inputs":[{"name":"input","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}`,
		`{"inputs":[{"name":"input","datatype":"FP32","shape":[2,1],"parameters":{"binary_data_size":8}}]}`,
		`{"id":"a","inputs":[{"name":"input","datatype":"FP64","shape":[1,2],"parameters":{"binary_data_size":16}}],"parameters":{"binary_data_output":true}}`,
		`{"id":"b\u0041","inputs":[{"name":"f1","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}},{"name":"f0","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}],"outputs":[{"name":"output","parameters":{"binary_data":true}}]}`,
		`{"inputs":[{"name":"input","datatype":"FP32","shape":[1,2],"data":[1,2]}]}`,
		`{"inputs":[{"name":"f0","datatype":"FP32","shape":[1],"data":[7]},{"name":"f1","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}`,
		`{"inputs":[{"name":"input","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":7}}]}`,
		`{"inputs":[{"name":"input","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}],"outputs":[{"name":"other"}]}`,
		`{"inputs":[{"name":"input","datatype":"FP32","shape":[3,2],"parameters":{"binary_data_size":24}}]}`,
		`{"id":"` + strings.Repeat("x", 900) + `","inputs":[{"name":"input","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8},"z":"` + strings.Repeat("y", 400) + `"}]}`,
		`{`,
	}
	sig := testSignature(2, FP32)
	rnd := newRand(t)
	all := func(r *Request, body []byte, header int, l Limits) string {
		err := r.ParseJSON(body, header, l)
		if err == nil {
			err = r.Bind(sig)
		}
		if err != nil {
			return err.Error()
		}
		values, rows := r.Rows()
		answer, at := r.AppendJSON(nil, sig, make([]float64, rows))
		return fmt.Sprintf("%v %q %v %d", values, r.ID(), string(answer), at)
	}
	var used Request
	last := ""
	for range 20_000 {
		text := texts[rnd.IntN(len(texts))]
		if rnd.IntN(2) == 0 && last != "" {
			text = last // as most do
		}
		last = text
		var raw []byte
		for range []int{0, 4, 8, 8, 16, 24}[rnd.IntN(6)] {
			raw = append(raw, byte(rnd.IntN(100)))
		}
		limits := Limits{MaxRows: 2 + rnd.IntN(2), MaxInputs: 1 + rnd.IntN(2)}
		body := append([]byte(text), raw...)
		var fresh Request
		want := all(&fresh, append([]byte{}, body...), len(text), limits)
		got := all(&used, body, len(text), limits)
		if got != want {
			t.Fatalf("%q with %d bytes, %+v:\n got %s\nwant %s", text, len(raw), limits, got, want)
		}
		for i := range body { // nothing may point into it any more
			body[i] = '!'
		}
		if rnd.IntN(3) == 0 {
			used.Reset()
		}
	}
}

func BenchmarkParseBinaryHead(b *testing.B) {
	text := `{"inputs":[{"name":"input","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}],"outputs":[{"name":"output","parameters":{"binary_data":true}}]}`
	for name, texts := range map[string][]string{"the same": {text, text}, "others": {text, text + " "}} {
		b.Run(name, func(b *testing.B) {
			var r Request
			bodies := [][]byte{[]byte(texts[0] + "12345678"), []byte(texts[1] + "12345678")}
			b.ReportAllocs()
			for i := range b.N {
				if err := r.ParseJSON(bodies[i%2], len(texts[i%2]), Limits{MaxRows: 1, MaxInputs: 1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
