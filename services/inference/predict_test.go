package inference

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/examples/models"
	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/problem"
)

const data = "../../examples/data/"

// TestAnswersEqualTheReference sends every case of every demo model, one by one and in batches, and holds
// the answers against XGBoost's own.
func TestAnswersEqualTheReference(t *testing.T) {
	_, h, seen := demo(t)
	for _, c := range []struct {
		model, version, file, column string
		features                     int
	}{
		{"loan-default", "1", "loan-default", "full", 72},
		{"loan-default", "2", "loan-default", "v2", 72},
		{"loan-lite", "1", "loan-default", "lite", 72},
		{"loan-mini", "1", "loan-mini", "expected", 2},
	} {
		t.Run(c.model+" "+c.version, func(t *testing.T) {
			rows, want := readCases(t, data+c.file+"/cases.csv", c.column, c.features)
			worst := 0.0
			check := func(i int, got []float64) {
				if len(got) != 1 {
					t.Fatalf("row %d: %d outputs", i, len(got))
				}
				worst = max(worst, math.Abs(got[0]-want[i]))
			}
			for i, row := range rows {
				w := post(h, fmt.Sprintf(`{"model":%q,"version":%q,"input":%s}`, c.model, c.version, row))
				var answer struct {
					Model, Version string
					Output         []float64
				}
				if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 200 || answer.Model != c.model || answer.Version != c.version {
					t.Fatalf("row %d: %d %s %v", i, w.Code, w.Body, err)
				}
				check(i, answer.Output)
			}
			w := post(h, fmt.Sprintf(`{"model":%q,"version":%q,"inputs":[%s]}`, c.model, c.version, strings.Join(rows, ",")))
			var answer struct{ Outputs [][]float64 }
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || len(answer.Outputs) != len(rows) {
				t.Fatalf("batch: %d %.200s %v", w.Code, w.Body, err)
			}
			for i, got := range answer.Outputs {
				check(i, got)
			}
			if !(worst <= 1e-6) {
				t.Errorf("largest difference %g", worst)
			}
			if got := seen.of(c.model + "/" + c.version + " ok"); got != len(rows)+1 {
				t.Errorf("%d requests observed, %d sent", got, len(rows)+1)
			}
		})
	}
}

