// Command serve measures what a request costs the server process, in CPU time, beside a net/http handler
// that reads the same body and answers a constant. Both servers are processes of their own and take turns
// slice by slice, so that a machine that changes its speed changes both; figures are medians of the rounds.
// Where there are two processors, the servers have one for themselves and the client the other, so that a
// request costs what it costs and not what it costs to move it about. Both servers run with GOMAXPROCS=2: with 1,
// which Dougong never uses, a constant handler costs a quarter less.
//
//	go run ./serve -dougong ../bin/dougong
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
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
		baseline = flag.String("baseline", "", "internal: be the baseline server on this address")
	)
	flag.Parse()
	var err error
	if *baseline != "" {
		err = serveConstant(*baseline)
	} else {
		err = run(*dougong, *cases, *rounds, *slice, *conns)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

// serveConstant is the baseline: net/http as it comes, the body read, a constant answered.
func serveConstant(addr string) error {
	answer := []byte(`{"model":"loan-lite","version":"1","output":[0.026563013]}` + "\n")
	return http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(answer)
	}))
}

// contest is one line of the table.
type contest struct {
	name     string
	server   *process
	requests [][]byte
	rows     int // in a request
	against  int // index of the contest that this one is a ratio of, or -1
	micros   []float64
}

func run(dougong, casesFile string, rounds int, slice time.Duration, conns int) error {
	cases, err := readCases(casesFile)
	if err != nil {
		return err
	}
	servers, stop, err := startServers(dougong)
	if err != nil {
		return err
	}
	defer stop()
	ours, constant := servers[0], servers[1]
	one, many := cases.bodies("loan-lite", 1), cases.bodies("loan-default", 128)
	for _, check := range []struct {
		bodies [][]byte
		rows   int
		column string
	}{{one, 1, "lite"}, {many, 128, "full"}} {
		if err := cases.verify(ours.addr, check.bodies, check.rows, check.column); err != nil {
			return err
		}
	}
	fmt.Println("every answer equals the reference within 1e-6; now the cost")

	contests := []contest{
		{name: "net/http constant, body of 1 row", server: constant, requests: framed(one), rows: 1, against: -1},
		{name: "loan-lite, 1 row", server: ours, requests: framed(one), rows: 1, against: 0},
		{name: "loan-default, 1 row", server: ours, requests: framed(cases.bodies("loan-default", 1)), rows: 1, against: 0},
		{name: "net/http constant, body of 128 rows", server: constant, requests: framed(many), rows: 128, against: -1},
		{name: "loan-default, 128 rows", server: ours, requests: framed(many), rows: 128, against: 3},
	}
	for round := -1; round < rounds; round++ { // the first one warms up
		for i := range contests {
			c := &contests[i]
			n, cpu, err := load(c.server, c.requests, conns, slice)
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
	fmt.Printf("%-38s %14s %16s %14s %10s\n", "", "CPU µs/request", "requests/CPU-s", "rows/CPU-s", "ratio")
	for i, c := range contests {
		m := median(c.micros)
		ratio := ""
		if c.against >= 0 {
			ratio = fmt.Sprintf("%.2f", pairedRatio(contests[c.against].micros, c.micros))
		}
		fmt.Printf("%-38s %14.1f %16.0f %14.0f %10s\n", contests[i].name, m, 1e6/m, float64(c.rows)*1e6/m, ratio)
	}
	fmt.Println("\nratio: CPU of the constant handler with the same body, divided by ours; median of the rounds' own ratios")
	lite := pairedRatio(contests[0].micros, contests[1].micros)
	rows := 128 * 1e6 / median(contests[4].micros)
	ok := judge("loan-lite, one row, against the constant handler", lite, 0.7)
	ok = judge("loan-default, 128 rows a request, rows a server-CPU-second", rows, 120_000) && ok
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

// process is a server under test.
type process struct {
	cmd  *exec.Cmd
	addr string
}

// startServers starts Dougong, with everything as it comes (access log to a file, metrics, deadlines,
// traces), and the baseline.
func startServers(dougong string) (servers []*process, stop func(), err error) {
	dir, err := os.MkdirTemp("", "bench-serve-")
	if err != nil {
		return nil, nil, err
	}
	stop = func() {
		for _, p := range servers {
			p.cmd.Process.Signal(syscall.SIGTERM)
			p.cmd.Wait()
		}
		os.RemoveAll(dir)
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return servers, stop, err
	}
	addrs, err := child.FreeAddrs(3)
	if err != nil {
		return servers, stop, err
	}
	log, err := os.Create(dir + "/dougong.log")
	if err != nil {
		return servers, stop, err
	}
	defer log.Close()
	for _, s := range []struct {
		addr string
		cmd  *exec.Cmd
		env  []string
	}{
		{addrs[0], exec.Command(dougong, "run", "inference"), []string{"DOUGONG_HTTP_LISTEN=" + addrs[0], "DOUGONG_ADMIN_LISTEN=" + addrs[2], "DOUGONG_LIFECYCLE_DRAIN_DELAY=0s"}},
		{addrs[1], exec.Command(self, "-baseline", addrs[1]), nil},
	} {
		s.cmd.Env = append(append(os.Environ(), "GOMAXPROCS=2"), s.env...)
		s.cmd.Stderr = log
		if err := child.Start(s.cmd, 0); err != nil {
			return servers, stop, err
		}
		servers = append(servers, &process{cmd: s.cmd, addr: s.addr})
		if err := child.AwaitPort(s.addr); err != nil {
			return servers, stop, err
		}
	}
	// The client's loop stays on this thread; the garbage collector may use the others.
	runtime.LockOSThread()
	return servers, stop, child.Pin(1)
}

// framed makes a whole HTTP/1.1 request of each body.
func framed(bodies [][]byte) [][]byte {
	requests := make([][]byte, len(bodies))
	for i, body := range bodies {
		var b strings.Builder
		fmt.Fprintf(&b, "POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(body))
		b.Write(body)
		requests[i] = []byte(b.String())
	}
	return requests
}
