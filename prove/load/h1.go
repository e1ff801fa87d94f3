package load

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dougong-io/dougong/prove/load/http1"
	"github.com/dougong-io/dougong/prove/load/script"
)

const maxHeader = 64 << 10

// States of an HTTP/1.1 connection. One that lies idle may be closed by the target at the moment at which the
// dispatcher takes it: whoever changes idle to something else has it.
const (
	h1Down    int32 = iota // not connected, or about to be; a request has to wake the goroutine
	h1Idle                 // connected, nothing in flight
	h1Claimed              // the dispatcher prepares a request
	h1Busy                 // a request is in flight; its answer belongs to the goroutine
)

// h1 is a user's HTTP/1.1 connection.
//
// One goroutine reads. Over plain TCP it stays within one RawConn.Read for the life of the connection: it parks at once
// when it has nothing to read, where net.Conn.Read would try first, and so spends one system call less a request.
// The dispatcher writes requests on an idle connection itself; after an answer the reader writes the next one.
type h1 struct {
	u      *user
	dialer *dialer

	state  atomic.Int32
	wake   chan struct{} // holds a token when a request, or a connection made by connect, waits for the goroutine
	idled  chan struct{} // gets a token when a connection made by connect lies idle
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{}

	mu   sync.Mutex // guards conn against stop and expire
	conn net.Conn

	// The request in flight. They belong to whoever has the state.
	sender  net.Conn        // conn, but never nil again
	raw     syscall.RawConn // of sender over plain TCP, where the dispatcher may write; else nil
	reader  http1.Reader
	answer  script.Answer
	out, in uint64
	used    bool  // the connection has carried a request before this one
	freed   int64 // when its last answer had come

	own      requestBuffer // of the goroutine
	fd       int           // the socket, while the goroutine reads from it in a callback; else -1
	waits    bool          // a request was begun that the ended connection has not seen
	broken   error
	writeErr atomic.Pointer[writeError]
	writing  atomic.Bool // a long request is still being written
	writers  sync.WaitGroup
}

// requestBuffer is where a request is rendered. The dispatcher has one of its own: an answer may be there, and the
// goroutine sending again, before the dispatcher's write has returned.
type requestBuffer struct{ request, body []byte }

// writeError is why a request could not be sent, and on which connection.
type writeError struct {
	conn net.Conn
	err  error
}

func newH1(u *user, d *dialer) *h1 {
	l := &h1{u: u, dialer: d, wake: make(chan struct{}, 1), idled: make(chan struct{}, 1), ended: make(chan struct{}), fd: -1}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.reader.MaxHeader, l.reader.MaxBody = maxHeader, u.run.plan.MaxBody
	l.answer.Header = l.reader.Header
	go l.loop()
	return l
}

func (l *h1) connect(ctx context.Context) error {
	conn, err := l.dialer.dial(ctx)
	if err != nil {
		return err
	}
	if !l.keep(conn) {
		return net.ErrClosed
	}
	l.wake <- struct{}{}
	select {
	case <-l.idled:
	case <-l.ended:
	}
	return nil
}

// keep makes conn the connection of l, unless l has been stopped.
func (l *h1) keep(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped() {
		conn.Close()
		return false
	}
	l.conn, l.used = conn, false
	return true
}

func (l *h1) stopped() bool { return l.ctx.Err() != nil }

func (l *h1) start() {
	if l.state.CompareAndSwap(h1Idle, h1Claimed) && l.raw != nil && l.send(h1Claimed, &l.u.run.pace.buffer) {
		return
	}
	l.wake <- struct{}{}
}

func (l *h1) expire() {
	if !l.u.expired(l.u.run.clock.now()) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		l.conn.SetDeadline(time.Unix(1, 0)) // the reader looks whether the request is still the same
	}
}

func (l *h1) stop() {
	l.cancel() // before the lock: whoever holds it may wait for the reader to see it
	l.mu.Lock()
	if l.conn != nil {
		l.conn.Close()
	}
	l.mu.Unlock()
	<-l.ended
	l.writers.Wait()
}

// loop owns the connection: it waits for a request or a connection, and serves until the connection ends.
func (l *h1) loop() {
	defer close(l.ended)
	for {
		select {
		case <-l.ctx.Done():
			select {
			case <-l.wake:
				if l.u.deadline.Load() != 0 {
					l.u.unfinished()
				}
			default:
			}
			return
		case <-l.wake:
		}
		waits := l.u.deadline.Load() != 0
		for waits || l.conn != nil {
			if l.conn == nil && !l.dial() {
				break
			}
			waits = l.serve(waits)
		}
	}
}