func TestForms(t *testing.T) {
	_, h, _ := demo(t)
	const want = `{"model":"loan-mini","version":"1","output":[0.03645608]}`
	for _, body := range []string{
		`{"model":"loan-mini","input":[0.1,0.9]}`,
		` { "input" : [ 1e-1 , 0.90 ] , "version" : "1" , "model" : "loan-mini" } `,
		`{"model":"loan-mini","version":1,"features":{"revol_util":0.9,"int_rate":0.1}}`,
		`{"features":{"int_rate":0.1,"revol_util":0.9},"model":"loan\u002dmini"}`,
	} {
		if w := post(h, body); w.Code != 200 || strings.TrimSpace(w.Body.String()) != want {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	if w := post(h, `{"model":"loan-mini","inputs":[[0.1,0.9]]}`); strings.TrimSpace(w.Body.String()) != `{"model":"loan-mini","version":"1","outputs":[[0.03645608]]}` {
		t.Errorf("rows form: %s", w.Body)
	}
	// null, absence and a row's null are all the same missing value.
	missing := post(h, `{"model":"loan-mini","input":[null,0.9]}`).Body.String()
	for _, body := range []string{`{"model":"loan-mini","features":{"int_rate":null,"revol_util":0.9}}`, `{"model":"loan-mini","features":{"revol_util":0.9}}`} {
		if got := post(h, body).Body.String(); got != missing {
			t.Errorf("%s: %s, want %s", body, got, missing)
		}
	}
	if missing == want+"\n" {
		t.Error("a missing value changes nothing")
	}
}

func TestWhatIsRefused(t *testing.T) {
	_, h, seen := demo(t)
	row := "[" + strings.Repeat("0,", 71) + "0]"
	long := strings.Repeat("x", 10_000)
	for body, want := range map[string]struct {
		status int
		code   string
		says   string
	}{
		``:                                    {400, CodeInvalidRequest, "the body is empty"},
		`[]`:                                  {400, CodeInvalidRequest, "an object expected, not '['"},
		`{}`:                                  {400, CodeInvalidRequest, `expected one of "input" (a row), "inputs" (rows) or "features"`},
		`{"model":"loan-mini"}`:               {400, CodeInvalidRequest, "expected one of"},
		`{"input":[1,2]} x`:                   {400, CodeInvalidRequest, "the end of the document expected, not 'x'"},
		`{"input":[1,2],"inputs":[[1,2]]}`:    {400, CodeInvalidRequest, "found input and inputs"},
		`{"input":[1,2],"input":[1,2]}`:       {400, CodeInvalidRequest, `field "input" appears twice`},
		`{"model":"a","model":"b"}`:           {400, CodeInvalidRequest, `field "model" appears twice`},
		`{"inptu":[1,2]}`:                     {400, CodeInvalidRequest, `unknown field "inptu"`},
		`{"model":"loan-mini","input":[0.1]}`: {400, CodeInvalidRequest, "input has 1 values; model loan-mini version 1 expects 2: int_rate, revol_util"},
		`{"input":[0.1,0.9]}`:                 {400, CodeInvalidRequest, "model loan-default version 1 expects 72: funded_amnt"},
		`{"model":"loan-mini","inputs":[]}`:   {400, CodeInvalidRequest, "at least one row"},
		`{"model":"loan-mini","inputs":[[0.1,0.9],[0.1]]}`:                   {400, CodeInvalidRequest, "inputs[1] has 1 values, inputs[0] has 2"},
		`{"model":"loan-mini","inputs":[0.1,0.9]}`:                           {400, CodeInvalidRequest, "an array of numbers expected"},
		`{"model":"loan-mini","input":[0.1,"x"]}`:                            {400, CodeInvalidRequest, "a number expected"},
		`{"model":"loan-mini","input":[0.1,true]}`:                           {400, CodeInvalidRequest, "a number expected"},
		`{"model":"loan-mini","input":[0.1,NaN]}`:                            {400, CodeInvalidRequest, "JSON has no NaN, a missing value is null"},
		`{"model":"loan-mini","input":[0.1,1e999]}`:                          {400, CodeInvalidRequest, "out of float64 range"},
		`{"model":"loan-mini","input":[0.1,1e39]}`:                           {400, CodeInvalidRequest, "row 0, revol_util: 1e+39 is out of float32 range"},
		`{"model":"loan-mini","features":{"rate":1}}`:                        {400, CodeInvalidRequest, `unknown feature "rate"; model loan-mini version 1 expects int_rate, revol_util`},
		`{"model":"loan-mini","features":{"int_rate":1,"int_rate":2}}`:       {400, CodeInvalidRequest, `feature "int_rate" appears twice`},
		`{"model":"loan-mini","features":{"int_rate":null,"int_rate":null}}`: {400, CodeInvalidRequest, `feature "int_rate" appears twice`},
		`{"model":"loan-mini","features":{"int_rate":"x"}}`:                  {400, CodeInvalidRequest, "a number expected"},
		`{"model":"loan-mini","features":[]}`:                                {400, CodeInvalidRequest, `an object of values by name in "features" expected`},
		`{"model":"nope","input":[1]}`:                                       {404, CodeModelNotFound, `unknown model "nope": there are loan-default, loan-lite, loan-mini`},
		`{"model":"../../etc/passwd","input":[1]}`:                           {404, CodeModelNotFound, "unknown model"},
		`{"model":"` + long + `","input":[1]}`:                               {404, CodeModelNotFound, "unknown model"},
		`{"model":"loan-default","version":"9","input":[1]}`:                 {404, CodeVersionNotFound, `unknown version "9" of model loan-default, which has versions 1, 2`},
		`{"model":"loan-default","version":1.5,"input":[1]}`:                 {400, CodeInvalidRequest, "a version is a string"},
		`{"model":"loan-default","version":"","input":[1]}`:                  {400, CodeInvalidRequest, "version is empty"},
		`{"model":7,"input":[1]}`:                                            {400, CodeInvalidRequest, "a string expected"},
		"{\"model\":\"\xff\",\"input\":[1]}":                                 {400, CodeInvalidRequest, "not valid UTF-8"},
		strings.Repeat("[", 100_000):                                         {400, CodeInvalidRequest, "an object expected"},
		`{"features":` + strings.Repeat(`{"a":`, 100_000):                    {400, CodeInvalidRequest, "nested deeper"},
		`{"inputs":[` + strings.Repeat("[0],", 16384) + `[0]]}`:              {413, CodeTooManyRows, "more than 16384 rows"},
		`{"inputs":[` + row + `,` + row + `,]}`:                              {400, CodeInvalidRequest, "expected, not ']'"},
	} {
		w := post(h, body)
		var p struct {
			Status       int
			Code, Detail string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%.60s: no problem document: %v %.200s", body, err, w.Body)
		}
		if w.Code != want.status || p.Status != want.status || p.Code != want.code || !strings.Contains(p.Detail, want.says) {
			t.Errorf("%.60s:\n got %d %s %q\nwant %d %s …%s…", body, w.Code, p.Code, p.Detail, want.status, want.code, want.says)
		}
		if len(p.Detail) > 1000 {
			t.Errorf("%.60s: a detail of %d bytes", body, len(p.Detail))
		}
	}
	if seen.of("loan-mini/1 invalid") == 0 || seen.of("/ invalid") == 0 {
		t.Errorf("invalid requests are not observed: %v", seen.seen)
	}
}

func TestNotReadyBeforeLoading(t *testing.T) {
	s, err := New(DefaultConfig(), Deps{Models: models.Repository, Decode: decode})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	s.Register(func(pattern, _ string, h http.Handler) { mux.Handle(pattern, h) })
	for _, path := range []string{"POST /v1/predict", "GET /v1/models", "GET /v1/models/loan-mini"} {
		method, path, _ := strings.Cut(path, " ")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader("{}")))
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), CodeNotReady) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestFailedLoadFailsTheService(t *testing.T) {
	cfg := DefaultConfig()
	cfg.DefaultModel = "gone"
	s, err := New(cfg, Deps{Models: models.Repository, Decode: decode})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), `default_model: unknown model "gone"`) || s.Lifecycle().State() != lifecycle.Failed {
		t.Errorf("%v, state %v", err, s.Lifecycle().State())
	}
}

