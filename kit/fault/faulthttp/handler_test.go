package faulthttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
	"github.com/dougong-io/dougong/kit/problem"
)

var (
	shop     = fault.Def{Name: "shop.serve", Doc: "A request is served.", Attrs: []string{"method", "host", "path", "route"}, Effects: fault.Bytes}
	shopBody = fault.Def{Name: "shop.body", Doc: "A request's body is read.", Attrs: []string{"method", "host", "path"}, Effects: fault.Call}
)

// serve starts a server whose handler is under faults.
func serve(t *testing.T, handle http.HandlerFunc) (*fault.Set, *httptest.Server) {
	set := faulttest.New(t)
	server := httptest.NewUnstartedServer(Handler(handle, Points{Exchange: set.Point(shop), Body: set.Point(shopBody)}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	return set, server
}

func get(t *testing.T, url string) (*http.Response, string, error) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func TestHandlerWithoutPointsIsTheHandler(t *testing.T) {
	mux := http.NewServeMux()
	if Handler(mux, Points{}) != http.Handler(mux) {
		t.Error("it is another")
	}
}

func TestHandlerAnswersAnError(t *testing.T) {
	var called atomic.Int32
	set, server := serve(t, func(http.ResponseWriter, *http.Request) { called.Add(1) })
	for _, test := range []struct {
		failure fault.Failure
		status  int
		after   string
	}{
		{fault.Failure{}, 500, ""},
		{fault.Failure{HTTPStatus: 429, RetryAfter: 1200 * time.Millisecond}, 429, "2"},
		{fault.Failure{Cause: "timeout"}, 500, ""},
		{fault.Failure{Cause: "reset", HTTPStatus: 502}, 502, ""},
	} {
		faulttest.Put(t, set, fault.Rule{Point: "shop.serve", Error: &test.failure})
		resp, body, err := get(t, server.URL)
		if err != nil {
			t.Fatal(err)
		}
		p, err := problem.Parse([]byte(body))
		if err != nil || p.Code != "injected_fault" || resp.StatusCode != test.status || resp.Header.Get("Retry-After") != test.after {
			t.Errorf("%+v: %d %v %s %v", test.failure, resp.StatusCode, resp.Header, body, err)
		}
	}
	for _, cause := range []string{"reset", "broken_pipe", "eof", "unexpected_eof"} {
		faulttest.Put(t, set, fault.Rule{Point: "shop.serve", Error: &fault.Failure{Cause: cause}})
		if resp, _, err := get(t, server.URL); err == nil {
			t.Errorf("%s: answered %d", cause, resp.StatusCode)
		}
	}
	if called.Load() != 0 {
		t.Error("the handler was called")
	}
}

func TestHandlerDropServesAndLosesTheAnswer(t *testing.T) {
	var called atomic.Int32
	set, server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		called.Add(1)
		w.Header().Set("X", "y")
		w.WriteHeader(201)
		_, _ = io.WriteString(w, text)
		w.(http.Flusher).Flush()
	})
	faulttest.Put(t, set, fault.Rule{Point: "shop.serve", Drop: &fault.Drop{}})
	// A body makes it a request that the client may not send again.
	if resp, err := http.Post(server.URL, "", strings.NewReader("x")); err == nil {
		resp.Body.Close()
		t.Error("answered", resp.StatusCode)
	}
	if n := called.Load(); n != 1 {
		t.Error("called", n)
	}
}

func TestHandlerDamagesTheAnswer(t *testing.T) {
	handlers := map[string]http.HandlerFunc{
		"whole": func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, text) },
		"parts": func(w http.ResponseWriter, r *http.Request) {
			for i := range 4 {
				if n, err := w.Write([]byte(text[4*i : 4*i+4])); n != 4 || err != nil {
					panic(fmt.Sprint(n, err))
				}
				if err := http.NewResponseController(w).Flush(); err != nil {
					panic(err)
				}
			}
		},
		"sized": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "16")
			_, _ = io.Copy(w, strings.NewReader(text))
		},
	}
	for name, handle := range handlers {
		t.Run(name, func(t *testing.T) {
			set, server := serve(t, handle)
			for after := range 18 {
				faulttest.Put(t, set, fault.Rule{Point: "shop.serve", Truncate: &fault.Truncate{After: int64(after)}})
				_, body, err := get(t, server.URL)
				if cut := after < len(text); body != text[:min(after, len(text))] || cut != errors.Is(err, io.ErrUnexpectedEOF) || !cut && err != nil {
					t.Errorf("after %d: %q, %v", after, body, err)
				}
			}
			faulttest.Put(t, set, fault.Rule{Point: "shop.serve", Corrupt: &fault.Corrupt{Offset: new(int64(3)), Length: 2, Mode: fault.Zeroed}})
			if _, body, err := get(t, server.URL); body != "012\x00\x0056789abcdef" || err != nil {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
}

func TestHandlerPanicIsTheHandlers(t *testing.T) {
	set := faulttest.New(t)
	h := Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), Points{Exchange: set.Point(shop)})
	faulttest.Put(t, set, fault.Rule{Point: "shop.serve", Count: 1, Panic: &fault.Panicking{Message: "boo"}})
	if !faulttest.Panics(t, func() { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)) }) {
		t.Error("no panic")
	}
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil)); w.Code != 200 {
		t.Error(w.Code)
	}
}

