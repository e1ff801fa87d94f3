package ramp

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/internal/seeded"
)

// chaos does everything that callers may do, in random order, beside a simple model of what is allowed.
type chaos struct {
	*bench
	rnd     *rand.Rand
	config  Config
	now     time.Duration
	permits []Permit
	probes  []Permit // those let in, until the model knows them ended
	ended   map[*call]bool
	seen    int   // changes checked
	stage   Stage // after these
}

func randomConfig(rnd *rand.Rand) Config {
	random := func(most time.Duration) time.Duration { return time.Duration(1 + rnd.Int64N(int64(most))) }
	c := Config{
		Backoff: Backoff{First: random(time.Second), Factor: 1 + rnd.Float64()*2, Jitter: rnd.Float64(), Calm: random(10 * time.Second)},
		Probing: Probing{Successes: rnd.IntN(4), AtOnce: 1 + rnd.IntN(4), Timeout: random(2 * time.Second)},
	}
	c.Backoff.Most = c.Backoff.First + random(5*time.Second)
	if rnd.IntN(3) > 0 {
		c.Probing.UnmarkedAfter = random(time.Second)
	}
	for share := rnd.Float64() / 4; share > 0 && share < 1 && rnd.IntN(6) > 0; share += rnd.Float64() / 4 {
		c.Schedule.Steps = append(c.Schedule.Steps, Step{share, random(time.Second)})
	}
	if rnd.IntN(2) == 0 {
		c.Relapse.Of = 1 + rnd.IntN(100)
		c.Relapse.Failures = rnd.IntN(c.Relapse.Of)
	}
	return c
}

func (c *chaos) advance(d time.Duration) {
	c.clock.Advance(d)
	c.now += d
}

func (c *chaos) step() {
	switch n := c.rnd.IntN(100); {
	case n < 45:
		c.allow(Call{Hash: c.rnd.Uint64(), Marked: c.rnd.IntN(3) == 0})
	case n < 75:
		c.done(c.rnd.IntN(10) > 0, c.rnd.IntN(3) == 0)
	case n < 94:
		c.advance(time.Duration(c.rnd.Int64N(int64(50 * time.Millisecond))))
	case n < 95:
		c.advance(time.Duration(c.rnd.Int64N(int64(5 * time.Second))))
	case n < 96:
		if len(c.permits) > 0 { // abandoned
			c.permits = c.permits[1:]
		}
	case n < 97:
		c.Fall(errDown)
	case n < 99:
		c.status()
	case c.rnd.IntN(20) == 0:
		c.config = randomConfig(c.rnd)
		if err := c.SetConfig(c.config); err != nil {
			c.Fatal(err)
		}
	case c.rnd.IntN(100) == 0:
		c.advance(24 * time.Hour)
	}
}

func (c *chaos) allow(call Call) {
	p, err := c.Allow(call)
	st := c.state.Load()
	if rejected, ok := errors.AsType[*RejectedError](err); err != nil && (!ok || rejected.Stage != st.stage || rejected.RetryAfter < 0) {
		c.Fatalf("%v while %s", err, st.stage)
	}
	switch st.stage {
	case Full:
		if err != nil || st.share != 1 {
			c.Fatalf("full, and %v at share %v", err, st.share)
		}
	case Waiting:
		if err == nil {
			c.Fatal("passed while waiting")
		}
	case Rising:
		if (err == nil) != Admits(call.Hash, st.share) {
			c.Fatalf("hash %#x at share %v: %v", call.Hash, st.share, err)
		}
	case Testing:
		if err == nil {
			c.probe(p)
		}
	}
	if err == nil {
		c.permits = append(c.permits, p)
	}
}

// probe counts the test calls in flight with the new one: those neither done nor past their time.
func (c *chaos) probe(p Permit) {
	c.probes = slices.DeleteFunc(c.probes, func(p Permit) bool {
		gone := c.ended[p.call] || p.call.deadline <= c.now
		if gone {
			delete(c.ended, p.call)
		}
		return gone
	})
	c.probes = append(c.probes, p)
	if n, most := len(c.probes), c.config.Probing.AtOnce; n > most {
		c.Fatalf("%d test calls at once, %d are allowed", n, most)
	}
}

