//go:build linux

package soak

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/dougong-io/dougong/prove/load"
)

// TestSoakLeavesNothingBehind: 200 callers without a pause and five scrapers that read a byte a second, on a fifth
// of a processor. The process lives, answers rightly, stays within bounds, and is afterwards what it was before.
func TestSoakLeavesNothingBehind(t *testing.T) {
	needsTime(t)
	length := 16 * time.Second // 20 with the warm-ups
	if long() {
		length = 2 * time.Minute
	}
	const callers, scrapers, witnesses = 200, 5, 2
	p := up(t)

	plan := users(callers, 0, 0, 10*time.Second)
	plan.Rows = load.Rows{File: loanCases, Order: load.RowsSequential}
	plan.Scenarios = []load.Scenario{loanScenario("loan-lite", "lite", 3), loanScenario("loan-default", "full", 1)}
	tb := newTable()
	scraped := parseMetrics(p.look(p.admin + "/metrics"))
	b := boundsFor(callers+scrapers+witnesses+4, int(scraped["go_goroutines"]), runtime.NumCPU())
	var refusals uint64
	hold := func(name string, length time.Duration) (watched, testimony) {
		stopScrapers := p.slowScrapers(scrapers)
		stopWatch := p.watch(b)
		stopWitnesses := p.witnesses(witnesses, miniQuestion(t, 1), 0)
		plan.Closed.Duration = load.Duration(length)
		result := p.run(name, plan)
		seen := stopWitnesses()
		w := stopWatch()
		stopScrapers()
		tb.add(name, &result.Total, result.LateSeconds)
		refusals += refused(&result.Total) + uint64(seen.ends[shed])
		return w, seen
	}
	// What a process keeps for good it gets in its first seconds: pools, grown buffers and maps, the runtime's own
	// tables. Some of that comes with many requests, some with many at a time, which a throttled process has.
	hold("warm-up", 2*time.Second)
	p.throttle()
	hold("warm-up again", 2*time.Second)
	before := p.settled()
	w, seen := hold("soak", length)
	p.account(scraped, refusals, 0)

	after := p.back(before)
	if end, err := miniQuestion(t, 1).ask(p.ctx, prober, p.http, 0); err != nil || end != right {
		t.Errorf("a request afterwards: %s %v", end, err)
	}
	p.holds()
	p.stop()
	t.Logf("%d callers, %d scrapers at a byte a second:\n%s%s\nwitnesses: %v\nmemory collected: %v before, %v after",
		callers, scrapers, tb, summary(w, b), seen.ends, before, after)
}

// loanScenario asks one of the models of loans for rows of the reference data.
func loanScenario(model, column string, weight float64) load.Scenario {
	step := predictStep(`{"model":"`+model+`","input":[{{funded_amnt..state_WY|json}}]}`, fmt.Sprintf("json $.output[0] == {{%s}} ± %g", column, tolerance))
	return load.Scenario{Name: model, Weight: weight, Steps: []load.Step{step}}
}

// account compares the refusals that callers got since a scrape with those that the limit of the service counts:
// whatever else answers 503 shows as a difference. unknown callers do not know what became of their request.
func (p *process) account(since metrics, refused, unknown uint64) {
	p.t.Helper()
	counted := parseMetrics(p.look(p.admin+"/metrics")).refusals() - since.refusals()
	if refused > counted || counted > refused+unknown {
		p.t.Errorf("callers got %d refusals, and %d know nothing; the limit of the service counts %d", refused, unknown, counted)
	}
}
