package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// downTime is enough for Down on a busy machine.
const downTime = time.Minute

// Down ends the cluster of the folder and removes what there is of it: processes, cgroups, files. With its processes go
// its mounts, and its networks. It does the same for what is left of one that was killed, and nothing if there is none; one
// that is being started is ended, too.
func Down(ctx context.Context, dir string) error {
	if err := checkDir(dir); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	if err := os.RemoveAll(failedLogs(dir)); err != nil {
		return fmt.Errorf("remove the logs of a start that failed: %w", err)
	}
	return remove(ctx, dir)
}

func remove(ctx context.Context, dir string) error {
	name := cgroupName(dir)
	var locked *os.File
	for {
		if err := removeProcesses(ctx, name); err != nil {
			return err
		}
		if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		var err error
		if locked, err = lock(dir); err == nil {
			break
		}
		if !errors.Is(err, ErrRunning) {
			return err
		}
		select { // until an Up that has the lock gives up, because what it started was killed here
		case <-ctx.Done():
			return fmt.Errorf("%s is still locked by a process: %w", dir, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	defer locked.Close()
	if err := sweep(ctx, dir, name, nil); err != nil { // a first process may have entered its cgroup only now
		return err
	}
	// The lock goes last: who waits for it then sees that it is not the folder's any more.
	if err := errors.Join(os.Remove(filepath.Join(dir, marker)), os.Remove(dir)); err != nil {
		return fmt.Errorf("remove the cluster's folder: %w", err)
	}
	return nil
}

// Remains lists what there is of the folder's cluster, running or not: nothing after Down.
func Remains(dir string) ([]string, error) {
	var found []string
	name := cgroupName(dir)
	ids, err := processesIn(name)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		found = append(found, fmt.Sprintf("process %d", id))
	}
	cgroups, err := cgroupsOf(name)
	if err != nil {
		return nil, err
	}
	for _, c := range cgroups {
		found = append(found, "cgroup "+c)
	}
	mounts, err := mountsBelow(dir)
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		found = append(found, "mount "+m)
	}
	for _, folder := range []string{dir, failedLogs(dir)} {
		if _, err := os.Lstat(folder); err == nil {
			found = append(found, "folder "+folder)
		}
	}
	return found, nil
}

// sweep removes what a killed cluster has left, for who has the lock.
func sweep(ctx context.Context, dir, name string, progress io.Writer) error {
	cgroups, err := cgroupsOf(name)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "first.json")); err == nil || len(cgroups) > 0 {
		say(progress, "an earlier cluster in %s was killed; removing what it left", dir)
	}
	if err := removeProcesses(ctx, name); err != nil {
		return err
	}
	return empty(dir)
}

func removeProcesses(ctx context.Context, name string) error {
	if err := killAll(ctx, name); err != nil {
		return err
	}
	return removeCgroups(ctx, name)
}
