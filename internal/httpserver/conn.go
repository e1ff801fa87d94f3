package httpserver

import (
	"cmp"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dougong-io/dougong/kit/limit"
)

// net/http sets up to five deadlines on a connection for each request, and
// each moves a timer of the runtime: together they cost a tenth of a small
// request. serverConn only notes a deadline; a sweep each sweepEvery arms those
// that have passed. A client may thus take sweepEvery longer than it should.
const sweepEvery = 100 * time.Millisecond

// onItsWay is how long after it was accepted or answered a client may be
// sending its next request. Nothing is closed under it for so long, if nothing
// forces us.
const onItsWay = 250 * time.Millisecond

// lastLook is how long a connection that is about to end is looked at for a request that has come meanwhile, and the
// listener for a connection.
const lastLook = 5 * time.Millisecond

// listener wraps what it accepts, and knows all of it.
type listener struct {
	net.Listener
	max     int
	refused func()
	ending  atomic.Bool // what Accept waits for ends with a deadline
	epoch   time.Time
	now     atomic.Int64 // time since epoch at the last sweep

	mu    sync.Mutex
	conns map[*serverConn]struct{}

	// Only Accept uses these.
	idle   []idleConn    // longest idle first, as found at looked
	looked time.Duration // since epoch
}

// idleConn is a connection that was idle since then.
type idleConn struct {
	c     *serverConn
	since int64
}

func newListener(l net.Listener, maxConns int, refused func()) *listener {
	return &listener{Listener: l, max: maxConns, refused: refused, epoch: time.Now(), conns: make(map[*serverConn]struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil && l.ending.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, net.ErrClosed
		}
		if err != nil {
			return nil, err
		}
		sc := &serverConn{Conn: c, l: l}
		sc.idle.Store(max(l.now.Load(), 1)) // who never asks waits for a request too
		admitted := l.admit(sc)
		for !admitted && l.evict() {
			admitted = l.admit(sc)
		}
		if admitted {
			return sc, nil
		}
		l.refused()
		c.Close()
	}
}

// end has Accept take what the kernel has already taken, which a Close would reset, and then no more.
func (l *listener) end(socket net.Listener) {
	l.ending.Store(true)
	if s, ok := socket.(interface{ SetDeadline(time.Time) error }); !ok || s.SetDeadline(time.Now().Add(lastLook)) != nil {
		l.Close()
	}
}

// admit counts the connection unless there are too many.
func (l *listener) admit(c *serverConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.max > 0 && len(l.conns) >= l.max {
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

// evict closes the connection that waits for its next request longest, so that
// clients that only keep connections do not lock out others, health probes
// among them. It reports false when none has waited for onItsWay. A TLS client
// that has shaken hands and not asked yet is not seen as waiting; that ends with
// read_header_timeout.
//
// To its client it is what every server's idle time-out is: a request that is
// sent in that moment is not answered. It is not worked on either (on HTTP/2:
// unless its handler starts more than onItsWay after its bytes came).
func (l *listener) evict() bool {
	if now := time.Since(l.epoch); len(l.idle) == 0 && now-l.looked >= sweepEvery {
		l.looked = now // a flood must not make this loop its main work
		l.mu.Lock()
		for c := range l.conns {
			if since := c.idle.Load(); since > 0 && int64(now)-since >= int64(onItsWay+sweepEvery) { // since is that coarse
				l.idle = append(l.idle, idleConn{c, since})
			}
		}
		l.mu.Unlock()
		slices.SortFunc(l.idle, func(a, b idleConn) int { return cmp.Compare(a.since, b.since) })
	}
	for len(l.idle) > 0 {
		i := l.idle[0]
		l.idle[0] = idleConn{}
		l.idle = l.idle[1:]
		if i.c.idle.CompareAndSwap(i.since, gone) {
			i.c.Close()
			return true
		}
	}
	l.idle = nil
	return false
}

func (l *listener) forget(c *serverConn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
}

func (l *listener) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// sweep runs until stop is closed.
func (l *listener) sweep(stop <-chan struct{}) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	var due []*serverConn
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		now := int64(time.Since(l.epoch))
		l.now.Store(now)
		l.mu.Lock()
		for c := range l.conns {
			if c.read.passed(now) || c.write.passed(now) {
				due = append(due, c)
			}
		}
		l.mu.Unlock()
		for i, c := range due {
			c.read.expire(now, c.Conn.SetReadDeadline)
			c.write.expire(now, c.Conn.SetWriteDeadline)
			due[i] = nil
		}
		due = due[:0]
	}
}

