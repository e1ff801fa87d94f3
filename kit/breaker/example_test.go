package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/clock"
)

// Query types fail apart at each upstream, so both are the key.
type upstream struct{ query, host string }

func Example() {
	policy, _ := breaker.Preset(breaker.PresetSearch)
	group, err := breaker.New[upstream](policy)
	if err != nil {
		panic(err)
	}
	search := func(host string) error {
		permit, err := group.Allow(upstream{"popular", host})
		if err != nil {
			return err
		}
		defer permit.Release()
		err = ask(host)
		permit.Done(breaker.OutcomeOf(err))
		return err
	}
	for range 100 {
		_ = search("a")
		_ = search("b")
	}
	rejected, _ := errors.AsType[*breaker.RejectedError](search("b"))
	fmt.Println(search("a"), rejected.Circuit, rejected.Reason)
	// Output: <nil> {popular b} open
}

func ask(host string) error {
	if host == "b" {
		return errors.New("connection refused")
	}
	return nil
}

func ExampleCircuit_Do() {
	time := clock.NewManual()
	group, err := breaker.New[string](breaker.DefaultPolicy(), breaker.WithClock[string](time.Clock()))
	if err != nil {
		panic(err)
	}
	payments, err := group.Circuit("payments")
	if err != nil {
		panic(err)
	}
	outage := true
	pay := func() error {
		return payments.Do(context.Background(), func(context.Context) error {
			if outage {
				return errors.New("timeout")
			}
			return nil
		})
	}
	for range 50 {
		_ = pay()
	}
	fmt.Println(payments.Snapshot().State)

	outage = false
	time.Advance(payments.Snapshot().RetryIn)
	for range 3 { // probes
		fmt.Println(pay(), payments.Snapshot().State)
	}
	// Output:
	// open
	// <nil> half-open
	// <nil> half-open
	// <nil> closed
}

// A policy from a file or from etcd is put in force while calls run.
func ExampleGroup_SetPolicy() {
	group, err := breaker.New[string](breaker.DefaultPolicy())
	if err != nil {
		panic(err)
	}
	policy, err := breaker.ParsePolicy([]byte(`{
		"conditions": [{"of": "failures", "above": 0.3, "over": "1m"}],
		"open": {"first": "30s", "most": "30s"}
	}`))
	if err != nil {
		panic(err)
	}
	fmt.Println(group.SetPolicy(policy), group.Policy().Open.First)

	_, err = breaker.ParsePolicy([]byte(`{"conditions": [{"above": 30, "over": "1m"}]}`))
	fmt.Println(err)
	// Output:
	// <nil> 30s
	// breaker: policy: conditions[0].above: must be above 0 and below 1, is 30
}

// A level instead of calls: memory that stays above 90 % for half a minute.
func ExampleWatermark() {
	c := clock.NewManual()
	memory, err := breaker.NewWatermark(breaker.ModelMemory(), c.Clock())
	if err != nil {
		panic(err)
	}
	for range 4 {
		fmt.Println(memory.Measured(0.93))
		c.Advance(10 * time.Second)
	}
	// Output:
	// false
	// false
	// false
	// true
}
