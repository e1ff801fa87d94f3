package ramp_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/ramp"
)

func Example() {
	config, _ := ramp.Preset(ramp.DoublingWithin10s)
	config.Backoff.Jitter = 0   // so that the example is the same each time
	manual := clock.NewManual() // and needs no patience
	r, err := ramp.New(config, ramp.WithClock(manual.Clock()))
	if err != nil {
		fmt.Println(err)
		return
	}
	call := func(user string, test bool) {
		permit, err := r.Allow(ramp.Call{Hash: ramp.HashString(user), Marked: test})
		if rejected, ok := errors.AsType[*ramp.RejectedError](err); ok {
			fmt.Println(user, rejected)
			return
		}
		permit.Done(true)
		fmt.Println(user, "passed")
	}
	call("user-2", false)
	r.Fall(errors.New("connection refused"))
	call("user-2", false)
	manual.Advance(time.Second)
	for range 3 {
		call("tester", true)
	}
	call("user-2", false)
	manual.Advance(7500 * time.Millisecond)
	call("user-2", false)
	manual.Advance(2500 * time.Millisecond)
	call("user-2", false)
	fmt.Println(r.Status().Stage)
	// Output:
	// user-2 passed
	// user-2 ramp: rejected while waiting, retry after 1s
	// tester passed
	// tester passed
	// tester passed
	// user-2 ramp: rejected while rising, retry after 7.5s
	// user-2 passed
	// user-2 passed
	// full
}

func ExampleParseConfig() {
	config, err := ramp.ParseConfig([]byte(`{
		"backoff":  {"first": "2s", "most": "1m"},
		"schedule": {"steps": [{"share": 0.05, "for": "1m"}, {"share": 0.5, "for": "30s"}]}
	}`))
	fmt.Println(config.Backoff.First, config.Schedule.Steps, err)

	_, err = ramp.ParseConfig([]byte(`{"schedule": {"steps": [{"share": 5}]}}`))
	fmt.Println(err)
	// Output:
	// 2s [{0.05 1m0s} {0.5 30s}] <nil>
	// ramp: schedule.steps[0].share: must be above 0 and at most 1, is 5
	// schedule.steps[0].for: must be above 0, is 0s
}

func ExampleBackoff() {
	b := ramp.Backoff{First: time.Second, Factor: 2, Most: 10 * time.Second}
	for attempt := range 5 {
		fmt.Print(b.Delay(attempt, rand.Uint64()), " ")
	}
	// Output: 1s 2s 4s 8s 10s
}

// A rollout by hand, without a Ramp: the same users stay inside as the share grows.
func ExampleAdmits() {
	for _, share := range []float64{0.05, 0.5, 1} {
		fmt.Println(share, ramp.Admits(ramp.HashString("user-1"), share), ramp.Admits(ramp.HashString("user-2"), share))
	}
	// Output:
	// 0.05 false false
	// 0.5 false true
	// 1 true true
}

func ExampleMarked() {
	header := http.Header{}
	header.Set("x-ai-test", "true")
	fmt.Println(ramp.Marked(header))
	// Output: true
}
