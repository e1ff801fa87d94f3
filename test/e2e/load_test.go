package e2e

import (
	"encoding/json"
	"fmt"
	"io"
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
	// Five scrapers that read a byte a second. Each asks so often that the answers fill what the system
	// keeps for it, so that the server has to wait in the middle of one.
	for range 5 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.admin, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		wg.Go(func() {
			conn.SetWriteDeadline(time.Now().Add(time.Second))
			fmt.Fprint(conn, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 2000))
		})
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
	p.eventually("scrapers that are waited for", func() bool {
		_, stacks := p.get(p.admin + "/debug/pprof/goroutine?debug=2")
		return strings.Count(stacks, "prom.(*handler).ServeHTTP") >= 5
	})
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
	if slowest > 3*time.Second { // what a prober would call dead, not a measure of speed
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
	r, err := http.Post(p.http+"/v1/predict", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if id := r.Header.Get("X-Request-Id"); len(id) != 32 {
		t.Errorf("a refusal with the request id %q", id)
	} else {
		p.eventually("the log line of that request", func() bool { return strings.Contains(p.stderr.String(), `"trace_id":"`+id+`"`) })
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

// TestSilentAnnouncersLockNobodyOut: a body that is announced and does not come costs its sender's place, and
// nobody's memory.
func TestSilentAnnouncersLockNobodyOut(t *testing.T) {
	p := up(t)
	for range 64 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.http, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 8<<20)
	}
	p.inFlight(64)
	if status, body := p.predict(miniRequest); status != 200 {
		t.Errorf("%d %s", status, body)
	}
}

// TestSlowReadersHoldTheirAnswersOnly: what they asked for is not kept while they read.
func TestSlowReadersHoldTheirAnswersOnly(t *testing.T) {
	p := up(t, "DOUGONG_INFERENCE_MAX_ROWS=1000000", "DOUGONG_INFERENCE_IN_FLIGHT_BYTES=64MiB")
	const rows = 700_000 // 4.2 MB of body, 17 MB of values and outputs, 9 MB of answer: more than a kernel takes of it
	body := `{"model":"loan-mini","inputs":[` + strings.Repeat("[.1,.9],", rows-1) + `[.1,.9]]}`
	body = strings.ReplaceAll(body, "[.1", "[1")
	body = strings.ReplaceAll(body, ",.9", ",9")
	var refused atomic.Int64
	var wg sync.WaitGroup
	for range 40 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.http, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.(*net.TCPConn).SetReadBuffer(4096)
		wg.Go(func() {
			fmt.Fprintf(conn, "POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			first := make([]byte, 12)
			if _, err := io.ReadFull(conn, first); err == nil && string(first[9:]) == "503" {
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	if refused.Load() == 0 || refused.Load() == 40 {
		t.Errorf("%d of 40 were refused: the budget of 64 MiB holds some answers of 9 MB and not all", refused.Load())
	}
	_, status := p.get(p.admin+"/statusz", "Accept", "application/json")
	var doc struct {
		Memory   int64 `json:"go_memory_bytes"`
		Services []struct {
			Status struct {
				Held int64 `json:"held_bytes"`
			} `json:"status"`
		} `json:"services"`
	}
	if err := json.Unmarshal([]byte(status), &doc); err != nil {
		t.Fatal(err)
	}
	if held := doc.Services[0].Status.Held; held <= 0 || held > 64<<20 {
		t.Errorf("%d bytes held, of 64 MiB", held)
	}
	if doc.Memory > 400<<20 {
		t.Errorf("%d bytes of memory for 64 MiB of answers", doc.Memory)
	}
}

// TestTheCallersDeadlineBoundsTheBody: whoever waits 300 ms is not kept waiting for ten seconds.
func TestTheCallersDeadlineBoundsTheBody(t *testing.T) {
	p := up(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.http, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	start := time.Now()
	fmt.Fprint(conn, "POST /v1/predict HTTP/1.1\r\nHost: x\r\nX-Request-Timeout: 300ms\r\nContent-Length: 10\r\n\r\n{")
	status, body, err := halfSent{conn}.answer()
	if err != nil || status != 504 || !strings.Contains(body, "deadline_exceeded") {
		t.Errorf("%d %s %v", status, body, err)
	}
	if took := time.Since(start); took > 5*time.Second { // read_timeout is 10 s
		t.Errorf("after %v", took)
	}
}
