package limit

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/internal/seeded"
)

// patience ends a test that would wait for ever.
const patience = 10 * time.Second

// listen serves a listener on loopback. Each connection is given to serve, if there is one, and to the channel.
func listen(t *testing.T, config ConnConfig, serve func(*Conn), opts ...ConnOption) (*Listener, <-chan *Conn) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewListener(inner, config, opts...)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan *Conn, 1000)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c.(*Conn)
			if serve != nil {
				all.Go(func() { serve(c.(*Conn)) })
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		l.mu.Lock()
		var open []*Conn
		for c := range l.conns {
			open = append(open, c)
		}
		l.mu.Unlock()
		for _, c := range open {
			_ = c.Close()
		}
		all.Wait()
	})
	return l, accepted
}

func dial(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", l.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func next(t *testing.T, accepted <-chan *Conn) *Conn {
	t.Helper()
	select {
	case c := <-accepted:
		return c
	case <-time.After(patience):
		t.Fatal("nobody was accepted")
		return nil
	}
}

// wantClosed reads until the other end has closed, which it must do in time.
func wantClosed(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c); err != nil && os.IsTimeout(err) {
		t.Fatal("was not closed")
	}
}

// wantReset reads until the other end has closed without keeping anything for us.
func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v, want a reset", err)
	}
}

// wantOpen sees that what is written at one end comes out at the other.
func wantOpen(t *testing.T, client net.Conn, server *Conn) {
	t.Helper()
	if _, err := server.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_ = client.SetReadDeadline(time.Now().Add(patience))
	if _, err := client.Read(make([]byte, 1)); err != nil {
		t.Fatal("was closed:", err)
	}
}

// until waits for what another goroutine is about to do.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: ", what)
		}
	}
}

// ask is the first byte of a request, and its arrival.
func ask(t *testing.T, client net.Conn, server *Conn) {
	t.Helper()
	if _, err := client.Write([]byte("GE")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(server, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
}

type connTally struct {
	mu     sync.Mutex
	opened int
	counts map[ConnReason]int
}

func (o *connTally) count(r ConnReason) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.counts == nil {
		o.counts = map[ConnReason]int{}
	}
	if r == "" {
		o.opened++
	} else {
		o.counts[r]++
	}
}
func (o *connTally) Opened()              { o.count("") }
func (o *connTally) Refused(r ConnReason) { o.count(r) }
func (o *connTally) Closed(r ConnReason)  { o.count(r) }
func (o *connTally) of(r ConnReason) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.counts[r]
}

func TestConnConfigReportsEveryFault(t *testing.T) {
	_, err := NewListener(&net.TCPListener{}, ConnConfig{MaxConns: -1, MaxPerClient: -1, IPv4Bits: 33, IPv6Bits: 129, MinRate: -1, Grace: -1})
	for _, field := range []string{"max_conns: ", "max_per_client: ", "ipv4_bits: ", "ipv6_bits: ", "min_rate: ", "grace: "} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%q is not in %v", field, err)
		}
	}
	if err := DefaultConnConfig().Validate(); err != nil {
		t.Error(err)
	}
	if _, err := NewListener(nil, DefaultConnConfig()); err == nil {
		t.Error("wrapped nothing")
	}
}

func TestConnsInUseAreNotClosedForAnother(t *testing.T) {
	o := &connTally{}
	l, accepted := listen(t, ConnConfig{MaxConns: 2}, nil, WithConnObserver(o))
	var clients [2]net.Conn
	var servers [2]*Conn
	for i := range clients {
		clients[i] = dial(t, l)
		servers[i] = next(t, accepted)
		ask(t, clients[i], servers[i])
	}
	until(t, "sweeps", func() bool { return l.coarse() > 2*(onItsWay+l.tick) })
	wantClosed(t, dial(t, l))
	if s := l.Stats(); s.Open != 2 || s.Refused[ConnsFull] != 1 || o.of(ConnsFull) != 1 || o.opened != 2 {
		t.Fatalf("%+v, observed %+v", s, o.counts)
	}
	for i := range clients {
		wantOpen(t, clients[i], servers[i])
	}
	_ = servers[0].Close()
	_ = servers[0].Close()
	client := dial(t, l)
	wantOpen(t, client, next(t, accepted))
	if s := l.Stats(); s.Open != 2 || s.Closed[Ended] != 1 || o.of(Ended) != 1 {
		t.Fatalf("%+v, observed %+v", s, o.counts)
	}
}

