package problem

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func TestWrite(t *testing.T) {
	tests := map[string]struct {
		problem    Problem
		status     int
		retryAfter string
		body       string
	}{
		"all members": {
			Problem{
				Type: "https://dougong.example/out-of-stock", Title: "Out of stock", Status: 409, Detail: "0 of sku 4711 are left", Instance: "/orders/7",
				Code: "out_of_stock", RetryAfter: 1500 * time.Millisecond, Extensions: map[string]any{"expected": 2, "a": []string{"x"}},
			},
			409, "2",
			`{"status":409,"type":"https://dougong.example/out-of-stock","title":"Out of stock","detail":"0 of sku 4711 are left","instance":"/orders/7","code":"out_of_stock","a":["x"],"expected":2}`,
		},
		"zero value":           {Problem{}, 500, "", `{"status":500,"title":"Internal Server Error"}`},
		"a status of success":  {Problem{Status: 200}, 500, "", `{"status":500,"title":"Internal Server Error"}`},
		"a status that is odd": {Problem{Status: 499}, 499, "", `{"status":499}`},
		"one nanosecond":       {Problem{Status: 503, RetryAfter: 1}, 503, "1", `{"status":503,"title":"Service Unavailable"}`},
		"whole seconds":        {Problem{Status: 429, RetryAfter: 3 * time.Second}, 429, "3", `{"status":429,"title":"Too Many Requests"}`},
		"the longest time":     {Problem{Status: 429, RetryAfter: math.MaxInt64}, 429, "9223372037", `{"status":429,"title":"Too Many Requests"}`},
		"escapes": {
			Problem{Status: 400, Title: "x", Detail: "\"\\\n\x00\x7f</script>& 斗拱 \xff\xe6\x96 \u2028"}, 400, "",
			`{"status":400,"title":"x","detail":"\"\\\n\u0000\u007f\u003c/script\u003e\u0026 斗拱 \ufffd\ufffd\ufffd ` + "\u2028" + `"}`,
		},
		"extensions that cannot be written": {
			Problem{Status: 400, Title: "x", Extensions: map[string]any{"status": 1, "code": "y", "func": func() {}, "nan": math.NaN(), "k\"\xff": true}}, 400, "",
			`{"status":400,"title":"x","k\"\ufffd":true}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			for _, misleading := range []string{"Content-Length", "Content-Encoding", "ETag", "Last-Modified"} {
				w.Header().Set(misleading, "1")
			}
			Write(w, &test.problem)
			if w.Code != test.status || w.Body.String() != test.body+"\n" {
				t.Errorf("got  %d %s\nwant %d %s", w.Code, w.Body, test.status, test.body)
			}
			want := http.Header{"Content-Type": {"application/problem+json"}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"}}
			if test.retryAfter != "" {
				want.Set("Retry-After", test.retryAfter)
			}
			if !reflect.DeepEqual(w.Header(), want) {
				t.Errorf("header %v, want %v", w.Header(), want)
			}
			if !json.Valid(w.Body.Bytes()) {
				t.Error("not JSON")
			}
		})
	}
}

func TestAnswersDoNotShareWhatAHandlerAddsToAHeader(t *testing.T) {
	first := httptest.NewRecorder()
	Write(first, &Problem{})
	first.Header().Add("Cache-Control", "private")
	second := httptest.NewRecorder()
	Write(second, &Problem{})
	if got := second.Header().Values("Cache-Control"); len(got) != 1 {
		t.Fatal(got)
	}
}

func answer(status int, contentType, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body))}
}

func TestReadReturnsWhatWriteWrote(t *testing.T) {
	sent := Problem{
		Type: "t", Title: "title", Status: 429, Detail: "slow \"down\" 斗拱", Instance: "i", Code: "limited",
		RetryAfter: 2 * time.Second, Extensions: map[string]any{"expected": 72.0, "names": []any{"a", nil}},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { Write(w, &sent) }))
	defer server.Close()
	resp, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := Read(resp, 1<<16)
	if err != nil || !reflect.DeepEqual(*got, sent) {
		t.Fatalf("got  %+v, %v\nwant %+v", got, err, sent)
	}
}

func TestReadTellsOutagesFromProblems(t *testing.T) {
	const problemType = "application/problem+json"
	tests := map[string]struct {
		contentType, body string
		reason            string // "" for a problem
	}{
		"problem":            {problemType, `{"code":"x"}`, ""},
		"with a parameter":   {"Application/Problem+JSON; charset=utf-8", `{"code":"x"}`, ""},
		"at the limit":       {problemType, `{"code":"x","detail":"` + strings.Repeat("d", 74) + `"}`, ""},
		"above the limit":    {problemType, `{"code":"x","detail":"` + strings.Repeat("d", 75) + `"}`, "longer than 98 bytes"},
		"page of a proxy":    {"text/html", "<h1>502 Bad Gateway</h1>", `content type is "text/html"`},
		"ordinary JSON":      {"application/json", `{"code":"x"}`, `content type is "application/json"`},
		"no type":            {"", "", `content type is ""`},
		"cut short":          {problemType, `{"code":"x`, "unexpected end of JSON input"},
		"not an object":      {problemType, `["x"]`, "cannot unmarshal array"},
		"null":               {problemType, `null`, "null is not an object"},
		"something after it": {problemType, `{} {}`, "after top-level value"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := Read(answer(502, test.contentType, test.body), 98)
			if test.reason == "" {
				if err != nil || p.Code != "x" || p.Status != 502 {
					t.Fatalf("%+v, %v", p, err)
				}
				return
			}
			outage, ok := errors.AsType[*NotProblemError](err)
			if !ok || !errors.Is(err, ErrNotProblem) || outage.Status != 502 || !strings.HasPrefix(test.body, outage.Body[:min(5, len(outage.Body))]) {
				t.Fatalf("%+v, %v", p, err)
			}
			if !strings.Contains(err.Error(), test.reason) {
				t.Errorf("%v does not say %q", err, test.reason)
			}
		})
	}
}

func TestReadReportsAConnectionThatBreaks(t *testing.T) {
	resp := answer(500, "application/problem+json", "")
	resp.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := Read(resp, 100); !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, ErrNotProblem) {
		t.Fatal(err)
	}
}

