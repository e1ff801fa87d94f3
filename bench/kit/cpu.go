package main

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// processTime is the CPU time of all threads of the process: what getrusage says, to the nanosecond.
func processTime() time.Duration { return cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID) }

// threadTime is the CPU time of the calling thread.
func threadTime() time.Duration { return cpuTime(unix.CLOCK_THREAD_CPUTIME_ID) }

func cpuTime(clock int32) time.Duration {
	var t unix.Timespec
	unix.ClockGettime(clock, &t)
	return time.Duration(t.Nano())
}

// burn takes CPU time, as its thread's own clock counts it. It stays on the thread: the clock of another shows another
// time.
func burn(d time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for end := threadTime() + d; threadTime() < end; {
	}
}
