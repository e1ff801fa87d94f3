package httpserver

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"
)

// rest waits until the server takes the kept connections for idle ones.
func rest() { time.Sleep(onItsWay + 2*sweepEvery) }

func TestIdleConnectionMakesRoomForANewOne(t *testing.T) {
	cfg := testConfig()
	cfg.MaxConnections = 2
	entered, release := make(chan struct{}, 2), make(chan struct{})
	r := start(t, cfg, Deps{}, func(s *Server) {
		s.Handle("/x", "", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		s.Handle("/busy", "", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-release }))
	})
	dial := func() *keeper {
		t.Helper()
		k, err := dialKeeper(r.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { k.c.Close() })
		return k
	}
	ask := func(k *keeper, path string) {
		t.Helper()
		if again, err := k.ask(path); err != nil || !again {
			t.Errorf("%s: kept %v, %v", path, again, err)
		}
	}
	oldest, other := dial(), dial()
	ask(oldest, "/x")
	ask(other, "/x")
	if _, err := dial().ask("/healthz"); err == nil {
		t.Error("connections that were just used gave way")
	}
	rest()
	ask(other, "/x") // now the other one rests longer
	rest()
	probe := dial()
	ask(probe, "/healthz")
	if _, err := oldest.c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the one that rested longest: %v", err)
	}
	var busy sync.WaitGroup
	for _, k := range []*keeper{other, probe} {
		busy.Go(func() { ask(k, "/busy") })
		<-entered
	}
	rest()
	if _, err := dial().ask("/healthz"); err == nil {
		t.Error("a request in flight gave way")
	}
	close(release)
	busy.Wait()
	r.seen.locked(func() {
		if r.seen.refused != 2 {
			t.Errorf("%d refused, want 2", r.seen.refused)
		}
	})
	if n := r.Connections(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestIdleHTTP2ConnectionMakesRoomInSpiteOfPings(t *testing.T) {
	ca := newAuthority(t)
	cfg := testConfig()
	cfg.TLS.CertFile, cfg.TLS.KeyFile = ca.issue(t, t.TempDir(), 1)
	cfg.MaxConnections = 1
	r := start(t, cfg, Deps{}, nil)
	client := ca.client()
	transport := client.Transport.(*http.Transport)
	transport.DisableKeepAlives = false
	transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: time.Second, PingTimeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	res, err := client.Get(r.url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	time.Sleep(1200 * time.Millisecond) // one ping at least
	rest()
	for end := time.Now().Add(10 * time.Second); ; {
		res, err := ca.client().Get(r.url + "/healthz")
		if err == nil {
			res.Body.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestEvictionAndRequestExclude: of a byte that arrives and an eviction one
// wins, and the reader knows which.
func TestEvictionAndRequestExclude(t *testing.T) {
	var evicted, read int
	for range 500 {
		ours, theirs := net.Pipe()
		l := newListener(nil, 1, func() {})
		l.epoch = time.Now().Add(-time.Hour)
		c := &serverConn{Conn: ours, l: l}
		if !l.admit(c) || l.admit(&serverConn{}) {
			t.Fatal("the bound is not 1")
		}
		connState(c, http.StateIdle)
		go theirs.Write([]byte("G"))
		var won bool
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(rand.N(20 * time.Microsecond))
			won = l.evict()
		})
		n, err := c.Read(make([]byte, 1))
		wg.Wait()
		if won == (err == nil) || (n == 1) != (err == nil) {
			t.Fatalf("evicted %v, and read %d bytes, %v", won, n, err)
		}
		if won {
			evicted++
		} else {
			read++
		}
		if l.evict() {
			t.Fatal("evicted again, or with a request in flight")
		}
		theirs.Close()
		c.Close()
	}
	t.Logf("%d evicted, %d read", evicted, read)
}

func TestConnectionsBeyondTheBoundAreCountedBeforeTheyClose(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	second := make(chan net.Conn, 1)
	counted := make(chan error, 1)
	l := newListener(inner, 1, func() {
		c := <-second
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		counted <- err
	})
	go l.Accept()
	first, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for l.len() == 0 {
		time.Sleep(time.Millisecond)
	}
	go l.Accept() // refuses, and waits for another until the listener is closed
	c, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	second <- c
	if err := <-counted; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("closed before it was counted: %v", err)
	}
}

func TestCloseWriteClosesOneDirection(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	client, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := newListener(inner, 0, nil).Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil { // as net/http asks
		t.Fatal(err)
	}
	client.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client reads %v", err)
	}
	io.WriteString(client, "x")
	if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the server reads %d bytes, %v", n, err)
	}
}

// pair is a connection of a server, which waits for a request, and its client.
func pair(t *testing.T) (*serverConn, net.Conn) {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	theirs, err := net.Dial("tcp", socket.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(socket, 0, func() {})
	ours, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close(); ours.Close() })
	return ours.(*serverConn), theirs
}

// TestEndOfTheIdleLeavesNoRequestUnread: a request that the kernel has when its connection is told to end, and that nobody
// has read yet, is read; also what comes of it later.
func TestEndOfTheIdleLeavesNoRequestUnread(t *testing.T) {
	ours, theirs := pair(t)
	send := func(text string) {
		t.Helper()
		if _, err := theirs.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(ours, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
	}
	send("GET /")
	for ours.l.waiting() != 1 {
		t.Fatal("it does not wait for a request")
	}
	ours.l.endIdle(false)
	expect("GET /")
	time.AfterFunc(4*lastLook, func() { send("x HTTP/1.1") })
	expect("x HTTP/1.1")
	ours.l.endIdle(false) // has no effect on a request in flight
	time.AfterFunc(4*lastLook, func() { send("body") })
	expect("body")
	if ours.l.waiting() != 0 {
		t.Error("it waits, with a request in flight")
	}
}

func TestEndOfTheIdleEndsThem(t *testing.T) {
	ours, _ := pair(t)
	read := make(chan error, 1)
	go func() {
		_, err := ours.Read(make([]byte, 1))
		read <- err
	}()
	ours.l.endIdle(false)
	select {
	case err := <-read:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it still waits")
	}
}

// TestEndOfTheListenerTakesWhatTheKernelHas: who has connected is not reset because nobody had time to accept it.
func TestEndOfTheListenerTakesWhatTheKernelHas(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	const clients = 10
	for range clients {
		c, err := net.Dial("tcp", socket.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	l := newListener(socket, 0, func() {})
	l.end(socket)
	for n := range clients {
		c, err := l.Accept()
		if err != nil {
			t.Fatalf("after %d: %v", n, err)
		}
		defer c.Close()
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, want that it is closed", err)
	}
}
