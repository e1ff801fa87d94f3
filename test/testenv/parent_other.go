//go:build !linux

package testenv

import "os/exec"

// EndWithParent does nothing here: other systems have no such signal.
func EndWithParent(*exec.Cmd) {}
