//go:build linux

package soak

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/load/schedule"
)

// TestOverloadIsShedAndOver: bursts of single rows by 10 and by 200 callers, and then more than the process can do, by a
// schedule that does not wait for it. What it cannot do it refuses, and what it accepts it does; when the load is over,
// so is the overload.
//
// A single row costs less to score than to receive, so a flood of them waits in the sockets and is never refused. To come
// beyond what the process can do at the place that refuses, callers send batches, for one slot and a short queue.
func TestOverloadIsShedAndOver(t *testing.T) {
	needsTime(t)
	burst, measure, beyond := 1500*time.Millisecond, 2*time.Second, 3*time.Second
	if long() {
		burst, measure, beyond = 90*time.Second, 15*time.Second, 90*time.Second
	}
	const (
		think     = 100 * time.Millisecond
		timeout   = 2 * time.Second // of callers, who tell it the server where it is to help
		callers   = 200
		witnesses = 8
		rows      = 4000
	)
	p := up(t, "DOUGONG_INFERENCE_SLOTS=1", "DOUGONG_INFERENCE_QUEUE=32")
	p.throttle()
	scraped := parseMetrics(p.look(p.admin + "/metrics"))
	b := boundsFor(callers+witnesses+4, int(scraped["go_goroutines"]), runtime.NumCPU())
	stopWatch := p.watch(b)
	tb := newTable()

	var refusals, unknown uint64
	note := func(result *load.Result) {
		refusals += refused(&result.Total)
		unknown += result.Total.Status["504"] + result.Total.Failed[load.ClassTimeout]
	}
	for _, n := range []int{10, callers} {
		plan := users(n, think, burst, timeout)
		plan.Rows = load.Rows{File: miniCases, Order: load.RowsSequential}
		plan.Scenarios = []load.Scenario{{Steps: []load.Step{predictStep(
			`{"model":"loan-mini","input":[{{int_rate|json}},{{revol_util|json}}]}`, fmt.Sprintf("json $.output[0] == {{expected}} ± %g", tolerance))}}}
		name := fmt.Sprintf("%d callers", n)
		result := p.run(name, plan)
		tb.add(name, &result.Total, result.LateSeconds)
		note(result)
	}

	// What it can do: 16 callers keep its slot busy and its queue from being full.
	q := miniQuestion(t, rows)
	scenario := []load.Scenario{{Steps: []load.Step{q.step(timeout)}}}
	plan := users(16, 0, measure, timeout)
	plan.Scenarios = scenario
	result := p.run("capacity", plan)
	tb.add("capacity", &result.Total, result.LateSeconds)
	note(result)
	capacity := float64(result.Total.OK) / result.Total.Seconds

	// An eighth of that, twenty times as much, and an eighth again.
	overload := 2.5
	if p.quota == nil {
		overload = 1.5 // the generator is on the same processors, and must leave the process what it had
	}
	quiet := capacity * overload / 20
	plan = load.DefaultPlan()
	plan.Open = &schedule.Spec{Stages: []schedule.Stage{
		{Name: "quiet", Length: load.Duration(time.Second), From: quiet, To: quiet},
		{Name: "20 times that", Length: load.Duration(beyond), From: 20 * quiet, To: 20 * quiet},
		{Name: "quiet again", Length: load.Duration(2 * time.Second), From: quiet, To: quiet},
	}}
	plan.Connections, plan.Timeout, plan.Drain, plan.Scenarios = callers, load.Duration(timeout), load.Duration(timeout), scenario
	stopWitnesses := p.witnesses(witnesses, q, timeout)
	result = p.run("beyond", plan)
	seen := stopWitnesses()
	note(result)
	for i := range result.Stages {
		tb.add(result.Stages[i].Name, &result.Stages[i].Window, lateWithin(result, &result.Stages[i]))
	}
	judgeShedding(t, result, capacity, timeout)
	if seen.ends[shed] == 0 {
		t.Errorf("no witness was refused: %v", seen.ends)
	}

	// The next request is served at once.
	if end, err := miniQuestion(t, 1).ask(p.ctx, prober, p.http, probeWithin); err != nil || end != right {
		t.Errorf("a request afterwards: %s %v", end, err)
	}
	p.account(scraped, refusals+uint64(seen.ends[shed]), unknown+uint64(seen.ends[expired]))
	w := stopWatch()
	p.holds()
	p.stop()
	t.Logf("bursts of single rows, then batches of %d rows:\n%s%s\nwitnesses: %v", rows, tb, summary(w, b), seen.ends)
}

// judgeShedding judges the three stages of a run that goes beyond the capacity in the second.
func judgeShedding(t *testing.T, result *load.Result, capacity float64, deadline time.Duration) {
	t.Helper()
	over := &result.Stages[1]
	if refused(&over.Window) == 0 {
		t.Fatalf("nothing was refused of %d requests, %.0f a second where %.0f can be done", over.Due, over.Rate, capacity)
	}
	// Those who are refused know it before they would have had an answer, and long before they give up.
	typical, late := time.Duration(over.Rejected.Quantile(0.5)), time.Duration(over.Rejected.Quantile(0.9))
	if answer := time.Duration(over.Latency.Quantile(0.5)); late > deadline/2 || typical > answer {
		t.Errorf("refusals took %v at the median and %v at p90; right answers %v at the median, and callers wait %v", typical, late, answer, deadline)
	}
	// Refusing costs something, too. Half of the capacity is what has to be left of it.
	if goodput := float64(over.OK) / over.Seconds; goodput < capacity/2 {
		t.Errorf("%.0f right answers a second beyond the capacity, %.0f at it", goodput, capacity)
	}
	// A second after the load nothing of it is left. An interval is a second here, or a few in a long run.
	end, checked := over.From+over.Seconds+1, uint64(0)
	for i := range result.Intervals {
		if in := &result.Intervals[i]; in.From >= end {
			checked += in.OK
			if in.Failures() > 0 {
				t.Errorf("%d of %d requests failed %.0f s after the overload: %v", in.Failures(), in.Due, in.From-end+1, in.Failed)
			}
		}
	}
	if checked == 0 {
		t.Errorf("nothing was answered after the overload")
	}
}

func lateWithin(result *load.Result, stage *load.Stage) (seconds float64) {
	for i := range result.Intervals {
		if in := &result.Intervals[i]; in.Late && in.From >= stage.From && in.From < stage.From+stage.Seconds {
			seconds += in.Seconds
		}
	}
	return seconds
}

// step asks the question with a deadline. It looks at the first and the last row and some between; witnesses look at
// all of them.
func (q question) step(deadline time.Duration) load.Step {
	var checks []string
	for _, row := range []int{0, len(q.want) / 3, len(q.want) - 1} {
		checks = append(checks, fmt.Sprintf("json $.outputs[%d][0] == %v ± %g", row, q.want[row], tolerance))
	}
	step := predictStep(strings.ReplaceAll(q.body, "{{", "{{{{"), checks...)
	step.Headers = map[string]string{"X-Request-Timeout": deadline.String()}
	return step
}
