package testenv

import (
	"os/exec"
	"syscall"
)

// EndWithParent keeps a process from outliving tests that are killed. Call it before the process starts.
func EndWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}
