package main

import (
	"time"

	"golang.org/x/sys/unix"
)

const burnt = 2 * time.Millisecond

// burn takes 2 ms of CPU, as the calling thread's own clock counts them. A target that does so for each request, one
// after the other, has a capacity that is fixed by construction.
func burn() {
	for end := threadTime() + burnt; threadTime() < end; {
	}
}

func threadTime() time.Duration {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}