// blockingBody never ends until it is closed.
type blockingBody struct{ closed chan struct{} }

func (b *blockingBody) Read([]byte) (int, error) { <-b.closed; return 0, io.ErrUnexpectedEOF }

// TestRefusalComesBeforeTheBody takes every place for requests whose body does not arrive, and expects the next
// one to be refused without a byte of its body read. A slow sender holds neither a slot nor a place in the queue.
func TestRefusalComesBeforeTheBody(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Slots, cfg.Queue, cfg.Arriving = 1, 1, 3
	s, h, seen := serve(t, cfg, models.Repository)
	blocked := &blockingBody{closed: make(chan struct{})}
	var wg sync.WaitGroup
	slow := func() {
		wg.Go(func() { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/v1/predict", blocked)) })
	}
	slow()
	slow()
	waitFor(t, func() bool { return s.Status().Arriving == 2 })
	if got := s.Status(); got.Running != 0 || got.Queued != 0 || got.Rows.InUse != 0 {
		t.Errorf("senders that are slow hold more than their place: %+v", got)
	}
	if w := post(h, `{"model":"loan-mini","input":[0.1,0.9]}`); w.Code != 200 {
		t.Errorf("with a place, the queue and the slot free: %d %s", w.Code, w.Body)
	}
	slow()
	waitFor(t, func() bool { return s.Status().Arriving == 3 })
	untouched := &countingBody{}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/v1/predict", untouched))
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), CodeOverloaded) ||
		!strings.Contains(w.Body.String(), "still sending") || untouched.reads != 0 {
		t.Errorf("full: %d %s after %d reads", w.Code, w.Body, untouched.reads)
	}
	if seen.of("/ rejected") != 1 {
		t.Errorf("rejection not observed: %v", seen.seen)
	}
	close(blocked.closed)
	wg.Wait()
	if got := s.Status(); got.Arriving != 0 || got.HeldBytes != 0 {
		t.Errorf("after all left: %+v", got)
	}
}

