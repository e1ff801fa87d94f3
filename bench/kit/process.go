package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/report"
)

// Processors of children.
const (
	forServer = 0
	forClient = 1
)

// child is one of the processes that the bench makes of its own binary.
func child(role, addr string) error {
	switch role {
	case "server":
		return serve(addr)
	case "client":
		return offer()
	}
	return fmt.Errorf("%q is no child", role)
}

// offer reads a plan from stdin, carries it out, and writes the result to stdout.
func offer() error {
	plan := load.DefaultPlan()
	if err := json.NewDecoder(os.Stdin).Decode(&plan); err != nil {
		return err
	}
	result, err := load.Run(context.Background(), plan, load.Options{})
	if err != nil {
		return err
	}
	return report.WriteJSON(os.Stdout, result)
}

// start starts a child on a processor of its own, which it inherits from the thread that starts it.
func start(cmd *exec.Cmd, processor int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	if err := pin(processor); err != nil {
		return err
	}
	defer unix.SchedSetaffinity(0, &all)
	cmd.Stderr = os.Stderr
	return cmd.Start()
}

// startServer starts the server under overload and waits until it listens.
func startServer() (addr string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = listener.Addr().String()
	listener.Close()
	cmd, err := self("server", addr, serverProcs)
	if err != nil {
		return "", nil, err
	}
	if err := start(cmd, forServer); err != nil {
		return "", nil, err
	}
	stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return addr, stop, conn.Close()
		}
		if ctx.Err() != nil {
			stop()
			return "", nil, fmt.Errorf("the server on %s did not start: %w", addr, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// carryOut has a client of its own offer a plan.
func carryOut(plan load.Plan) (*load.Result, error) {
	data, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	cmd, err := self("client", "", 2)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout = bytes.NewReader(data), &out
	if err := start(cmd, forClient); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("the client: %w", err)
	}
	return report.ReadJSON(&out)
}

func self(role, addr string, procs int) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "-be", role, "-addr", addr)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(procs))
	// It must not outlive a benchmark that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}
