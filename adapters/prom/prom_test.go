package prom

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/problem"
)

// scrape returns the lines of /metrics that begin with prefix.
func scrape(t *testing.T, r *Registry, prefix string) string {
	t.Helper()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, prefix) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func TestDescriptionsAreWhatWasDeclared(t *testing.T) {
	r := New()
	r.Counter(Opts{Name: "dougong_b_total", Help: "B."}).Inc()
	r.HistogramVec(Opts{Name: "dougong_a_seconds", Unit: "seconds", Help: "A.", Labels: []string{"x", "y"}, Buckets: []float64{1, 2}}).WithLabelValues("1", "2").Observe(1.5)
	r.GaugeFunc(Opts{Name: "dougong_c_bytes", Unit: "bytes", Help: "C."}, func() float64 { return 7 })
	r.CounterFunc(Opts{Name: "dougong_d_bytes_total", Unit: "bytes", Help: "D."}, func() float64 { return 8 })
	r.Histogram(Opts{Name: "dougong_e_seconds", Unit: "seconds", Help: "E."}).Observe(.3)
	r.Gauge(Opts{Name: "dougong_f", Help: "F."}).Set(9)
	want := []Description{
		{"dougong_a_seconds", "histogram", "seconds", "A.", []string{"x", "y"}},
		{"dougong_b_total", "counter", "", "B.", nil},
		{"dougong_c_bytes", "gauge", "bytes", "C.", nil},
		{"dougong_d_bytes_total", "counter", "bytes", "D.", nil},
		{"dougong_e_seconds", "histogram", "seconds", "E.", nil},
		{"dougong_f", "gauge", "", "F.", nil},
	}
	if got := r.Descriptions(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	const lines = `dougong_a_seconds_bucket{x="1",y="2",le="1"} 0
dougong_a_seconds_bucket{x="1",y="2",le="2"} 1
dougong_a_seconds_bucket{x="1",y="2",le="+Inf"} 1
dougong_a_seconds_sum{x="1",y="2"} 1.5
dougong_a_seconds_count{x="1",y="2"} 1
`
	if got := scrape(t, r, "dougong_a"); got != lines {
		t.Errorf("got\n%s", got)
	}
	if got := scrape(t, r, "go_goroutines"); got == "" {
		t.Error("no runtime metrics")
	}
	if got := scrape(t, r, "process_open_fds"); got == "" {
		t.Error("no process metrics")
	}
}

func TestWrongDeclarationsPanic(t *testing.T) {
	for name, o := range map[string]Opts{
		"upper case":           {Name: "dougong_A_total", Help: "A."},
		"one word":             {Name: "total", Help: "A."},
		"counter, not a total": {Name: "dougong_a", Help: "A."},
		"unit not in the name": {Name: "dougong_a_total", Unit: "bytes", Help: "A."},
		"no help":              {Name: "dougong_a_total"},
		"no sentence":          {Name: "dougong_a_total", Help: "a"},
		"labels without vec":   {Name: "dougong_a_total", Help: "A.", Labels: []string{"x"}},
		"buckets of a counter": {Name: "dougong_a_total", Help: "A.", Buckets: []float64{1}},
		"there twice":          {Name: "dougong_twice_total", Help: "A."},
	} {
		r := New()
		r.Counter(Opts{Name: "dougong_twice_total", Help: "B."})
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			r.Counter(o)
		}()
		if len(r.Descriptions()) != 1 {
			t.Errorf("%s: described", name)
		}
	}
}

func TestHandlerNegotiatesFormatAndCompression(t *testing.T) {
	r := New()
	srv := httptest.NewServer(r.Handler())
	defer srv.Close()
	for _, c := range []struct{ accept, encoding, wantType, wantEncoding string }{
		{"", "identity", "text/plain", ""},
		{"application/openmetrics-text;version=1.0.0", "identity", "application/openmetrics-text", ""},
		{"", "gzip", "text/plain", "gzip"},
	} {
		req, _ := http.NewRequest("GET", srv.URL, nil)
		req.Header.Set("Accept", c.accept)
		req.Header.Set("Accept-Encoding", c.encoding)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if !strings.HasPrefix(res.Header.Get("Content-Type"), c.wantType) || res.Header.Get("Content-Encoding") != c.wantEncoding || res.ContentLength != int64(len(body)) {
			t.Errorf("%+v: %v, %d bytes", c, res.Header, len(body))
		}
		if c.wantType != "text/plain" && !strings.HasSuffix(string(body), "# EOF\n") {
			t.Error("OpenMetrics without its end")
		}
	}
}

