package inferenceclient

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	inferencepb "github.com/dougong-io/dougong/api/inference"
)

// holds checks what must be so of every response, and that its memory is bounded by what came.
func holds(t *testing.T, r *Response, bytes int) {
	t.Helper()
	for i := range r.Outputs {
		o := &r.Outputs[i]
		if n, err := elements(o.shape); err != nil || n != o.length() || datatypeOf(o.values) != o.datatype {
			t.Errorf("%s of shape %v has %d values: %v", o.datatype, o.shape, o.length(), err)
		}
		if o.length() > bytes {
			t.Errorf("%d values of %d bytes", o.length(), bytes)
		}
		raw := o.appendRaw(nil)
		again, err := parseRaw(o.datatype, raw, o.length())
		if back := (&Tensor{datatype: o.datatype, values: again}); err != nil || string(back.appendRaw(nil)) != string(raw) {
			t.Errorf("%s does not come back: %v", o.datatype, err)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	const head = `{"model_name":"m","model_version":"1","id":"7","outputs":[{"name":"o","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}`
	f.Add([]byte(head+"\x00\x00\x00\x3f\x00\x00\x80\x3f"), len(head))
	f.Add([]byte(head+"\x00\x00\x00\x3f"), len(head))
	f.Add([]byte(head), len(head)+1)
	f.Add([]byte(`{"outputs":[{"name":"o","datatype":"FP64","shape":[2,1],"data":[[0.5],[null]]}]}`), -1)
	f.Add([]byte(`{"outputs":[{"name":"o","datatype":"BYTES","shape":[2],"data":["a\\\"]","七"]}]}`), -1)
	f.Add([]byte(`{"outputs":[{"name":"o","datatype":"INT8","shape":[-1,99999999999],"data":[1]}]}`), -1)
	f.Add([]byte(`{"outputs":[{"datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":9}}]}`+"\x01\x00\x00\x00a\x00\x00\x00\x00"), 82)
	f.Add([]byte(`{"outputs":[{"datatype":"FP32","shape":[2147483647,2147483647,0],"data":[]}]}`), -1)
	f.Fuzz(func(t *testing.T, body []byte, header int) {
		if header < -1 {
			return // nothing makes one
		}
		if r, err := parseAnswer(body, header); err == nil {
			holds(t, r, len(body))
		}
	})
}

func TestAnswersThatLieAreRefused(t *testing.T) {
	output := func(shape, size string) string {
		return `{"outputs":[{"name":"o","datatype":"FP32","shape":` + shape + `,"parameters":{"binary_data_size":` + size + `}}]}`
	}
	if _, err := parseAnswer([]byte(output("[1]", "4")+"abcd"), len(output("[1]", "4"))); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ head, rest string }{
		"bytes are left":         {output("[1]", "4"), "abcde"},
		"bytes are missing":      {output("[1]", "4"), "abc"},
		"smaller than its shape": {output("[2]", "4"), "abcd"},
		"larger than its shape":  {output("[1]", "8"), "abcdefgh"},
		"negative size":          {output("[1]", "-4"), "abcd"},
		"negative shape":         {output("[-1,-1]", "4"), "abcd"},
		"shape that overflows":   {output("[4294967296,4294967296,0]", "0"), ""},
		"half a value":           {output("[1]", "5"), "abcde"},
		"no data":                {`{"outputs":[{"name":"o","datatype":"FP32","shape":[1]}]}`, ""},
		"null":                   {`{"outputs":[{"name":"o","datatype":"FP32","shape":[1],"data":null}]}`, ""},
		"two documents":          {output("[1]", "4") + "{}", "abcd"},
	} {
		if r, err := parseAnswer([]byte(c.head+c.rest), len(c.head)); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func FuzzParseProto(f *testing.F) {
	seed := func(m *inferencepb.ModelInferResponse) {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	type output = inferencepb.ModelInferResponse_InferOutputTensor
	type contents = inferencepb.InferTensorContents
	seed(&inferencepb.ModelInferResponse{Outputs: []*output{{Name: "o", Datatype: "FP32", Shape: []int64{1, 1}}}, RawOutputContents: [][]byte{{0, 0, 0, 0x3f}}})
	seed(&inferencepb.ModelInferResponse{Outputs: []*output{{Name: "o", Datatype: "FP32", Shape: []int64{1, 2}, Contents: &contents{Fp32Contents: []float32{1, 2}}}}})
	seed(&inferencepb.ModelInferResponse{Outputs: []*output{{Datatype: "INT8", Shape: []int64{1}, Contents: &contents{IntContents: []int32{300}}}}})
	seed(&inferencepb.ModelInferResponse{Outputs: []*output{{Datatype: "BYTES", Shape: []int64{2}, Contents: &contents{BytesContents: [][]byte{nil, {1}}}}}})
	seed(&inferencepb.ModelInferResponse{Outputs: []*output{{Datatype: "BOOL", Shape: []int64{-1}}}, RawOutputContents: [][]byte{{2}}})
	f.Fuzz(func(t *testing.T, data []byte) {
		var m inferencepb.ModelInferResponse
		if proto.Unmarshal(data, &m) != nil {
			return
		}
		if r, err := parseProto(&m); err == nil {
			holds(t, r, len(data))
		}
	})
}

func FuzzParseTiming(f *testing.F) {
	for _, seed := range []string{"queue;dur=0.012, compute;dur=0.034", `queue;desc="a";dur="1e300"`, "queue", ";;=,", "compute;dur=NaN", "compute;dur=-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if queue, compute := parseTiming(header); queue < 0 || compute < 0 {
			t.Errorf("%q: %v %v", header, queue, compute)
		}
	})
}

func TestParseTiming(t *testing.T) {
	for header, want := range map[string][2]time.Duration{
		"queue;dur=0.012, compute;dur=0.034":           {12 * time.Microsecond, 34 * time.Microsecond},
		`cache;dur=9, compute;desc="x"; dur="2",queue`: {0, 2 * time.Millisecond},
		"queue;dur=x,compute;dur=1e300":                {},
		"":                                             {},
	} {
		if queue, compute := parseTiming(header); queue != want[0] || compute != want[1] {
			t.Errorf("%q: %v %v", header, queue, compute)
		}
	}
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "0": 0, "3": 3 * time.Second, "-3": 0, "1.5": 0, "soon": 0,
		now.Add(time.Minute).Format(http.TimeFormat):  time.Minute,
		now.Add(-time.Minute).Format(http.TimeFormat): 0,
		"9223372036854775807":                         9223372036 * time.Second,
	} {
		if got := parseRetryAfter(header, now); got != want {
			t.Errorf("%q: %v, not %v", header, got, want)
		}
	}
}

func TestMessagesAreShortAndText(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":"no such model"}`:        "no such model",
		`{"detail":"too many","code":"x"}`: "too many",
		"<html>bad gateway":                "<html>bad gateway",
		`{"error":7}`:                      `{"error":7}`,
	} {
		if got := messageOf([]byte(body)); got != want {
			t.Errorf("%q: %q", body, got)
		}
	}
	if got := messageOf([]byte(strings.Repeat("七", 1000))); len(got) > maxMessage || !utf8.ValidString(got) {
		t.Errorf("%d bytes", len(got))
	}
}

