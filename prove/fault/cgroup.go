package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// place is where a control group of a plan is made.
type place struct {
	dir    string // to be made
	home   string // where its processes go at the end
	second bool   // version 2 of control groups
}

// groupName is the name of the group of the n-th service of a run.
func groupName(run string, n int) string { return fmt.Sprintf("dougong-prove-%s-%d", run, n) }

// groupOf tells whether a folder is a group of a run: nothing else is removed, whatever a journal says.
func groupOf(run, dir string) bool {
	_, name := filepath.Split(dir)
	return run != "" && strings.HasPrefix(name, "dougong-prove-"+run+"-") && filepath.IsAbs(dir)
}

// limitOf tells whether a file is a limit of a group of a run, and a value one that it can have.
func limitOf(run, file, value string) bool {
	dir, name := filepath.Split(file)
	return groupOf(run, filepath.Clean(dir)) && slices.Contains([]string{"cpu.cfs_quota_us", "cpu.max", "memory.limit_in_bytes", "memory.max"}, name) &&
		strings.Trim(value, "0123456789max -") == ""
}

// makeGroup makes a control group for limits of a kind, unless it is among those that are there.
func makeGroup(j *journal, kind Kind, name string, there []place) (place, error) {
	p, err := placeFor(string(kind), name)
	if err != nil {
		return place{}, err
	}
	if slices.ContainsFunc(there, func(o place) bool { return o.dir == p.dir }) {
		return p, nil
	}
	n, err := j.write(entry{Op: opCgroup, Dir: p.dir, Home: p.home})
	if err != nil {
		return place{}, err
	}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		return place{}, errors.Join(err, j.markUndone(n))
	}
	return p, nil
}

// placeFor finds a place for a group with limits of a controller, cpu or memory.
func placeFor(controller, name string) (place, error) {
	mine, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return place{}, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return place{}, err
	}
	return findPlace(string(mine), string(mounts), controller, name)
}

// findPlace reads /proc/self/cgroup and /proc/self/mountinfo (cgroups(7), proc_pid_mountinfo(5)). Under version 1 the
// group is made below that of the prover; under version 2 beside it, as a group that holds processes has no groups
// below it with controllers.
func findPlace(mine, mounts, controller, name string) (place, error) {
	paths := map[string]string{}
	for line := range strings.Lines(mine) {
		if parts := strings.SplitN(strings.TrimSpace(line), ":", 3); len(parts) == 3 {
			for _, c := range strings.Split(parts[1], ",") {
				paths[c] = parts[2]
			}
		}
	}
	var found error = fmt.Errorf("no control groups with %s are mounted", controller)
	for line := range strings.Lines(mounts) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) < 3 {
			continue
		}
		second := kind[0] == "cgroup2"
		key := controller
		if second {
			key = ""
		}
		path, have := paths[key]
		if kind[0] != "cgroup" && !second || !second && !slices.Contains(strings.Split(kind[2], ","), controller) || !have {
			continue
		}
		root, mount := fields[3], fields[4]
		own := mount
		if below, ok := strings.CutPrefix(path, strings.TrimSuffix(root, "/")); ok {
			if at := filepath.Join(mount, below); isDir(at) {
				own = at
			}
		}
		if !second {
			return place{dir: filepath.Join(own, name), home: own}, nil
		}
		parent := own
		if own != mount {
			parent = filepath.Dir(own)
		}
		if !slices.Contains(strings.Fields(readLine(filepath.Join(parent, "cgroup.subtree_control"))), controller) {
			found = fmt.Errorf("the controller %s is not enabled for groups below %s", controller, parent)
			continue
		}
		return place{dir: filepath.Join(parent, name), home: own, second: true}, nil
	}
	return place{}, found
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func readLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// cpuLimit is what to write, and where, for so many processors.
func (p place) cpuLimit(cores float64) (file, value string) {
	const period = 100_000 // microseconds, as Kubernetes has it
	quota := strconv.Itoa(max(int(cores*period), 1000))
	if p.second {
		return filepath.Join(p.dir, "cpu.max"), quota + " " + strconv.Itoa(period)
	}
	return filepath.Join(p.dir, "cpu.cfs_quota_us"), quota
}

// memoryLimit is what to write, and where, for so many bytes.
func (p place) memoryLimit(bytes int64) (file, value string) {
	name := "memory.limit_in_bytes"
	if p.second {
		name = "memory.max"
	}
	return filepath.Join(p.dir, name), strconv.FormatInt(bytes, 10)
}

// join puts a process, with all its threads, into the group.
func (p place) join(pid int) error {
	return writeFile(filepath.Join(p.dir, "cgroup.procs"), strconv.Itoa(pid))
}

// writeFile writes a file that is there already.
func writeFile(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// writeLimit writes a limit, unless it is so already or its group is gone. It says whether it did.
func writeLimit(file, value string) (bool, error) {
	text, err := os.ReadFile(file)
	if absent(err) || err == nil && strings.TrimSpace(string(text)) == value {
		return false, nil
	}
	err = writeFile(file, value)
	if absent(err) {
		return false, nil
	}
	return err == nil, err
}

func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) }

// removeCgroup removes a group, those below it first, and puts the processes that are still in them where they came
// from. It says whether there was one. What cannot be removed while ctx lasts is an error that names what is in the way.
func removeCgroup(ctx context.Context, dir, home string) (bool, error) {
	for {
		err := syscall.Rmdir(dir) // os.Remove would take the files first
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.ENOENT):
			return false, nil
		case !errors.Is(err, syscall.EBUSY) && !errors.Is(err, syscall.ENOTEMPTY):
			return false, err
		}
		for _, name := range groupsBelow(dir) {
			if _, err := removeCgroup(ctx, filepath.Join(dir, name), home); err != nil {
				return false, fmt.Errorf("%s below it: %w", name, err)
			}
		}
		for _, pid := range processesIn(dir) {
			if err := writeFile(filepath.Join(home, "cgroup.procs"), pid); err != nil && !errors.Is(err, syscall.ESRCH) {
				return false, fmt.Errorf("process %s: %w", pid, err)
			}
		}
		switch err := syscall.Rmdir(dir); {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.ENOTEMPTY) && len(groupsBelow(dir)) == 0:
			return false, fmt.Errorf("it holds files, as no control group does: %w", err)
		}
		if pause(ctx, 10*time.Millisecond) != nil {
			return false, stillBusy(ctx, dir, err)
		}
	}
}

// stillBusy says what kept a group from being removed until ctx had ended.
func stillBusy(ctx context.Context, dir string, busy error) error {
	what := "no process and no group is seen in it"
	switch below, pids := groupsBelow(dir), processesIn(dir); {
	case len(pids) > 0:
		what = "in it are still the processes " + strings.Join(pids[:min(len(pids), 10)], ", ")
	case len(below) > 0:
		what = "below it are still the groups " + strings.Join(below[:min(len(below), 10)], ", ")
	}
	return fmt.Errorf("%w; %s (%w)", busy, what, ctx.Err())
}

// groupsBelow names the groups that are in a group.
func groupsBelow(dir string) (names []string) {
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil // it is gone, or says so when it is removed
	}
	for _, e := range all {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

func processesIn(dir string) []string {
	return strings.Fields(readLine(filepath.Join(dir, "cgroup.procs")))
}
