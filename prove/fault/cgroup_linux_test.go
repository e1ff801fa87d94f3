package fault

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nested makes a group with two below each other, and a process in the innermost of them that may hold processes.
func nested(t *testing.T) (group, home string, process *exec.Cmd) {
	t.Helper()
	p, err := placeFor("cpu", groupName("test"+strconv.Itoa(os.Getpid()), 0))
	if err != nil {
		t.Skip("no control groups:", err)
	}
	inner := filepath.Join(p.dir, "one", "two")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Skip("no control groups can be made:", err)
	}
	t.Cleanup(func() {
		for _, dir := range []string{inner, filepath.Dir(inner), p.dir} {
			for end := time.Now().Add(5 * time.Second); errors.Is(syscall.Rmdir(dir), syscall.EBUSY) && time.Now().Before(end); {
				time.Sleep(time.Millisecond) // the kernel takes a process out of its group a little after it has ended
			}
		}
	})
	process = exec.Command("sleep", "60")
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	if err := (place{dir: inner}).join(process.Process.Pid); err != nil {
		t.Skip("no process can be put into a group:", err)
	}
	return p.dir, p.home, process
}

func TestNestedGroupsOfTheKernelAreRemoved(t *testing.T) {
	group, home, process := nested(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if removed, err := removeCgroup(ctx, group, home); !removed || err != nil {
		t.Fatalf("removed: %v, %v", removed, err)
	}
	if isDir(group) {
		t.Error("it is there still")
	}
	where, err := os.ReadFile("/proc/" + strconv.Itoa(process.Process.Pid) + "/cgroup")
	if err != nil || strings.Contains(string(where), filepath.Base(group)) {
		t.Errorf("the process is in %s, %v", where, err)
	}
}

// TestGroupThatCannotBeEmptiedIsNamed: its processes are put where they are already.
func TestGroupThatCannotBeEmptiedIsNamed(t *testing.T) {
	group, _, process := nested(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	removed, err := removeCgroup(ctx, group, filepath.Join(group, "one", "two"))
	want := "one below it: two below it: device or resource busy; in it are still the processes " + strconv.Itoa(process.Process.Pid)
	if removed || !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("removed: %v\n%v\nand should be\n%s", removed, err, want)
	}
}
