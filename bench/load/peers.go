package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

const (
	ghzPackage = "github.com/bojand/ghz"
	ghzVersion = "v0.93.0"
)

// buildPeers builds fortio and ghz, in the versions that are pinned, unless they are there.
func (b *bench) buildPeers() error {
	if _, err := exec.LookPath("wrk"); err != nil {
		return errors.New("wrk is missing: apt-get install wrk")
	}
	bin, err := filepath.Abs(b.bin)
	if err != nil {
		return err
	}
	b.bin = bin
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	// go.mod pins fortio, and the go command knows whether what is there is of that version.
	if err := build(nil, "build", "-o", b.peer("fortio"), "./load/peer/fortio"); err != nil {
		return err
	}
	if info, err := buildinfo.ReadFile(b.peer("ghz")); err == nil && info.Main.Version == ghzVersion {
		return nil
	}
	return build([]string{"GOBIN=" + bin}, "install", ghzPackage+"/cmd/ghz@"+ghzVersion)
}

func build(env []string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return nil
}

func (b *bench) peer(name string) string { return filepath.Join(b.bin, name) }

var (
	wrkRequests = regexp.MustCompile(`(?m)^\s+(\d+) requests in`)
	ghzCount    = regexp.MustCompile(`(?m)^\s+Count:\s+(\d+)`)
	ghzOK       = regexp.MustCompile(`(?m)^\s+\[OK\]\s+(\d+) responses`)
)

func (b *bench) wrk(processor, threads, connections int, url string) (measured, error) {
	used, err := client(processor, "wrk", "-t", strconv.Itoa(threads), "-c", strconv.Itoa(connections), "-d", fmt.Sprintf("%.0fs", b.slice.Seconds()), url)
	if err != nil {
		return measured{}, err
	}
	found := wrkRequests.FindSubmatch(used.output)
	if found == nil || bytes.Contains(used.output, []byte("errors")) || bytes.Contains(used.output, []byte("Non-2xx")) {
		return measured{}, fmt.Errorf("wrk: no clean run:\n%s", used.output)
	}
	return counted(used, found[1])
}

func counted(used usage, digits []byte) (measured, error) {
	n, err := strconv.ParseUint(string(digits), 10, 64)
	if err == nil && n == 0 {
		err = errors.New("no answers")
	}
	return measured{used, n}, err
}

// quantiles are a tool's own p50, p99 and p99.9, in milliseconds.
type quantiles [3]float64

// fortio runs at a rate; 0 is as fast as can be.
func (b *bench) fortio(processor int, url string, connections int, rate float64, length time.Duration) (measured, quantiles, error) {
	used, err := client(processor, b.peer("fortio"), "-c", strconv.Itoa(connections), "-qps", fmt.Sprint(rate), "-t", length.String(), url)
	if err != nil {
		return measured{}, quantiles{}, err
	}
	var said struct {
		OK, Other      uint64
		P50, P99, P999 float64
	}
	if err := json.Unmarshal(used.output, &said); err != nil {
		return measured{}, quantiles{}, fmt.Errorf("fortio: %w:\n%s", err, used.output)
	}
	if said.OK == 0 || said.Other > 0 {
		return measured{}, quantiles{}, fmt.Errorf("fortio: no clean run:\n%s", used.output)
	}
	return measured{used, said.OK}, quantiles{said.P50, said.P99, said.P999}, nil
}

func ghzArgs(addr string, callers, connections int, length time.Duration) []string {
	return []string{
		"--insecure", "--call", "grpc.health.v1.Health/Check", "-d", "{}", "-c", strconv.Itoa(callers), "--connections", strconv.Itoa(connections),
		"-z", length.String(), "--duration-stop", "wait", "-n", "0",
	}
}

// ghz calls as fast as it can.
func (b *bench) ghz(processor int, addr string, callers, connections int) (measured, error) {
	used, err := client(processor, b.peer("ghz"), append(ghzArgs(addr, callers, connections, b.slice), addr)...)
	if err != nil {
		return measured{}, err
	}
	count, ok := ghzCount.FindSubmatch(used.output), ghzOK.FindSubmatch(used.output)
	if count == nil || ok == nil || !bytes.Equal(count[1], ok[1]) {
		return measured{}, fmt.Errorf("ghz: no clean run:\n%s", used.output)
	}
	return counted(used, ok[1])
}

// ghzAtRate calls at a rate. The quantiles are those of the latencies that ghz reports call by call, as its summary
// ends at p99.
func (b *bench) ghzAtRate(processor int, addr string, callers, connections, rate int, length time.Duration) (quantiles, error) {
	args := append(ghzArgs(addr, callers, connections, length), "--rps", strconv.Itoa(rate), "-O", "json", addr)
	used, err := client(processor, b.peer("ghz"), args...)
	if err != nil {
		return quantiles{}, err
	}
	var said struct {
		Details []struct {
			Latency int64
			Status  string
		}
	}
	if err := json.Unmarshal(used.output, &said); err != nil {
		return quantiles{}, fmt.Errorf("ghz: %w", err)
	}
	latencies := make([]float64, 0, len(said.Details))
	for _, d := range said.Details {
		if d.Status != "OK" {
			return quantiles{}, fmt.Errorf("ghz: a call ended with %s", d.Status)
		}
		latencies = append(latencies, float64(d.Latency)/1e6)
	}
	if len(latencies) == 0 {
		return quantiles{}, errors.New("ghz: no calls")
	}
	slices.Sort(latencies)
	return quantilesOf(latencies), nil
}
