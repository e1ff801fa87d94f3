package limit

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

func TestSlowestMakesRoomFirstThenTheLongestIdle(t *testing.T) {
	first, second, third, fourth, fifth := &Conn{}, &Conn{}, &Conn{}, &Conn{}, &Conn{}
	got := firstOf([]candidate{
		{conn: fifth, reason: Idle, guess: true, last: 1},
		{conn: fourth, reason: Idle, last: 3},
		{conn: third, reason: Idle, last: 2},
		{conn: second, reason: SlowRead, rate: 20},
		{conn: first, reason: SlowWrite, rate: 10},
	}, 8)
	for i, want := range []*Conn{first, second, third, fourth, fifth} {
		if got[i].conn != want {
			t.Errorf("%d: %+v", i, got[i])
		}
	}
	if n := len(firstOf(make([]candidate, 1000), 8)); n != leastCandidates {
		t.Errorf("%d candidates", n)
	}
}

// candidates are connections that may go, one for each reason.
func candidates(t *testing.T) map[string]*Conn {
	t.Helper()
	l := &Listener{config: ConnConfig{MinRate: 1000, Grace: 10 * time.Second}, tick: tickMost}
	l.now.Store(int64(5 * time.Second))
	return map[string]*Conn{
		"idle":       {listener: l, heard: true, wrote: true, reading: true},
		"silent TLS": {listener: l, heard: true, begun: true, opaque: true},
		"slow read":  {listener: l, heard: true, begun: true, reading: true, got: 10, last: 5 * time.Second},
		"trickle":    {listener: l, heard: true, begun: true, opaque: true, got: 10, owed: 4 * time.Second, last: 4 * time.Second},
		"slow write": {listener: l, heard: true, writing: true, blocked: 100 * time.Second},
	}
}

func TestThoseWhoDidSomethingMeanwhileStay(t *testing.T) {
	did := map[string]func(*Conn){
		"asked":              func(c *Conn) { c.last, c.wrote, c.begun, c.got, c.owed = 5*time.Second, false, true, 5000, 0 },
		"were answered":      func(c *Conn) { c.writes(); c.written(1 << 20) },
		"were exempted":      func(c *Conn) { Exempt(c) },
		"are written to":     func(c *Conn) { c.blocked = 0; c.writes() },
		"sent what was owed": func(c *Conn) { c.reading, c.got, c.last = false, 6000, 5*time.Second },
	}
	for name := range candidates(t) {
		c := candidates(t)[name]
		verdict, may := c.judge(5 * time.Second)
		if may.reason == "" || verdict && may.reason != SlowWrite {
			t.Errorf("%s: %v, %+v", name, verdict, may)
		}
		if !c.goes(may) {
			t.Errorf("%s: stays", name)
		}
		for what, do := range did {
			if name == "slow write" && (what == "asked" || what == "sent what was owed") { // no excuse
				continue
			}
			c := candidates(t)[name]
			_, may := c.judge(5 * time.Second)
			if do(c); c.goes(may) {
				t.Errorf("%s: goes though they %s", name, what)
			}
		}
	}
}

// TestPausesAreNoTrickle: what comes now and then under TLS and HTTP/2 may be an acknowledgment, with nothing owed.
func TestPausesAreNoTrickle(t *testing.T) {
	for gap, want := range map[time.Duration]bool{time.Second: true, 3 * time.Second: false} {
		ours, theirs := net.Pipe()
		l := &Listener{config: ConnConfig{MinRate: 1000, Grace: 10 * time.Second}, tick: tickMost}
		c := &Conn{Conn: ours, listener: l}
		first := byte(22)
		slow := false
		for range 20 {
			began := make(chan struct{})
			go func() {
				<-began
				l.now.Add(int64(gap))
				_, _ = theirs.Write([]byte{first, 0})
			}()
			c.Conn = beginning{ours, began}
			if _, err := c.Read(make([]byte, 2)); err != nil {
				t.Fatal(err)
			}
			first = 0
			verdict, _ := c.judge(l.coarse())
			slow = slow || verdict
		}
		if slow != want {
			t.Errorf("a gap of %v: slow is %v", gap, slow)
		}
		_, _ = ours.Close(), theirs.Close()
	}
}

// beginning says when a read has begun.
type beginning struct {
	net.Conn
	began chan struct{}
}

func (b beginning) Read(p []byte) (int, error) {
	close(b.began)
	return b.Conn.Read(p)
}

