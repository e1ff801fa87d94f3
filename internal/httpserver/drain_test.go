package httpserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dougong-io/dougong/internal/auth"
)

// keeper keeps one connection and asks on it until it is told not to.
type keeper struct {
	c net.Conn
	r *bufio.Reader
}

func dialKeeper(addr string) (*keeper, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return &keeper{c, bufio.NewReader(c)}, nil
}

// ask sends a request, and reports whether the connection may be used again.
func (k *keeper) ask(path string) (again bool, err error) {
	if _, err := fmt.Fprintf(k.c, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path); err != nil {
		return false, err
	}
	res, err := http.ReadResponse(k.r, nil)
	if err != nil {
		return false, err
	}
	_, err = io.ReadAll(res.Body)
	return !res.Close, err
}

func TestNoRequestOfAKeptConnectionIsLostInAStop(t *testing.T) {
	for _, drain := range []bool{true, false} {
		t.Run(fmt.Sprintf("drain=%v", drain), func(t *testing.T) {
			r := start(t, testConfig(), Deps{}, handle("/x", "", func(w http.ResponseWriter, r *http.Request) {
				if rand.N(2) == 0 {
					io.WriteString(w, "answer")
				}
			}))
			addr := r.Addr().String()
			// Held for reading while a connection is new: one that the kernel has not handed over when the
			// listener closes is lost, and not the server's to save.
			var routing sync.RWMutex
			known := false // where requests are routed elsewhere
			var answered, told atomic.Int64
			var clients sync.WaitGroup
			for range 40 {
				clients.Go(func() {
					var k *keeper
					for {
						fresh := k == nil
						if fresh {
							routing.RLock()
							if known {
								routing.RUnlock()
								return
							}
							var err error
							if k, err = dialKeeper(addr); err != nil {
								routing.RUnlock()
								t.Errorf("dial: %v", err)
								return
							}
						}
						again, err := k.ask("/x")
						if fresh {
							routing.RUnlock()
						}
						if err != nil {
							t.Errorf("a request was lost: %v", err)
							return
						}
						answered.Add(1)
						if !again {
							told.Add(1)
							k.c.Close()
							k = nil
						}
						time.Sleep(rand.N(30 * time.Millisecond))
					}
				})
			}
			time.Sleep(200 * time.Millisecond)
			if drain {
				if n := told.Load(); n != 0 {
					t.Errorf("%d were told to go before the drain", n)
				}
				r.Drain(context.Background())
				time.Sleep(200 * time.Millisecond) // the delay
			}
			routing.Lock()
			known = true
			routing.Unlock()
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			clients.Wait()
			t.Logf("%d answers, %d of them the last on their connection", answered.Load(), told.Load())
			if told.Load() < 40 {
				t.Errorf("%d clients of 40 were told to go", told.Load())
			}
		})
	}
}

func TestDrainFailsReadinessAndAnswersClose(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	r := start(t, testConfig(), Deps{}, func(s *Server) {
		s.Handle("/silent", "", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		s.Handle("/status", "", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
		s.Handle("/begun", "", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-release
			io.WriteString(w, "done")
		}))
		s.Handle("/upgrade", "", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "x")
			w.WriteHeader(101)
		}))
	})
	if a := do(t, "GET", r.url+"/silent", ""); a.Close {
		t.Error("closed before the drain")
	}
	begun := make(chan answer, 1)
	go func() { begun <- do(t, "GET", r.url+"/begun", "") }()
	<-entered
	r.Drain(context.Background())
	for path, status := range map[string]int{"/silent": 200, "/status": 204, "/nowhere": 404, "/readyz": 503, "/healthz": 200} {
		if a := do(t, "GET", r.url+path, ""); a.StatusCode != status || !a.Close {
			t.Errorf("%s: %d, Connection: close %v", path, a.StatusCode, a.Close)
		}
	}
	close(release)
	if a := <-begun; a.body != "done" || !a.Close {
		t.Errorf("begun before the drain: %q, Connection: close %v", a.body, a.Close)
	}
	k, err := dialKeeper(r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer k.c.Close()
	io.WriteString(k.c, "GET /upgrade HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	if res, err := http.ReadResponse(k.r, nil); err != nil || res.StatusCode != 101 || res.Header.Get("Connection") != "Upgrade" {
		t.Errorf("an upgrade: %+v, %v", res, err)
	}
}

