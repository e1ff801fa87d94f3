package main

import (
	"bytes"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// serveHTTP1 is the lean target: one thread, epoll, and one constant answer for each request. It takes less than any
// client, so that the clients are what is measured. Requests have no body and come one at a time on a connection.
//
// One that spins never sleeps: to wake a target on another processor is charged to the client that writes, and on a virtual
// machine costs many times what the write itself does. work, if not nil, is done before each answer.
func serveHTTP1(addr string, spins bool, work func()) error {
	runtime.LockOSThread()
	at, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return err
	}
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	bind := &unix.SockaddrInet4{Port: at.Port, Addr: [4]byte(at.IP.To4())}
	if err := unix.Bind(listener, bind); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(listener, 4096); err != nil {
		return os.NewSyscallError("listen", err)
	}
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, listener, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(listener)}); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n")
	end := []byte("\r\n\r\n")
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, 16<<10)
	wait := -1
	if spins {
		wait = 0
	}
	for {
		n, err := unix.EpollWait(poll, events, wait)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("epoll_wait", err)
		}
		for _, event := range events[:n] {
			fd := int(event.Fd)
			if fd == listener {
				conn, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
				if err != nil {
					continue
				}
				unix.SetsockoptInt(conn, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
				unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, conn, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(conn)})
				continue
			}
			got, err := unix.Read(fd, buf)
			switch {
			case err == unix.EAGAIN || err == unix.EINTR:
			case err != nil || got == 0:
				unix.Close(fd)
			case bytes.HasSuffix(buf[:got], end):
				if work != nil {
					work()
				}
				unix.Write(fd, answer)
			}
		}
	}
}

// dial opens a connection whose calls wait.
func dial(addr string) (int, error) {
	at, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: at.Port, Addr: [4]byte(at.IP.To4())}); err != nil {
		unix.Close(fd)
		return 0, os.NewSyscallError("connect", err)
	}
	return fd, os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
}

// monotonic is the system's monotonic clock.
func monotonic() time.Duration {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return time.Duration(t.Nano())
}
