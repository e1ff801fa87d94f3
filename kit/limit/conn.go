package limit

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Conn is a connection of a [Listener], which knows how fast its client is. Its time is as coarse as the sweeps of
// the listener, an eighth of Grace and at most a quarter of a second.
//
// A client owes bytes from the first one that came until we write, while a server reads: it then waits for the rest of
// a request. One that reads a single byte at a time waits for nothing: so net/http notices that a client has gone while
// a handler works. Under TLS and HTTP/2, which read all the time, silence is no sign: it may be a handler that works, or
// a client that has nothing to ask. There only a trickle counts, bytes with less than a quarter of Grace between them.
//
// A client takes too little when it lets a write wait. What the kernel does not take in at once, it takes in lumps:
// up to 64 KiB on their way are counted as taken, so who takes nothing is found after 64 KiB / MinRate.
type Conn struct {
	net.Conn
	listener *Listener
	client   netip.Prefix

	mu      sync.Mutex // after that of the listener
	exempt  bool
	gone    bool          // has to make room: nothing may be read any more that could not be answered
	opaque  bool          // TLS or HTTP/2, whose reads say nothing about requests
	heard   bool          // something was read, ever
	wrote   bool          // more recently than read, or nothing was read yet
	last    time.Duration // when something was read or written
	begun   bool          // something was read since we wrote
	got     int64         // bytes read in the time owed
	owed    time.Duration // time spent waiting for more of them
	sent    int64         // bytes written in the time blocked
	blocked time.Duration // time spent writing

	reading, writing  bool
	readAt, writtenAt time.Duration // when the current read or write began
}

// lump is how many bytes are written at a time, so that progress is seen.
const lump = 64 << 10

// Exempt says that a connection may be as slow as it likes from now on: for one that was hijacked, or speaks a
// protocol where a message may come after any time. c may be a [Conn] or wrap one and say so by a method NetConn, as a
// tls.Conn does. It reports whether there is one.
func Exempt(c net.Conn) bool {
	for {
		switch conn := c.(type) {
		case *Conn:
			conn.mu.Lock()
			conn.exempt = true
			conn.mu.Unlock()
			return true
		case interface{ NetConn() net.Conn }:
			c = conn.NetConn()
		default:
			return false
		}
	}
}

// NetConn returns the connection beneath. What is done with it is not seen here.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Read reads and notes how long that took.
func (c *Conn) Read(p []byte) (int, error) {
	waits := len(p) > 1
	if waits {
		c.mu.Lock()
		c.reading, c.readAt = true, c.listener.coarse()
		c.mu.Unlock()
	}
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.listener.coarse()
	if waits {
		if c.begun {
			c.owed += now - c.readAt
		}
		c.reading = false
	}
	if c.gone {
		return 0, net.ErrClosed
	}
	if n <= 0 {
		return n, err
	}
	if !c.heard {
		c.heard = true
		c.opaque = p[0] == 22 || bytes.HasPrefix(p[:n], []byte("PRI ")) // a TLS handshake, RFC 8446 section 5.1; HTTP/2, RFC 9113 section 3.4
	}
	if !c.begun || c.opaque && now-c.last >= c.listener.pause() {
		c.begun, c.got, c.owed = true, 0, 0
	}
	c.got += int64(n)
	c.last, c.wrote = now, false
	return n, err
}

// Write writes and notes how long that took.
func (c *Conn) Write(p []byte) (total int, err error) {
	for {
		part := p[total:min(len(p), total+lump)]
		c.writes()
		n, err := c.Conn.Write(part)
		c.written(int64(n))
		total += n
		if err != nil || total >= len(p) {
			return total, err
		}
	}
}

// ReadFrom sends files without copying them, as long as the connection beneath can.
func (c *Conn) ReadFrom(r io.Reader) (total int64, err error) {
	beneath, ok := c.Conn.(io.ReaderFrom)
	from, most := r, int64(-1)
	limited, isLimited := r.(*io.LimitedReader)
	if isLimited {
		from, most = limited.R, limited.N
	}
	if !ok || !isFile(from) {
		return io.Copy(struct{ io.Writer }{c}, r) // what r makes us wait for is not the client's fault
	}
	for most != 0 {
		part := int64(lump)
		if isLimited {
			part = min(part, most)
		}
		c.writes()
		n, err := beneath.ReadFrom(&io.LimitedReader{R: from, N: part})
		c.written(n)
		total += n
		if isLimited {
			most -= n
			limited.N = most
		}
		if err != nil || n < part {
			return total, err
		}
	}
	return total, nil
}

// isFile reports whether r is what the package net sends without copying, and never makes us wait. It is no *os.File
// when it comes from io.Copy, which hides its WriteTo.
func isFile(r io.Reader) bool {
	f, ok := r.(interface {
		fs.File
		io.Seeker
		syscall.Conn
	})
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular() // no pipe
}

func (c *Conn) writes() {
	c.mu.Lock()
	c.writing, c.writtenAt = true, c.listener.coarse()
	c.begun = false
	c.mu.Unlock()
}