func TestRoomForABodyGrowsWithWhatHasArrived(t *testing.T) {
	for _, c := range []struct {
		announced int64
		arrived   int
		want      int
	}{
		{-1, 0, 0}, {0, 0, 1}, {200, 0, 201}, {1 << 40, 0, 16 << 10}, {math.MaxInt64, 0, 0}, // 0: the smallest there is
		{20_000, 16 << 10, 16 << 10}, {1 << 40, 20_000, 60_000}, {-1, 20_000, 20_000}, {100, 20_000, 20_000},
		{1 << 40, 1 << 30, 1 << 20}, {-1, 1 << 30, 1 << 20},
	} {
		if got := roomFor(c.announced, c.arrived); got != c.want {
			t.Errorf("%d announced, %d arrived: room for %d more, want %d", c.announced, c.arrived, got, c.want)
		}
	}
}

type countingBody struct{ reads int }

func (b *countingBody) Read([]byte) (int, error) { b.reads++; return 0, io.EOF }

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("did not happen in 10 s")
		}
		runtime.Gosched()
	}
}

func TestBodyErrors(t *testing.T) {
	_, h, _ := demo(t)
	for name, c := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"too large": {&http.MaxBytesError{Limit: 8}, 413, CodeBodyTooLarge},
		"too slow":  {fmt.Errorf("read: %w", os.ErrDeadlineExceeded), 408, CodeBodyTimeout},
		"cut off":   {io.ErrUnexpectedEOF, 400, CodeInvalidRequest},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/v1/predict", &failingBody{c.err}))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.code) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

type failingBody struct{ err error }

func (b *failingBody) Read(p []byte) (int, error) { return copy(p, `{"inp`), b.err }

func TestExpiredDeadline(t *testing.T) {
	_, h, seen := demo(t)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/v1/predict", strings.NewReader(`{"model":"loan-mini","input":[0.1,0.9]}`)).WithContext(ctx))
	if w.Code != 504 || !strings.Contains(w.Body.String(), CodeDeadline) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if seen.of("loan-mini/1 ok") != 0 || seen.of("/ expired") != 1 {
		t.Errorf("work was done for nobody: %v", seen.seen)
	}
}

func TestProblemsOfEveryError(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		result Result
	}{
		{&limit.RejectedError{Reason: limit.QueueFull}, 503, Rejected},
		{&limit.RejectedError{Reason: limit.ArrivingFull}, 503, Rejected},
		{&limit.RejectedError{Reason: limit.Deadline}, 503, Rejected},
		{&limit.RejectedError{Reason: limit.Closed}, 503, Rejected},
		{errNoMemory, 503, Rejected},
		{notReadyError(lifecycle.Draining), 503, Rejected},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), 504, Expired},
		{context.Canceled, 504, Expired},
		{errors.New("secret detail"), 500, Failed},
	} {
		p, result := problemOf(c.err)
		if p.Status != c.status || result != c.result || p.Code == "" || p.Detail == "" || strings.Contains(p.Detail, "secret") {
			t.Errorf("%v: %+v %v", c.err, p, result)
		}
		if p.Status == 503 && p.RetryAfter == 0 {
			t.Errorf("%v: no Retry-After", c.err)
		}
	}
}

func TestModels(t *testing.T) {
	_, h, _ := demo(t)
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	var list struct{ Models []modelAnswer }
	if err := json.Unmarshal(get("/v1/models").Body.Bytes(), &list); err != nil || len(list.Models) != 3 || list.Models[0].Name != "loan-default" ||
		list.Models[0].Serving != "1" || len(list.Models[0].Versions) != 2 || list.Models[0].Versions[0].Inputs != nil {
		t.Errorf("%+v %v", list, err)
	}
	var one modelAnswer
	if err := json.Unmarshal(get("/v1/models/loan-mini").Body.Bytes(), &one); err != nil || len(one.Versions) != 1 ||
		strings.Join(one.Versions[0].Inputs, " ") != "int_rate revol_util" || one.Versions[0].Trees != 40 || one.Versions[0].Library == "" {
		t.Errorf("%+v %v", one, err)
	}
	if w := get("/v1/models/nope"); w.Code != 404 || !strings.Contains(w.Body.String(), CodeModelNotFound) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestInvariantsHold(t *testing.T) {
	s, _, _ := demo(t)
	names := 0
	s.Invariants(func(name string, err error) {
		names++
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	if names != 6 { // four versions, the limit, the pools
		t.Errorf("%d invariants", names)
	}
}

// TestConcurrentRequestsDoNotMix sends different rows from many goroutines through the shared buffers.
func TestConcurrentRequestsDoNotMix(t *testing.T) {
	_, h, _ := demo(t)
	rows, want := readCases(t, data+"loan-mini/cases.csv", "expected", 2)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := g; i < len(rows); i += 3 {
				w := post(h, `{"model":"loan-mini","input":`+rows[i]+`}`)
				var answer struct{ Output []float64 }
				if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || len(answer.Output) != 1 || math.Abs(answer.Output[0]-want[i]) > 1e-6 {
					t.Errorf("row %d: %s, want %v", i, w.Body, want[i])
				}
			}
		})
	}
	wg.Wait()
}

