// Command fortio is the HTTP load of fortio, made of its own library: its command needs a module that not every proxy
// of Go modules hands out. Options are those of `fortio load`; where it has none, they are fortio's defaults.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"fortio.org/fortio/fhttp"
	"fortio.org/fortio/periodic"
	"fortio.org/log"
)

func main() {
	threads := flag.Int("c", 4, "connections")
	qps := flag.Float64("qps", 8, "rate; 0 is as fast as can be")
	length := flag.Duration("t", 5*time.Second, "length")
	flag.Parse()
	log.SetLogLevel(log.Error)
	if *qps == 0 {
		*qps = -1 // as `fortio load` does
	}
	result, err := fhttp.RunHTTPTest(&fhttp.HTTPRunnerOptions{
		RunnerOptions: periodic.RunnerOptions{QPS: *qps, NumThreads: *threads, Duration: *length, Percentiles: []float64{50, 99, 99.9}, Out: io.Discard},
		HTTPOptions:   *fhttp.NewHTTPOptions(flag.Arg(0)),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "fortio:", err)
		os.Exit(1)
	}
	said := map[string]any{"OK": result.RetCodes[200], "Other": result.DurationHistogram.Count - result.RetCodes[200]}
	for i, name := range []string{"P50", "P99", "P999"} {
		said[name] = result.DurationHistogram.Percentiles[i].Value * 1e3
	}
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		fmt.Fprintln(os.Stderr, "fortio:", err)
		os.Exit(1)
	}
}