func TestIdleHTTP2ConnsMakeRoom(t *testing.T) {
	l, s := server(t, ConnConfig{MaxConns: 1, MinRate: 1 << 10, Grace: time.Second}, "HTTP/2", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(make([]byte, 64<<10)) // whose acknowledgments are the last that is heard
	})
	for i := range 2 {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		r, err := (&http.Client{Transport: transport, Timeout: patience}).Get(s.URL)
		if err != nil {
			t.Fatalf("client %d: %v, %+v", i, err, l.Stats())
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.ProtoMajor != 2 {
			t.Fatal(r.Proto, err)
		}
		_ = r.Body.Close()
		quiet := l.coarse() + longQuiet + 4*l.tick
		until(t, "quiet for long", func() bool { return l.coarse() > quiet })
	}
	if s := l.Stats(); s.Closed[Idle] != 1 {
		t.Errorf("%+v", s)
	}
}

func TestAnswerThatPausesMakesNoRoom(t *testing.T) {
	goOn := make(chan struct{})
	l, s := server(t, ConnConfig{MaxConns: 1, MaxPerClient: 1}, "plain", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-goOn:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "data: 2\n\n")
	})
	r, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	until(t, "a pause", func() bool { return l.coarse() > 2*(onItsWay+2*l.tick) })
	wantClosed(t, dial(t, l))
	close(goOn)
	if body, err := io.ReadAll(r.Body); err != nil || string(body) != "data: 1\n\ndata: 2\n\n" {
		t.Errorf("%q, %v, %+v", body, err, l.Stats())
	}
}

func TestWhoHasSentAllMakesNoRoomWhileTheHandlerWorks(t *testing.T) {
	read, goOn := make(chan struct{}), make(chan struct{})
	l, _ := server(t, ConnConfig{MaxConns: 1, MinRate: 1 << 10, Grace: 2 * time.Second}, "plain", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(read)
		select {
		case <-goOn:
		case <-r.Context().Done():
		}
	})
	c := dial(t, l)
	if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	late := l.coarse() + time.Second
	until(t, "late", func() bool { return l.coarse() > late })
	if _, err := io.WriteString(c, "x"); err != nil {
		t.Fatal(err)
	}
	<-read
	swept := l.coarse() + 8*l.tick // and Grace since the beginning
	until(t, "a few sweeps", func() bool { return l.coarse() > swept })
	wantClosed(t, dial(t, l))
	close(goOn)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Errorf("cut while the handler worked on all of a request: %v, %+v", err, l.Stats())
	}
}

// TestBurstFindsTheIdle: more at a time than one search yields.
func TestBurstFindsTheIdle(t *testing.T) {
	const places, burst = 400, 150
	l, accepted := listen(t, ConnConfig{MaxConns: places}, nil)
	for range places {
		dial(t, l)
		next(t, accepted)
	}
	idle := l.coarse() + onItsWay + 3*l.tick
	until(t, "all are idle", func() bool { return l.coarse() > idle })
	for range burst {
		dial(t, l)
		next(t, accepted)
	}
	if s := l.Stats(); s.Open != places || s.Closed[Idle] != burst {
		t.Errorf("%+v", s)
	}
}

// TestClientMakesRoomForItself is about a proxy that keeps more connections than it may have.
func TestClientMakesRoomForItself(t *testing.T) {
	working, goOn := make(chan struct{}, 2), make(chan struct{})
	l, s := server(t, ConnConfig{MaxPerClient: 2}, "plain", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/work" {
			working <- struct{}{}
			<-goOn
		}
	})
	get := func(path string) error {
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		r, err := (&http.Client{Transport: transport, Timeout: patience}).Get(s.URL + path)
		if err == nil {
			_ = r.Body.Close()
		}
		return err
	}
	for i := range 3 {
		if err := get("/"); err != nil {
			t.Fatalf("client %d: %v, %+v", i, err, l.Stats())
		}
		rest := l.coarse() + onItsWay + 3*l.tick
		until(t, "a rest", func() bool { return l.coarse() > rest })
	}
	if s := l.Stats(); s.Open != 2 || s.Closed[Idle] != 1 || s.Refused[ClientFull] != 0 {
		t.Errorf("%+v", s)
	}
	done := make(chan error, 2)
	for range 2 { // take the places of the idle
		go func() { done <- get("/work") }()
		<-working
		rest := l.coarse() + onItsWay + 3*l.tick
		until(t, "a rest", func() bool { return l.coarse() > rest })
	}
	if err := get("/"); err == nil || l.Stats().Refused[ClientFull] != 1 {
		t.Errorf("%v, %+v", err, l.Stats())
	}
	close(goOn)
	for range 2 {
		if err := <-done; err != nil {
			t.Error("cut while the handler worked:", err)
		}
	}
}