// FuzzPredict: whatever the body, the answer is 200 with an answer or a problem document, and what is
// answered was JSON.
func FuzzPredict(f *testing.F) {
	_, h, _ := demo(f)
	for _, body := range []string{
		`{"model":"loan-mini","input":[0.1,0.9]}`, `{"model":"loan-mini","inputs":[[0.1,null],[1e3,-0]]}`, `{"model":"loan-mini","version":"1","features":{"int_rate":0.1}}`,
		`{"input":[`, `{"model":"loan-mini","input":[1e39,1]}`, "{\"model\":\"\xff\"}", `{"version":1,"model":"loan-lite","features":{}}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/v1/predict", bytes.NewReader(body)))
		if !json.Valid(w.Body.Bytes()) {
			t.Fatalf("answered what is no JSON: %s", w.Body)
		}
		switch w.Code {
		case 200:
			if !json.Valid(body) {
				t.Fatalf("answered a body that is no JSON: %q", body)
			}
		case 400, 404, 413:
			if p, err := problem.Parse(w.Body.Bytes()); err != nil || p.Code == "" || p.Detail == "" {
				t.Fatalf("%v %s", err, w.Body)
			}
		default:
			t.Fatalf("status %d for %q: %s", w.Code, body, w.Body)
		}
	})
}

func BenchmarkPredict(b *testing.B) {
	_, h, _ := demo(b)
	rows, _ := readCases(b, data+"loan-default/cases.csv", "lite", 72)
	for _, c := range []struct {
		model string
		rows  int
	}{{"loan-lite", 1}, {"loan-default", 1}, {"loan-default", 128}} {
		b.Run(c.model+"/"+strconv.Itoa(c.rows), func(b *testing.B) {
			var bodies [][]byte
			for i := 0; i+c.rows <= len(rows); i += c.rows {
				bodies = append(bodies, fmt.Appendf(nil, `{"model":%q,"inputs":[%s]}`, c.model, strings.Join(rows[i:i+c.rows], ",")))
			}
			w, body := &nullWriter{header: http.Header{}}, &bytes.Reader{}
			r := httptest.NewRequest("POST", "/v1/predict", io.NopCloser(body))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				body.Reset(bodies[i%len(bodies)])
				r.ContentLength = int64(body.Len())
				h.ServeHTTP(w, r)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.rows), "ns/row")
		})
	}
}

// nullWriter is a http.ResponseWriter that keeps the status of the last answer and nothing else.
type nullWriter struct {
	header http.Header
	status int
}

func (w *nullWriter) Header() http.Header         { return w.header }
func (w *nullWriter) Write(p []byte) (int, error) { w.status = http.StatusOK; return len(p), nil }
func (w *nullWriter) WriteHeader(status int)      { w.status = status }

func TestFloat32Range(t *testing.T) {
	_, h, _ := demo(t)
	for value, status := range map[string]int{
		"3.4028234663852886e38": 200, "-3.4028234663852886e38": 200, "3.4028235677973362e38": 200, // rounds down to the largest
		"3.4028235677973366e38": 400, "-3.4028235677973366e38": 400, "1e39": 400,
	} {
		if w := post(h, `{"model":"loan-mini","input":[0.1,`+value+`]}`); w.Code != status {
			t.Errorf("%s: %d %s", value, w.Code, w.Body)
		}
	}
}
