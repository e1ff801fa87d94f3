package httpserver

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/limit"
)

type connRecorder struct {
	mu              sync.Mutex
	opened          int
	refused, closed map[limit.ConnReason]int
}

func newConnRecorder() *connRecorder {
	return &connRecorder{refused: map[limit.ConnReason]int{}, closed: map[limit.ConnReason]int{}}
}

func (r *connRecorder) locked(f func())            { r.mu.Lock(); defer r.mu.Unlock(); f() }
func (r *connRecorder) Opened()                    { r.locked(func() { r.opened++ }) }
func (r *connRecorder) Refused(x limit.ConnReason) { r.locked(func() { r.refused[x]++ }) }
func (r *connRecorder) Closed(x limit.ConnReason)  { r.locked(func() { r.closed[x]++ }) }

func TestOneClientHasItsShareOfConnectionsAndNoMore(t *testing.T) {
	cfg := testConfig()
	cfg.MaxPerClient = 2
	conns := newConnRecorder()
	entered, release := make(chan struct{}), make(chan struct{})
	r := start(t, cfg, Deps{ConnObserver: conns}, func(s *Server) {
		s.Handle("/x", "", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		s.Handle("/busy", "", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-release }))
	})
	dial := func(from string) *keeper {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", r.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(30 * time.Second))
		return &keeper{c, bufio.NewReader(c)}
	}
	var busy sync.WaitGroup
	for range 2 {
		k := dial("127.0.0.1")
		busy.Go(func() {
			if _, err := k.ask("/busy"); err != nil {
				t.Error("a request in flight gave way:", err)
			}
		})
		<-entered
	}
	time.Sleep(time.Second) // however long they work, they are not idle
	if _, err := dial("127.0.0.1").ask("/x"); err == nil {
		t.Error("a third connection of one client was served")
	}
	if _, err := dial("127.0.0.2").ask("/x"); err != nil {
		t.Error("another client pays for it:", err)
	}
	conns.locked(func() {
		if conns.opened != 3 || conns.refused[limit.ClientFull] != 1 {
			t.Errorf("%d opened, refused %v", conns.opened, conns.refused)
		}
	})
	close(release)
	busy.Wait()
	// Now they are: those of a proxy that keeps connections give way to new ones, one by one.
	for range 3 {
		time.Sleep(time.Second)
		if _, err := dial("127.0.0.1").ask("/x"); err != nil {
			t.Error("idle connections of the same client kept it out:", err)
		}
	}
}

func TestClientThatSendsTooSlowlyIsClosed(t *testing.T) {
	cfg := testConfig()
	cfg.MinRate, cfg.SlowGrace = 1<<20, 200*time.Millisecond
	conns := newConnRecorder()
	r := start(t, cfg, Deps{ConnObserver: conns}, handle("/x", "", func(_ http.ResponseWriter, req *http.Request) { io.Copy(io.Discard, req.Body) }))
	c, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(8 * time.Second)) // before the read time-out
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("still open:", err)
	}
	conns.locked(func() {
		if conns.closed[limit.SlowRead] != 1 {
			t.Errorf("closed %v", conns.closed)
		}
	})
}