// done ends a permit, and keeps it for another Done if again.
func (c *chaos) done(ok, again bool) {
	if len(c.permits) == 0 {
		return
	}
	i := c.rnd.IntN(len(c.permits))
	p := c.permits[i]
	before := c.Status()
	spent := p.call == nil || p.call.done
	old := p.call != nil && (p.call.epoch != c.state.Load().epoch || p.call.deadline <= c.now)
	p.Done(ok)
	if p.call != nil && p.call.test {
		c.ended[p.call] = true
	}
	after := c.Status()
	if spent && after != before {
		c.Fatalf("a second Done changed\n%+v to\n%+v", before, after)
	}
	if old && !spent && (after.Late != before.Late+1 || after.Stage != before.Stage || after.Successes != before.Successes || after.Falls != before.Falls) {
		c.Fatalf("a late Done changed\n%+v to\n%+v", before, after)
	}
	if !again {
		c.permits = slices.Delete(c.permits, i, i+1)
	}
}

// status checks the picture and the changes since the last time.
func (c *chaos) status() {
	s := c.Status()
	if s.Stage == Waiting && s.Next > c.config.Backoff.Most {
		c.Fatalf("waits for %v: %+v", s.Next, c.config.Backoff)
	}
	if s.For < 0 || s.Next < 0 || s.Share < 0 || s.Share > 1 || (s.Share == 1) != (s.Stage == Full) || (s.Share > 0) != (s.Stage == Rising || s.Stage == Full) {
		c.Fatalf("impossible: %+v", s)
	}
	legal := map[Stage][]Stage{Full: {Waiting}, Waiting: {Testing, Rising, Full}, Testing: {Waiting, Rising, Full}, Rising: {Rising, Full, Waiting}}
	for _, change := range c.told.changes {
		if change.From != c.stage {
			c.Fatalf("change %+v after %s", change, c.stage)
		}
		if !slices.Contains(legal[change.From], change.To) || change.Number != uint64(c.seen+1) || (change.Cause != nil) != (change.To == Waiting) {
			c.Fatalf("illegal change number %d: %+v", c.seen+1, change)
		}
		c.stage = change.To
		c.seen++
	}
	c.told.changes = c.told.changes[:0]
}

// recovers checks that healthy traffic leads back to everything within the time that the configuration gives.
func (c *chaos) recovers() {
	marked := c.config.Probing.UnmarkedAfter == 0                                   // or nobody could
	bound := c.config.Backoff.Most + c.config.Probing.UnmarkedAfter + 2*time.Second /* the longest Timeout of abandoned test calls */
	for _, step := range c.config.Schedule.Steps {
		bound += step.For
	}
	const tick = 10 * time.Millisecond
	for end := c.now + bound + 20*tick; c.now < end; c.advance(tick) {
		p, err := c.Allow(Call{Hash: c.rnd.Uint64(), Marked: marked})
		if err == nil {
			if c.state.Load().stage == Testing {
				c.probe(p)
				c.ended[p.call] = true
			}
			p.Done(true)
		}
		if c.state.Load().full {
			return
		}
	}
	c.Fatalf("wedged: %+v\nafter %v with %+v", c.Status(), bound, c.config)
}

// TestRandomSchedulesNeverWedge holds that whatever callers do, no more test calls run than are allowed, no late
// or repeated result counts, and healthy traffic always leads back to everything.
func TestRandomSchedulesNeverWedge(t *testing.T) {
	const each = 20_000
	stages := map[Stage]int{}
	seeded.Each(t, max(1, *stepsFlag/each), func(t *testing.T, rnd *rand.Rand) {
		config := randomConfig(rnd)
		c := &chaos{bench: newBench(t, config), rnd: rnd, config: config, ended: map[*call]bool{}, stage: Full}
		c.random = rnd.Uint64
		for i := range each {
			c.step()
			stages[c.state.Load().stage]++
			if i%2000 == 1999 {
				c.status()
				c.recovers()
			}
		}
	})
	for _, stage := range []Stage{Full, Waiting, Testing, Rising} {
		if stages[stage] < each/20 {
			t.Errorf("only %d steps while %s: this tests little", stages[stage], stage)
		}
	}
	t.Logf("steps by stage: %v", stages)
}