func TestHandlerHangEndsInTheHandler(t *testing.T) {
	set := faulttest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	var seen error
	h := Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen = r.Context().Err() }), Points{Exchange: set.Point(shop)})
	faulttest.Put(t, set, fault.Rule{Point: "shop.serve", Hang: &fault.Hang{}})
	cancel()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil).WithContext(ctx))
	if !errors.Is(seen, context.Canceled) {
		t.Error(seen)
	}
}

func TestHandlerBodyFailsAtARead(t *testing.T) {
	read := make(chan error, 1)
	set, server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
	})
	faulttest.Put(t, set, fault.Rule{Point: "shop.body", Error: &fault.Failure{Cause: "reset"}})
	resp, e := http.Post(server.URL, "", strings.NewReader(text))
	if e != nil {
		t.Fatal(e)
	}
	resp.Body.Close()
	if err := <-read; !errors.Is(err, fault.ErrInjected) {
		t.Error(err)
	}
}

func TestHandlerTellsTheRouteBelowAMux(t *testing.T) {
	set := faulttest.New(t)
	mux := http.NewServeMux()
	mux.Handle("GET /items/{id}", Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), Points{Exchange: set.Point(shop)}))
	faulttest.Put(t, set, fault.Rule{Point: "*", Where: map[string]string{"route": "GET /items/{id}"}, Error: &fault.Failure{HTTPStatus: 503}})
	w := httptest.NewRecorder()
	if mux.ServeHTTP(w, httptest.NewRequest("GET", "/items/7", nil)); w.Code != 503 {
		t.Error(w.Code)
	}
}

func TestDamagedWriterStillHijacksAndHasDeadlines(t *testing.T) {
	set, server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, ok := w.(*writer); !ok {
			panic("not wrapped")
		}
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			panic(err)
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nX: hijacked\r\n\r\n")
		conn.Close()
	})
	faulttest.Put(t, set, fault.Rule{Point: "shop.serve", Truncate: &fault.Truncate{After: 1}})
	resp, _, err := get(t, server.URL)
	if err != nil || resp.Header.Get("X") != "hijacked" {
		t.Error(resp, err)
	}
	w := &writer{ResponseWriter: httptest.NewRecorder()}
	if _, _, err := w.Hijack(); !errors.Is(err, http.ErrNotSupported) {
		t.Error(err)
	}
}

// TestStruckBodyIsSeenByWhoeverCalledTheHandler: net/http removes the files of a form that it finds in its request.
func TestStruckBodyIsSeenByWhoeverCalledTheHandler(t *testing.T) {
	files := t.TempDir()
	t.Setenv("TMPDIR", files)
	set := faulttest.New(t)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(1); err != nil {
			t.Error(err)
		}
		if entries, err := os.ReadDir(files); len(entries) == 0 {
			t.Error("no files were made", err)
		}
	})
	struck := Handler(mux, Points{Body: set.Point(shopBody)})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before := r.Body
		struck.ServeHTTP(w, r)
		if r.Body != before || r.Pattern != "POST /items/{id}" || r.MultipartForm == nil {
			t.Errorf("another body: %v, pattern %q, form %v", r.Body != before, r.Pattern, r.MultipartForm)
		}
	}))
	defer server.Close()
	faulttest.Put(t, set, fault.Rule{Point: "shop.body", Burn: &fault.Burn{CPU: 1}})
	var form bytes.Buffer
	parts := multipart.NewWriter(&form)
	file, err := parts.CreateFormFile("file", "x")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = file.Write(make([]byte, 11<<20)) // 10 MB stay in memory in any case
	parts.Close()
	resp, err := http.Post(server.URL+"/items/7", parts.FormDataContentType(), &form)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	server.Close()
	if entries, err := os.ReadDir(files); len(entries) > 0 || err != nil || faulttest.Hits(set, "shop.body") == 0 {
		t.Errorf("%d files stay, %v, %d hits", len(entries), err, faulttest.Hits(set, "shop.body"))
	}
}

