package app

import (
	"runtime"
	"testing"
	"time"
)

// restProcess is what a rest sees of a process, second by second.
type restProcess struct {
	now             time.Time
	allocated       uint64
	spareNow        uint64
	live            uint64
	rest            rest
	released        int
	looksAtTheSpare int
}

func newRestProcess(after time.Duration) *restProcess {
	p := &restProcess{now: time.Unix(1e9, 0), allocated: 1 << 40, spareNow: 20 << 20, live: 10 << 20}
	p.rest = rest{
		after:     after,
		allocated: func() uint64 { return p.allocated },
		spare:     func() (uint64, uint64) { p.looksAtTheSpare++; return p.spareNow, p.live },
		release:   func() { p.released++ },
	}
	p.rest.look(p.now)
	return p
}

// pass lets seconds go by in which so much is allocated each.
func (p *restProcess) pass(seconds int, each uint64) {
	for range seconds {
		p.now = p.now.Add(time.Second)
		p.allocated += each
		p.rest.look(p.now)
	}
}

const (
	probes  = 100 << 10
	traffic = 5 << 20
)

func TestRestReleasesOnceAfterTraffic(t *testing.T) {
	p := newRestProcess(10 * time.Second)
	steps := []struct {
		name    string
		seconds int
		each    uint64
		want    int
	}{
		{"not at rest for long enough", 9, probes, 0},
		{"at rest", 1, probes, 1},
		{"at rest for an hour", 3600, probes, 1},
		{"traffic", 60, traffic, 1},
		{"pauses in the traffic", 9, 0, 1},
		{"traffic again", 1, traffic, 1},
		{"not yet at rest again", 9, probes, 1},
		{"at rest again", 1, probes, 2},
		{"traffic soon after", 1, traffic, 2},
		{"at rest too soon after the release", 118, probes, 2},
		{"late enough", 1, probes, 3},
	}
	for _, s := range steps {
		p.pass(s.seconds, s.each)
		if p.released != s.want {
			t.Fatalf("%s: released %d times, want %d", s.name, p.released, s.want)
		}
	}
}

func TestRestReleasesOnlyWhatIsWorthIt(t *testing.T) {
	for name, c := range map[string]struct {
		spare, live uint64
		want        int
	}{
		"little":                   {restSpare - 1, 10 << 20, 0},
		"enough":                   {restSpare, 10 << 20, 1},
		"little for a large heap":  {restSpare, 1 << 30, 0},
		"a quarter of a large one": {1 << 28, 1 << 30, 1},
	} {
		p := newRestProcess(time.Second)
		p.spareNow, p.live = c.spare, c.live
		p.pass(10, 0)
		if p.released != c.want {
			t.Errorf("%s: released %d times, want %d", name, p.released, c.want)
		}
		if p.looksAtTheSpare != 1 {
			t.Errorf("%s: %d looks at the heap for one rest", name, p.looksAtTheSpare)
		}
	}
}

// TestRestCountsTheTimeThatPassed: a throttled process looks late, and then sees the allocations of a longer time.
func TestRestCountsTheTimeThatPassed(t *testing.T) {
	p := newRestProcess(10 * time.Second)
	for range 4 {
		p.now = p.now.Add(5 * time.Second)
		p.allocated += 3 << 20
		p.rest.look(p.now)
	}
	if p.released != 1 {
		t.Errorf("released %d times at 0.6 MiB a second, want once", p.released)
	}
}

func TestRestCanBeOff(t *testing.T) {
	p := newRestProcess(0)
	p.pass(1000, 0)
	if p.released != 0 {
		t.Errorf("released %d times with rest_after 0", p.released)
	}
}

func TestHeapSpareIsPlausible(t *testing.T) {
	before := heapAllocated()
	garbage := make([][]byte, 0, 32)
	for range 32 {
		garbage = append(garbage, make([]byte, 1<<20))
	}
	if got := heapAllocated() - before; got < 32<<20 {
		t.Errorf("%d bytes allocated, want 32 MiB at least", got)
	}
	spare, live := heapSpare()
	if total := spare + live; total < 32<<20 || total > 1<<32 {
		t.Errorf("spare %d and live %d, with 32 MiB held", spare, live)
	}
	runtime.KeepAlive(garbage)
}
