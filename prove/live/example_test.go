package live_test

import (
	"fmt"
	"os"
	"time"

	"github.com/dougong-io/dougong/prove/hdr"
	"github.com/dougong-io/dougong/prove/live"
	"github.com/dougong-io/dougong/prove/load"
)

func ExampleNew() {
	var latency hdr.Histogram
	latency.RecordN(1_250_000, 990)
	latency.RecordN(20_000_000, 10)

	view := live.New(os.Stdout, live.Options{Plain: true}) // a program takes live.Detect
	window := load.Window{Seconds: 1, Due: 1000, OK: 1000, Latency: &latency, Service: &latency}
	view.Show(load.Progress{
		Elapsed: time.Second, Total: time.Minute, Phase: "steady", Rate: 1000, Connected: 64,
		Last: load.Interval{Done: 1000, Window: window}, Sum: window,
	})
	result := &load.Result{
		Target: "http://127.0.0.1:8080", Protocol: load.HTTP1, Loop: load.OpenLoop, Seconds: 1, Total: window,
		SLO:     []load.SLOResult{{SLO: "p99<50ms", Value: 1.25, Bound: 50, Unit: "ms", Verdict: load.VerdictPass}},
		Verdict: load.VerdictPass,
	}
	if err := view.Close(result); err != nil {
		fmt.Println(err)
	}
	// Output:
	// # t: since the start; asked, done: requests and answers a second; p50 to max: latency of the last second, corrected;
	// # sent_p99: the same, uncorrected; at the end what failed since the line before, and by how much the generator was late
	// t=1s     phase=steady       asked=1000   done=1000   p50=1.25ms  p90=1.25ms  p99=1.25ms  p99.9=20.0ms  max=20.0ms  sent_p99=1.25ms  inflight=0 waiting=0 conns=64
	//  dougong load  http://127.0.0.1:8080                                               http1, open loop
	//  ran for 1 s   due 1,000   good 1,000   failed 0
	//  asked 1,000/s   answered 1,000/s   good 1,000/s = 100 %
	//  in 0 B   out 0 B   connections 0
	//
	//  latency           p50      p90      p99    p99.9      max
	//  corrected     1.25 ms  1.25 ms  1.25 ms  20.0 ms  20.0 ms
	//  uncorrected   1.25 ms  1.25 ms  1.25 ms  20.0 ms  20.0 ms
	//
	//     < 2 ms ██████████████████████████████████████████████████        990   99.0 % p50 p90 p99
	//     < 5 ms                                                             ·
	//    < 10 ms                                                             ·
	//    < 20 ms                                                             ·
	//    < 50 ms ▌                                                          10   1.00 % p99.9
	//
	//  failures  none
	//
	//  objectives
	//   ✓ p99<50ms                 1.25 ms
	//
	//  verdict ✓ PASS   1 of 1 objectives held
}
