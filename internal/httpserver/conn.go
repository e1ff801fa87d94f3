package httpserver

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// net/http sets up to five deadlines on a connection for each request, and
// each moves a timer of the runtime: together they cost a tenth of a small
// request. serverConn only notes a deadline; a sweep each sweepEvery arms those
// that have passed. A client may thus take sweepEvery longer than it should.
const sweepEvery = 100 * time.Millisecond

// listener wraps what it accepts, and knows all of it.
type listener struct {
	net.Listener
	max     int
	refused func()
	epoch   time.Time
	now     atomic.Int64 // time since epoch at the last sweep

	mu    sync.Mutex
	conns map[*serverConn]struct{}
}

func newListener(l net.Listener, maxConns int, refused func()) *listener {
	return &listener{Listener: l, max: maxConns, refused: refused, epoch: time.Now(), conns: make(map[*serverConn]struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		sc := &serverConn{Conn: c, l: l, accepted: time.Now()}
		l.mu.Lock()
		full := l.max > 0 && len(l.conns) >= l.max
		if !full {
			l.conns[sc] = struct{}{}
		}
		l.mu.Unlock()
		if !full {
			return sc, nil
		}
		c.Close()
		l.refused()
	}
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

// closeUnused closes connections on which nothing was ever sent, which
// http.Server.Shutdown would wait for.
func (l *listener) closeUnused(olderThan time.Duration) {
	var unused []*serverConn
	l.mu.Lock()
	for c := range l.conns {
		if !c.used.Load() && time.Since(c.accepted) > olderThan {
			unused = append(unused, c)
		}
	}
	l.mu.Unlock()
	for _, c := range unused {
		c.Close()
	}
}

// serverConn is a connection with cheap, coarse deadlines.
type serverConn struct {
	net.Conn
	l           *listener
	accepted    time.Time
	used        atomic.Bool // something was read
	read, write coarseDeadline
}

// coarseDeadline is one direction's deadline.
type coarseDeadline struct {
	at atomic.Int64 // since the listener's epoch; 0: none, or armed

	mu    sync.Mutex
	armed bool // the connection itself has a deadline
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
	if n > 0 && !c.used.Load() {
		c.used.Store(true)
	}
	return n, err
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
	c.l.forget(c)
	return c.Conn.Close()
}

// release ends the bookkeeping and returns the connection itself.
func (c *serverConn) release() net.Conn {
	_ = c.SetDeadline(time.Time{})
	c.l.forget(c)
	return c.Conn
}
