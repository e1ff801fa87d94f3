package main

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestCPUTimeCountsGrandchildren(t *testing.T) {
	// Each shell waits for the one below it, and the last one burns.
	cmd := exec.Command("sh", "-c", `sh -c 'sh -c "while :; do :; done" & wait' & wait`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		cpu, err := cpuTime(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if cpu > 200*time.Millisecond {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v of CPU time after 20 s of a grandchild that never rests", cpu)
		}
	}
}

func TestCPUTimeOfAnEndedProcessFails(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if cpu, err := cpuTime(cmd.Process.Pid); err == nil {
		t.Errorf("an ended process has %v of CPU time and no error", cpu)
	}
}
