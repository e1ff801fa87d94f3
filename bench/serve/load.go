package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"time"
)

// client is one connection with one request at a time.
type client struct {
	fd      int
	pending []byte // of the request, not written yet
	answer  []byte // what has come of the answer
}

// httpLoad sends requests over connections, each with one request at a time. The client never sleeps: a sleeping one
// would have to be woken by the server's write, which costs the server more the faster it is.
type httpLoad struct {
	server   *process
	requests [][]byte
	conns    int
	read     func(answer []byte) ([]float64, error) // the values of an answer's body
}

// load returns how many requests were answered with 200, and the CPU time that the server took for them.
func (l *httpLoad) load(d time.Duration) (n int64, cpu time.Duration, err error) {
	p, requests := l.server, l.requests
	clients := make([]*client, l.conns)
	for i := range clients {
		c, err := dial(p.addr)
		if err != nil {
			return 0, 0, err
		}
		defer syscall.Close(c.fd)
		clients[i] = c
	}
	before, err := cpuTime(p.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	turn := 0
	for end := time.Now().Add(d); ; {
		waiting := 0
		more := time.Now().Before(end)
		for _, c := range clients {
			if len(c.pending) == 0 && c.answer == nil {
				if !more {
					continue
				}
				// Requests rotate over all cases: one repeated row would flatter branch prediction.
				c.pending, c.answer = requests[turn%len(requests)], make([]byte, 0, 4096)
				turn++
			}
			waiting++
			done, err := c.step()
			if err != nil {
				return 0, 0, err
			}
			if done {
				n++
				c.answer = nil
			}
		}
		if waiting == 0 {
			break
		}
		if time.Since(end) > 10*time.Second {
			return 0, 0, errors.New("requests are not answered")
		}
	}
	after, err := cpuTime(p.cmd.Process.Pid)
	return n, after - before, err
}

// dial opens a connection whose reads and writes never wait.
func dial(addr string) (*client, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	to := &syscall.SockaddrInet4{Port: n}
	copy(to.Addr[:], net.ParseIP(host).To4())
	if err := errors.Join(syscall.Connect(fd, to), syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1), syscall.SetNonblock(fd, true)); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	return &client{fd: fd}, nil
}

// step writes and reads what can be, and tells whether the answer is whole.
func (c *client) step() (done bool, err error) {
	if len(c.pending) > 0 {
		n, err := syscall.Write(c.fd, c.pending)
		if err != nil && err != syscall.EAGAIN {
			return false, err
		}
		c.pending = c.pending[max(n, 0):]
		return false, nil
	}
	n, err := syscall.Read(c.fd, c.answer[len(c.answer):cap(c.answer)])
	switch {
	case err == syscall.EAGAIN:
		return false, nil
	case err != nil:
		return false, err
	case n == 0:
		return false, io.ErrUnexpectedEOF
	}
	c.answer = c.answer[:len(c.answer)+n]
	if len(c.answer) == cap(c.answer) {
		c.answer = append(c.answer, make([]byte, len(c.answer))...)[:len(c.answer)]
	}
	head, body, ok := bytes.Cut(c.answer, []byte("\r\n\r\n"))
	if !ok {
		return false, nil
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		return false, fmt.Errorf("answer %.300q", c.answer)
	}
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if want, ok, err := contentLength(line); ok || err != nil {
			return len(body) == want, err
		}
	}
	return false, errors.New("an answer without Content-Length")
}

// contentLength tells whether a line of a head gives the body's length. Servers differ in the case of its name.
func contentLength(line []byte) (length int, ok bool, err error) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	if !bytes.EqualFold(name, []byte("Content-Length")) {
		return 0, false, nil
	}
	length, err = strconv.Atoi(string(bytes.TrimSpace(value)))
	return length, err == nil, err
}

// readAnswer reads the body of one answer and fails unless it is a 200 with a length.
func readAnswer(r *bufio.Reader) ([]byte, error) {
	status, err := r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		rest, _ := r.Peek(r.Buffered())
		return nil, fmt.Errorf("answer %.40q %.300q", status, rest)
	}
	length := -1
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if len(line) <= 2 {
			break
		}
		if n, ok, err := contentLength(line); err != nil {
			return nil, err
		} else if ok {
			length = n
		}
	}
	if length < 0 {
		return nil, fmt.Errorf("an answer without Content-Length")
	}
	body := make([]byte, length)
	_, err = io.ReadFull(r, body)
	return body, err
}
