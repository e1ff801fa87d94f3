package cluster

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// inside is where the cluster's own processes see its folder: short, because the paths of sockets are bounded.
const inside = "/run/cluster"

// marker names the file that says that a folder is a cluster's, and which its processes keep locked.
const marker = "dougong-cluster.lock"

// failedLogs is where the logs of a start that failed are, until the next start, or Down.
func failedLogs(dir string) string { return dir + ".failed" }

// cgroupName is the name of the cgroup of the cluster in dir. It follows from dir alone, so that it can be found when
// all else is lost.
func cgroupName(dir string) string {
	h := fnv.New32a()
	h.Write([]byte(dir))
	return fmt.Sprintf("dougong-cluster-%08x", h.Sum32())
}

// lock makes dir, if need be, and locks it for who keeps the file open. A first process inherits it: as long as it
// lives, nobody else gets the lock.
func lock(dir string) (*os.File, error) {
	for {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make the cluster's folder: %w", err)
		}
		path := filepath.Join(dir, marker)
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			entries, err := os.ReadDir(dir)
			if err != nil {
				return nil, fmt.Errorf("read the cluster's folder: %w", err)
			}
			if len(entries) > 0 {
				return nil, fmt.Errorf("%s is no cluster's folder: it holds %s and others; name an empty one", dir, entries[0].Name())
			}
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed by a Down meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("open the cluster's lock: %w", err)
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, ErrRunning
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		mine, err1 := f.Stat()
		there, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, there) {
			return f, nil
		}
		f.Close() // that of a folder that a Down has removed
	}
}

// empty removes what is in dir but the lock. It refuses while anything is mounted there: what a mount shows is somebody
// else's.
func empty(dir string) error {
	mounts, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		return fmt.Errorf("%s is mounted: not removed; look at what it is, unmount it, and try again", mounts[0])
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read the cluster's folder: %w", err)
	}
	for _, e := range entries {
		if e.Name() == marker {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove the cluster's files: %w", err)
		}
	}
	return nil
}

func mountsBelow(dir string) ([]string, error) {
	mounts, err := readMounts("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var below []string
	for _, m := range mounts {
		if strings.HasPrefix(m.point, dir+"/") {
			below = append(below, m.point)
		}
	}
	return below, nil
}
