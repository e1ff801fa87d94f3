//go:build !linux

package fault

import (
	"context"
	"syscall"
	"time"
)

const processFaults = false

const (
	sigCont = syscall.Signal(0)
	sigStop = syscall.Signal(0)
	sigKill = syscall.SIGKILL
	sigTerm = syscall.SIGTERM
)

const markVariable = "PROVE_FAULTS_RUN"

func mark(run, service string) string { return markVariable + "=" + run + "/" + service }

func bootID() string { return "" }

func pidNamespace() string { return "" }

type identity struct {
	pid   int
	since uint64
}

func lives(identity) bool                                { return false }
func began(int) (uint64, error)                          { return 0, errNoProcesses }
func signalIf(int, uint64, syscall.Signal) (bool, error) { return false, errNoProcesses }
func marked(string) ([]identity, error)                  { return nil, errNoProcesses }
func endMarked(context.Context, string, []identity, time.Duration) (int, error) {
	return 0, errNoProcesses
}
func attributes(bool) *syscall.SysProcAttr { return nil }