func TestReadTakesTheStatusOfTheAnswer(t *testing.T) {
	p, err := Read(answer(503, "application/problem+json", `{"status":200}`), 100)
	if err != nil || p.Status != 503 {
		t.Fatal(p, err)
	}
}

func TestMembersOfTheWrongTypeAreIgnored(t *testing.T) {
	p, err := Parse([]byte(`{"type":1,"title":null,"status":"404","detail":{},"instance":[],"code":"kept","Code":"other","gone":null,"huge":1e999}`))
	want := &Problem{Code: "kept", Extensions: map[string]any{"Code": "other"}}
	if err != nil || !reflect.DeepEqual(p, want) {
		t.Fatalf("%+v, %v", p, err)
	}
	for _, status := range []string{"99", "600", "404.5", "-1", "1e99", "true"} {
		if p, err := Parse([]byte(`{"status":` + status + `}`)); err != nil || p.Status != 0 {
			t.Errorf("status %s: %+v, %v", status, p, err)
		}
	}
}

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where the time is known
		for value, want := range map[string]time.Duration{
			"":                      0,
			"7":                     7 * time.Second,
			"-7":                    0,
			"soon":                  0,
			"9223372036854775807":   365 * 24 * time.Hour,
			"99999999999999999999":  0,
			inGMT(30 * time.Second): 30 * time.Second,
			inGMT(-time.Hour):       0,
		} {
			resp := answer(503, "application/problem+json", "{}")
			resp.Header.Set("Retry-After", value)
			p, err := Read(resp, 100)
			if err != nil || p.RetryAfter != want {
				t.Errorf("%q: %v, %v, want %v", value, p, err, want)
			}
			resp = answer(503, "text/html", "")
			resp.Header.Set("Retry-After", value)
			_, err = Read(resp, 100)
			if outage, ok := errors.AsType[*NotProblemError](err); !ok || outage.RetryAfter != want {
				t.Errorf("%q of an outage: %v", value, err)
			}
		}
	})
}