// TestPanicAtABodyIsAnError: a proxy hands it to a transport, which reads it where nobody recovers.
func TestPanicAtABodyIsAnError(t *testing.T) {
	beneath := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer beneath.Close()
	target, err := url.Parse(beneath.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	set, server := serve(t, proxy.ServeHTTP)
	faulttest.Put(t, set, fault.Rule{Point: "shop.body", Count: 1, Panic: &fault.Panicking{}})
	for _, want := range []int{502, 200} {
		resp, err := http.Post(server.URL, "", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%d, not %d", resp.StatusCode, want)
		}
	}
}

func TestHandlerWhoseAnswerIsLostHasDeadlinesAndHijacks(t *testing.T) {
	var hijacks atomic.Bool
	failed := make(chan error, 10)
	set := faulttest.New(t)
	struck := Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		failed <- errors.Join(
			control.SetReadDeadline(time.Now().Add(time.Minute)), control.SetWriteDeadline(time.Now().Add(time.Minute)),
			control.EnableFullDuplex(), control.Flush(),
		)
		if hijacks.Load() {
			conn, _, err := control.Hijack()
			failed <- err
			_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nX: hijacked\r\n\r\n")
			conn.Close()
		}
	}), Points{Exchange: set.Point(shop)})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		aborted := aborts(t, func() { struck.ServeHTTP(w, r) })
		if aborted == hijacks.Load() {
			t.Error("aborted:", aborted)
		}
		if aborted {
			panic(http.ErrAbortHandler)
		}
	}))
	defer server.Close()
	faulttest.Put(t, set, fault.Rule{Point: "shop.serve", Drop: &fault.Drop{}})
	if resp, err := http.Post(server.URL, "", strings.NewReader("x")); err == nil {
		resp.Body.Close()
		t.Error("answered", resp.StatusCode)
	}
	hijacks.Store(true)
	resp, _, err := get(t, server.URL)
	if err != nil || resp.Header.Get("X") != "hijacked" {
		t.Error(resp, err)
	}
	for range 3 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

func TestAnswerWithoutABodyIsNotDamaged(t *testing.T) {
	set := faulttest.New(t)
	struck := Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.WriteHeader(103)
			w.WriteHeader(304)
		}
		_, _ = io.WriteString(w, text)
	}), Points{Exchange: set.Point(shop)})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if aborts(t, func() { struck.ServeHTTP(w, r) }) {
			t.Error(r.Method, r.URL.Path, "was cut")
		}
	}))
	defer server.Close()
	for _, rule := range []fault.Rule{{Truncate: &fault.Truncate{}}, {Truncate: &fault.Truncate{After: 1}}, {Corrupt: &fault.Corrupt{}}} {
		rule.Point = "shop.serve"
		faulttest.Put(t, set, rule)
		for _, path := range []string{"/204", "/304"} {
			if resp, _, err := get(t, server.URL+path); err != nil || "/"+strconv.Itoa(resp.StatusCode) != path {
				t.Error(path, resp, err)
			}
		}
		resp, err := http.Head(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Error(resp.StatusCode)
		}
	}
}

// TestAnswerThatStreamsEndsAfterItsRule: what is lost stays lost, and nobody waits for more of it.
func TestAnswerThatStreamsEndsAfterItsRule(t *testing.T) {
	for name, rule := range map[string]fault.Rule{"drop": {Drop: &fault.Drop{}}, "truncate": {Truncate: &fault.Truncate{After: 3}}} {
		t.Run(name, func(t *testing.T) {
			begun, ended := make(chan struct{}), make(chan error, 1)
			proceed := make(chan struct{})
			set, server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				for range 3 {
					if n, err := io.WriteString(w, text); n != len(text) || err != nil {
						t.Error(n, err)
					}
				}
				close(begun)
				<-proceed
				_, err := io.WriteString(w, text)
				ended <- err
			})
			rule.Point = "shop.serve"
			faulttest.Put(t, set, rule)
			go func() {
				<-begun
				if err := set.Kill(fault.Admin, true); err != nil {
					t.Error(err)
				}
				close(proceed)
			}()
			resp, err := http.Post(server.URL, "", strings.NewReader("x"))
			if err == nil {
				var body []byte
				body, err = io.ReadAll(resp.Body)
				resp.Body.Close()
				if string(body) != text[:3] {
					t.Errorf("%q", body)
				}
			}
			if err == nil {
				t.Error("the answer is whole")
			}
			if err := <-ended; !errors.Is(err, fault.ErrInjected) {
				t.Error(err)
			}
		})
	}
}

func TestAnswerThatIsNotLostYetIsNotWhenTheRuleEnds(t *testing.T) {
	var kill func()
	set, server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(103)
		kill()
		w.Header().Set("X", "y")
		_, _ = io.WriteString(w, text)
	})
	kill = func() {
		if err := set.Kill(fault.Admin, true); err != nil {
			t.Error(err)
		}
	}
	faulttest.Put(t, set, fault.Rule{Point: "shop.serve", Drop: &fault.Drop{}})
	if resp, body, err := get(t, server.URL); body != text || err != nil || resp.Header.Get("X") != "y" {
		t.Errorf("%q, %v", body, err)
	}
}
