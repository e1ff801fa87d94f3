package worker

import (
	"bytes"
	"os"
	"strconv"
)

// self is the process's resident memory and threads; 0 where the system has no /proc.
func self() (rss int64, threads int) {
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := bytes.Fields(statm); len(fields) > 1 {
			pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			rss = pages * int64(os.Getpagesize())
		}
	}
	if stat, err := os.ReadFile("/proc/self/stat"); err == nil {
		// The name of the program, in brackets, may hold anything; the number of threads is the 18th field behind it.
		if fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]); len(fields) > 17 {
			threads, _ = strconv.Atoi(string(fields[17]))
		}
	}
	return rss, threads
}
