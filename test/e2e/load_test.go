package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestScrapesAndHealthUnderLoad saturates the process with batches, lets a scraper read a byte a second,
// and expects health and metrics to answer all the while.
func TestScrapesAndHealthUnderLoad(t *testing.T) {
	p := up(t)
	row := "[" + strings.Repeat("1,", 71) + "1]"
	body := `{"inputs":[` + strings.Repeat(row+",", 999) + row + `]}`
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var answered, refused, failed atomic.Int64
	for range 16 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := http.Post(p.http+"/v1/predict", "application/json", strings.NewReader(body))
				if err != nil {
					failed.Add(1)
					continue
				}
				r.Body.Close()
				switch r.StatusCode {
				case 200:
					answered.Add(1)
				case 503:
					refused.Add(1)
				default:
					failed.Add(1)
				}
			}
		})
	}
	// Five scrapers that read a byte a second.
	for range 5 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.admin, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		wg.Go(func() {
			one := make([]byte, 1)
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
					if _, err := conn.Read(one); err != nil {
						return
					}
				}
			}
		})
	}
	slowest := time.Duration(0)
	for range 30 {
		for _, url := range []string{p.admin + "/healthz", p.admin + "/readyz", p.admin + "/metrics", p.http + "/healthz"} {
			start := time.Now()
			if status, body := p.get(url); status != 200 {
				t.Errorf("%s: %d %.200s", url, status, body)
			}
			slowest = max(slowest, time.Since(start))
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("slowest of 120 answers %v, with %d batches of 1,000 rows answered and %d refused meanwhile", slowest, answered.Load(), refused.Load())
	if failed.Load() > 0 || answered.Load() == 0 {
		t.Errorf("%d answered, %d failed", answered.Load(), failed.Load())
	}
	if slowest > 10*time.Second { // what a prober would call dead, not a measure of speed
		t.Errorf("the slowest answer took %v", slowest)
	}
	_, metrics := p.get(p.admin + "/metrics")
	for _, want := range []string{`ai_inference_result{model="loan-default",result="ok",version="1"}`, "http_request_duration_seconds_bucket", "dougong_limit_"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

// TestSlowHeadersAndBodies: a sender that stalls is cut off, and nobody else notices.
func TestSlowHeadersAndBodies(t *testing.T) {
	p := up(t, "DOUGONG_HTTP_READ_HEADER_TIMEOUT=300ms", "DOUGONG_HTTP_READ_TIMEOUT=600ms")
	slow, err := net.Dial("tcp", strings.TrimPrefix(p.http, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	slow.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(slow, "POST /v1/predict HTTP/1.1\r\nHost: ")
	stalled := p.sendHalf()
	if status, body := p.predict(miniRequest); status != 200 {
		t.Errorf("another's request: %d %s", status, body)
	}
	if status, body, err := stalled.answer(); err != nil || status != 408 || !strings.Contains(body, "body_timeout") {
		t.Errorf("slow body: %d %s %v", status, body, err)
	}
	rest := make([]byte, 1000)
	if n, err := slow.Read(rest); err == nil && !strings.Contains(string(rest[:n]), "408") {
		t.Errorf("slow header: %q", rest[:n])
	}
}

func TestBodiesOverTheLimit(t *testing.T) {
	p := up(t, "DOUGONG_HTTP_MAX_BODY_BYTES=1KiB")
	if status, body := p.predict(`{"input":[` + strings.Repeat("0,", 2000) + `0]}`); status != 413 || !strings.Contains(body, "body_too_large") {
		t.Errorf("%d %s", status, body)
	}
	if status, body := p.predict(miniRequest, "X-Request-Timeout", "1us"); status != 504 || !strings.Contains(body, "deadline_exceeded") {
		t.Errorf("expired: %d %s", status, body)
	}
	if status, body := p.predict(miniRequest, "X-Request-Timeout", "soon"); status != 400 {
		t.Errorf("malformed: %d %s", status, body)
	}
	for path, want := range map[string]int{"/v1/nope": 404, "/v1/predict/../../etc/passwd": 404, "/v1/models/..%2f..%2fetc": 404} {
		if status, body := p.get(p.http + path); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}