func TestRequestIDsFitAHeader(t *testing.T) {
	for _, id := range []string{"", "七", "a\nb", strings.Repeat("x", 200)} {
		got := requestID(id)
		if got == "" || len(got) > maxRequestID || !isValue(got) || id != "" && got != requestID(id) {
			t.Errorf("%q: %q", id, got)
		}
	}
	one, other := requestID(""), requestID("")
	if requestID("a-7") != "a-7" || one == other {
		t.Error(requestID("a-7"), one, other)
	}
}

func TestQuantileIsThatOfWhatWasSeen(t *testing.T) {
	l := latencies{quantile: 0.95}
	for i := range 127 {
		l.observe(time.Duration(i) * time.Millisecond)
	}
	if l.value.Load() != 0 {
		t.Error("it is known too early")
	}
	for round := range 100 { // many times what is remembered
		for i := range 100 {
			l.observe(time.Duration(1+(i*37+round)%100) * time.Millisecond)
		}
	}
	if got := time.Duration(l.value.Load()); got < 90*time.Millisecond || got > 110*time.Millisecond {
		t.Errorf("the 95th of 1 to 100 ms is %v", got)
	}
	for range 20_000 { // what was long ago is forgotten
		l.observe(time.Millisecond)
	}
	if got := time.Duration(l.value.Load()); got < time.Millisecond || got > 1200*time.Microsecond {
		t.Errorf("of 1 ms it is %v", got)
	}
	for _, d := range []time.Duration{-1, 0, 1, 7, 8, 9, 15, 16, 1000, time.Second, time.Hour, 1<<62 - 1, 1<<63 - 1} {
		if end := endOf(bucketOf(d)); end < d || d > 8 && d < 1<<61 && float64(end) > 1.125*float64(d)+1 {
			t.Errorf("%v is in a bucket that ends with %v ("+strconv.Itoa(bucketOf(d))+")", d, end)
		}
	}
}
