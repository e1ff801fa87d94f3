package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/dougong-io/dougong/bench/child"
	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/report"
)

// Processors of children. With one processor only, nothing is pinned.
const (
	forServer = 0
	forClient = 1
)

// server is a target under load.
type server struct {
	cmd  *exec.Cmd
	addr string
}

// startServer starts this binary as a target and waits until it listens.
func startServer(role string, processor int, env ...string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addrs, err := child.FreeAddrs(1)
	if err != nil {
		return nil, err
	}
	addr := addrs[0]
	cmd := exec.Command(self, "-be", role, "-addr", addr)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	if err := child.Start(cmd, processor); err != nil {
		return nil, err
	}
	s := &server{cmd, addr}
	if err := child.AwaitPort(addr); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *server) stop() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// usage is what a client took from its start to its end.
type usage struct {
	cpu    time.Duration
	memory int64 // peak, resident, bytes
	output []byte
}

// noVerdict is how `dougong load` ends when it could not judge the target; its result tells why.
const noVerdict = 3

// client runs a client to its end.
func client(processor int, name string, args ...string) (usage, error) {
	cmd := exec.Command(name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := child.Start(cmd, processor); err != nil {
		return usage{}, err
	}
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != noVerdict {
		return usage{}, fmt.Errorf("%s: %w\n%s%s", cmd, err, out.Bytes(), errs.Bytes())
	}
	used := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return usage{
		cpu:    cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(),
		memory: used.Maxrss << 10,
		output: out.Bytes(),
	}, nil
}

// measured is a client's run: how many good answers, and what they took.
type measured struct {
	usage
	answers uint64
}

func (m measured) micros() float64 { return m.cpu.Seconds() * 1e6 / float64(m.answers) }

// ours runs `dougong load`. cpus is 0 for as many as there are.
func (b *bench) ours(processor, cpus int, args ...string) (measured, *load.Result, error) {
	file := filepath.Join(b.dir, "result.json")
	os.Remove(file) // of the run before
	args = append([]string{"load", "--quiet", "--json", file}, args...)
	if cpus > 0 {
		args = append(args, "--cpus", strconv.Itoa(cpus))
	}
	used, err := client(processor, b.dougong, args...)
	if err != nil {
		return measured{}, nil, err
	}
	in, err := os.Open(file)
	if err != nil {
		return measured{}, nil, err
	}
	defer in.Close()
	result, err := report.ReadJSON(in)
	if err != nil {
		return measured{}, nil, err
	}
	if n := result.Total.Failures(); n > 0 || result.Total.OK == 0 {
		return measured{}, nil, fmt.Errorf("dougong load: %d good answers and %d failures: %v", result.Total.OK, n, result.Errors)
	}
	return measured{used, result.Total.OK}, result, nil
}
