package loadcmd

import (
	"os/exec"
	"syscall"
)

// endWithParent keeps a process from outliving tests that are killed.
func endWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}
