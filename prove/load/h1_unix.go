//go:build unix

package load

import (
	"io"
	"os"
	"syscall"
)

const rawReads = true

// serveRaw is the loop over plain TCP. A wake-up of the network poller is never lost: it begins to listen before
// the callback runs for the first time, so before anything is sent.
func (l *h1) serveRaw(raw syscall.RawConn, waits bool) {
	first := true
	for {
		err := raw.Read(func(fd uintptr) bool {
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
			goesOn, awaits := l.feed((*buf)[:n])
			if !goesOn {
				return true
			}
			if !awaits {
				return false // what comes next comes after a request, and wakes us
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
