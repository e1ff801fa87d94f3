package load_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/load/schedule"
)

// A test of a service, in process: 200 requests a second for half a second. In a test of your own, log.Fatal is
// t.Fatal, and a verdict that is not a pass fails the test with result.SLO.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"price": 12}`)
	}))
	defer server.Close()

	plan := load.DefaultPlan()
	plan.Target = server.URL
	plan.Open = schedule.Constant(200, 500*time.Millisecond)
	plan.Scenarios = []load.Scenario{{Steps: []load.Step{{
		Path:   "/price?item={{seq}}",
		Checks: []string{"status == 200", "json $.price > 0"},
	}}}}
	plan.SLO = []string{"p99<1s", "errors<0.1%"}
	plan.LateAfter = load.Duration(time.Minute) // however busy the machine is that runs this example

	result, err := load.Run(context.Background(), plan, load.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("due", result.Total.Due, "good", result.Total.OK, "verdict", result.Verdict)
	for _, slo := range result.SLO {
		fmt.Println(slo.SLO, slo.Verdict)
	}
	// Output:
	// due 100 good 100 verdict pass
	// p99<1s pass
	// errors<0.1% pass
}

// An objective can be held against any part of a result: here one that asks more than there is to judge by.
func ExampleParseSLO() {
	slo, err := load.ParseSLO("p99.9 < 50ms")
	if err != nil {
		log.Fatal(err)
	}
	few := load.Window{OK: 3}
	judged := slo.Judge(&few)
	fmt.Println(slo, judged.Verdict, "bound", judged.Bound, judged.Unit)
	fmt.Println(judged.Reason)

	_, err = load.ParseSLO("p99 > 50ms")
	fmt.Println(err)
	// Output:
	// p99.9<50ms inconclusive bound 50 ms
	// 0 requests are too few; it takes 1000
	// "p99 > 50ms": a latency has to be below its bound
}

// A plan that cannot be carried out is refused with every fault, before anything is sent.
func ExamplePlan_Validate() {
	plan := load.DefaultPlan()
	plan.Target = "http://example.com/"
	plan.Open = schedule.Constant(0.5e6, time.Minute)
	plan.Connections = 0
	fmt.Println(plan.Validate())
	// Output:
	// the plan cannot be carried out:
	// target: "example.com" is not loopback: load goes to another machine only when allow_remote names its host
	// connections: 0 is not between 1 and 100000
}
