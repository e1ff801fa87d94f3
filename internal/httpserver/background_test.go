package httpserver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestClientThatLeavesEndsTheContext: also when the request had a body, which net/http reads to its end first.
func TestClientThatLeavesEndsTheContext(t *testing.T) {
	left := make(chan error, 1)
	s := start(t, testConfig(), Deps{}, func(s *Server) {
		s.Handle("POST /", "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			select {
			case <-r.Context().Done():
				left <- context.Cause(r.Context())
			case <-time.After(20 * time.Second):
				left <- fmt.Errorf("not noticed in 20 s")
			}
		}))
	})
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
	time.Sleep(50 * time.Millisecond) // the handler works; whenever the client leaves, it must be noticed
	conn.Close()
	if err := <-left; err != context.Canceled {
		t.Error(err)
	}
}

// TestPipelinedRequestsAreAnswered: the byte that a background read gets belongs to the next request,
// whether the handler before it was quick or slow.
func TestPipelinedRequestsAreAnswered(t *testing.T) {
	s := start(t, testConfig(), Deps{}, func(s *Server) {
		s.Handle("POST /{work}", "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if r.PathValue("work") == "slow" {
				time.Sleep(350 * time.Millisecond)
			}
			w.Write(body)
		}))
	})
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	paths := []string{"quick", "slow", "quick", "slow", "quick", "quick"}
	for i, path := range paths {
		fmt.Fprintf(conn, "POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%d", path, i)
	}
	reader := bufio.NewReader(conn)
	for i := range paths {
		r, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != fmt.Sprint(i) {
			t.Errorf("answer %d is %q, %v", i, body, err)
		}
	}
}