func TestIdleMakeRoomTheLongestFirst(t *testing.T) {
	o := &connTally{}
	l, accepted := listen(t, ConnConfig{MaxConns: 2}, nil, WithConnObserver(o))
	first := dial(t, l)
	next(t, accepted)
	until(t, "a sweep", func() bool { return l.coarse() > l.tick })
	second := dial(t, l)
	answered := next(t, accepted)
	ask(t, second, answered)
	wantOpen(t, second, answered) // answered, and idle from now on
	go func() { _, _ = io.Copy(io.Discard, answered) }()
	idleSince := l.coarse()
	until(t, "both are idle", func() bool { return l.coarse() > idleSince+2*(onItsWay+2*l.tick) })
	third := dial(t, l)
	server := next(t, accepted)
	wantReset(t, first)
	wantOpen(t, third, server)
	fourth := dial(t, l)
	fourthServer := next(t, accepted)
	wantReset(t, second)
	wantOpen(t, third, server)
	wantOpen(t, fourth, fourthServer)
	if s := l.Stats(); s.Open != 2 || s.Closed[Idle] != 2 || o.of(Idle) != 2 {
		t.Fatalf("%+v, observed %+v", s, o.counts)
	}
}

func TestSlowMakeRoomBeforeTheIdle(t *testing.T) {
	l, accepted := listen(t, ConnConfig{MaxConns: 2, MinRate: 1 << 20, Grace: 4 * time.Second}, nil)
	idle := dial(t, l)
	idleServer := next(t, accepted)
	slow := dial(t, l)
	slowServer := next(t, accepted)
	ask(t, slow, slowServer)
	go func() { _, _ = io.Copy(io.Discard, slowServer) }() // waits for the rest
	until(t, "a quarter of grace", func() bool { return l.coarse() > time.Second+onItsWay+3*l.tick })
	third := dial(t, l)
	server := next(t, accepted)
	wantClosed(t, slow)
	wantOpen(t, third, server)
	wantOpen(t, idle, idleServer)
	if s := l.Stats(); s.Closed[SlowRead] != 1 {
		t.Fatalf("%+v", s)
	}
}

func TestOneClientHasItsShare(t *testing.T) {
	o := &connTally{}
	l, accepted := listen(t, ConnConfig{MaxPerClient: 2}, nil, WithConnObserver(o))
	for range 2 {
		c := dial(t, l)
		ask(t, c, next(t, accepted)) // and is at work
	}
	wantClosed(t, dial(t, l))
	if s := l.Stats(); s.Open != 2 || s.Clients != 1 || s.Refused[ClientFull] != 1 || o.of(ClientFull) != 1 {
		t.Fatalf("%+v", s)
	}
	other, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: patience}).Dial("tcp", l.Addr().String())
	if err != nil {
		t.Skip("no second address on loopback:", err)
	}
	defer other.Close()
	server := next(t, accepted)
	wantOpen(t, other, server)
	_ = server.Close()
	if s := l.Stats(); s.Clients != 1 {
		t.Fatalf("%+v", s)
	}
}

func TestClientIsAPrefix(t *testing.T) {
	l := &Listener{config: ConnConfig{MaxPerClient: 1, IPv4Bits: 24, IPv6Bits: 64}}
	for addr, want := range map[string]string{
		"192.0.2.7:80":              "192.0.2.0/24",
		"[::ffff:192.0.2.7]:80":     "192.0.2.0/24",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":         "fe80::/64",
	} {
		if got := l.clientOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))); got.String() != want {
			t.Errorf("%s is of %v, want %s", addr, got, want)
		}
	}
	for _, addr := range []net.Addr{&net.UnixAddr{Name: "x"}, &net.TCPAddr{}} {
		if got := l.clientOf(addr); got.IsValid() {
			t.Errorf("%v is of %v", addr, got)
		}
	}
}

