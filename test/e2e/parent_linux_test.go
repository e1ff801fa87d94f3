package e2e

import (
	"os/exec"
	"syscall"
)

// endWithParent keeps a process from outliving tests that are killed.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
