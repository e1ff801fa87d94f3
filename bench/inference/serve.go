package main

import (
	"bufio"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sys/unix"
)

// scorer is an engine inside a child process written in Go.
type scorer interface {
	prepare(batch int) error
	score(at, batch int) ([]float64, error) // the answers to the rows from at on
}

// serve is the child's side of the protocol in engine.go.
func serve(s scorer, rows int, in io.Reader, out io.Writer) error {
	runtime.LockOSThread()
	batch, at := 1, 0
	commands := bufio.NewScanner(in)
	for commands.Scan() {
		var number int
		switch line := commands.Text(); {
		case line == "answers":
			if err := answers(s, rows, out); err != nil {
				return err
			}
			batch = 1
		case scan(line, "prepare %d", &number):
			batch, at = number, 0
			if err := s.prepare(batch); err != nil {
				return err
			}
			fmt.Fprintln(out, "ok")
		case scan(line, "run %d", &number):
			allocs := mallocs()
			start := cpuTime()
			var used, scored int64
			for used < int64(number)*1e6 {
				for range 1 + 256/batch {
					if at+batch > rows {
						at = 0
					}
					if _, err := s.score(at, batch); err != nil {
						return err
					}
					at += batch
					scored += int64(batch)
				}
				used = cpuTime() - start
			}
			fmt.Fprintln(out, scored, used, mallocs()-allocs)
		default:
			return fmt.Errorf("unknown command %q", line)
		}
	}
	return commands.Err()
}

func answers(s scorer, rows int, out io.Writer) error {
	if err := s.prepare(1); err != nil {
		return err
	}
	for i := range rows {
		answer, err := s.score(i, 1)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, answer[0])
	}
	return nil
}

func scan(line, format string, number *int) bool {
	n, _ := fmt.Sscanf(line, format, number)
	return n == 1
}

func cpuTime() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return t.Nano()
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}