// brisk bounds tests of slow clients in time.
func brisk() ConnConfig { return ConnConfig{MinRate: 10_000, Grace: 200 * time.Millisecond} }

func TestSlowSendersAreClosed(t *testing.T) {
	for name, first := range map[string]string{"plain": "GET / HTTP/1.1\r\n", "TLS": "\x16\x03\x01", "HTTP/2": "PRI * HTTP/2.0\r\n"} {
		t.Run(name, func(t *testing.T) {
			l, _ := listen(t, brisk(), func(c *Conn) { _, _ = io.Copy(io.Discard, c) })
			c := dial(t, l)
			_, err := c.Write([]byte(first))
			for end := time.Now().Add(patience); err == nil && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				_, err = c.Write([]byte("x"))
			}
			until(t, "closed", func() bool { return l.Stats().Closed[SlowRead] == 1 })
		})
	}
}

func TestSenderOfHalfARequestIsClosed(t *testing.T) {
	l, _ := listen(t, brisk(), func(c *Conn) { _, _ = io.Copy(io.Discard, c) })
	c := dial(t, l)
	if _, err := c.Write([]byte("GET / HT")); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, c)
	if s := l.Stats(); s.Closed[SlowRead] != 1 || s.Open != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestSendersWhoAreQuickOrOweNothingStay(t *testing.T) {
	l, accepted := listen(t, brisk(), func(c *Conn) { _, _ = io.Copy(io.Discard, c) })
	quick, silent, exempt := dial(t, l), dial(t, l), dial(t, l)
	for range 3 {
		if c := next(t, accepted); c.RemoteAddr().String() == exempt.LocalAddr().String() && !Exempt(tls.Client(c, nil)) {
			t.Fatal("found no connection of ours")
		}
	}
	if _, err := exempt.Write([]byte("half a requ")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := quick.Write(make([]byte, 200)); err != nil { // four times as much as it must
			t.Fatal(err)
		}
	}
	if s := l.Stats(); s.Open != 3 {
		t.Fatalf("%+v", s)
	}
	_ = silent
	if Exempt(&net.TCPConn{}) {
		t.Error("exempted a connection that is not ours")
	}
}

func TestThoseWhoTakeNothingAreClosed(t *testing.T) {
	l, _ := listen(t, ConnConfig{MinRate: 1 << 20, Grace: 200 * time.Millisecond}, func(c *Conn) {
		_, _ = c.Write(make([]byte, 64<<20))
		_ = c.Close()
	})
	c := dial(t, l)
	until(t, "closed", func() bool { return l.Stats().Closed[SlowWrite] == 1 })
	wantClosed(t, c)
}

