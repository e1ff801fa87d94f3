package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/dougong-io/dougong/bench/child"
)

const (
	connections = 64
	pacedRate   = 3000
	printed     = 1 // rounds of what is printed and not judged
)

// self runs this binary as a client that prints how many answers it got.
func (b *bench) self(role, addr string) (measured, error) {
	path, err := os.Executable()
	if err != nil {
		return measured{}, err
	}
	used, err := client(forClient, path, "-be", role, "-addr", addr, "-for", b.slice.String())
	if err != nil {
		return measured{}, err
	}
	return counted(used, bytes.TrimSpace(used.output))
}

// http1 compares closed loops over HTTP/1.1, as fast as they go.
func (b *bench) http1() error {
	target, err := startServer("http1-server", forServer, "GOMAXPROCS=1")
	if err != nil {
		return err
	}
	defer target.stop()
	url := "http://" + target.addr + "/"
	users := strconv.Itoa(connections)
	ours := func(processor, cpus int) func() (measured, error) {
		return func() (measured, error) {
			m, _, err := b.ours(processor, cpus, url, "--users", users, "--for", b.slice.String())
			return m, err
		}
	}
	wrk := func(processor, threads int) func() (measured, error) {
		return func() (measured, error) { return b.wrk(processor, threads, connections, url) }
	}
	dougong, peer := &line{name: "dougong load --cpus 1", run: ours(forClient, 1)}, &line{name: "wrk -t1", run: wrk(forClient, 1)}
	if err := b.compare("HTTP/1.1, closed loop, 64 connections, client and target on a processor each", b.rounds, peer, dougong); err != nil {
		return err
	}
	b.judge("HTTP/1.1 saturated, requests a client-CPU-second against wrk", ratio(peer, dougong), true, 0.9, "×")

	dougong, peer = &line{name: "dougong load --cpus 2", run: ours(child.AnyProcessor, 2)}, &line{name: "wrk -t2", run: wrk(child.AnyProcessor, 2)}
	fortio := &line{name: "fortio", run: func() (measured, error) {
		m, _, err := b.fortio(child.AnyProcessor, url, connections, 0, b.slice)
		return m, err
	}}
	if err := b.compare("the same with clients on two processors, of which the target needs one (printed, not judged)", printed, peer, dougong, fortio); err != nil {
		return err
	}
	fmt.Printf("      against wrk %.2f×, against fortio %.2f×\n", ratio(peer, dougong), ratio(fortio, dougong))
	return nil
}

// grpc compares unary calls, as fast as they go.
func (b *bench) grpc() error {
	target, err := startServer("grpc-server", forServer, "GOMAXPROCS=1")
	if err != nil {
		return err
	}
	defer target.stop()
	dougong := &line{name: "dougong load --cpus 1", run: func() (measured, error) {
		m, _, err := b.ours(forClient, 1, "grpc://"+target.addr, "--method", "grpc.health.v1.Health/Check", "--users", strconv.Itoa(grpcCallers),
			"--connections", strconv.Itoa(grpcConnections), "--streams", strconv.Itoa(grpcCallers/grpcConnections), "--for", b.slice.String())
		return m, err
	}}
	bare := &line{name: "a bare grpc-go loop", run: func() (measured, error) { return b.self("bare-grpc", target.addr) }}
	if err := b.compare(fmt.Sprintf("gRPC unary, closed loop, %d callers on %d connections, client and target on a processor each", grpcCallers, grpcConnections), b.rounds, bare, dougong); err != nil {
		return err
	}
	b.judge("gRPC saturated, calls a client-CPU-second against a bare grpc-go loop", ratio(bare, dougong), true, 0.9, "×")
	ghz := &line{name: "ghz (printed, not judged)", run: func() (measured, error) { return b.ghz(forClient, target.addr, grpcCallers, grpcConnections) }}
	return b.compare("the same", printed, ghz)
}

