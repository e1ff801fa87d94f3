//go:build linux && !race

package load

import (
	"syscall"
	"unsafe"
)

// readNow and writeNow are system calls on a socket that does not block. The runtime need not be told of a call that
// returns at once, which saves a tenth of a microsecond each time.

func readNow(fd int, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// writeNow returns how much was written; why it was not all, a common write will tell.
func writeNow(fd int, p []byte) int {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return 0
	}
	return int(n)
}