func TestThoseWhoTakeSlowlyButEnoughStay(t *testing.T) {
	const all = 24 << 20
	l, _ := listen(t, ConnConfig{MinRate: 64 << 10, Grace: 100 * time.Millisecond}, func(c *Conn) {
		_, _ = c.Write(make([]byte, all))
		_ = c.Close()
	})
	c := dial(t, l)
	got, buffer := 0, make([]byte, 256<<10)
	_ = c.SetReadDeadline(time.Now().Add(6 * patience))
	for {
		n, err := c.Read(buffer)
		got += n
		if err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got != all {
		t.Fatalf("got %d of %d bytes, %+v", got, all, l.Stats())
	}
}

func TestWhatTheKernelHasNotTakenYetIsNoSlowness(t *testing.T) {
	l := &Listener{config: ConnConfig{MinRate: 1000, Grace: time.Second}}
	c := &Conn{listener: l, writing: true}
	for at, want := range map[time.Duration]bool{60 * time.Second: false, 66 * time.Second: true} {
		if slow, _ := c.judge(at); slow != want {
			t.Errorf("after %v of a write of 64 KiB at 1000 bytes/s at least: slow is %v", at, slow)
		}
	}
}

func TestWhoHasBegunARequestMakesNoRoom(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	l := &Listener{config: ConnConfig{MaxConns: 1}, tick: tickMost}
	c := &Conn{Conn: ours, listener: l, wrote: true, last: time.Second}
	if _, may := c.judge(time.Second + onItsWay + tickMost - 1); may.reason != "" {
		t.Fatalf("%+v: the next request may be on its way", may)
	}
	_, may := c.judge(time.Minute)
	if may.reason != Idle || may.guess {
		t.Fatalf("%+v", may)
	}
	l.now.Store(int64(time.Minute))
	go func() { _, _ = theirs.Write([]byte("GET /")) }()
	if _, err := c.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if c.goes(may) {
		t.Fatal("goes in the middle of a request")
	}
	c.writes()
	c.written(1)
	if _, may = c.judge(2 * time.Minute); may.reason != "" {
		t.Fatal("could go though the server does not wait for a request")
	}
	c.reading = true
	if _, may = c.judge(2 * time.Minute); !c.goes(may) {
		t.Fatal("stays, and is idle")
	}
	go func() { _, _ = theirs.Write([]byte("GET /")) }()
	if n, err := c.Read(make([]byte, 5)); n != 0 || err == nil {
		t.Fatal("read what cannot be answered")
	}
}

func TestCreditIsNotSavedUp(t *testing.T) {
	l := &Listener{config: ConnConfig{MinRate: 1000, Grace: time.Second}}
	for name, c := range map[string]*Conn{
		"read":  {listener: l, begun: true, heard: true, reading: true, got: 1 << 40},
		"write": {listener: l, writing: true, sent: 1 << 40},
	} {
		if slow, _ := c.judge(2 * time.Second); slow {
			t.Errorf("%s: slow with 1 TiB in two seconds", name)
		}
		if slow, _ := c.judge(100 * time.Second); !slow {
			t.Errorf("%s: not slow after a minute and a half of nothing", name)
		}
	}
}

// server runs net/http on a listener of ours: plain, over TLS, or HTTP/2.
func server(t *testing.T, config ConnConfig, protocol string, handler http.HandlerFunc) (*Listener, *httptest.Server) {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	l, err := NewListener(s.Listener, config)
	if err != nil {
		t.Fatal(err)
	}
	s.Listener = l
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if protocol == "plain" {
		s.Start()
	} else {
		s.EnableHTTP2 = protocol == "HTTP/2"
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return l, s
}

// TestSlowHandlerIsNoSlowClient also has the client acknowledge much, and say nothing for long after that.
func TestSlowHandlerIsNoSlowClient(t *testing.T) {
	for _, protocol := range []string{"plain", "TLS", "HTTP/2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			l, s := server(t, brisk(), protocol, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				time.Sleep(time.Second)
				_, _ = w.Write(make([]byte, 64<<10))
			})
			for range 3 { // each after a second of silence, on the same connection
				r, err := s.Client().Post(s.URL, "", strings.NewReader("question"))
				if err != nil {
					t.Fatal(err, l.Stats())
				}
				body, err := io.ReadAll(r.Body)
				_ = r.Body.Close()
				if err != nil || len(body) != 64<<10 {
					t.Fatalf("%d bytes, %v, %+v", len(body), err, l.Stats())
				}
				if (r.ProtoMajor == 2) != (protocol == "HTTP/2") {
					t.Fatal(r.Proto)
				}
				time.Sleep(time.Second)
			}
			if got := l.Stats().Open; got != 1 {
				t.Errorf("%d connections", got)
			}
		})
	}
}

