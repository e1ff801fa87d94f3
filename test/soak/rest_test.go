//go:build linux

package soak

import (
	"testing"
	"time"

	"github.com/dougong-io/dougong/prove/load"
)

// mostAtRest is what a process with the models of the demo may hold resident while it has nothing to do, the code that
// it maps included. 60 MB are promised; the test speaks up before they are reached.
const mostAtRest = 52_000_000

// TestMemoryAtRest reads what the system says of a process that nobody asks to collect its garbage: after the start,
// and after a load.
func TestMemoryAtRest(t *testing.T) {
	p := up(t, "DOUGONG_MEMORY_REST_AFTER=1s")
	// As a pod stands there, with probes and a scrape.
	for range 3 {
		p.look(p.admin + "/readyz")
		p.look(p.admin + "/healthz")
		time.Sleep(time.Second)
	}
	p.look(p.admin + "/metrics")
	started := p.resident()
	if started.rss > mostAtRest {
		t.Errorf("%v after the start, at most %s", started, mib(mostAtRest))
	}
	needsTime(t)
	plan := users(20, 0, 3*time.Second, 10*time.Second)
	plan.Rows = load.Rows{File: loanCases, Order: load.RowsSequential}
	plan.Scenarios = []load.Scenario{loanScenario("loan-default", "full", 1)}
	p.run("load", plan)
	loaded := p.resident()
	if loaded.rss < started.rss+12<<20 {
		t.Errorf("%v after the load, %v before: it was too little to leave something behind", loaded, started)
	}
	rested := loaded
	for end := time.Now().Add(30 * time.Second); rested.rss > mostAtRest || rested.rss > loaded.rss-8<<20; rested = p.resident() {
		if time.Now().After(end) {
			t.Errorf("%v half a minute after a load that left %v, at most %s", rested, loaded, mib(mostAtRest))
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("after the start %v\nafter a load    %v\nat rest again   %v", started, loaded, rested)
}

// resident is what the system counts of the process.
func (p *process) resident() resident {
	p.t.Helper()
	st, err := p.status()
	if err != nil {
		p.alive()
		p.t.Fatal(err)
	}
	return resident{st.rss, st.anon}
}

type resident struct{ rss, anon int64 }

func (r resident) String() string { return "RSS " + mib(r.rss) + " (" + mib(r.anon) + " without code)" }
