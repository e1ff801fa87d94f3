//go:build !linux

package loadcmd

import "os/exec"

// endWithParent does nothing here: other systems have no such signal.
func endWithParent(*exec.Cmd) {}
