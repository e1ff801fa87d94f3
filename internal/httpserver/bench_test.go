package httpserver

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cpu returns what the process has used so far.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var small = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, `{"ok":true}`)
})

func benchServer(b *testing.B, mutate func(*Config)) *Server {
	cfg := DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	if mutate != nil {
		mutate(&cfg)
	}
	s, err := New(cfg, Deps{Service: "bench", AccessLog: io.Discard})
	if err != nil {
		b.Fatal(err)
	}
	s.Handle("POST /v1/{thing}", "", small)
	if s.access != nil {
		go s.access.Run()
		b.Cleanup(func() { s.access.Close() })
	}
	return s
}

// BenchmarkMiddleware runs without a network: ns and allocations of the
// middleware itself, in comparison with the handler behind the same mux.
func BenchmarkMiddleware(b *testing.B) {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/{thing}", small)
	for _, c := range []struct {
		name string
		h    http.Handler
	}{
		{"bare", mux},
		{"nolog", benchServer(b, func(c *Config) { c.AccessLog = false })},
		{"full", benchServer(b, nil)},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := httptest.NewRequest("POST", "/v1/x", nil)
			r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			r.Header.Set("X-Request-Timeout", "250ms")
			r.Header.Set("User-Agent", "bench/1")
			body := strings.NewReader("")
			w := &nullWriter{h: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(`{"x":1}`)
				r.Body = io.NopCloser(body)
				r.ContentLength = 7
				c.h.ServeHTTP(w, r)
			}
		})
	}
}

type nullWriter struct{ h http.Header }

func (w *nullWriter) Header() http.Header               { return w.h }
func (w *nullWriter) Write(p []byte) (int, error)       { return len(p), nil }
func (w *nullWriter) WriteString(s string) (int, error) { return len(s), nil }
func (w *nullWriter) WriteHeader(int)                   {}

// BenchmarkLoopback reports the CPU that a request costs, client and server
// together, for each kind of server. The client is the same raw loop, and the
// servers take turns in short batches whose median counts, so that differences
// are the servers' and not those of a busy machine.
func BenchmarkLoopback(b *testing.B) {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/{thing}", small)
	kinds := []*bareLine{{name: "bare"}, {name: "bare-timeouts"}, {name: "nolog"}, {name: "full"}}
	for i, cfg := range []Config{{}, DefaultConfig()} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		srv := &http.Server{Handler: mux, ReadHeaderTimeout: cfg.ReadHeaderTimeout, ReadTimeout: cfg.ReadTimeout, WriteTimeout: cfg.WriteTimeout, IdleTimeout: cfg.IdleTimeout}
		go srv.Serve(l)
		defer srv.Close()
		kinds[i].dial(b, l.Addr())
	}
	for i, log := range []bool{false, true} {
		cfg := DefaultConfig()
		cfg.Listen, cfg.AccessLog = "127.0.0.1:0", log
		s, err := New(cfg, Deps{Service: "bench", AccessLog: io.Discard})
		if err != nil {
			b.Fatal(err)
		}
		s.Handle("POST /v1/{thing}", "", small)
		ctx, cancel := context.WithCancel(context.Background())
		ready, ended := make(chan struct{}), make(chan error)
		go func() { ended <- s.Run(ctx, func() { close(ready) }) }()
		<-ready
		defer func() { cancel(); <-ended }()
		kinds[2+i].dial(b, s.Addr())
	}
	const batch = 200
	for range b.N/batch + 1 {
		for _, k := range kinds {
			before := cpu()
			for range batch {
				k.request(b)
			}
			k.costs = append(k.costs, float64(cpu()-before)/batch)
		}
	}
	for _, k := range kinds {
		k.c.Close()
		slices.Sort(k.costs)
		b.ReportMetric(k.costs[len(k.costs)/2], k.name+"-cpu-ns")
	}
}

type bareLine struct {
	name  string
	c     net.Conn
	r     *bufio.Reader
	costs []float64
}

func (l *bareLine) dial(b *testing.B, addr net.Addr) {
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		b.Fatal(err)
	}
	l.c, l.r = c, bufio.NewReader(c)
}

var benchRequest = []byte("POST /v1/x HTTP/1.1\r\nHost: h\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nX-Request-Timeout: 250ms\r\nUser-Agent: bench/1\r\nContent-Length: 7\r\n\r\n{\"x\":1}")

func (l *bareLine) request(b *testing.B) {
	if _, err := l.c.Write(benchRequest); err != nil {
		b.Fatal(err)
	}
	for {
		line, err := l.r.ReadSlice('\n')
		if err != nil {
			b.Fatal(err)
		}
		if len(line) == 2 {
			break
		}
	}
	if _, err := l.r.Discard(len(`{"ok":true}`)); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkAccessLine(b *testing.B) {
	line := &accessLine{
		time: time.Now(), service: "bench", method: "POST", route: "POST /v1/{thing}", path: "/v1/x", status: 200, bytesIn: 7, bytesOut: 11,
		duration: 345 * time.Microsecond, trace: &Trace{TraceID: [16]byte{1}}, remote: "127.0.0.1:34567", userAgent: "bench/1",
	}
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = line.appendTo(buf[:0])
	}
}
