// Package child starts the processes that benches compare, each on a processor of its own and never outliving the
// bench.
package child

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// AnyProcessor is for a child that may run anywhere.
const AnyProcessor = -1

// Pin keeps the calling thread on one processor, if there are several.
func Pin(processor int) error {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil || set.Count() < 2 {
		return err
	}
	set.Zero()
	set.Set(processor)
	return unix.SchedSetaffinity(0, &set)
}

// PinProcess keeps all threads of this process on one processor, and those that they start, if there are several.
func PinProcess(processor int) error {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil || set.Count() < 2 {
		return err
	}
	set.Zero()
	set.Set(processor)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil && err != unix.ESRCH { // ESRCH: it has ended
			return err
		}
	}
	return nil
}

// Start starts cmd on a processor, which it inherits from the thread that starts it. It ends with the bench, also when
// that is killed.
func Start(cmd *exec.Cmd, processor int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if processor != AnyProcessor {
		var before unix.CPUSet
		if err := unix.SchedGetaffinity(0, &before); err != nil {
			return err
		}
		if err := Pin(processor); err != nil {
			return err
		}
		defer unix.SchedSetaffinity(0, &before)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd.Start()
}

// FreeAddrs returns n different addresses on loopback that nobody listens on.
func FreeAddrs(n int) ([]string, error) {
	addrs := make([]string, n)
	for i := range addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all held until all are known, so that they differ
		addrs[i] = l.Addr().String()
	}
	return addrs, nil
}

// AwaitPort returns once somebody listens on addr.
func AwaitPort(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the server on %s did not start: %w", addr, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
