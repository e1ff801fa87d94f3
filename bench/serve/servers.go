package main

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"github.com/dougong-io/dougong/bench/child"
)

// process is a server under test.
type process struct {
	cmd        *exec.Cmd
	addr, grpc string
}

// servers share a processor.
type servers struct {
	dir            string // for their files
	ours, constant *process
	mlserver       *process // nil where it is not installed
}

// startServers starts Dougong, with everything as it comes (access log to a file, metrics, deadlines, traces), the
// baseline, and MLServer if it is installed.
func startServers(dougong string) (s *servers, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addrs, err := child.FreeAddrs(8)
	if err != nil {
		return nil, err
	}
	s = &servers{}
	if s.dir, err = os.MkdirTemp("", "bench-serve-"); err != nil {
		return nil, err
	}
	s.ours = &process{addr: addrs[0], grpc: addrs[1], cmd: exec.Command(dougong, "run", "inference")}
	s.ours.cmd.Env = append(os.Environ(), "GOMAXPROCS=2", "DOUGONG_HTTP_LISTEN="+addrs[0], "DOUGONG_GRPC_LISTEN="+addrs[1],
		"DOUGONG_ADMIN_LISTEN="+addrs[2], "DOUGONG_LIFECYCLE_DRAIN_DELAY=0s")
	s.constant = &process{addr: addrs[3], grpc: addrs[4], cmd: exec.Command(self, "-baseline", addrs[3], "-baseline-grpc", addrs[4])}
	s.constant.cmd.Env = append(os.Environ(), "GOMAXPROCS=2")
	err = errors.Join(s.ours.start(s.dir+"/dougong.log"), s.constant.start(s.dir+"/constant.log"))
	if err == nil {
		err = errors.Join(s.ours.awaitPorts(), s.constant.awaitPorts())
	}
	if err == nil {
		s.mlserver, err = startMLServer(s.dir, addrs[5], addrs[6], addrs[7])
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// start starts the server on the processor that all share. What it prints goes into a file.
func (p *process) start(log string) error {
	f, err := os.Create(log)
	if err != nil {
		return err
	}
	defer f.Close()
	p.cmd.Stdout, p.cmd.Stderr = f, f
	return child.Start(p.cmd, 0)
}

func (p *process) awaitPorts() error {
	return errors.Join(child.AwaitPort(p.addr), child.AwaitPort(p.grpc))
}

func (s *servers) stop() {
	for _, p := range []*process{s.ours, s.constant, s.mlserver} {
		if p != nil && p.cmd.Process != nil {
			p.cmd.Process.Signal(syscall.SIGTERM)
			p.cmd.Wait()
		}
	}
	os.RemoveAll(s.dir)
}
