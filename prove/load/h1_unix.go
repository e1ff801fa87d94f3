//go:build unix

package load

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"syscall"
)

const rawReads = true

// serveRaw is the loop over plain TCP. A wake-up of the network poller is never lost: it begins to listen before
// the callback runs for the first time, so before anything is sent.
func (l *h1) serveRaw(waits bool) {
	first := true
	for {
		err := l.raw.Read(func(fd uintptr) bool {
			if first {
				first = false
				if waits {
					l.state.Store(h1Claimed)
					l.send(h1Claimed, &l.own)
				} else {
					l.state.Store(h1Idle)
					l.idled <- struct{}{}
				}
				return false
			}
			return l.drain(int(fd))
		})
		if err == nil {
			return
		}
		if !l.again(err) {
			l.closed(err)
			return
		}
	}
}

// drain reads what is there. It returns true when the connection has ended.
func (l *h1) drain(fd int) bool {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	l.fd = fd
	defer func() { l.fd = -1 }()
	for {
		n, err := readNow(fd, *buf)
		switch {
		case n > 0:
			goesOn, more := l.feed((*buf)[:n])
			if !goesOn {
				return true
			}
			if !more {
				return false // what comes next comes after a request, and wakes us
			}
			if l.state.Load() == h1Busy && (l.stopped() || l.u.expired(l.u.run.clock.now())) { // a target that never stops sending
				l.closed(os.ErrDeadlineExceeded)
				return true
			}
		case err == syscall.EAGAIN:
			return false
		case err == syscall.EINTR:
		case err != nil:
			l.closed(os.NewSyscallError("read", err))
			return true
		default:
			l.closed(io.EOF)
			return true
		}
	}
}

// hungUp tells whether the target has said goodbye on a connection that lies idle: what is there to read then is the
// end, or over TLS the notice of it.
func hungUp(conn net.Conn) bool {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		gone = err != syscall.EAGAIN && err != syscall.EINTR
	})
	return gone
}
