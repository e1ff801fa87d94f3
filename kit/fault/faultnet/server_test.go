package faultnet

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

// TestServerOfHTTPLivesThroughFaultsOfItsConnections: it answers while they are slow, its own time-outs end those that
// hang, and it shuts down while some do.
func TestServerOfHTTPLivesThroughFaultsOfItsConnections(t *testing.T) {
	reads := strikes("n.read")
	set, l := listen(t, fault.WithObserver(reads))
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			if n > 0 {
				_, _ = io.WriteString(w, strings.Repeat("x", int(n)))
			}
		}),
		ReadTimeout: 300 * time.Millisecond, ErrorLog: log.New(io.Discard, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	client := &http.Client{Transport: &http.Transport{}}
	post := func() (string, error) {
		resp, err := client.Post("http://"+l.Addr().String(), "", strings.NewReader(strings.Repeat("y", 100_000)))
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	works := func() {
		t.Helper()
		if body, err := post(); len(body) != 100_000 || err != nil {
			t.Error(len(body), err)
		}
	}
	works()
	faulttest.Put(t, set, fault.Rule{Point: "n.*", Every: 5, Delay: &fault.Delay{Fixed: time.Millisecond}})
	works()
	faulttest.Put(t, set, fault.Rule{Point: "n.accept", Error: &fault.Failure{Cause: "too_many_files"}, Count: 2})
	client.CloseIdleConnections()
	_, _ = post()
	_, _ = post()
	works()
	faulttest.Put(t, set, fault.Rule{Point: "n.read", Hang: &fault.Hang{}})
	client.CloseIdleConnections()
	if _, err := post(); err == nil {
		t.Error("a request that is never read was answered")
	}
	for len(reads.hits) > 0 {
		<-reads.hits
	}
	go func() { _, _ = post() }()
	<-reads.hits
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// TestPanicInABackgroundReadLeavesTheServer: net/http reads while a handler runs, on a goroutine where nobody recovers.
func TestPanicInABackgroundReadLeavesTheServer(t *testing.T) {
	reads := strikes("n.read")
	set, l := listen(t, fault.WithObserver(reads))
	server := &http.Server{
		Handler:  http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-reads.hits }),
		ErrorLog: log.New(io.Discard, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	client := &http.Client{Transport: &http.Transport{}}
	for range 3 { // the first read is of the request
		faulttest.Put(t, set, fault.Rule{Point: "n.read", Skip: 1, Count: 1, Panic: &fault.Panicking{}})
		if resp, err := client.Get("http://" + l.Addr().String()); err == nil {
			resp.Body.Close()
		}
		faulttest.Clear(t, set)
		client.CloseIdleConnections()
	}
	if hits := faulttest.Hits(set, "n.read"); hits != 3 {
		t.Errorf("%d hits", hits)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
