package oip

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// benchRows are of 72 features, as loan-default has: most of them indicators.
func benchRows(rows int) []float64 {
	rnd := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, rows*72)
	for i := range values {
		if i%3 == 0 {
			values[i] = float64(float32(rnd.NormFloat64() * 1000))
		} else {
			values[i] = float64(rnd.IntN(2))
		}
	}
	return values
}

func benchForms(b *testing.B, parse func(r *Request, body []byte) error, forms map[string]func(w wanted) []byte) {
	for _, rows := range []int{1, 128} {
		w := oneTensor(benchRows(rows), rows, 72, FP32)
		sig := w.signature(FP32)
		for form, encode := range forms {
			b.Run(fmt.Sprintf("%s/rows=%d", form, rows), func(b *testing.B) {
				body := encode(w)
				outputs := make([]float64, rows)
				var r Request
				var answer []byte
				b.ReportAllocs()
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					err := parse(&r, body)
					if err == nil {
						err = r.Bind(sig)
					}
					if err != nil {
						b.Fatal(err)
					}
					if r.wire {
						answer = r.AppendProto(answer[:0], sig, outputs)
					} else {
						answer, _ = r.AppendJSON(answer[:0], sig, outputs)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
			})
		}
	}
}

func BenchmarkParseJSON(b *testing.B) {
	benchForms(b, func(r *Request, body []byte) error { return r.ParseJSON(body, -1, testLimits) }, map[string]func(wanted) []byte{
		"flat": func(w wanted) []byte { return w.json(false) }, "nested": func(w wanted) []byte { return w.json(true) },
		"columns": func(w wanted) []byte { return w.columns().json(false) },
	})
}

func BenchmarkParseBinary(b *testing.B) {
	var header int
	benchForms(b, func(r *Request, body []byte) error { return r.ParseJSON(body, header, testLimits) }, map[string]func(wanted) []byte{
		"raw":     func(w wanted) (body []byte) { body, header = w.binary(); return body },
		"columns": func(w wanted) (body []byte) { body, header = w.columns().binary(); return body },
	})
}

func BenchmarkParseProto(b *testing.B) {
	benchForms(b, func(r *Request, body []byte) error { return r.ParseProto(body, testLimits) }, map[string]func(wanted) []byte{
		"raw": func(w wanted) []byte { return w.proto(wireRaw) }, "typed": func(w wanted) []byte { return w.proto(wirePacked) },
		"columns": func(w wanted) []byte { return w.columns().proto(wireRaw) },
	})
}
