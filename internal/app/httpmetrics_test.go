package app

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/adapters/prom"
	"github.com/dougong-io/dougong/internal/httpserver"
)

func metricLines(t *testing.T, r *prom.Registry, prefix string) string {
	t.Helper()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, prefix) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func TestHTTPMetricsOfARunningServer(t *testing.T) {
	reg := prom.New()
	m := newHTTPMetrics(reg)
	cfg := httpserver.DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	s, err := httpserver.New(cfg, httpserver.Deps{Observer: m, AccessLog: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	m.watch(s)
	s.Handle("POST /v1/{thing}", "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("thing") == "panic" {
			panic("in a handler")
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "answer")
	}))
	ctx, stop := context.WithCancel(context.Background())
	err = s.Run(ctx, func() {
		defer stop()
		url := "http://" + s.Addr().String()
		for _, path := range []string{"/v1/a", "/v1/b", "/v1/panic", "/wp-admin", "/.env"} {
			res, err := http.Post(url+path, "text/plain", strings.NewReader("body"))
			if err != nil {
				t.Error(err)
				return
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		if got := metricLines(t, reg, "dougong_http_open_connections"); got != "dougong_http_open_connections 1\n" && got != "dougong_http_open_connections 2\n" {
			t.Errorf("got %s", got)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	const route = `{route="POST /v1/{thing}"}`
	for prefix, want := range map[string]string{
		"http_request_duration_seconds_count": `http_request_duration_seconds_count{code="200",method="POST",route="POST /v1/{thing}"} 2` + "\n" +
			`http_request_duration_seconds_count{code="404",method="POST",route="other"} 2` + "\n" +
			`http_request_duration_seconds_count{code="500",method="POST",route="POST /v1/{thing}"} 1` + "\n",
		"dougong_http_inflight_requests" + route:    "dougong_http_inflight_requests" + route + " 0\n",
		"dougong_http_received_bytes_total" + route: "dougong_http_received_bytes_total" + route + " 8\n",
		"dougong_http_panics_total" + route:         "dougong_http_panics_total" + route + " 1\n",
		"dougong_http_refused_connections_total":    "dougong_http_refused_connections_total 0\n",
	} {
		if got := metricLines(t, reg, prefix); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
}

func TestHTTPMetricsAgreeForEveryMethodAndStatusUnderConcurrency(t *testing.T) {
	reg := prom.New()
	o := newHTTPMetrics(reg).Route("/x")
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "OTHER"}
	indices := map[int]bool{}
	for _, m := range methods {
		indices[methodIndex(m)] = true
	}
	if len(indices) != methodCount {
		t.Fatalf("%d indices for %d methods", len(indices), methodCount)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, m := range methods {
				for _, status := range []int{101, 200, 499, 599, 0, 1000} {
					o.Begin()
					o.End(httpserver.Outcome{Method: m, Status: status, Duration: time.Millisecond, BytesIn: 1, BytesOut: 2})
				}
			}
		})
	}
	wg.Wait()
	got := metricLines(t, reg, "http_request_duration_seconds_count")
	if lines := strings.Count(got, "\n"); lines != len(methods)*4 || strings.Count(got, `code="599"`) != len(methods) ||
		strings.Count(got, "} 12\n") != len(methods) || strings.Count(got, "} 4\n") != len(methods)*3 {
		t.Errorf("%d series:\n%s", lines, got)
	}
	if got := metricLines(t, reg, "dougong_http_sent_bytes_total"); !strings.HasSuffix(got, " 480\n") {
		t.Errorf("got %s", got)
	}
}

func BenchmarkHTTPObserver(b *testing.B) {
	o := newHTTPMetrics(prom.New()).Route("POST /v1/{thing}")
	b.ReportAllocs()
	for b.Loop() {
		o.Begin()
		o.End(httpserver.Outcome{Method: "POST", Status: 200, Duration: 345 * time.Microsecond, BytesIn: 100, BytesOut: 200})
	}
}
