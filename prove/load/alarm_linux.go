package load

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm wakes the dispatcher. The runtime's own timers wait in whole milliseconds when a program is otherwise idle, which
// would send requests in bursts; a timerfd in the network poller wakes within microseconds.
type alarm struct {
	clock *clock
	file  *os.File
	fd    int
}

func newAlarm(c *clock) (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timer: %w", os.NewSyscallError("timerfd_create", err))
	}
	return &alarm{clock: c, file: os.NewFile(uintptr(fd), "timer"), fd: fd}, nil
}

// set makes the alarm go off at a time of the run, instead of the one set before. It may be called at any time
// before close, but not at the same time by two.
func (a *alarm) set(at int64) {
	wait := max(at-a.clock.now(), 1)
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(wait)}
	if err := unix.TimerfdSettime(a.fd, 0, &spec, nil); err != nil {
		panic(fmt.Sprintf("load: timerfd_settime %s: %v", time.Duration(wait), err)) // the descriptor is ours and the time is above 0
	}
}

// run calls ring each time the alarm goes off, until it is closed.
func (a *alarm) run(ring func()) {
	raw, err := a.file.SyscallConn()
	if err != nil {
		return
	}
	var count [8]byte
	raw.Read(func(fd uintptr) bool {
		unix.Read(int(fd), count[:])
		ring()
		return false
	})
}

func (a *alarm) close() { a.file.Close() }
