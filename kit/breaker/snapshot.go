package breaker

import (
	"slices"
	"strings"
	"time"
)

// Status is a circuit as a console shows it. Rates are of the window, weighted when not every call is counted.
type Status struct {
	Name    string
	State   State
	For     time.Duration // since the state began
	Cause   string        // of the last transition; "" before the first
	RetryIn time.Duration // while open
	Share   float64       // of the keys that pass: 0 while open or half-open, 1 while closed
	Shed    float64       // fraction of the calls that is refused while closed
	Opened  uint64        // times that it opened

	Requests    float64 // in the window
	FailureRate float64
	SlowRate    float64
	PerSecond   float64 // calls that arrive, those that are refused included
	Sampled     float64 // share of the calls that is counted

	Counts Counts
}

// Counts are totals since the circuit was made. Those that were sampled are estimates.
type Counts struct {
	Successes, Failures, Slow float64
	Ignored, Late, Rejected   uint64
}

// Snapshot shows a circuit.
func (c *Circuit) Snapshot() Status {
	now := c.clock.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fold(now)
	if int64(now) >= c.due.Load() {
		c.measure(now)
	}
	s := Status{
		Name: c.name, State: c.state(), For: now - c.since, Cause: c.cause, Opened: c.opened,
		Shed: float64(c.shed.Load()) / all, PerSecond: c.meter.smooth, Sampled: 1 / float64(c.weight()),
		Requests: float64(c.window.sum.n), Counts: c.counts,
	}
	if s.Requests > 0 {
		s.FailureRate, s.SlowRate = float64(c.window.sum.bad)/s.Requests, float64(c.window.sum.slow)/s.Requests
	}
	switch s.State {
	case Open:
		s.RetryIn = max(0, c.until-now)
	case Rising:
		s.Share, _ = c.plan.Rise.Share(now - c.since)
	case Closed:
		s.Share = 1
	}
	s.Counts.Ignored, s.Counts.Late, s.Counts.Rejected = c.ignored.Load(), c.late.Load(), c.rejected.Load()
	return s
}

// GroupStatus is a group as a console shows it.
type GroupStatus struct {
	Circuits  []Status // by name
	Keys      int      // most that there may be
	Evicted   uint64   // since New
	Overflown uint64   // calls that passed without a circuit, since New
}

// Snapshot shows every circuit of the group. It takes the lock of each for a moment.
func (g *Group[K]) Snapshot() GroupStatus {
	g.mu.Lock()
	s := GroupStatus{Keys: g.most, Evicted: g.evicted, Overflown: g.overflown.Load()}
	circuits := make([]*Circuit, 0, g.live)
	g.each(func(e *entry[K]) { circuits = append(circuits, &e.Circuit) })
	g.mu.Unlock()
	s.Circuits = make([]Status, 0, len(circuits))
	for _, c := range circuits {
		if status := c.Snapshot(); status.State != evicted {
			s.Circuits = append(s.Circuits, status)
		}
	}
	slices.SortFunc(s.Circuits, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return s
}
