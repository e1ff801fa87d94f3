package cluster

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
	"time"

	"golang.org/x/sys/unix"
)

// hierarchy is one mounted tree of cgroups: in version 1 one for a controller, in version 2 one for all.
type hierarchy struct {
	point       string
	controllers []string // of version 1
	unified     bool     // version 2
}

// needed are the controllers without which a kubelet does not start a pod.
var needed = []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "pids"}

// neededUnified are those of version 2, where the others are no controllers.
var neededUnified = []string{"cpu", "cpuset", "memory", "pids"}

// hierarchies finds the machine's, and says what is missing. A unified tree beside those of version 1, as systemd's
// hybrid layout has it, has no controllers and is left out.
func hierarchies() ([]hierarchy, error) {
	mounts, err := readMounts("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return findHierarchies(mounts)
}

func findHierarchies(mounts []mount) ([]hierarchy, error) {
	var v1 []hierarchy
	var v2 *hierarchy
	for _, m := range mounts {
		if m.root != "/" || !strings.HasPrefix(m.point, "/sys/fs/cgroup") {
			continue
		}
		switch m.fsType {
		case "cgroup":
			v1 = append(v1, hierarchy{point: m.point, controllers: m.options})
		case "cgroup2":
			v2 = &hierarchy{point: m.point, unified: true}
		}
	}
	if len(v1) == 0 && v2 != nil {
		return []hierarchy{*v2}, nil
	}
	if len(v1) == 0 {
		return nil, errors.New("no cgroups: nothing is mounted below /sys/fs/cgroup; kubelets cannot run pods without them (a container needs to be privileged)")
	}
	var missing []string
	for _, c := range needed {
		if !slices.ContainsFunc(v1, func(h hierarchy) bool { return slices.Contains(h.controllers, c) }) {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("no cgroup for %s below /sys/fs/cgroup; kubelets cannot run pods without", strings.Join(missing, ", "))
	}
	return v1, nil
}

// makeCgroups makes the cluster's cgroup in each hierarchy, with one below for its own processes and one for each node.
func makeCgroups(name string, nodes int) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		top := filepath.Join(h.point, name)
		if h.unified {
			if err := h.delegates(); err != nil {
				return err
			}
		}
		if err := h.make(top); err != nil {
			return err
		}
		for _, child := range append(nodeNames(nodes), "system") {
			if err := h.make(filepath.Join(top, child)); err != nil {
				return err
			}
		}
	}
	return nil
}

// delegates looks whether cgroups below the root of version 2 get the controllers. We do not turn them on there: that
// would change the machine's own.
func (h hierarchy) delegates() error {
	on, err := os.ReadFile(filepath.Join(h.point, "cgroup.subtree_control"))
	if err != nil {
		return fmt.Errorf("read the cgroup's controllers: %w", err)
	}
	for _, c := range neededUnified {
		if !slices.Contains(strings.Fields(string(on)), c) {
			return fmt.Errorf("no cgroup for %s: %s/cgroup.subtree_control has only %q; turn it on, and try again", c, h.point, strings.TrimSpace(string(on)))
		}
	}
	return nil
}

func (h hierarchy) make(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make a cgroup: %w", err)
	}
	if h.unified && filepath.Dir(path) == h.point {
		if err := os.WriteFile(filepath.Join(path, "cgroup.subtree_control"), []byte("+"+strings.Join(neededUnified, " +")), 0); err != nil {
			return fmt.Errorf("turn on the controllers of a cgroup: %w", err)
		}
	}
	if !slices.Contains(h.controllers, "cpuset") {
		return nil
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} { // empty in a new one, which takes no process then
		all, err := os.ReadFile(filepath.Join(filepath.Dir(path), file))
		if err != nil {
			return fmt.Errorf("read the parent's processors: %w", err)
		}
		if err := os.WriteFile(filepath.Join(path, file), all, 0); err != nil {
			return fmt.Errorf("give a cgroup its parent's processors: %w", err)
		}
	}
	return nil
}

// enterCgroups moves the calling process into the cluster's own.
func enterCgroups(name string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		if err := os.WriteFile(filepath.Join(h.point, name, "system", "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("enter the cluster's cgroup: %w", err)
		}
	}
	return nil
}

// procsOf is the file that takes a process into the cluster's own cgroup, of one hierarchy: enough for Down to find it.
func procsOf(name string) (string, error) {
	all, err := hierarchies()
	if err != nil {
		return "", err
	}
	at := max(0, slices.IndexFunc(all, func(h hierarchy) bool { return slices.Contains(h.controllers, "pids") }))
	return filepath.Join(all[at].point, name, "system", "cgroup.procs"), nil
}

// cgroupsOf are the folders of the cluster's cgroups, the deepest first.
func cgroupsOf(name string) ([]string, error) {
	mounts, err := readMounts("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var found []string
	for _, m := range mounts { // all, also where one that is needed is missing now
		if m.root != "/" || (m.fsType != "cgroup" && m.fsType != "cgroup2") {
			continue
		}
		err := filepath.WalkDir(filepath.Join(m.point, name), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				found = append(found, path)
			}
			return nil // what went away meanwhile is what we want
		})
		if err != nil {
			return nil, fmt.Errorf("look for cgroups: %w", err)
		}
	}
	slices.SortFunc(found, func(a, b string) int { return len(b) - len(a) }) // a child's path is longer than its parent's
	return found, nil
}

// processesIn are the ids of the processes in the cluster's cgroups.
func processesIn(name string) ([]int, error) {
	cgroups, err := cgroupsOf(name)
	if err != nil {
		return nil, err
	}
	ids := map[int]bool{}
	for _, dir := range cgroups {
		data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue // gone
		}
		for _, field := range strings.Fields(string(data)) {
			if id, err := strconv.Atoi(field); err == nil && id > 0 {
				ids[id] = true
			}
		}
	}
	var list []int
	for id := range ids {
		list = append(list, id)
	}
	slices.Sort(list)
	return list, nil
}

// killAll kills what is in the cluster's cgroups until nothing is.
func killAll(ctx context.Context, name string) error {
	for {
		ids, err := processesIn(name)
		if err != nil || len(ids) == 0 {
			return err
		}
		thaw(name)
		for _, id := range ids {
			killIn(name, id)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("processes %v of the cluster do not end: %w", ids, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// killIn kills the process if it is in the cgroup: by a handle, lest its id is another's by then.
func killIn(name string, id int) {
	fd, err := unix.PidfdOpen(id, 0)
	if err != nil {
		return // has ended
	}
	defer unix.Close(fd)
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", id))
	if err == nil && strings.Contains(string(data), ":/"+name) {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // has ended, or is seen again
	}
}

// thaw lets frozen containers die, which in version 1 they cannot.
func thaw(name string) {
	cgroups, err := cgroupsOf(name)
	if err != nil {
		return
	}
	for _, dir := range cgroups {
		path := filepath.Join(dir, "freezer.state")
		if state, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(state)) != "THAWED" {
			_ = os.WriteFile(path, []byte("THAWED"), 0)
		}
	}
}

// removeCgroups removes them, when no process is in them. The kernel needs a moment after the last has ended.
func removeCgroups(ctx context.Context, name string) error {
	for {
		cgroups, err := cgroupsOf(name)
		if err != nil || len(cgroups) == 0 {
			return err
		}
		var failed error
		for _, dir := range cgroups {
			if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
				failed = fmt.Errorf("remove the cgroup %s: %w", dir, err)
			}
		}
		if failed == nil {
			continue // look again
		}
		select {
		case <-ctx.Done():
			return failed
		case <-time.After(20 * time.Millisecond):
		}
	}
}