func TestSlowScraperBlocksOnlyItself(t *testing.T) {
	r := New()
	vec := r.GaugeVec(Opts{Name: "dougong_wide", Help: "Much to send.", Labels: []string{"x"}})
	for i := range 3000 { // 6 MB: more than a socket buffers
		vec.WithLabelValues(fmt.Sprint(i, strings.Repeat("x", 2000))).Set(1)
	}
	srv := httptest.NewServer(r.Handler())
	defer srv.Close()
	for range 3 * maxGathers {
		c, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.(*net.TCPConn).SetReadBuffer(4096)
		io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: h\r\nAccept-Encoding: identity\r\n\r\n")
		if line, err := bufio.NewReaderSize(c, 16).ReadString('\n'); err != nil || !strings.Contains(line, "200") { // and no more
			t.Fatal(line, err)
		}
	}
	client := http.Client{Timeout: 30 * time.Second}
	res, err := client.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

func TestScrapesBeyondTheBoundWaitUntilTheirContextEnds(t *testing.T) {
	r := New()
	for range maxGathers {
		r.slots <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/metrics", nil))
	if p, err := problem.Read(w.Result(), 1<<10); err != nil || p.Status != http.StatusServiceUnavailable || p.Code != "scrapes_full" || p.RetryAfter == 0 {
		t.Errorf("%+v, %v", p, err)
	}
	<-r.slots
	if got := scrape(t, r, "go_goroutines"); got == "" {
		t.Error("a free slot was not used")
	}
}

func TestFuncVecIsReadWhenScraped(t *testing.T) {
	r := New()
	v := r.GaugeFuncVec(Opts{Name: "dougong_pool_size", Help: "Size.", Labels: []string{"pool", "kind"}})
	n := 1.0
	v.Add(func() float64 { return n }, "a", "x")
	v.Add(func() float64 { return 5 }, "b", "y")
	n = 2
	if got := scrape(t, r, "dougong_pool"); got != "dougong_pool_size{kind=\"x\",pool=\"a\"} 2\ndougong_pool_size{kind=\"y\",pool=\"b\"} 5\n" {
		t.Errorf("got\n%s", got)
	}
	v.Remove("a", "x")
	if got := scrape(t, r, "dougong_pool"); got != "dougong_pool_size{kind=\"y\",pool=\"b\"} 5\n" {
		t.Errorf("got\n%s", got)
	}
}

func TestFuncVecRefusesLabelsThatNoScrapeCouldShow(t *testing.T) {
	r := New()
	v := r.GaugeFuncVec(Opts{Name: "dougong_pool_size", Help: "Size.", Labels: []string{"pool", "kind"}})
	for _, values := range [][]string{nil, {"a"}, {"a", "b", "c"}, {"a", "\xff"}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q: accepted", values)
				}
			}()
			v.Add(func() float64 { return 1 }, values...)
		}()
	}
	v.Add(func() float64 { return 1 }, "a", "b")
	if got := scrape(t, r, "dougong_pool"); strings.Count(got, "\n") != 1 {
		t.Errorf("got\n%s", got)
	}
}

