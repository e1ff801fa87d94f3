//go:build unix

package fault

import (
	"errors"
	"os"
	"syscall"
)

const noFollow = syscall.O_NOFOLLOW

// ownedByUs refuses a journal that somebody else could have written: it says what is to be signalled and written.
func ownedByUs(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 || !info.Mode().IsRegular() {
		return errors.New("is not a file that belongs to this user, and that nobody else may write")
	}
	return nil
}

// lockFile locks a file until it is closed or the process ends, or returns errLiving when somebody else has it.
func lockFile(file *os.File) error {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errLiving
		default:
			return err
		}
	}
}