// paced compares open loops over HTTP/1.1 at a rate that leaves the machine mostly idle.
func (b *bench) paced() error {
	target, err := startServer("spinning-http1", forServer, "GOMAXPROCS=1")
	if err != nil {
		return err
	}
	defer target.stop()
	url := "http://" + target.addr + "/"
	dougong := &line{name: "dougong load --cpus 1, 64 connections", run: func() (measured, error) {
		m, _, err := b.ours(forClient, 1, url, "--rate", strconv.Itoa(pacedRate), "--for", b.slice.String())
		return m, err
	}}
	bare := &line{name: "floor: timer, write, epoll_wait, read; 1 connection", run: func() (measured, error) { return b.self("floor", target.addr) }}
	alone := &line{name: "one wake-up by a timer and nothing else", run: func() (measured, error) { return b.self("floor", "") }}
	if err := b.compare(fmt.Sprintf("HTTP/1.1 paced at %d a second, client and target (which never sleeps) on a processor each", pacedRate), b.rounds, bare, dougong); err != nil {
		return err
	}
	b.judge("paced, client CPU a request", median(dougong.micros), false, 12, " µs")
	fmt.Printf("      that is %.2f× the floor of this machine\n", 1/ratio(bare, dougong))
	fortio := &line{name: "fortio (printed, not judged)", run: func() (measured, error) {
		m, _, err := b.fortio(forClient, url, connections, pacedRate, b.slice)
		return m, err
	}}
	all := &line{name: "dougong load on all processors (printed, not judged)", run: func() (measured, error) {
		m, _, err := b.ours(child.AnyProcessor, 0, url, "--rate", strconv.Itoa(pacedRate), "--for", b.slice.String())
		return m, err
	}}
	if err := b.compare("the same", printed, alone, fortio, all); err != nil {
		return err
	}
	short, _, err := b.ours(forClient, 1, url, "--rate", "100", "--for", "50ms")
	if err != nil {
		return err
	}
	fmt.Printf("      start and end of `dougong load` alone take %s of CPU, %.1f µs a request of a run of %s\n",
		short.cpu.Round(time.Millisecond), short.cpu.Seconds()*1e6/(pacedRate*b.slice.Seconds()), b.slice)
	return nil
}

// memory compares the peak of a short and of a long run.
func (b *bench) memory() error {
	target, err := startServer("http1-server", forServer, "GOMAXPROCS=1")
	if err != nil {
		return err
	}
	defer target.stop()
	// A run keeps at most max_intervals intervals, which grow longer: with eight of them 10 s and 40 s have five each,
	// so what differs is the length of the run alone.
	plan := filepath.Join(os.TempDir(), fmt.Sprintf("bench-load-%d.yaml", os.Getpid()))
	if err := os.WriteFile(plan, []byte("max_intervals: 8\n"), 0o600); err != nil {
		return err
	}
	defer os.Remove(plan)
	fmt.Printf("\nPeak memory of `dougong load` at 5000 a second, with max_intervals 8\n")
	var peaks []float64
	for _, length := range []string{"10s", "40s"} {
		m, _, err := b.ours(forClient, 1, "http://"+target.addr+"/", "--plan", plan, "--rate", "5000", "--for", length)
		if err != nil {
			return err
		}
		peaks = append(peaks, float64(m.memory))
		fmt.Printf("  %-4s %8.1f MiB\n", length, float64(m.memory)/(1<<20))
	}
	b.judge("growth of peak memory from 10 s to 40 s", (peaks[1]/peaks[0]-1)*100, false, 10, " %")
	return nil
}

// implied is what the schedule implies of a stalling target: a request that is due in the stall is answered at its end,
// all others at once.
func implied(rate float64) quantiles {
	latencies := make([]float64, int(rate*stallRun.Seconds()))
	for i := range latencies {
		due := time.Duration(float64(i) / rate * 1e9)
		if due >= stallAfter && due < stallAfter+stallLength {
			latencies[i] = (stallAfter + stallLength - due).Seconds() * 1e3
		}
	}
	slices.Sort(latencies)
	return quantilesOf(latencies)
}