func TestLimitIsReported(t *testing.T) {
	r := New()
	m := NewLimits(r)
	l, err := limit.New(limit.Config{Slots: 1, Queue: 0}, limit.WithObserver(m.Observer("scoring")))
	if err != nil {
		t.Fatal(err)
	}
	m.Watch("scoring", l)
	m.Observer("unused")
	arriving, err := l.Admit(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	defer arriving.Done()
	if _, err := l.Admit(time.Time{}); !errors.Is(err, limit.ErrRejected) {
		t.Fatal(err)
	}
	p, err := l.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Acquire(context.Background()); !errors.Is(err, limit.ErrRejected) {
		t.Fatal(err)
	}
	for prefix, want := range map[string]string{
		"dougong_limit_admitted_total": "dougong_limit_admitted_total{limit=\"scoring\"} 2\ndougong_limit_admitted_total{limit=\"unused\"} 0\n",
		"dougong_limit_rejected_total{limit=\"scoring\"": "dougong_limit_rejected_total{limit=\"scoring\",reason=\"arriving_full\"} 1\ndougong_limit_rejected_total{limit=\"scoring\",reason=\"closed\"} 0\n" +
			"dougong_limit_rejected_total{limit=\"scoring\",reason=\"deadline\"} 0\ndougong_limit_rejected_total{limit=\"scoring\",reason=\"displaced\"} 0\ndougong_limit_rejected_total{limit=\"scoring\",reason=\"queue_full\"} 1\n" +
			"dougong_limit_rejected_total{limit=\"scoring\",reason=\"tenant_full\"} 0\n",
		"dougong_limit_arriving_requests":                    "dougong_limit_arriving_requests{limit=\"scoring\"} 1\n",
		"dougong_limit_running_requests":                     "dougong_limit_running_requests{limit=\"scoring\"} 1\n",
		"dougong_limit_queued_requests":                      "dougong_limit_queued_requests{limit=\"scoring\"} 0\n",
		"dougong_limit_yielding_requests":                    "dougong_limit_yielding_requests{limit=\"scoring\"} 0\n",
		"dougong_limit_abandoned_total":                      "dougong_limit_abandoned_total{limit=\"scoring\"} 0\n",
		"dougong_limit_wait_seconds_count{limit=\"scoring\"": "dougong_limit_wait_seconds_count{limit=\"scoring\"} 1\n",
		"dougong_limit_hold_seconds_count{limit=\"scoring\"": "dougong_limit_hold_seconds_count{limit=\"scoring\"} 0\n",
	} {
		if got := scrape(t, r, prefix); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
	time.Sleep(time.Microsecond)
	p.Done()
	if got := scrape(t, r, "dougong_limit_hold_seconds_count{limit=\"scoring\""); !strings.HasSuffix(got, " 1\n") {
		t.Errorf("after Done: %s", got)
	}
}

func TestScrapeTakesOnePictureOfALimit(t *testing.T) {
	r := New()
	n := 0
	NewLimits(r).watch("scoring", func() limit.Stats {
		n++
		return limit.Stats{Arriving: n, Running: n, Queued: n, Yielding: n, Slots: n, Tenants: n, Abandoned: uint64(n)}
	})
	want := ""
	for _, name := range []string{"abandoned_total", "arriving_requests", "queued_requests", "running_requests", "slots", "tenants", "yielding_requests"} {
		want += "dougong_limit_" + name + "{limit=\"scoring\"} 1\n"
	}
	if got := scrape(t, r, "dougong_limit_"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestLifecycleShowsOneStateOfEachMachine(t *testing.T) {
	r := New()
	l := NewLifecycle(r)
	l.Begin("order")
	m := lifecycle.NewMachine("order", lifecycle.WithObserver(l))
	current := func() (now []string) {
		for line := range strings.Lines(scrape(t, r, "dougong_lifecycle_state{")) {
			if strings.HasSuffix(line, " 1\n") {
				now = append(now, line[len("dougong_lifecycle_state"):])
			}
		}
		return now
	}
	if got := current(); !reflect.DeepEqual(got, []string{"{name=\"order\",state=\"Initializing\"} 1\n"}) {
		t.Errorf("before: %q", got)
	}
	for _, s := range []lifecycle.State{lifecycle.Ready, lifecycle.Degraded} {
		if err := m.To(s, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := current(); !reflect.DeepEqual(got, []string{"{name=\"order\",state=\"Degraded\"} 1\n"}) {
		t.Errorf("after: %q", got)
	}
	if got := strings.Count(scrape(t, r, "dougong_lifecycle_state{"), "\n"); got != len(states) {
		t.Errorf("%d series, want %d", got, len(states))
	}
	if got := scrape(t, r, "dougong_lifecycle_transitions_total"); strings.Count(got, " 1\n") != 2 {
		t.Errorf("transitions\n%s", got)
	}
	l.Forget("order")
	if got := scrape(t, r, "dougong_lifecycle"); got != "" {
		t.Errorf("forgotten, but\n%s", got)
	}
}

func TestEveryScrapeSeesOneStateOfAMachine(t *testing.T) {
	r := New()
	l := NewLifecycle(r)
	l.Begin("order")
	stop := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				l.Transition("order", lifecycle.Degraded, lifecycle.Recovering, nil)
				l.Transition("order", lifecycle.Recovering, lifecycle.Degraded, nil)
			}
		}
	})
	for range 500 {
		if got := scrape(t, r, "dougong_lifecycle_state{"); strings.Count(got, " 1\n") != 1 || strings.Count(got, " 0\n") != len(states)-1 {
			t.Errorf("got\n%s", got)
			break
		}
	}
	close(stop)
	busy.Wait()
}

func BenchmarkLimitObserver(b *testing.B) {
	o := NewLimits(New()).Observer("x")
	b.ReportAllocs()
	for b.Loop() {
		o.Admitted()
		o.Started(0)
		o.Done(time.Millisecond)
	}
}