func TestFilesDeadlinesAndHalfClosePassThrough(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	content := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	_, s := server(t, DefaultConnConfig(), "plain", func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience)); err != nil {
			t.Error(err)
		}
		http.ServeFile(w, r, name)
	})
	for _, part := range []string{"", "bytes=5-1234567"} {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL, nil)
		want := content
		if part != "" {
			r.Header.Set("Range", part)
			want = content[5:1234568]
		}
		answer, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(want), err)
		}
	}

	l, accepted := listen(t, DefaultConnConfig(), nil)
	client := dial(t, l)
	c := next(t, accepted)
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	beneath := &sender{Conn: c.Conn}
	c.Conn = beneath
	go func() {
		limited := &io.LimitedReader{R: file, N: 200_000}
		if n, err := c.ReadFrom(limited); n != 200_000 || err != nil || limited.N != 0 {
			t.Errorf("sent %d, %d left, %v", n, limited.N, err)
		}
		if n, err := io.Copy(c, file); n != int64(len(content)-200_000) || err != nil {
			t.Errorf("sent %d, %v", n, err)
		}
		if got := beneath.sent.Load(); got != int64(len(content)) {
			t.Errorf("%d of %d bytes were left to the kernel", got, len(content))
		}
		if n, err := c.ReadFrom(strings.NewReader("end")); n != 3 || err != nil {
			t.Errorf("sent %d, %v", n, err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
	}()
	_ = client.SetDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, append(bytes.Clone(content), "end"...)) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if _, err := client.Write([]byte("still")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal("cannot read after CloseWrite:", err)
	}
	if raw, err := c.SyscallConn(); err != nil || raw == nil {
		t.Error(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := c.Read(make([]byte, 2)); !os.IsTimeout(err) {
		t.Errorf("deadline passed, and read returned %v", err)
	}
}

// sender counts what it is given as a file. Like a net.TCPConn it can half-close and has a socket.
type sender struct {
	net.Conn
	sent atomic.Int64
}

func (s *sender) CloseWrite() error { return s.Conn.(*net.TCPConn).CloseWrite() }

func (s *sender) SyscallConn() (syscall.RawConn, error) { return s.Conn.(*net.TCPConn).SyscallConn() }

func (s *sender) ReadFrom(r io.Reader) (int64, error) {
	n, err := s.Conn.(io.ReaderFrom).ReadFrom(r)
	s.sent.Add(n)
	return n, err
}

func TestCloseOfTheListenerEndsItsSweep(t *testing.T) {
	l, _ := listen(t, DefaultConnConfig(), nil)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-l.swept:
	default:
		t.Fatal("still sweeps")
	}
	_ = l.Close() // the error of the one beneath, and no panic
}

// TestRandomClientsAreCounted opens and closes connections from both ends in any order and sees that none is
// counted twice, or for ever.
func TestRandomClientsAreCounted(t *testing.T) {
	seeded.Each(t, 2, func(t *testing.T, rnd *rand.Rand) {
		o := &connTally{}
		l, _ := listen(t, ConnConfig{MaxConns: 8, MaxPerClient: 6, MinRate: 1000, Grace: 40 * time.Millisecond}, func(c *Conn) {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}, WithConnObserver(o))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var all sync.WaitGroup
		for i := range 10 {
			own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
			all.Go(func() {
				from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i%3))}}
				for range 20 {
					c, err := from.DialContext(ctx, "tcp", l.Addr().String())
					if err != nil {
						continue
					}
					_, _ = c.Write(make([]byte, own.IntN(100)))
					time.Sleep(time.Duration(own.Int64N(int64(20 * time.Millisecond))))
					_ = c.Close()
					if s := l.Stats(); s.Open > 8 || s.Clients > 3 {
						t.Errorf("%+v", s)
					}
				}
			})
		}
		all.Wait()
		until(t, "all are closed", func() bool { s := l.Stats(); return s.Open == 0 && s.Clients == 0 })
		s := l.Stats()
		var closed uint64
		for _, n := range s.Closed {
			closed += n
		}
		until(t, "the observer has heard of all", func() bool {
			return uint64(o.of(Ended)+o.of(SlowRead)+o.of(SlowWrite)+o.of(Idle)) == closed && uint64(o.of(ConnsFull)+o.of(ClientFull)) == s.Refused[ConnsFull]+s.Refused[ClientFull]
		})
		if closed == 0 || uint64(o.opened) != closed {
			t.Errorf("%d opened, %+v", o.opened, s)
		}
	})
}