func TestDrainOverHTTP2SendsGoAwayWithAnAnswer(t *testing.T) {
	ca := newAuthority(t)
	cfg := testConfig()
	cfg.TLS.CertFile, cfg.TLS.KeyFile = ca.issue(t, t.TempDir(), 1)
	r := start(t, cfg, Deps{}, handle("/x", "", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	client := ca.client()
	client.Transport.(*http.Transport).DisableKeepAlives = false
	defer client.CloseIdleConnections()
	get := func() (reused bool) {
		req, _ := http.NewRequest("GET", r.url+"/x", nil)
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}))
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if b, _ := io.ReadAll(res.Body); string(b) != "HTTP/2.0" || res.Header.Get("Connection") != "" {
			t.Errorf("got %q, %v", b, res.Header)
		}
		return reused
	}
	get()
	if !get() {
		t.Fatal("the connection was not kept")
	}
	r.Drain(context.Background())
	get()
	for end := time.Now().Add(5 * time.Second); get(); { // the GOAWAY may come after the answer
		if time.Now().After(end) {
			t.Fatal("the client still uses the connection")
		}
	}
}

// net/http takes a kept connection for idle until the last byte of the next request's header, and closes it at its shutdown.
func TestRequestThatIsHalfSentAtAStopIsAnswered(t *testing.T) {
	r := start(t, testConfig(), Deps{}, handle("/x", "", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "answer") }))
	k, err := dialKeeper(r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer k.c.Close()
	if again, err := k.ask("/x"); !again || err != nil {
		t.Fatal(again, err)
	}
	io.WriteString(k.c, "GET /x HTTP/1.1\r\nHo")
	for r.listener.waiting() > 0 { // until it is read
		time.Sleep(time.Millisecond)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	time.Sleep(onItsWay + onItsWay/2) // past what is on its way; what has begun has longer
	io.WriteString(k.c, "st: h\r\n\r\n")
	res, err := http.ReadResponse(k.r, nil)
	if err != nil {
		t.Fatalf("the request was dropped: %v", err)
	}
	if b, _ := io.ReadAll(res.Body); string(b) != "answer" || !res.Close {
		t.Errorf("got %q, Connection: close %v", b, res.Close)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestStreamsAreToldOfAStop(t *testing.T) {
	entered := make(chan struct{}, 2)
	var deadlined, cause error
	r := start(t, testConfig(), Deps{}, func(s *Server) {
		s.HandleRoute(Route{Pattern: "/events", Stream: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "one\n")
			w.(http.Flusher).Flush()
			entered <- struct{}{}
			<-r.Context().Done()
			cause = context.Cause(r.Context())
			io.WriteString(w, "bye\n")
		})})
		s.HandleRoute(Route{Pattern: "/bounded", Stream: true, Timeout: time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			entered <- struct{}{}
			<-r.Context().Done()
			deadlined = r.Context().Err()
			io.WriteString(w, "bye\n")
		})})
	})
	got := make(chan answer, 2)
	go func() { got <- do(t, "GET", r.url+"/events", "") }()
	go func() { got <- do(t, "GET", r.url+"/bounded", "") }()
	<-entered
	<-entered
	begin := time.Now()
	if err := r.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	for range 2 {
		if a := <-got; !strings.HasSuffix(a.body, "bye\n") {
			t.Errorf("got %q", a.body)
		}
	}
	if !errors.Is(cause, errStopping) || !errors.Is(deadlined, context.Canceled) {
		t.Errorf("contexts ended with %v, %v", cause, deadlined)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("the stop took %v", d)
	}
}

