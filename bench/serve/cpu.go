package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpuTime is the time that all threads of a process and of its descendants have run, in the scheduler's nanoseconds: the
// usual clock of a process has ticks of 10 ms. A thread that ended is missed; these servers keep their threads.
func cpuTime(pid int) (total time.Duration, err error) {
	tree, err := descendants(pid)
	if err != nil {
		return 0, err
	}
	for i, member := range append([]int{pid}, tree...) {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", member))
		if err != nil || i == 0 && len(files) == 0 {
			return 0, fmt.Errorf("process %d has ended, or this kernel has no schedstat", member)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				continue // a thread that ended meanwhile
			}
			field, _, _ := strings.Cut(string(data), " ")
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", file, err)
			}
			total += time.Duration(n)
		}
	}
	return total, nil
}

// descendants are the processes below one. Not every kernel lists a task's children, so parents are followed.
func descendants(pid int) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // a process that ended meanwhile
		}
		// "pid (name) state parent …", and a name may have any character in it.
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		child, childErr := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if len(fields) < 2 || childErr != nil {
			return nil, fmt.Errorf("%s: %q is not what proc(5) describes", file, data)
		}
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		children[parent] = append(children[parent], child)
	}
	found := children[pid]
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found, nil
}
