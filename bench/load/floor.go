package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// floor is the least that a paced client can do on this machine: for each request it sleeps until it is due, writes,
// sleeps until the answer is there, and reads it. It keeps no books and looks at nothing but the status. What a
// sleep and a wake-up cost is most of it, and differs a lot between machines, above all virtual ones.
//
// Without an address it only sleeps and wakes up, which tells what that alone costs.
func floor(addr string, rate int, length time.Duration) error {
	runtime.LockOSThread()
	if addr == "" {
		return wakeUps(rate, length)
	}
	fd, err := dial(addr)
	if err != nil {
		return err
	}
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	timer, err := ticking(rate)
	if err != nil {
		return err
	}
	request := []byte("GET / HTTP/1.1\r\nHost: " + addr + "\r\n\r\n")
	buf := make([]byte, 4096)
	events := make([]unix.EpollEvent, 1)
	var expired [8]byte
	answers := 0
	for end := monotonic() + length; monotonic() < end; {
		if _, err := unix.Read(timer, expired[:]); err != nil && err != unix.EINTR {
			return os.NewSyscallError("read of the timer", err)
		}
		// Periods that were missed are made up for at once, so that the rate is the one asked for.
		for range expired[0] {
			if _, err := unix.Write(fd, request); err != nil {
				return os.NewSyscallError("write", err)
			}
			for {
				if _, err := unix.EpollWait(poll, events, -1); err == nil {
					break
				} else if err != unix.EINTR {
					return os.NewSyscallError("epoll_wait", err)
				}
			}
			n, err := unix.Read(fd, buf)
			if err != nil {
				return os.NewSyscallError("read", err)
			}
			if !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200 ")) {
				return errors.New("no good answer")
			}
			answers++
		}
	}
	fmt.Println(answers)
	return nil
}

func wakeUps(rate int, length time.Duration) error {
	timer, err := ticking(rate)
	if err != nil {
		return err
	}
	var expired [8]byte
	n := 0
	for end := monotonic() + length; monotonic() < end; n++ {
		if _, err := unix.Read(timer, expired[:]); err != nil && err != unix.EINTR {
			return os.NewSyscallError("read of the timer", err)
		}
	}
	fmt.Println(n)
	return nil
}

// ticking makes a timer that goes off rate times a second.
func ticking(rate int) (int, error) {
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	if err != nil {
		return 0, os.NewSyscallError("timerfd_create", err)
	}
	period := unix.NsecToTimespec(int64(time.Second) / int64(rate))
	return timer, os.NewSyscallError("timerfd_settime", unix.TimerfdSettime(timer, 0, &unix.ItimerSpec{Interval: period, Value: period}, nil))
}