// truth lets tools load a target that stalls, all with the same connections. Which of them is right is known beforehand.
func (b *bench) truth() error {
	const httpRate, grpcRate = 5000, 2000
	fmt.Printf("\nA target that stalls for %s in a run of %s, by what each tool reports (ms)\n", stallLength, stallRun)
	fmt.Printf("  %-42s %10s %10s %10s\n", "", "p50", "p99", "p99.9")
	row := func(name string, q quantiles) { fmt.Printf("  %-42s %10.2f %10.2f %10.2f\n", name, q[0], q[1], q[2]) }
	on := func(role string, load func(addr string) error) error {
		target, err := startServer(role, forServer)
		if err != nil {
			return err
		}
		defer target.stop()
		return load(target.addr)
	}
	ours := func(rate int, args ...string) (now, uncorrected quantiles, err error) {
		_, r, err := b.ours(forClient, 1, append(args, "--rate", strconv.Itoa(rate), "--for", stallRun.String())...)
		if err != nil {
			return now, uncorrected, err
		}
		for i, share := range [3]float64{0.5, 0.99, 0.999} {
			now[i], uncorrected[i] = float64(r.Total.Latency.Quantile(share))/1e6, float64(r.Total.Service.Quantile(share))/1e6
		}
		return now, uncorrected, nil
	}
	var dougongHTTP, dougongGRPC, fortio, ghz, uncorrected quantiles
	steps := []func() error{
		func() error {
			row(fmt.Sprintf("implied by the schedule, %d a second", httpRate), implied(httpRate))
			return on("stalling-http1", func(addr string) (err error) {
				dougongHTTP, uncorrected, err = ours(httpRate, "http://"+addr+"/")
				row("dougong load, HTTP/1.1", dougongHTTP)
				row("  its uncorrected figure (service)", uncorrected)
				return err
			})
		},
		func() error {
			return on("stalling-http1", func(addr string) (err error) {
				_, fortio, err = b.fortio(forClient, "http://"+addr+"/", connections, httpRate, stallRun)
				row("fortio, HTTP/1.1", fortio)
				return err
			})
		},
		func() error {
			row(fmt.Sprintf("implied by the schedule, %d a second", grpcRate), implied(grpcRate))
			return on("stalling-grpc", func(addr string) (err error) {
				dougongGRPC, uncorrected, err = ours(grpcRate, "grpc://"+addr, "--method", "grpc.health.v1.Health/Check",
					"--connections", strconv.Itoa(grpcConnections), "--streams", strconv.Itoa(grpcCallers/grpcConnections))
				row("dougong load, gRPC", dougongGRPC)
				row("  its uncorrected figure (service)", uncorrected)
				return err
			})
		},
		func() error {
			return on("stalling-grpc", func(addr string) (err error) {
				ghz, err = b.ghzAtRate(forClient, addr, grpcCallers, grpcConnections, grpcRate, stallRun)
				row("ghz, gRPC", ghz)
				return err
			})
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	fmt.Println("      the same 64 requests at a time for all: after the stall the target has to work off what was due in it, which the schedule does not know; test/truth holds that to 1 %")
	b.judge("dougong load, HTTP/1.1, p99 against the implied", dougongHTTP[1]/implied(httpRate)[1], true, 0.99, "×")
	b.judge("dougong load, gRPC, p99 against the implied", dougongGRPC[1]/implied(grpcRate)[1], true, 0.99, "×")
	b.judge("fortio misses the stall: its p99 against the implied", fortio[1]/implied(httpRate)[1], false, 0.05, "×")
	b.judge("ghz misses the stall: its p99 against the implied", ghz[1]/implied(grpcRate)[1], false, 0.05, "×")
	return nil
}

// breakpoint searches a target that burns 2 ms of CPU a request. What it can really do is measured before and after, as
// nobody has a virtual processor to himself.
func (b *bench) breakpoint() error {
	target, err := startServer("burning", forServer, "GOMAXPROCS=1")
	if err != nil {
		return err
	}
	defer target.stop()
	url := "http://" + target.addr + "/"
	capacity := func() (float64, error) {
		m, r, err := b.ours(forClient, 1, url, "--users", "4", "--for", "3s")
		if err != nil {
			return 0, err
		}
		return float64(m.answers) / r.Seconds, nil
	}
	before, err := capacity()
	if err != nil {
		return err
	}
	began := time.Now()
	_, result, err := b.ours(forClient, 1, url, "--search", "50:5000", "--slo", "p99<50ms", "--budget", "60s")
	if err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	after, err := capacity()
	if err != nil {
		return err
	}
	found := result.Breakpoint
	if found == nil {
		return fmt.Errorf("the search has no breakpoint: %v", result.Notes)
	}
	fmt.Printf("\nBreakpoint of a target that burns %s of CPU a request, at p99<50ms\n", burnt)
	fmt.Printf("  capacity by a closed loop: %.1f/s before, %.1f/s after the search\n", before, after)
	fmt.Printf("  found: holds at %.1f/s, no longer at %.1f/s, in %d trials and %.1f s\n", found.Rate, found.Above, len(found.Trials), took)
	for _, note := range result.Notes {
		fmt.Println("      " + note)
	}
	b.judge("distance of the breakpoint from the capacity", math.Abs(found.Rate/((before+after)/2)-1)*100, false, 5, " %")
	b.judge("length of the search", took, false, 60.5, " s")
	return nil
}
