package oip

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestNothingIsAllocatedInSteadyState in any form.
func TestNothingIsAllocatedInSteadyState(t *testing.T) {
	for _, rows := range []int{1, 128} {
		for _, d := range []Datatype{FP32, FP64} {
			one := oneTensor(benchRows(rows), rows, 72, d)
			for shape, w := range map[string]wanted{"one tensor": one, "columns": one.columns()} {
				sig := testSignature(72, d)
				outputs := make([]float64, rows)
				text := func(body []byte) func(r *Request) error {
					return func(r *Request) error { return r.ParseJSON(body, -1, testLimits) }
				}
				wire := func(form wireForm) func(r *Request) error {
					body := w.proto(form)
					return func(r *Request) error { return r.ParseProto(body, testLimits) }
				}
				binary, header := w.binary()
				for form, parse := range map[string]func(r *Request) error{
					"flat": text(w.json(false)), "nested": text(w.json(true)), "backwards": text(w.backwards()),
					"binary": func(r *Request) error { return r.ParseJSON(binary, header, testLimits) },
					"raw":    wire(wireRaw), "packed": wire(wirePacked), "unpacked": wire(wireUnpacked), "split": wire(wireSplit),
				} {
					var r Request
					var answer []byte
					n := testing.AllocsPerRun(5, func() {
						err := parse(&r)
						if err == nil {
							err = r.Bind(sig)
						}
						if err != nil {
							t.Fatal(err)
						}
						if r.wire {
							answer = r.AppendProto(answer[:0], sig, outputs)
						} else {
							answer, _ = r.AppendJSON(answer[:0], sig, outputs)
						}
						r.Reset()
					})
					if n != 0 {
						t.Errorf("%s in %s, %d rows of %s: %v allocations", form, shape, rows, d, n)
					}
				}
			}
		}
	}
}

// TestResetKeepsMemoryAndNothingOfTheRequest: no pointer into the body, in any input that was ever used.
func TestResetKeepsMemoryAndNothingOfTheRequest(t *testing.T) {
	var r Request
	w := oneTensor(benchRows(3), 3, 72, FP64)
	if err := r.ParseProto(w.columns().proto(wireRaw), testLimits); err != nil {
		t.Fatal(err)
	}
	if err := r.Bind(testSignature(72, FP64)); err != nil {
		t.Fatal(err)
	}
	kept := r.PoolBytes()
	if least := 3 * 72 * 8; kept < least {
		t.Errorf("%d bytes are kept, at least %d expected", kept, least)
	}
	r.Reset()
	if got := r.PoolBytes(); got != kept {
		t.Errorf("Reset leaves %d bytes of %d", got, kept)
	}
	for i, in := range r.inputs[:cap(r.inputs)] {
		if in.name != nil || in.raw != nil {
			t.Errorf("input %d still points into the body", i)
		}
	}
	for i, raw := range r.raws[:cap(r.raws)] {
		if raw != nil {
			t.Errorf("raw contents %d still point into the body", i)
		}
	}
	values, rows := r.Rows()
	if len(r.Model()) != 0 || len(r.ID()) != 0 || len(r.Version()) != 0 || values != nil || rows != 0 {
		t.Errorf("something is left: %q %q %q %v %d", r.Model(), r.Version(), r.ID(), values, rows)
	}
}

// checkMemory holds what a new request took against its body.
func checkMemory(t *testing.T, r *Request, body int, l Limits) {
	t.Helper()
	if held, most := r.PoolBytes(), 1024+2*(16*body+200*min(l.MaxInputs, body)); held > most {
		t.Fatalf("%d bytes are held for a body of %d, at most %d expected", held, body, most)
	}
}

// TestMemoryIsBoundedByTheBody: bodies that take the most memory a byte, and bodies that promise more than they hold.
func TestMemoryIsBoundedByTheBody(t *testing.T) {
	wide := Limits{MaxRows: 1 << 30, MaxInputs: 1 << 30}
	wideSignature := testSignature(100_000, FP64)
	bools := tensor{name: "input", datatype: BOOL, shape: []int64{1, 100_000}, bits: make([]uint64, 100_000)}
	for name, parse := range map[string]func(r *Request) (int, error){
		"digits": func(r *Request) (int, error) {
			body := []byte(`{"inputs":[{"name":"input","shape":[1,100000],"datatype":"BOOL","data":[` + strings.Repeat("0,", 99_999) + `0]}]}`)
			return len(body), r.ParseJSON(body, -1, wide)
		},
		"bytes": func(r *Request) (int, error) {
			body, header := wanted{tensors: []tensor{bools}}.binary()
			return len(body), r.ParseJSON(body, header, wide)
		},
		"varints": func(r *Request) (int, error) {
			body := wanted{tensors: []tensor{bools}}.proto(wirePacked)
			return len(body), r.ParseProto(body, wide)
		},
		"inputs": func(r *Request) (int, error) {
			var w wanted
			for range 10_000 {
				w.tensors = append(w.tensors, tensor{name: "f", datatype: BOOL, shape: []int64{1}, bits: []uint64{0}})
			}
			body := w.proto(wirePacked)
			return len(body), r.ParseProto(body, wide)
		},
		"a shape": func(r *Request) (int, error) {
			body := []byte(`{"inputs":[{"name":"input","shape":[1,2147483647],"datatype":"FP32","data":[0]}]}`)
			return len(body), r.ParseJSON(body, -1, wide)
		},
		"a size": func(r *Request) (int, error) {
			body := []byte(`{"inputs":[{"name":"input","shape":[1,500000000],"datatype":"FP32","parameters":{"binary_data_size":2000000000}}]}`)
			return len(body), r.ParseJSON(body, len(body), wide)
		},
		"empty inputs": func(r *Request) (int, error) {
			body := bytes.Repeat([]byte{0x2a, 0}, 50_000)
			return len(body), r.ParseProto(body, wide)
		},
		"rows": func(r *Request) (int, error) {
			body := []byte(`{"inputs":[{"data":[` + strings.Repeat("[],", 100_000))
			return len(body), r.ParseJSON(body, -1, wide)
		},
	} {
		var r Request
		body, err := parse(&r)
		if err == nil {
			err = r.Bind(wideSignature)
		}
		t.Log(name, fmt.Sprintf("%.1f bytes a byte", float64(r.PoolBytes())/float64(body)), err)
		checkMemory(t, &r, body, wide)
	}
}