func TestProfileDoesNotMakeAStopFail(t *testing.T) {
	r := startAdmin(t, nil)
	got := make(chan answer, 1)
	go func() { got <- do(t, "GET", r.url+"/debug/pprof/trace?seconds=30", "") }()
	for len(r.InFlight()) == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if a := <-got; a.StatusCode != 200 || len(a.body) == 0 {
		t.Errorf("%d with %d bytes", a.StatusCode, len(a.body))
	}
}

func TestAnswerToABodyThatIsTooLargeEndsCleanly(t *testing.T) {
	r := start(t, testConfig(), Deps{}, handle("POST /x", "", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		}
	}))
	c, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		fmt.Fprintf(c, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", 10<<20)
		c.Write(make([]byte, 10<<20)) // fails when the server closes
	}()
	got, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 413 ") || !strings.HasSuffix(string(got), "too large\n") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestBodyThatIsTooLargeLeavesTheHTTP2Connection(t *testing.T) {
	ca := newAuthority(t)
	cfg := testConfig()
	cfg.TLS.CertFile, cfg.TLS.KeyFile = ca.issue(t, t.TempDir(), 1)
	cfg.MaxBodyBytes = 10
	r := start(t, cfg, Deps{}, handle("POST /x", "", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}
	}))
	client := ca.client()
	client.Transport.(*http.Transport).DisableKeepAlives = false
	defer client.CloseIdleConnections()
	for i := range 4 {
		var reused bool
		req, _ := http.NewRequest("POST", r.url+"/x", strings.NewReader(strings.Repeat("x", 11)))
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}))
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 413 || reused != (i > 0) {
			t.Errorf("request %d: %d, connection reused %v", i, res.StatusCode, reused)
		}
		time.Sleep(20 * time.Millisecond) // a GOAWAY would come
	}
}

func TestQuietStreamOverHTTP2OutlivesEveryTimeout(t *testing.T) {
	ca := newAuthority(t)
	cfg := testConfig()
	cfg.TLS.CertFile, cfg.TLS.KeyFile = ca.issue(t, t.TempDir(), 1)
	cfg.ReadHeaderTimeout, cfg.ReadTimeout, cfg.RequestTimeout, cfg.WriteTimeout, cfg.DeadlineMargin = 100*time.Millisecond, 150*time.Millisecond, 200*time.Millisecond, 300*time.Millisecond, time.Millisecond
	const quiet = 500 * time.Millisecond
	r := start(t, cfg, Deps{}, func(s *Server) {
		s.HandleRoute(Route{Pattern: "/echo", Stream: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(quiet)
			w.(http.Flusher).Flush()
			b := make([]byte, 1)
			for {
				time.Sleep(quiet) // longer than a write or a read may take
				n, err := r.Body.Read(b)
				if n > 0 {
					w.Write(b)
					w.(http.Flusher).Flush()
				}
				if err == io.EOF {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})})
	})
	body, feed := io.Pipe()
	got := make([]byte, 1)
	client := ca.client()
	defer client.CloseIdleConnections()
	res, err := client.Post(r.url+"/echo", "", body)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for _, b := range []string{"a", "b"} {
		io.WriteString(feed, b)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != b {
			t.Fatalf("got %q, %v, want %q", got, err, b)
		}
	}
	feed.Close()
	if n, err := res.Body.Read(got); n != 0 || err != io.EOF {
		t.Errorf("%d bytes, %v at the end", n, err)
	}
}