// dial connects for the request that waits. It returns whether a request waits still, which then has a connection.
func (l *h1) dial() bool {
	for {
		left := time.Duration(l.u.deadline.Load() - l.u.run.clock.now())
		ctx, cancel := context.WithTimeout(l.ctx, max(left, time.Microsecond))
		conn, err := l.dialer.dial(ctx)
		cancel()
		if l.stopped() || err == nil && !l.keep(conn) {
			if err == nil {
				conn.Close()
			}
			l.u.unfinished()
			return false
		}
		if err == nil {
			return true
		}
		if !l.u.finish(outcome{class: classify(err), err: err, end: l.u.run.clock.now()}) {
			return false
		}
	}
}

// serve sends and receives on the connection until it ends. waits says that a request waits to be sent. It returns
// whether a request waits for the next connection.
func (l *h1) serve(waits bool) bool {
	l.broken, l.waits = nil, false
	l.sender, l.raw = l.conn, l.rawConn()
	if l.raw != nil {
		l.serveRaw(waits)
	} else {
		l.serveBlocking(waits)
	}
	was := l.state.Swap(h1Down)
	l.mu.Lock()
	l.conn.Close()
	l.conn = nil
	l.mu.Unlock()
	if was == h1Busy {
		return l.lost()
	}
	return l.waits
}

// lost settles the request that was in flight when the connection ended. It returns whether a request waits for
// the next connection.
func (l *h1) lost() bool {
	u := l.u
	now := u.run.clock.now()
	if failed := l.failed(); failed != nil {
		l.broken = failed
	}
	class := classify(l.broken)
	switch {
	case l.stopped():
		u.unfinished()
		return false
	case u.expired(now):
		return u.finish(outcome{class: ClassTimeout, err: os.ErrDeadlineExceeded, end: now, out: l.out, in: l.in})
	case l.used && !l.reader.Began() && u.current().replays && (class == ClassClosed || class == ClassReset) && u.sent-l.freed > int64(idleClose):
		// The target closed a connection that had lain idle while the request was under way. Every client sends an
		// idempotent one again (RFC 9110, 9.2.2), and so do we, on the time of the first try. A connection that
		// was in use just before is no such case: there the target ended a request, and that shows.
		u.run.stats.replays.Add(1)
		return true
	case class == ClassTimeout && !l.reader.Began():
		return true // the alarm for the request before it struck its write
	}
	return u.finish(outcome{class: class, err: l.broken, end: now, status: l.status(), out: l.out, in: l.in})
}

func (l *h1) status() string {
	if code := l.reader.Status(); code >= 200 {
		return codeName(code)
	}
	return ""
}

// idleClose is how long a connection has to lie idle before its end is taken for an idle time-out of the target.
const idleClose = 500 * time.Millisecond

// codeNames avoids an allocation an answer.
var codeNames = func() (names [600]string) {
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	return names
}()

func codeName(code int) string {
	if code >= 0 && code < len(codeNames) {
		return codeNames[code]
	}
	return strconv.Itoa(code)
}

