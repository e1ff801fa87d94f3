//go:build unix && !race && !dougong_pooldebug

package inference

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/examples/models"
)

// handlerCases are requests as they come, and what each may allocate: the values of the header of the answer.
func handlerCases(t testing.TB) []handlerCase {
	rows, _ := readCases(t, data+"loan-default/cases.csv", "lite", 72)
	names := inputs(t)
	named := func(row string) string {
		var b strings.Builder
		for i, cell := range strings.Split(strings.Trim(row, "[]"), ",") {
			fmt.Fprintf(&b, `,%q:%s`, names[i], cell)
		}
		return "{" + b.String()[1:] + "}"
	}
	return []handlerCase{
		{"a row", `{"model":"loan-lite","input":` + rows[0] + `}`, 1},
		{"a row of the default model", `{"input":` + rows[0] + `}`, 1},
		{"features by name", `{"model":"loan-lite","version":"1","features":` + named(rows[0]) + `}`, 1},
		{"version as a number", `{"model":"loan-lite","version":1,"input":` + rows[0] + `}`, 2},
		{"128 rows", `{"model":"loan-lite","inputs":[` + strings.Join(rows[:128], ",") + `]}`, 1},
		{"1,000 rows", `{"model":"loan-lite","inputs":[` + strings.Join(rows[:1000], ",") + `]}`, 2}, // and the blocks of the work
	}
}

type handlerCase struct {
	name, body string
	allocs     float64
}

// inputs are the names of the features of loan-lite.
func inputs(t testing.TB) []string {
	s, _, _ := demo(t)
	v, err := s.models.Load().Find("loan-lite", "")
	if err != nil {
		t.Fatal(err)
	}
	return v.Manifest.Inputs
}

// bareCaller calls the handler of POST /v1/predict as net/http would, and allocates nothing to do so. The service has
// what a deployed one has: tenants, a priority header, a mark for tests, fault points, a deadline.
type bareCaller struct {
	handler http.Handler
	request *http.Request
	body    bytes.Reader
	writer  nullWriter
}

func newCaller(t testing.TB, route string) *bareCaller {
	cfg := DefaultConfig()
	cfg.PriorityHeader = "x-priority"
	s, _ := serveWith(t, cfg, Deps{Models: models.Repository, Decode: decode, Faults: newFaults(t), Tenant: func(_ context.Context, remote string) string { return remote }})
	c := &bareCaller{writer: nullWriter{header: http.Header{}}}
	s.Register(func(pattern, _ string, h http.Handler) {
		if pattern == route {
			c.handler = h
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	t.Cleanup(cancel)
	c.request = httptest.NewRequestWithContext(ctx, "POST", "/v1/predict", io.NopCloser(&c.body))
	c.request.Header.Set("X-Priority", "critical")
	c.request.Header.Set("X-Request-Id", "8b0c5a3e")
	return c
}

func (c *bareCaller) call(body []byte) {
	c.body.Reset(body)
	c.request.ContentLength = int64(len(body))
	c.handler.ServeHTTP(&c.writer, c.request)
}

// inferCase is a request of the Open Inference Protocol.
type inferCase struct {
	name, header string // length of the JSON; "": all of it
	body         []byte
	allocs       float64
}

func inferCases(t testing.TB) []inferCase {
	rows, _ := readCases(t, data+"loan-default/cases.csv", "lite", 72)
	var cases []inferCase
	for _, n := range []int{1, 128} {
		cases = append(cases, inferCase{fmt.Sprintf("JSON, %d rows", n), "",
			fmt.Appendf(nil, `{"inputs":[{"name":"input","datatype":"FP32","shape":[%d,72],"data":[%s]}]}`, n, strings.Join(rows[:n], ",")), 1})
		var tensor []byte
		for _, row := range rows[:n] {
			tensor = append(tensor, float32Bytes(parseRow(t, row)...)...)
		}
		head := fmt.Appendf(nil, `{"inputs":[{"name":"input","datatype":"FP32","shape":[%d,72],"parameters":{"binary_data_size":%d}}],"outputs":[{"name":"output","parameters":{"binary_data":true}}]}`, n, len(tensor))
		cases = append(cases, inferCase{fmt.Sprintf("binary, %d rows", n), fmt.Sprint(len(head)), append(head, tensor...), 1})
	}
	return cases
}

// newInferCaller calls POST /v2/models/loan-lite/infer.
func newInferCaller(t testing.TB) *bareCaller {
	c := newCaller(t, "POST /v2/models/{model}/infer")
	c.request.SetPathValue("model", "loan-lite")
	return c
}

func (c *bareCaller) infer(one inferCase) {
	if one.header == "" {
		delete(c.request.Header, headerLength)
	} else {
		c.request.Header[headerLength] = []string{one.header}
	}
	c.call(one.body)
}

func TestV2AnswersAllocateNextToNothing(t *testing.T) {
	c := newInferCaller(t)
	for _, one := range inferCases(t) {
		c.infer(one)
		if c.writer.status != http.StatusOK {
			t.Errorf("%s: %d", one.name, c.writer.status)
		}
		if got := testing.AllocsPerRun(200, func() { c.call(one.body) }); got > one.allocs {
			t.Errorf("%s: %v allocations, at most %v", one.name, got, one.allocs)
		}
	}
}

func BenchmarkInfer(b *testing.B) {
	c := newInferCaller(b)
	for _, one := range inferCases(b) {
		b.Run(strings.ReplaceAll(one.name, " ", "_"), func(b *testing.B) {
			c.infer(one)
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				c.call(one.body)
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// TestAnswersAllocateNextToNothing holds the handler's own part: what net/http takes for a request (two dozen
// allocations or so) is not in it.
func TestAnswersAllocateNextToNothing(t *testing.T) {
	c := newCaller(t, "POST /v1/predict")
	for _, one := range handlerCases(t) {
		body := []byte(one.body)
		if got := testing.AllocsPerRun(200, func() { c.call(body) }); got > one.allocs {
			t.Errorf("%s: %v allocations, at most %v", one.name, got, one.allocs)
		}
		if c.writer.status != http.StatusOK {
			t.Errorf("%s: %d", one.name, c.writer.status)
		}
	}
}

// BenchmarkHandler measures one request in the handler, without net/http and without a mux.
func BenchmarkHandler(b *testing.B) {
	c := newCaller(b, "POST /v1/predict")
	for _, one := range handlerCases(b) {
		b.Run(strings.ReplaceAll(one.name, " ", "_"), func(b *testing.B) {
			body := []byte(one.body)
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				c.call(body)
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op") // with the garbage collector's
		})
	}
}

// cpuTime is what the process has used of its processors.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// TestAnswersOfWorkersAllocateNoMore: on our side of the pool.
func TestAnswersOfWorkersAllocateNoMore(t *testing.T) {
	for _, policy := range []string{"", withFallback} {
		w := serveWorkers(t, netConfig(), netRepository(t, policy), nil)
		c := &bareCaller{writer: nullWriter{header: http.Header{}}}
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		c.request = httptest.NewRequestWithContext(ctx, "POST", "/v1/predict", io.NopCloser(&c.body))
		w.Register(func(pattern, _ string, h http.Handler) {
			if pattern == "POST /v1/predict" {
				c.handler = h
			}
		})
		for _, v := range w.models.Load().served {
			v.observer = silent{} // that of the tests allocates
		}
		body := []byte(sumRequest)
		if n := testing.AllocsPerRun(200, func() { c.call(body) }); n > 1 {
			t.Errorf("%q: %v allocations", policy, n)
		}
	}
}