// closeUnused closes connections on which no request ever came, which
// http.Server.Shutdown would wait for: those that sent nothing, and under TLS
// those that have done no more than shake hands, as far as one can tell.
func (l *listener) closeUnused(tls bool) {
	var unused []*serverConn
	l.mu.Lock()
	for c := range l.conns {
		if !c.used.Load() || tls && !c.asked.Load() {
			unused = append(unused, c)
		}
	}
	l.mu.Unlock()
	for _, c := range unused {
		c.Close()
	}
}

// endIdle ends the connections that wait for a request, each by the goroutine that reads it. To close one from outside would
// drop a request that the kernel has and that goroutine has not seen yet: on a busy machine that takes milliseconds. Left are
// those of HTTP/2, which GOAWAY tells, and under TLS those that have not asked yet, which may be such.
func (l *listener) endIdle(tls bool) {
	l.mu.Lock()
	conns := slices.Collect(maps.Keys(l.conns))
	l.mu.Unlock()
	for _, c := range conns {
		if !tls || c.asked.Load() && !c.h2.Load() {
			c.endIdle()
		}
	}
}

// waiting is how many wait for a request.
func (l *listener) waiting() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		if c.idle.Load() > 0 && !c.h2.Load() {
			n++
		}
	}
	return n
}

// serverConn is a connection with cheap, coarse deadlines.
type serverConn struct {
	net.Conn
	l           *listener
	used        atomic.Bool  // something was read
	idle        atomic.Int64 // since when it waits for a request, as time since the listener's epoch; 0: it does not; gone
	asked       atomic.Bool  // a request came
	h2          atomic.Bool  // set before asked
	ending      atomic.Bool  // its reader is to look a last time
	read, write coarseDeadline
}

// gone is the idle time of a connection that was closed.
const gone = -1

// connState is the http.Server's hook. HTTP/1 calls it in the goroutine that
// reads, HTTP/2 in another.
func connState(c net.Conn, state http.ConnState) {
	if state != http.StateIdle && state != http.StateActive {
		return
	}
	sc := serverConnOf(c)
	if sc == nil {
		return
	}
	if !sc.asked.Load() {
		t, ok := c.(*tls.Conn)
		sc.h2.Store(ok && t.ConnectionState().NegotiatedProtocol == "h2")
		sc.asked.Store(true)
	}
	var since int64
	if state == http.StateIdle {
		since = max(sc.l.now.Load(), 1)
	}
	sc.setIdle(since)
}

// setIdle reports false if the connection was closed.
func (c *serverConn) setIdle(since int64) bool {
	for {
		was := c.idle.Load()
		if was == gone {
			return false
		}
		if was == since || c.idle.CompareAndSwap(was, since) {
			return true
		}
	}
}

// serverConnOf returns what is below c, nil if it is not ours.
func serverConnOf(c net.Conn) *serverConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	sc, _ := c.(*serverConn)
	return sc
}

// coarseDeadline is one direction's deadline.
type coarseDeadline struct {
	at atomic.Int64 // since the listener's epoch; 0: none, or armed

	mu    sync.Mutex
	armed bool // the connection itself has a deadline
	exact bool // the connection itself has every deadline, at once
}

func (d *coarseDeadline) passed(now int64) bool {
	at := d.at.Load()
	return at != 0 && at <= now
}

// expire arms the deadline if it has passed.
func (d *coarseDeadline) expire(now int64, set func(time.Time) error) {
	if !d.passed(now) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed(now) { // not moved meanwhile
		d.at.Store(0)
		d.armed = true
		_ = set(time.Unix(1, 0))
	}
}

