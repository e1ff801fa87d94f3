// Command load measures `dougong load` beside wrk, fortio and ghz: what a request costs the client in CPU time, how
// much memory a long run takes, and what each tool says about a target that stalls.
//
// Clients are processes of their own, and their CPU is what the kernel says when they have ended (wait4), start and end
// included. Those that are compared take turns, so that a machine that changes its speed changes all of them;
// figures are medians. Unless a line says otherwise the target has one processor for itself and the client the other.
//
//	go run ./load -dougong ../bin/dougong
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// bench is what all parts share.
type bench struct {
	dougong string
	bin     string // folder of the peers
	dir     string // for results, removed at the end
	rounds  int
	slice   time.Duration
	bars    []bool // held or missed
}

func main() {
	var (
		dougong = flag.String("dougong", "../bin/dougong", "the binary to measure")
		peers   = flag.String("peers", "peers/bin", "folder of the peers' binaries, which are built there")
		rounds  = flag.Int("rounds", 10, "rounds of what is judged; the median is taken. What is only printed takes one")
		slice   = flag.Duration("slice", 4*time.Second, "how long a client runs in a round")
		only    = flag.String("only", "", "parts to run, separated by commas: http1, grpc, paced, memory, truth, breakpoint; empty runs all")
		role    = flag.String("be", "", "internal: be this child")
		addr    = flag.String("addr", "", "internal: a child's address")
		length  = flag.Duration("for", 4*time.Second, "internal: a child's length")
	)
	flag.Parse()
	var err error
	if *role != "" {
		err = be(*role, *addr, *length)
	} else {
		err = run(&bench{dougong: *dougong, bin: *peers, rounds: *rounds, slice: *slice}, *only)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// be is one of the processes that the bench makes of its own binary.
func be(role, addr string, length time.Duration) error {
	switch role {
	case "http1-server":
		return serveHTTP1(addr, false, nil)
	case "spinning-http1":
		return serveHTTP1(addr, true, nil)
	case "grpc-server":
		return serveGRPC(addr, nil)
	case "stalling-http1":
		return serveStallingHTTP1(addr)
	case "stalling-grpc":
		return serveGRPC(addr, newStall())
	case "burning":
		return serveHTTP1(addr, false, burn)
	case "bare-grpc":
		return bareGRPC(addr, length)
	case "floor":
		return floor(addr, pacedRate, length)
	}
	return fmt.Errorf("%q is no child", role)
}

func run(b *bench, only string) error {
	began := time.Now()
	parts := []struct {
		name string
		run  func() error
	}{{"http1", b.http1}, {"grpc", b.grpc}, {"paced", b.paced}, {"memory", b.memory}, {"truth", b.truth}, {"breakpoint", b.breakpoint}}
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(only, ",") {
		wanted[name] = only != ""
	}
	for _, p := range parts {
		delete(wanted, p.name)
	}
	delete(wanted, "")
	for name := range wanted {
		return fmt.Errorf("there is no part %q", name)
	}
	if _, err := exec.LookPath(b.dougong); err != nil {
		return err
	}
	var err error
	if b.dir, err = os.MkdirTemp("", "bench-load-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.buildPeers(); err != nil {
		return err
	}
	// Children die with the bench; a signal ends it by way of the deferred calls of the part that runs.
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		os.RemoveAll(b.dir)
		os.Exit(130)
	}()
	runtime.LockOSThread() // children inherit the processor of the thread that starts them, see start
	fmt.Printf("%d processors, %d rounds of %s\n", runtime.NumCPU(), b.rounds, b.slice)
	for _, p := range parts {
		if only != "" && !strings.Contains(","+only+",", ","+p.name+",") {
			continue
		}
		if err := p.run(); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	fmt.Printf("\ntook %s\n", time.Since(began).Round(time.Second))
	for _, held := range b.bars {
		if !held {
			return errors.New("a bar was missed")
		}
	}
	return nil
}
