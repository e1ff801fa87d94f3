//go:build unix

package worker

import (
	"io"
	"syscall"
)

// socket is a descriptor in blocking mode. Its reads and writes go to the kernel at once, past Go's poller.
type socket int

func (s socket) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(s), p)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (s socket) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := syscall.Write(int(s), p[done:])
		if err != nil && err != syscall.EINTR {
			return done, err
		}
		done += max(n, 0)
	}
	return done, nil
}

// own makes sure that no process that the engine starts holds the socket open.
func (s socket) own() error {
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(s), &stat); err != nil {
		return err
	}
	syscall.CloseOnExec(int(s))
	return syscall.SetNonblock(int(s), false)
}