func (c *Conn) written(n int64) {
	c.mu.Lock()
	now := c.listener.coarse()
	c.writing = false
	c.blocked += now - c.writtenAt
	c.sent += n
	c.last, c.wrote = now, true
	c.mu.Unlock()
}

// Close closes the connection and makes room for another.
func (c *Conn) Close() error {
	c.listener.forget(c, Ended)
	return c.Conn.Close()
}

var errNotTCP = errors.New("limit: connection: the one beneath cannot do that")

// CloseWrite ends what is sent to the client, who may go on sending.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errNotTCP
}

// CloseRead ends what is taken from the client.
func (c *Conn) CloseRead() error {
	if half, ok := c.Conn.(interface{ CloseRead() error }); ok {
		return half.CloseRead()
	}
	return errNotTCP
}

// SyscallConn gives the socket to who needs its options.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if socket, ok := c.Conn.(syscall.Conn); ok {
		raw, err := socket.SyscallConn()
		if err != nil {
			return nil, err
		}
		return struct{ syscall.RawConn }{raw}, nil // through all of it os.File.WriteTo would write behind our back
	}
	return nil, errNotTCP
}

// evict closes the connection of a client that has to go. What the kernel has not sent yet it forgets: for a slow
// client it would be kept for long.
func (c *Conn) evict(reason ConnReason) {
	c.listener.forget(c, reason)
	if l, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = c.Conn.Close()
}

// judge returns whether the connection has to be closed now, and else whether it may be to make room; with no reason
// if it may not.
func (c *Conn) judge(now time.Duration) (verdict bool, may candidate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	config := &c.listener.config
	if c.exempt {
		return false, candidate{}
	}
	if config.MinRate > 0 {
		owed := c.owes(now)
		if rate, slow := c.readsSlowly(owed); slow {
			return owed >= config.Grace, candidate{conn: c, reason: SlowRead, rate: rate}
		}
		if owed >= config.Grace { // fast enough until now, which is no credit for later
			c.got, c.owed, c.readAt = 0, 0, now
		}
		blocked := c.waits(now)
		if rate, slow := c.takesSlowly(blocked); slow {
			return blocked >= config.Grace, candidate{conn: c, reason: SlowWrite, rate: rate}
		} else if blocked >= config.Grace && rate >= float64(config.MinRate) {
			c.sent, c.blocked, c.writtenAt = 0, 0, now
		}
	}
	switch quiet := now - c.last; {
	case c.idles() && quiet >= onItsWay+c.listener.tick:
		return false, candidate{conn: c, reason: Idle, last: c.last}
	case c.opaque && !c.writing && quiet >= max(longQuiet, c.listener.pause()):
		return false, candidate{conn: c, reason: Idle, last: c.last, guess: true}
	}
	return false, candidate{}
}

// idles reports whether the client has no request here for sure: none ever, or all that was read is answered and the
// server waits for another.
func (c *Conn) idles() bool {
	return !c.writing && (!c.heard || c.wrote && c.reading && !c.opaque)
}

// owes is for how long we have waited for bytes that the client owes.
func (c *Conn) owes(now time.Duration) time.Duration {
	switch {
	case !c.begun:
	case c.opaque:
		if now-c.last < c.listener.pause() {
			return c.owed
		}
	case c.reading:
		return c.owed + now - c.readAt
	}
	return 0
}

// readsSlowly returns how fast we could read what was owed for so long, in bytes a second, and whether that is too slow
// for long enough to make room.
func (c *Conn) readsSlowly(owed time.Duration) (rate float64, slow bool) {
	if owed == 0 || owed < c.listener.pause() {
		return 0, false
	}
	rate = float64(c.got) / owed.Seconds()
	return rate, rate < float64(c.listener.config.MinRate)
}

// waits is for how long we have waited for the client to take bytes.
func (c *Conn) waits(now time.Duration) time.Duration {
	if c.writing {
		return c.blocked + now - c.writtenAt
	}
	return c.blocked
}

// takesSlowly is readsSlowly for what the client takes.
func (c *Conn) takesSlowly(blocked time.Duration) (rate float64, slow bool) {
	if blocked == 0 || blocked < c.listener.pause() {
		return 0, false
	}
	rate = float64(c.sent) / blocked.Seconds()
	underWay := 0.0
	if c.writing {
		underWay = lump / blocked.Seconds()
	}
	return rate, rate+underWay < float64(c.listener.config.MinRate)
}

// goes reports whether the connection has done nothing since it became a candidate that would save it, and then
// makes sure that it does nothing more.
func (c *Conn) goes(was candidate) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.listener.coarse()
	switch was.reason {
	case SlowRead: // still the same request, too: another has not been owed for so long
		_, c.gone = c.readsSlowly(c.owes(now))
	case SlowWrite:
		_, c.gone = c.takesSlowly(c.waits(now))
		c.gone = c.gone && c.writing
	default:
		c.gone = c.last == was.last && (c.idles() || was.guess && !c.writing)
	}
	c.gone = c.gone && !c.exempt
	return c.gone
}