func (l *h1) rawConn() syscall.RawConn {
	tcp, ok := l.conn.(*net.TCPConn)
	if !ok || !rawReads {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// send writes the current request and makes the connection busy; from is the state in which the caller has it. It
// returns false when the connection ended meanwhile. A write error ends the connection, which the reader notices.
func (l *h1) send(from int32, buf *requestBuffer) bool {
	u := l.u
	var err error
	for {
		buf.request, buf.body, err = u.current().appendHTTP1(buf.request[:0], buf.body, u.run.target, &u.vars)
		if err == nil {
			break
		}
		// It cannot be sent at all. The connection is none the worse for it.
		if !l.state.CompareAndSwap(from, h1Idle) {
			return false
		}
		if !u.finish(outcome{class: ClassLocal, err: err, end: u.run.clock.now()}) {
			return true
		}
		if !l.state.CompareAndSwap(h1Idle, from) {
			return false
		}
	}
	step := u.current()
	l.reader.KeepBody, l.reader.KeepHeader = step.looks, step.looks
	l.reader.Begin(step.method == "HEAD")
	l.out, l.in = uint64(len(buf.request)), 0
	u.sent = u.run.clock.now()
	conn, request := l.sender, buf.request
	if !l.state.CompareAndSwap(from, h1Busy) {
		return false
	}
	if l.raw != nil {
		request = request[l.writeNow(request, from):]
		if len(request) > 0 {
			l.writeLater(conn, append([]byte(nil), request...))
		}
		return true
	}
	if _, err := conn.Write(request); err != nil {
		l.fail(conn, err)
	}
	return true
}

// writeNow writes what the socket takes without waiting: neither the dispatcher nor the reader may be held up by one
// target that does not read. Where it was not all, the writer finds out why.
func (l *h1) writeNow(request []byte, from int32) (n int) {
	if from == h1Idle && l.fd >= 0 {
		return writeNow(l.fd, request) // the reader has the socket in hand
	}
	l.raw.Write(func(fd uintptr) bool {
		n = writeNow(int(fd), request)
		return true
	})
	return n
}

// writeLater writes the rest of a request that the socket did not take at once.
func (l *h1) writeLater(conn net.Conn, rest []byte) {
	l.writing.Store(true)
	l.writers.Go(func() {
		_, err := conn.Write(rest)
		l.writing.Store(false)
		if err != nil {
			l.fail(conn, err)
		}
	})
}

// fail ends a connection on which a request could not be sent. It wakes the reader, which closes: Close waits for
// reads to end, and this may be called from within one.
func (l *h1) fail(conn net.Conn, err error) {
	l.writeErr.Store(&writeError{conn, err})
	conn.SetDeadline(time.Unix(1, 0))
}

// failed returns why the request could not be sent on this connection, if so.
func (l *h1) failed() error {
	if failed := l.writeErr.Load(); failed != nil && failed.conn == l.sender {
		return failed.err
	}
	return nil
}

// complete judges a whole answer and finds the next request, which it sends. It returns whether the connection goes
// on, and whether it lies idle now.
func (l *h1) complete(keep bool) (goesOn, idle bool) {
	u := l.u
	step := u.current()
	l.answer.Status, l.answer.Body = l.reader.Status(), l.reader.Body()
	o := outcome{end: u.run.clock.now(), status: codeName(l.answer.Status), in: l.in, out: l.out}
	o.class, o.err = step.judge(u, &l.answer)
	l.used, l.freed = true, o.end
	if !keep || !l.reader.KeepAlive() || l.writing.Load() {
		l.state.Store(h1Down)
		l.waits = u.finish(o)
		return false, false
	}
	l.state.Store(h1Idle) // the dispatcher may take it as soon as finish has parked the user
	if !u.finish(o) {
		return true, true
	}
	l.send(h1Idle, &l.own)
	return true, false
}

// feed takes what came. It returns whether the connection goes on, and whether to look for more at once: for the rest
// of the answer, or for the end of a connection that would else lie idle.
func (l *h1) feed(p []byte) (goesOn, more bool) {
	if l.state.Load() != h1Busy {
		return false, false // bytes that nobody asked for
	}
	l.in += uint64(len(p))
	used, done, err := l.reader.Feed(p)
	if err != nil {
		l.broken = err
		return false, false
	}
	if !done {
		return true, true
	}
	return l.complete(used == len(p))
}

// closed takes the end of the connection.
func (l *h1) closed(err error) {
	l.broken = err
	if errors.Is(err, io.EOF) && l.state.Load() == h1Busy {
		done, cut := l.reader.Close()
		switch {
		case done:
			l.complete(false)
		case l.reader.Began():
			l.broken = cut
		}
	}
}

// again tells whether err is only an alarm of the sweeper that came when its request had just been answered.
func (l *h1) again(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || l.stopped() || l.failed() != nil || l.u.expired(l.u.run.clock.now()) {
		return false
	}
	l.conn.SetDeadline(time.Time{})
	return true
}

// serveBlocking is the loop over TLS, where the goroutine writes as well, and does not read while nothing is in
// flight.
func (l *h1) serveBlocking(waits bool) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	if waits {
		l.state.Store(h1Claimed)
	} else {
		l.state.Store(h1Idle)
		l.idled <- struct{}{}
	}
	for {
		if !waits {
			select {
			case <-l.ctx.Done():
				return
			case <-l.wake:
			}
		}
		waits = false
		if l.used && hungUp(l.conn) {
			l.state.Store(h1Down)
			l.waits = true
			return
		}
		l.send(h1Claimed, &l.own)
		for l.state.Load() == h1Busy {
			n, err := l.conn.Read(*buf)
			if n > 0 {
				if goesOn, _ := l.feed((*buf)[:n]); !goesOn {
					return
				}
			} else if err != nil && !l.again(err) {
				l.closed(err)
				return
			}
		}
	}
}

// buffers are shared by all connections, as a buffer is needed only while bytes are taken off a socket.
var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}
