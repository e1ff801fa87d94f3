package cluster

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// mount is what a line of /proc/PID/mountinfo says of one.
type mount struct {
	root, point string
	fsType      string
	options     []string // of the file system: for a cgroup hierarchy, its controllers
}

func readMounts(path string) ([]mount, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the mounts: %w", err)
	}
	return parseMounts(string(data))
}

// parseMounts reads proc_pid_mountinfo(5).
func parseMounts(text string) ([]mount, error) {
	var mounts []mount
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			continue
		}
		before, after, found := strings.Cut(line, " - ")
		left, right := strings.Split(before, " "), strings.Split(after, " ")
		if !found || len(left) < 6 || len(right) < 3 {
			return nil, fmt.Errorf("mountinfo: %q has too few fields", line)
		}
		root, err1 := unescape(left[3])
		point, err2 := unescape(left[4])
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		mounts = append(mounts, mount{root: root, point: point, fsType: right[0], options: strings.Split(right[2], ",")})
	}
	return mounts, nil
}

// unescape undoes \040 for a blank and the like.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i+4 > len(s) {
			return "", fmt.Errorf("mountinfo: %q ends within an escape", s)
		}
		n, err := strconv.ParseUint(s[i+1:i+4], 8, 8)
		if err != nil {
			return "", fmt.Errorf("mountinfo: %q has a bad escape", s)
		}
		b.WriteByte(byte(n))
		i += 3
	}
	return b.String(), nil
}
