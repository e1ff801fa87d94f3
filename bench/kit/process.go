package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"github.com/dougong-io/dougong/bench/child"
	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/report"
)

// Processors of children.
const (
	forServer = 0
	forClient = 1
)

// be is one of the processes that the bench makes of its own binary.
func be(role, addr string) error {
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

// startServer starts the server under overload and waits until it listens.
func startServer() (addr string, stop func(), err error) {
	addrs, err := child.FreeAddrs(1)
	if err != nil {
		return "", nil, err
	}
	addr = addrs[0]
	cmd, err := self("server", addr, serverProcs)
	if err != nil {
		return "", nil, err
	}
	if err := child.Start(cmd, forServer); err != nil {
		return "", nil, err
	}
	stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	if err := child.AwaitPort(addr); err != nil {
		stop()
		return "", nil, err
	}
	return addr, stop, nil
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
	if err := child.Start(cmd, forClient); err != nil {
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
	cmd.Stderr = os.Stderr
	return cmd, nil
}
