package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// markVariable is in the environment of every process that a plan starts. By it they are found after a crash, those
// too that the journal had no time to name.
const markVariable = "PROVE_FAULTS_RUN"

func mark(run, service string) string { return markVariable + "=" + run + "/" + service }

const (
	sigCont = syscall.SIGCONT
	sigStop = syscall.SIGSTOP
	sigKill = syscall.SIGKILL
	sigTerm = syscall.SIGTERM
)

const processFaults = true

// bootID names this boot of the system.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// pidNamespace names the pid namespace of this process (pid_namespaces(7)): containers have their own.
func pidNamespace() string {
	name, _ := os.Readlink("/proc/self/ns/pid") // else it is unknown
	return name
}

// identity names a process for the life of the system's boot, as a pid alone does not.
type identity struct {
	pid   int
	since uint64
}

// stat reads the state of a process and when it began, in ticks since boot (proc_pid_stat(5)).
func stat(pid int) (state byte, since uint64, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, err
	}
	// The second field is a name in parentheses, which may hold anything.
	_, rest, ok := bytes.Cut(text[max(bytes.LastIndexByte(text, ')'), 0):], []byte(" "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	since, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return fields[0][0], since, err
}

func began(pid int) (uint64, error) {
	_, since, err := stat(pid)
	return since, err
}

// lives tells whether a process is there and has not ended. One that nobody has waited for yet (a zombie) has.
func lives(p identity) bool {
	state, since, err := stat(p.pid)
	return err == nil && since == p.since && state != 'Z' && state != 'X'
}

// signalIf sends a signal to the process that is meant, if it is there still, and says whether it was. The process is
// held by a descriptor between the look and the signal, so that no other can take its number meanwhile.
func signalIf(pid int, since uint64, signal syscall.Signal) (bool, error) {
	if pid <= 1 {
		return false, fmt.Errorf("%d is no process of a plan", pid)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return false, err
	}
	defer p.Release()
	if !lives(identity{pid, since}) {
		return false, nil
	}
	err = p.Signal(signal)
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH) {
		return false, nil
	}
	return err == nil, err
}

// marked lists the processes that carry a mark.
func marked(mark string) ([]identity, error) {
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []identity
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		since, err := began(pid)
		if err != nil {
			continue // it has ended
		}
		environ, err := os.ReadFile("/proc/" + p.Name() + "/environ")
		if err != nil {
			continue // it is another user's, so not ours
		}
		for variable := range bytes.SplitSeq(environ, []byte{0}) {
			if string(variable) == mark {
				found = append(found, identity{pid, since})
				break
			}
		}
	}
	return found, nil
}

// endMarked ends the processes that carry a mark, and those known besides, with SIGKILL when they had some time to end
// by themselves. It returns how many it found, once none is left.
func endMarked(ctx context.Context, mark string, known []identity, patience time.Duration) (int, error) {
	begin, ended := time.Now(), map[identity]bool{}
	signal := sigTerm
	if patience == 0 {
		signal = sigKill
	}
	for {
		found, err := marked(mark)
		if err != nil {
			return len(ended), err
		}
		left := 0
		for _, p := range append(found, known...) {
			if !lives(p) {
				continue
			}
			left++
			if !ended[p] || signal == sigKill {
				// One that is stopped takes no SIGTERM until it goes on.
				_, err := signalIf(p.pid, p.since, signal)
				_, errCont := signalIf(p.pid, p.since, sigCont)
				if err := errors.Join(err, errCont); err != nil {
					return len(ended), err
				}
				ended[p] = true
			}
		}
		if left == 0 {
			return len(ended), nil
		}
		if time.Since(begin) > patience {
			signal = sigKill
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return len(ended), fmt.Errorf("%d are left: %w", left, err)
		}
	}
}

// attributes are those with which a process of a plan is started: in a group of its own, so that Ctrl-C at the
// terminal is the prover's to handle, and ended by the kernel with the thread that started it.
func attributes(dieWithUs bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if dieWithUs {
		a.Pdeathsig = syscall.SIGKILL
	}
	return a
}