func inGMT(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }

func TestErrorText(t *testing.T) {
	for want, p := range map[string]Problem{
		"problem 409 out_of_stock: none left": {Status: 409, Code: "out_of_stock", Title: "Out of stock", Detail: "none left"},
		"problem 409: Out of stock":           {Status: 409, Title: "Out of stock"},
		"problem 409: Conflict":               {Status: 409},
	} {
		if got := (&p).Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"type":"about:blank","title":"t","status":404,"detail":"d","instance":"i","code":"c","expected":[1,"x",null,{"a":1e3}]}`))
	f.Add([]byte(`{"status":"404","":0,"\ud800":"\udfff","code":null}`))
	f.Add([]byte(`[]`))
	f.Add([]byte("{\"detail\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, document []byte) {
		p, err := Parse(document)
		if err != nil {
			return
		}
		_ = p.Error()
		// What was parsed can be written, and reads the same.
		w := httptest.NewRecorder()
		Write(w, p)
		p.Status = w.Code
		if p.Title == "" {
			p.Title = http.StatusText(w.Code)
		}
		again, err := Read(w.Result(), math.MaxInt64)
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("parsed %+v\nread   %+v, %v\nfrom   %s", p, again, err, w.Body)
		}
	})
}

func FuzzAppendString(f *testing.F) {
	f.Add("plain")
	f.Add("\"\\\n\x00\x7f<>&斗拱\xff\xe6\x96\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		var got, want string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil {
			t.Fatal(err)
		}
		reference, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(reference, &want); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("%q became %q, encoding/json makes it %q", s, got, want)
		}
	})
}

// logged is the ResponseWriter of a server that keeps codes for its access log.
type logged struct {
	http.ResponseWriter
	codes []string
}

func (l *logged) ProblemCode(code string)     { l.codes = append(l.codes, code) }
func (l *logged) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// wrapped is what a middleware puts around a ResponseWriter.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestServerLearnsTheCode(t *testing.T) {
	inner := &logged{ResponseWriter: httptest.NewRecorder()}
	outer := &logged{ResponseWriter: wrapped{inner}}
	Write(wrapped{wrapped{outer}}, &Problem{Status: 429, Code: "queue_full"})
	Write(outer, &Problem{Status: 500, Code: "internal"})
	Write(outer, &Problem{Status: 500})
	Write(wrapped{inner}, &Problem{Code: "lost"})
	if want := []string{"queue_full", "internal"}; !reflect.DeepEqual(outer.codes, want) {
		t.Errorf("outer %q, want %q", outer.codes, want)
	}
	if want := []string{"lost"}; !reflect.DeepEqual(inner.codes, want) {
		t.Errorf("inner %q, want %q: only the first is told", inner.codes, want)
	}
}

// discard is a ResponseWriter that costs nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

func benchmarkWrite(b *testing.B, p *Problem) {
	w := discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		Write(w, p)
	}
}

func BenchmarkWrite(b *testing.B) {
	benchmarkWrite(b, &Problem{Status: 409, Code: "out_of_stock", Detail: "0 of sku 4711 are left, 2 were asked for"})
}

func BenchmarkWriteRetryAfter(b *testing.B) {
	benchmarkWrite(b, &Problem{Status: 429, Code: "queue_full", Detail: "the queue is full", RetryAfter: 1234 * time.Millisecond})
}

func TestWriteHardlyAllocates(t *testing.T) {
	w := discard{http.Header{}}
	p := &Problem{Status: 429, Code: "queue_full", Detail: "the queue is full", RetryAfter: 1234 * time.Millisecond}
	if n := testing.AllocsPerRun(1000, func() { Write(w, p) }); n > 2 {
		t.Fatalf("%v allocations", n)
	}
}
