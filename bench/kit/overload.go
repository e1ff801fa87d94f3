package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/load/schedule"
)

const (
	capacityTime = 10 * time.Second
	unloadedTime = 20 * time.Second
	headerTime   = 5 * time.Second
	connections  = 64
)

// overload offers a server twice what it can do. The server has one processor, of which a slot burns all that the rest
// leaves, and the client the other.
func (b *bench) overload() error {
	addr, stop, err := startServer()
	if err != nil {
		return err
	}
	defer stop()
	fmt.Printf("\noverload: %v of CPU a request, %d slot, %d place in the queue, GOMAXPROCS %d, server and client on a processor each\n",
		burnt, serverSlots, serverQueue, serverProcs)

	capacityBefore, err := capacity(addr)
	if err != nil {
		return err
	}
	unloaded, err := carryOut(openPlan(addr, 0.1*capacityBefore, unloadedTime))
	if err != nil {
		return err
	}
	over, err := carryOut(openPlan(addr, 2*capacityBefore, b.length))
	if err != nil {
		return err
	}
	// By turns, since the machine has neighbours.
	capacityAfter, err := capacity(addr)
	if err != nil {
		return err
	}
	able := (capacityBefore + capacityAfter) / 2
	good := float64(over.Total.Good) / over.Total.Seconds
	u, o := &unloaded.Judged, &over.Judged
	fmt.Printf("      capacity of a closed loop of %d: %.0f a second before, %.0f after\n", serverSlots+serverQueue, capacityBefore, capacityAfter)
	fmt.Printf("      a tenth offered: %d good, p50 %.2f ms, p99 %.2f ms\n", u.Good, ms(u.Latency.Quantile(0.5)), ms(u.Latency.Quantile(0.99)))
	fmt.Printf("      twice offered, %v: %.0f offered a second, %.0f good; statuses %v, failures %v; the latencies leave out %.0f s in which the client itself was late\n",
		b.length, float64(over.Total.Due)/over.Total.Seconds, good, over.Total.Status, over.Total.Failed, over.LateSeconds)
	fmt.Printf("      accepted p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms; refused p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms\n",
		ms(o.Latency.Quantile(0.5)), ms(o.Latency.Quantile(0.99)), ms(o.Latency.Quantile(0.999)),
		ms(o.Rejected.Quantile(0.5)), ms(o.Rejected.Quantile(0.99)), ms(o.Rejected.Quantile(0.999)))
	b.floor("goodput at twice the capacity, of the capacity", good/able, 0.9, "")
	b.ceiling("accepted p99 against unloaded p99", float64(o.Latency.Quantile(0.99))/float64(u.Latency.Quantile(0.99)), 3, "×")
	b.ceiling("refused p99", ms(o.Rejected.Quantile(0.99)), 10, " ms")
	return b.everyRefusalSaysWhen(addr, 2*able)
}

// everyRefusalSaysWhen has the client take for good exactly those answers that tell when to come again.
func (b *bench) everyRefusalSaysWhen(addr string, rate float64) error {
	plan := openPlan(addr, rate, headerTime)
	plan.Scenarios[0].Steps[0].Checks = []string{"status in 200,503", fmt.Sprintf("header %s == 1", retryAfter)}
	result, err := carryOut(plan)
	if err != nil {
		return err
	}
	t := &result.Total
	without := float64(t.Status["503"]) - float64(t.OK)
	b.ceiling(fmt.Sprintf("refusals without a %s, of %d", retryAfter, t.Status["503"]), without, 0, "")
	return nil
}

// capacity is what a closed loop gets that keeps the slots and the queue full, and no more, so that hardly anything is refused.
func capacity(addr string) (float64, error) {
	plan := planFor(addr)
	plan.Connections = serverSlots + serverQueue
	plan.Closed = &load.Closed{Users: serverSlots + serverQueue, Duration: load.Duration(capacityTime)}
	result, err := carryOut(plan)
	if err != nil {
		return 0, err
	}
	if t := &result.Total; t.OK == 0 || t.Failures() > t.OK/100 {
		return 0, fmt.Errorf("the closed loop %s after %.1f s with %d good answers; failures: %v %v; notes: %v", result.End, result.Seconds, t.OK, t.Failed, result.Errors, result.Notes)
	}
	return float64(result.Total.Good) / result.Total.Seconds, nil
}

func openPlan(addr string, rate float64, length time.Duration) load.Plan {
	plan := planFor(addr)
	plan.Connections = connections
	plan.Open = schedule.Constant(rate, length)
	return plan
}

func planFor(addr string) load.Plan {
	plan := load.DefaultPlan()
	plan.Target = "http://" + addr
	plan.Timeout = load.Duration(patience)
	plan.Seed = 1
	plan.Scenarios = []load.Scenario{{Name: "predict", Steps: []load.Step{{
		Name: "predict", Method: http.MethodPost, Path: "/v1/predict", Body: "{" + strings.Repeat(" ", 512) + "}",
	}}}}
	return plan
}

func ms(ns int64) float64 { return float64(ns) / 1e6 }
