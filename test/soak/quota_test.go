//go:build linux

package soak

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// share is what the process gets of a processor.
const share = 0.2

const (
	periodMicros = 100_000
	quotaMicros  = share * periodMicros
)

// quota is a cgroup of its own for a process, by which its processor time can be cut: cgroup v1 with the cpu
// controller, or v2.
type quota struct {
	dir string
	v2  bool
}

// newQuota makes a cgroup without a limit, in the cgroup of this process or beside it. An error says why that is
// not allowed here.
func newQuota() (*quota, error) {
	lines, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	var faults []string
	for line := range strings.Lines(string(lines)) {
		// hierarchy:controllers:path; v2 has no controllers.
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		v2 := parts[1] == ""
		var mounts []string
		switch {
		case v2:
			mounts = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}
		case slices.Contains(strings.Split(parts[1], ","), "cpu"):
			mounts = []string{"/sys/fs/cgroup/" + parts[1], "/sys/fs/cgroup/cpu"}
		}
		for _, mount := range mounts {
			// In a cgroup of v2 that has processes, children cannot have a cpu.max; its siblings can. A container often
			// sees its own cgroup as the root.
			own := filepath.Join(mount, parts[2])
			parents := []string{mount}
			if own != mount {
				parents = slices.Compact([]string{own, filepath.Dir(own), mount})
			}
			for _, parent := range parents {
				q, err := newQuotaIn(parent, v2)
				if err == nil {
					return q, nil
				}
				faults = append(faults, err.Error())
			}
		}
	}
	if len(faults) == 0 {
		faults = append(faults, "there is no cpu controller")
	}
	return nil, fmt.Errorf("no cgroup can be made: %s", strings.Join(faults, "; "))
}

func newQuotaIn(parent string, v2 bool) (*quota, error) {
	procs := "tasks"
	if v2 {
		procs = "cgroup.controllers"
	}
	if _, err := os.Stat(filepath.Join(parent, procs)); err != nil {
		return nil, err // no cgroup of this version: a folder made there would be just that
	}
	if v2 {
		os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+cpu"), 0) // whether it helped shows in cpu.max
	}
	dir, err := os.MkdirTemp(parent, "dougong-soak-")
	if err != nil {
		return nil, err
	}
	q := &quota{dir, v2}
	if err := errors.Join(q.set(-1), q.enters()); err != nil {
		return nil, errors.Join(err, q.remove())
	}
	return q, nil
}

// enters tries whether a process may enter the cgroup, which is a permission of its own.
func (q *quota) enters() error {
	args := q.wrap([]string{"true"})
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("a process cannot enter %s: %w: %s", q.dir, err, out)
	}
	return nil
}

// set cuts the processes of the cgroup to so many microseconds of a processor in each period, or to none if below 0.
func (q *quota) set(micros int) error {
	if q.v2 {
		limit := "max"
		if micros >= 0 {
			limit = strconv.Itoa(micros)
		}
		return q.write("cpu.max", limit+" "+strconv.Itoa(periodMicros))
	}
	return errors.Join(q.write("cpu.cfs_period_us", strconv.Itoa(periodMicros)), q.write("cpu.cfs_quota_us", strconv.Itoa(micros)))
}

// write does not make a file that is not there.
func (q *quota) write(file, text string) error {
	f, err := os.OpenFile(filepath.Join(q.dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func (q *quota) throttle() error { return q.set(quotaMicros) }

// wrap makes a command enter the cgroup before it becomes the program, so that all of its threads are in it and Go
// finds it at the start.
func (q *quota) wrap(args []string) []string {
	return append([]string{"/bin/sh", "-c", `echo $$ > "$0" && exec "$@"`, filepath.Join(q.dir, "cgroup.procs")}, args...)
}

// throttled tells in how many of the periods so far the processes had to wait.
func (q *quota) throttled() (throttled, periods int) {
	text, _ := os.ReadFile(filepath.Join(q.dir, "cpu.stat"))
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, _ := strconv.Atoi(value)
		switch name {
		case "nr_throttled":
			throttled = n
		case "nr_periods":
			periods = n
		}
	}
	return throttled, periods
}

// remove ends the cgroup, whose processes have ended. A nil quota has none.
func (q *quota) remove() error {
	if q == nil {
		return nil
	}
	return os.Remove(q.dir)
}
