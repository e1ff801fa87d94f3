package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load sends requests over conns connections, each with one request at a time, and returns how many were
// answered with 200 and the CPU time that the server process took for them.
func load(p *process, requests [][]byte, conns int, d time.Duration) (n int64, cpu time.Duration, err error) {
	clients := make([]net.Conn, conns)
	for i := range clients {
		if clients[i], err = net.Dial("tcp", p.addr); err != nil {
			return 0, 0, err
		}
		defer clients[i].Close()
	}
	before, err := cpuTime(p.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	var answered, turn atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, conns)
	end := time.Now().Add(d)
	for _, c := range clients {
		wg.Go(func() {
			c.SetDeadline(end.Add(10 * time.Second))
			reader := bufio.NewReaderSize(c, 16<<10)
			for time.Now().Before(end) {
				// Requests rotate over all cases: one repeated row would flatter branch prediction.
				request := requests[turn.Add(1)%int64(len(requests))]
				if _, err := c.Write(request); err != nil {
					errs <- err
					return
				}
				if _, err := readAnswer(reader, nil); err != nil {
					errs <- err
					return
				}
				answered.Add(1)
			}
		})
	}
	wg.Wait()
	after, err := cpuTime(p.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	select {
	case err := <-errs:
		return 0, 0, err
	default:
		return answered.Load(), after - before, nil
	}
}

// readAnswer reads one answer and fails unless it is a 200 with a length. The body is appended to into,
// or thrown away if that is nil.
func readAnswer(r *bufio.Reader, into []byte) ([]byte, error) {
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
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return nil, err
			}
		}
	}
	if length < 0 {
		return nil, fmt.Errorf("an answer without Content-Length")
	}
	if into == nil {
		_, err := r.Discard(length)
		return nil, err
	}
	body := append(into, make([]byte, length)...)
	_, err = io.ReadFull(r, body[len(into):])
	return body, err
}

// cpuTime is the time that all threads of a process have run, in the scheduler's nanoseconds: the usual
// clock of a process has ticks of 10 ms. A thread that ended is missed; Go keeps its threads.
func cpuTime(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("process %d has ended, or this kernel has no schedstat", pid)
	}
	var total time.Duration
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that ended meanwhile
		}
		field, _, _ := strings.Cut(string(data), " ")
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		total += time.Duration(n)
	}
	return total, nil
}
