package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// reaper starts processes and waits for all that end, its own and the orphans that a first process gets. os/exec cannot
// be used beside it: the two would take each other's.
type reaper struct {
	mu  sync.Mutex // held while a process is started, so that its end is not seen before its start
	own map[int]chan syscall.WaitStatus
}

func newReaper() *reaper { return &reaper{own: map[int]chan syscall.WaitStatus{}} }

// run reaps until the process ends.
func (r *reaper) run() {
	for {
		var status syscall.WaitStatus
		id, err := syscall.Wait4(-1, &status, 0, nil)
		if errors.Is(err, syscall.ECHILD) {
			time.Sleep(50 * time.Millisecond) // there is nothing to wait for yet
			continue
		}
		if err != nil || (!status.Exited() && !status.Signaled()) {
			continue
		}
		r.mu.Lock()
		ended := r.own[id]
		delete(r.own, id)
		r.mu.Unlock()
		if ended != nil {
			ended <- status
		}
	}
}

// start starts a program whose output goes to log, and returns where its end is told.
func (r *reaper) start(log *os.File, env []string, name string, args ...string) (<-chan syscall.WaitStatus, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer null.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := os.StartProcess(path, append([]string{name}, args...), &os.ProcAttr{
		Dir: "/", Env: append(os.Environ(), env...), Files: []*os.File{null, log, log},
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	ended := make(chan syscall.WaitStatus, 1)
	r.own[p.Pid] = ended
	_ = p.Release()
	return ended, nil
}

// do runs a program to its end.
func (r *reaper) do(log *os.File, name string, args ...string) error {
	ended, err := r.start(log, nil, name, args...)
	if err != nil {
		return err
	}
	if status := <-ended; status != 0 {
		return fmt.Errorf("%s %q: %s; see %s", name, args, describe(status), log.Name())
	}
	return nil
}

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "was killed by " + status.Signal().String()
	}
	return fmt.Sprintf("ended with %d", status.ExitStatus())
}
