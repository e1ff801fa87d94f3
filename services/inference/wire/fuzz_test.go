package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"runtime"
	"testing"
	"time"
)

// sample is a call with each form of a tensor.
func sample() *Call {
	c := &Call{Timeout: 250 * time.Millisecond, Flags: 1, Inputs: []Tensor{
		{Name: []byte("image"), Datatype: FP32, Shape: []int64{2, 3}, Data: bytes.Repeat([]byte{1, 2, 3, 4}, 6)},
		{Name: []byte("höhe"), Datatype: BYTES, Shape: []int64{2}, Data: []byte("\x03\x00\x00\x00abc\x00\x00\x00\x00")},
		{Name: []byte("scalar"), Datatype: BOOL, Shape: []int64{}, Data: []byte{1}},
		{Name: []byte("none"), Datatype: FP64, Shape: []int64{0, 7}, Data: []byte{}},
	}}
	copy(c.Trace[:], "0123456789abcdef")
	copy(c.Span[:], "01234567")
	return c
}

func sampleAnswer() *Answer {
	return &Answer{Compute: 17 * time.Microsecond, Outputs: sample().Inputs}
}

// few fails if parsing n bytes allocated more than a parser may: some memory a tensor, never what a body claims.
func few(t *testing.T, n int, parse func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	parse()
	runtime.ReadMemStats(&after)
	// A tensor takes 24 bytes of the body at least, and 80 and its dimensions of ours; growing doubles. Other
	// goroutines of the fuzzer allocate a little too.
	if got, most := after.TotalAlloc-before.TotalAlloc, uint64(64<<10+32*n); got > most {
		t.Errorf("parsing %d bytes allocated %d; at most %d are expected", n, got, most)
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(AppendHeader(nil, Header{Type: TypeCall, ID: math.MaxUint64, Length: 1 << 20}))
	f.Add([]byte("DGW\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b, 64<<20)
		if err != nil {
			if !errors.Is(err, ErrBreach) {
				t.Errorf("%v is no breach", err)
			}
			return
		}
		if again := AppendHeader(nil, h); !bytes.Equal(again, b[:HeaderBytes]) {
			t.Errorf("% x came back as % x", b[:HeaderBytes], again)
		}
	})
}

func FuzzParseCall(f *testing.F) {
	f.Add(sample().Append(nil, 7)[HeaderBytes:])
	f.Add((&Call{}).Append(nil, 7)[HeaderBytes:])
	for _, edit := range hostile {
		body := sample().Append(nil, 7)[HeaderBytes:]
		edit.do(body)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var c Call
		var err error
		few(t, len(body), func() { err = c.Parse(body) })
		if err != nil {
			if !errors.Is(err, ErrBreach) {
				t.Errorf("%v is no breach", err)
			}
			return
		}
		for i := range c.Inputs {
			if err := c.Inputs[i].Check(); err != nil {
				t.Errorf("parsed, but %v", err)
			}
		}
		if again := c.Append(nil, 0)[HeaderBytes:]; !bytes.Equal(again, body) {
			t.Errorf("% x came back as % x", body, again)
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	f.Add(sampleAnswer().Append(nil, 7)[HeaderBytes:])
	f.Fuzz(func(t *testing.T, body []byte) {
		var a Answer
		var err error
		few(t, len(body), func() { err = a.Parse(body) })
		if err != nil {
			if !errors.Is(err, ErrBreach) {
				t.Errorf("%v is no breach", err)
			}
			return
		}
		if again := a.Append(nil, 0)[HeaderBytes:]; !bytes.Equal(again, body) {
			t.Errorf("% x came back as % x", body, again)
		}
	})
}

func FuzzParseFailure(f *testing.F) {
	f.Add(Failf(Invalid, "input %q is missing", "image").Append(nil, 7)[HeaderBytes:])
	f.Fuzz(func(t *testing.T, body []byte) {
		var failure Failure
		if err := failure.Parse(body); err != nil {
			if !errors.Is(err, ErrBreach) {
				t.Errorf("%v is no breach", err)
			}
			return
		}
		if again := failure.Append(nil, 0)[HeaderBytes:]; !bytes.Equal(again, body) {
			t.Errorf("% x came back as % x", body, again)
		}
	})
}

func FuzzParseControl(f *testing.F) {
	f.Add(`{"versions":[1],"max_frame_bytes":67108864,"lanes":2}`)
	f.Add(`{"version":1,"name":"w","build":"v0.1.0","engine":"e"}`)
	f.Add(`{"model":"digits","version":"1","format":"onnx","fd":6,"bytes":19499,"threads":1,"options":{"providers":"cpu"}}`)
	f.Add(`{"inputs":[{"name":"image","datatype":"FP32","shape":[-1,64]}],"outputs":[{"name":"p","datatype":"FP32","shape":[-1,10]}],"parallel":true}`)
	f.Add(`{"rss_bytes":1,"native_bytes":2,"device_bytes":3,"threads":4,"calls":5,"in_flight":6}`)
	f.Fuzz(func(t *testing.T, body string) {
		for kind, fresh := range map[Type]func() any{
			TypeHello: func() any { return new(Hello) }, TypeLoad: func() any { return new(Load) }, TypeLoaded: func() any { return new(Loaded) }, TypePong: func() any { return new(Pong) },
		} {
			message := fresh()
			if err := ParseControl(kind, []byte(body), message); err != nil {
				if !errors.Is(err, ErrBreach) {
					t.Errorf("%v is no breach", err)
				}
				continue
			}
			if l, ok := message.(*Loaded); ok && l.Check() != nil {
				continue // a datatype that is missing cannot be written
			}
			frame, err := AppendControl(nil, kind, 0, message)
			if err != nil {
				t.Fatal(err)
			}
			again := fresh()
			if err := ParseControl(kind, frame[HeaderBytes:], again); err != nil || !sameJSON(message, again) {
				t.Errorf("%v: %+v came back as %+v: %v", kind, message, again, err)
			}
		}
	})
}

// sameJSON: an empty list and none are the same to the protocol.
func sameJSON(a, b any) bool {
	if l, ok := a.(*Load); ok && len(l.Options) == 0 {
		l.Options = nil
	}
	return reflect.DeepEqual(a, b)
}

func FuzzReader(f *testing.F) {
	f.Add(sample().Append(AppendHeader(nil, Header{Type: TypePing, ID: 1}), 7))
	f.Add(AppendHeader(nil, Header{Type: TypeCall, Length: 64 << 20}))
	f.Fuzz(func(t *testing.T, stream []byte) {
		source := bytes.NewReader(stream)
		r := Reader{R: source, Max: 64 << 20}
		read := 0
		few(t, len(stream)+stepBytes/16, func() {
			for {
				h, body, err := r.Next()
				if err != nil {
					return
				}
				read += HeaderBytes + len(body)
				if int(h.Length) != len(body) || !bytes.Equal(body, stream[read-len(body):read]) {
					t.Fatalf("%v has a body of %d bytes, read as %d", h.Type, h.Length, len(body))
				}
				if source.Len() != len(stream)-read {
					t.Fatalf("read ahead by %d bytes", len(stream)-read-source.Len())
				}
			}
		})
	})
}

// hostile are edits of the body of sample() that each break one rule.
var hostile = []struct {
	name string
	do   func(body []byte)
	want string
}{
	{"time that no clock counts", func(b []byte) { b[7] = 0xff }, "CALL at byte 0: "},
	{"reserved byte", func(b []byte) { b[33] = 1 }, "CALL at byte 33: reserved"},
	{"reserved word", func(b []byte) { b[39] = 1 }, "CALL at byte 33: reserved"},
	{"more tensors than there are", func(b []byte) { b[34] = 5 }, "ends within the head of tensor 4"},
	{"fewer tensors", func(b []byte) { b[34] = 3 }, "follow the last tensor"},
	{"far more tensors", func(b []byte) { b[35] = 4 }, "1028 tensors; at most 1024"},
	{"more than fit", func(b []byte) { b[34] = 200 }, "200 tensors do not fit"},
	{"no datatype", func(b []byte) { b[40] = 0 }, "datatype 0 is none of the protocol"},
	{"unknown datatype", func(b []byte) { b[40] = 15 }, "datatype 15 is none of the protocol"},
	{"another size", func(b []byte) { b[40] = byte(FP64) }, "FP64 [2 3] needs 48 bytes of data, not 24"},
	{"rank", func(b []byte) { b[41] = 9 }, "9 dimensions (at most 8)"},
	{"no name", func(b []byte) { b[42] = 0 }, "a name of 0 bytes"},
	{"long name", func(b []byte) { b[43] = 2 }, "a name of 517 bytes"},
	{"reserved in a tensor", func(b []byte) { b[44] = 1 }, "reserved bytes 01 00 00 00"},
	{"data beyond the frame", func(b []byte) { binary.LittleEndian.PutUint64(b[48:], math.MaxUint64) }, "tensor 0 has 18446744073709551615 bytes of data"},
	{"data whose padding overflows", func(b []byte) { binary.LittleEndian.PutUint64(b[48:], math.MaxInt64) }, "bytes of data"},
	{"negative dimension", func(b []byte) { binary.LittleEndian.PutUint64(b[56:], math.MaxUint64) }, "negative or too large"},
	{"dimensions that overflow", func(b []byte) { binary.LittleEndian.PutUint64(b[56:], 1<<62); binary.LittleEndian.PutUint64(b[64:], 4) }, "negative or too large"},
	{"dimensions that overflow to what there is", func(b []byte) { binary.LittleEndian.PutUint64(b[56:], 1<<63|2) }, "negative or too large"},
	{"dimensions that overflow behind a zero", func(b []byte) { binary.LittleEndian.PutUint64(b[56:], 0); binary.LittleEndian.PutUint64(b[64:], 1<<62) }, "negative or too large"},
	{"name that is no UTF-8", func(b []byte) { b[72] = 0xff }, "not UTF-8"},
	{"padding of a name", func(b []byte) { b[79] = 1 }, "padding of tensor 0"},
	{"padding of data", func(b []byte) { b[151] = 1 }, "padding of tensor 1"},
	{"element of BYTES beyond the data", func(b []byte) { b[136] = 9 }, "element 0 of BYTES has 9 bytes; 7 are left"},
	{"elements of BYTES that do not fit", func(b []byte) { b[120] = 3 }, "3 elements of BYTES do not fit into 11 bytes"},
	{"elements of BYTES that leave some over", func(b []byte) { b[120] = 1 }, "4 bytes follow the last element"},
}