func TestStreamWhoseReaderStallsIsCut(t *testing.T) {
	cfg := testConfig()
	cfg.RequestTimeout, cfg.WriteTimeout = 100*time.Millisecond, 300*time.Millisecond
	r := start(t, cfg, Deps{}, func(s *Server) {
		s.HandleRoute(Route{Pattern: "/big", Stream: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for chunk := make([]byte, 1<<20); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		})})
	})
	k, err := dialKeeper(r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer k.c.Close()
	io.WriteString(k.c, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
	r.seen.wait(t, "/big", 1)
}

func TestHijackOverTLSEndsTheBookkeeping(t *testing.T) {
	ca := newAuthority(t)
	cfg := testConfig()
	cfg.TLS.CertFile, cfg.TLS.KeyFile = ca.issue(t, t.TempDir(), 1)
	took := make(chan time.Duration, 1)
	r := start(t, cfg, Deps{}, func(s *Server) {
		s.HandleRoute(Route{Pattern: "/ws", Stream: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if n := s.Connections(); n != 0 {
				t.Errorf("%d connections counted", n)
			}
			sc := serverConnOf(c)
			if _, ok := c.(*tls.Conn); !ok || sc == nil || !sc.read.exact || !sc.write.exact {
				t.Errorf("a %T, passed through: %+v", c, sc)
			}
			begin := time.Now()
			c.SetReadDeadline(begin.Add(300 * time.Millisecond)) // beyond two sweeps
			c.Read(make([]byte, 1))
			took <- time.Since(begin)
			if sc.read.at.Load() != 0 {
				t.Error("the deadline was left to the sweep")
			}
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		})})
	})
	c, err := tls.Dial("tcp", r.Addr().String(), &tls.Config{RootCAs: ca.pool})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: h\r\n\r\n")
	if got, _ := io.ReadAll(c); !strings.HasPrefix(string(got), "HTTP/1.1 101 ") {
		t.Errorf("got %q", got)
	}
	if d := <-took; d < 300*time.Millisecond {
		t.Errorf("the deadline came after %v", d)
	}
}

func TestChangesOfAForeignPageAreRefusedWhileOpen(t *testing.T) {
	touch := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "done") })
	routes := func(s *Server) {
		s.Handle("/role", auth.Write, touch)
		s.Handle("/public", "", touch)
	}
	r := start(t, testConfig(), Deps{}, routes)
	own := "http://" + r.Addr().String()
	for _, c := range []struct {
		method, path string
		header       []string
		refused      bool
	}{
		{"POST", "/role", nil, false}, // curl
		{"POST", "/role", []string{"Origin", own}, false},
		{"POST", "/role", []string{"Sec-Fetch-Site", "same-origin"}, false},
		{"POST", "/role", []string{"Origin", "https://evil.example"}, true},
		{"DELETE", "/role", []string{"Sec-Fetch-Site", "cross-site"}, true},
		{"GET", "/role", []string{"Sec-Fetch-Site", "cross-site"}, false},
		{"POST", "/public", []string{"Sec-Fetch-Site", "cross-site"}, false}, // its own affair
	} {
		a := do(t, c.method, r.url+c.path, "", c.header...)
		if c.refused {
			a.wantProblem(t, 403, "cross_origin")
		} else if a.body != "done" {
			t.Errorf("%+v: %d %s", c, a.StatusCode, a.body)
		}
	}
	cfg := testConfig()
	path, plain := writeTokens(t)
	cfg.TokensFile = path
	closed := start(t, cfg, Deps{}, routes)
	if a := do(t, "POST", closed.url+"/role", "", "Authorization", "Bearer "+plain[auth.Write], "Origin", "https://app.example"); a.body != "done" {
		t.Errorf("with a token: %d %s", a.StatusCode, a.body) // a page cannot know it by accident
	}
}

func TestErrorCodeOfAServiceIsLogged(t *testing.T) {
	r := start(t, testConfig(), Deps{}, handle("/x", "", func(w http.ResponseWriter, _ *http.Request) {
		note := w.(interface{ ProblemCode(string) }).ProblemCode
		note("out_of_stock")
		w.WriteHeader(http.StatusConflict)
		note("too late")
	}))
	do(t, "GET", r.url+"/x", "")
	r.stop()
	if !strings.Contains(r.access.String(), `"error_code":"out_of_stock"`) {
		t.Errorf("logged %s", r.access.String())
	}
}
