// Command serve measures what a request costs the server process, in CPU time, beside a server of the same protocol that
// reads the same message and answers a constant: net/http for JSON and for the binary tensors of the Open Inference
// Protocol, grpc-go with the generated messages for ModelInfer. MLServer, if scripts/mlserver.sh has installed it, gets
// the same messages for the same model files. The servers are processes of their own and take turns slice by slice, so
// that a machine that changes its speed changes all; figures are medians of the rounds.
// Where there are two processors, the servers have one for themselves and the client the other, so that a
// request costs what it costs and not what it costs to move it about. The servers in Go run with GOMAXPROCS=2: with 1,
// which Dougong never uses, a constant handler costs a quarter less.
//
//	go run ./serve -dougong ../bin/dougong
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/dougong-io/dougong/bench/child"
)

func main() {
	var (
		dougong  = flag.String("dougong", "../bin/dougong", "the binary to measure")
		cases    = flag.String("cases", "../examples/data/loan-default/cases.csv", "rows with the reference answers")
		rounds   = flag.Int("rounds", 10, "rounds; the median is printed")
		slice    = flag.Duration("slice", time.Second, "how long a server is loaded in a round")
		conns    = flag.Int("conns", 8, "connections, each with one request at a time")
		only     = flag.String("only", "", "load only the contests whose name has this in it, and judge nothing: to look at a profile")
		baseline = flag.String("baseline", "", "internal: be the baseline server on this address")
		overGRPC = flag.String("baseline-grpc", "", "internal: and on this one")
	)
	flag.Parse()
	var err error
	if *baseline != "" {
		err = serveConstant(*baseline, *overGRPC)
	} else {
		err = run(*dougong, *cases, *only, *rounds, *slice, *conns)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

// contest is one line of the table.
type contest struct {
	name    string
	load    loader
	rows    int // in a request
	against int // index of the contest that this one is a ratio of, or -1
	beside  int // for MLServer the index of our contest with the same messages, or -1
	micros  []float64
}

func run(dougong, casesFile, only string, rounds int, slice time.Duration, conns int) error {
	cases, err := readCases(casesFile)
	if err != nil {
		return err
	}
	servers, err := startServers(dougong)
	if err != nil {
		return err
	}
	defer servers.stop()
	// The client's loop stays on this thread; the garbage collector may use the others.
	runtime.LockOSThread()
	if err := child.PinProcess(1); err != nil {
		return err
	}
	engine, err := newEngine(cases)
	if err != nil {
		return err
	}
	lite, full := &model{"loan-lite", "lite", cases}, &model{"loan-default", "full", cases}
	var contests []contest
	add := func(name string, rows, against, beside int, l loader) {
		contests = append(contests, contest{name: name, rows: rows, against: against, beside: beside, load: l})
	}
	for _, p := range protocols {
		for _, rows := range []int{1, 128} {
			models := []*model{lite, full}
			if rows > 1 {
				models = models[1:]
			}
			base := len(contests)
			for i, m := range models {
				l, err := p.verified(servers.ours, m, rows, conns)
				if err != nil {
					return err
				}
				if i == 0 {
					echo, err := p.loader(servers.constant, m, rows, conns)
					if err != nil {
						return err
					}
					add(fmt.Sprintf("%s: constant, %d rows", p.name, rows), rows, -1, -1, echo)
				}
				add(fmt.Sprintf("%s: %s, %d rows", p.name, m.name, rows), rows, base, -1, l)
				if servers.mlserver == nil || !p.mlserver {
					continue
				}
				if l, err = p.verified(servers.mlserver, m, rows, conns); err != nil {
					return fmt.Errorf("MLServer: %w", err)
				}
				add(fmt.Sprintf("%s: MLServer, %s, %d rows", p.name, m.name, rows), rows, base, len(contests)-1, l)
			}
		}
	}
	add("the engine alone: loan-default, 128 rows", 128, -1, -1, engine)
	fmt.Println("every answer equals the reference within 1e-6; now the cost")
	if only != "" {
		fmt.Println("dougong is process", servers.ours.cmd.Process.Pid)
		for _, c := range contests {
			if strings.Contains(c.name, only) {
				n, cpu, err := c.load.load(slice)
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				fmt.Printf("%s: %.1f CPU-µs a request\n", c.name, cpu.Seconds()*1e6/float64(n))
			}
		}
		return nil
	}

	for round := -1; round < rounds; round++ { // the first one warms up
		for i := range contests {
			c := &contests[i]
			n, cpu, err := c.load.load(slice)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if round >= 0 {
				c.micros = append(c.micros, cpu.Seconds()*1e6/float64(n))
			}
		}
		fmt.Printf("\rround %d of %d", max(round+1, 0), rounds)
	}
	fmt.Print("\n\n")
	return report(contests)
}

func report(contests []contest) error {
	fmt.Printf("%-43s %14s %16s %14s %10s\n", "", "CPU µs/request", "requests/CPU-s", "rows/CPU-s", "ratio")
	for i, c := range contests {
		m := median(c.micros)
		ratio := ""
		if c.against >= 0 {
			ratio = fmt.Sprintf("%.2f", pairedRatio(contests[c.against].micros, c.micros))
		}
		fmt.Printf("%-43s %14.1f %16.0f %14.0f %10s\n", contests[i].name, m, 1e6/m, float64(c.rows)*1e6/m, ratio)
	}
	fmt.Println("\nratio: CPU of the constant answer to the same message, divided by ours; median of the rounds' own ratios")
	named := func(name string) *contest {
		return &contests[slices.IndexFunc(contests, func(c contest) bool { return c.name == name })]
	}
	against := func(name string) float64 {
		c := named(name)
		return pairedRatio(contests[c.against].micros, c.micros)
	}
	ok := judge("JSON, loan-lite, one row, against the constant handler", against("JSON: loan-lite, 1 rows"), 0.7)
	ok = judge("JSON, loan-default, 128 rows a request, rows a server-CPU-second", 128*1e6/median(named("JSON: loan-default, 128 rows").micros), 120_000) && ok
	alone := named("the engine alone: loan-default, 128 rows")
	for _, p := range []string{"REST binary", "gRPC raw"} {
		ok = judge(p+", loan-lite, one row, against the constant answer", against(p+": loan-lite, 1 rows"), 0.6) && ok
		ok = judge(p+", loan-default, 128 rows, rows a second against the engine alone", pairedRatio(alone.micros, named(p+": loan-default, 128 rows").micros), 0.7) && ok
	}
	for _, c := range contests {
		if c.beside >= 0 {
			fmt.Printf("MLServer  %s: its CPU a request is %.1f times ours\n", contests[c.beside].name, pairedRatio(c.micros, contests[c.beside].micros))
		}
	}
	if !ok {
		return errors.New("a bar was missed")
	}
	return nil
}

func judge(what string, got, bar float64) bool {
	verdict := "PASS"
	if got < bar {
		verdict = "FAIL"
	}
	fmt.Printf("%s  %s: %.4g, bar %.4g\n", verdict, what, got, bar)
	return got >= bar
}

func pairedRatio(base, ours []float64) float64 {
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = base[i] / ours[i]
	}
	return median(ratios)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
