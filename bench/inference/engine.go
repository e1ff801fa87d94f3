package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// engine is a child process that scores with one library. It answers commands, a line each:
//
//	answers     its answer to every row, a line each
//	prepare N   ok: from now on in batches of N rows
//	run D       scores for D milliseconds of CPU time, batch after batch through all the rows, and
//	            answers: rows scored, CPU nanoseconds of the process, heap allocations (Go only)
//
// A process each, because two versions of a library clash in one, and because CPU time is then the
// engine's own.
type engine struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
}

// start runs a program pinned to one core, with one thread for libraries that would take more.
func start(name string, core int, program string, args ...string) (*engine, error) {
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("%s is left out: %w (bench/setup-peers.sh installs it)", name, err)
	}
	e := &engine{name: name, cmd: exec.Command("taskset", append([]string{"-c", strconv.Itoa(core), program}, args...)...)}
	e.cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1", "GOMAXPROCS=1")
	e.cmd.Stderr = os.Stderr
	var err error
	if e.in, err = e.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	e.out = bufio.NewScanner(out)
	return e, e.cmd.Start()
}

// stop ends the child and waits for it.
func (e *engine) stop() error {
	e.in.Close()
	return e.cmd.Wait()
}

func (e *engine) send(format string, args ...any) { fmt.Fprintf(e.in, format+"\n", args...) }

func (e *engine) line() (string, error) {
	if !e.out.Scan() {
		return "", fmt.Errorf("%s ended early: %v", e.name, e.out.Err())
	}
	return e.out.Text(), nil
}

// worst is how far the engine's answers are from the expected ones, at most.
func (e *engine) worst(expected []float64) (worst float64, err error) {
	e.send("answers")
	for i, want := range expected {
		line, err := e.line()
		if err != nil {
			return 0, err
		}
		got, err := strconv.ParseFloat(line, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: answer %d: %w", e.name, i, err)
		}
		if d := math.Abs(got - want); !(d <= worst) {
			worst = d
		}
	}
	return worst, nil
}

func (e *engine) prepare(batch int) error {
	e.send("prepare %d", batch)
	line, err := e.line()
	if err == nil && strings.TrimSpace(line) != "ok" {
		err = fmt.Errorf("%s: prepare: %s", e.name, line)
	}
	return err
}

// slice is what one run measured.
type slice struct {
	nsPerRow  float64
	allocsRow float64
}

func (e *engine) run(milliseconds int) (slice, error) {
	e.send("run %d", milliseconds)
	line, err := e.line()
	if err != nil {
		return slice{}, err
	}
	var rows, cpu, allocs float64
	if _, err := fmt.Sscan(line, &rows, &cpu, &allocs); err != nil {
		return slice{}, fmt.Errorf("%s: run: %q: %w", e.name, line, err)
	}
	return slice{nsPerRow: cpu / rows, allocsRow: allocs / rows}, nil
}