// note stores the deadline and reports whether the connection must be told.
func (d *coarseDeadline) note(l *listener, t time.Time) (tell bool) {
	if d.exact {
		d.armed = true
		return true
	}
	var at int64
	if !t.IsZero() {
		at = int64(t.Sub(l.epoch))
		if at <= l.now.Load()+int64(2*sweepEvery) { // passed or soon: exactly
			d.at.Store(0)
			d.armed = true
			return true
		}
	}
	d.at.Store(at)
	tell, d.armed = d.armed, false
	return tell
}

func (c *serverConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n == 0 && err != nil && c.ending.Load() && errors.Is(err, os.ErrDeadlineExceeded) && c.ending.CompareAndSwap(true, false) {
		n, err = c.look(p)
	}
	if n > 0 && !c.used.Load() {
		c.used.Store(true)
	}
	if n > 0 && c.idle.Load() != 0 {
		var since int64 // HTTP/1: a request begins, and ends with another StateIdle
		if c.h2.Load() {
			since = max(c.l.now.Load(), 1) // perhaps; perhaps a ping
		}
		if !c.setIdle(since) {
			return 0, net.ErrClosed // nothing may be done that cannot be answered
		}
	}
	return n, err
}

// endIdle wakes the reader of a connection that waits for a request.
func (c *serverConn) endIdle() {
	c.read.mu.Lock() // net/http moves the deadline when a request has begun: after that, nothing here may
	defer c.read.mu.Unlock()
	if c.idle.Load() <= 0 {
		return
	}
	c.ending.Store(true)
	c.setReadDeadline(time.Unix(1, 0))
}

// look reads what has come, and nothing that comes much later. What it finds is served, within the time that the drain has.
func (c *serverConn) look(p []byte) (int, error) {
	c.read.mu.Lock()
	c.setReadDeadline(time.Now().Add(lastLook))
	c.read.mu.Unlock()
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.read.mu.Lock()
		c.setReadDeadline(time.Time{})
		c.read.mu.Unlock()
	}
	return n, err
}

// setReadDeadline sets that of the connection itself, past what was noted. The lock is held.
func (c *serverConn) setReadDeadline(t time.Time) {
	c.read.at.Store(0)
	c.read.armed = !t.IsZero()
	_ = c.Conn.SetReadDeadline(t)
}

// CloseWrite lets net/http send the end of its answer before it closes a
// connection on which the client still sends.
func (c *serverConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// ReadFrom keeps sendfile.
func (c *serverConn) ReadFrom(r io.Reader) (int64, error) {
	if rf, ok := c.Conn.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// SyscallConn gives the socket to who needs its options.
func (c *serverConn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, syscall.EINVAL
}

func (c *serverConn) SetReadDeadline(t time.Time) error {
	c.read.mu.Lock()
	defer c.read.mu.Unlock()
	if !c.read.note(c.l, t) {
		return nil
	}
	if c.read.armed {
		return c.Conn.SetReadDeadline(t)
	}
	return c.Conn.SetReadDeadline(time.Time{}) // the one that was armed; the new one is noted
}

func (c *serverConn) SetWriteDeadline(t time.Time) error {
	c.write.mu.Lock()
	defer c.write.mu.Unlock()
	if !c.write.note(c.l, t) {
		return nil
	}
	if c.write.armed {
		return c.Conn.SetWriteDeadline(t)
	}
	return c.Conn.SetWriteDeadline(time.Time{})
}

func (c *serverConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *serverConn) Close() error {
	c.idle.Store(gone)
	c.l.forget(c)
	return c.Conn.Close()
}

// release ends the bookkeeping: from now on every call goes to the connection
// itself, which it returns.
func (c *serverConn) release() net.Conn {
	for _, d := range []*coarseDeadline{&c.read, &c.write} {
		d.mu.Lock()
		d.at.Store(0)
		d.exact = true
		d.mu.Unlock()
	}
	_ = c.SetDeadline(time.Time{})
	c.l.forget(c)
	limit.Exempt(c.Conn)
	return c.Conn
}
