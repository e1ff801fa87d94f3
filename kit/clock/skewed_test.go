package clock

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "replay a random test with this seed; what the scheduler does is not replayed")

func TestSkewedClockJumpsAheadAndIsMetAgain(t *testing.T) {
	m := NewManual()
	var by time.Duration
	c := Skewed(m.Clock(), func() time.Duration { return by })
	steps := []struct{ pass, by, want time.Duration }{
		{time.Second, 0, 1 * time.Second},
		{0, 10 * time.Second, 11 * time.Second},
		{time.Second, 10 * time.Second, 12 * time.Second},
		{0, 0, 12 * time.Second},                 // ahead by 10 s: half as fast from now on
		{4 * time.Second, 0, 14 * time.Second},   // base is at 6 s
		{16 * time.Second, 0, 22 * time.Second},  // they meet at 22 s
		{time.Second, 0, 23 * time.Second},       // as before
		{0, -10 * time.Second, 23 * time.Second}, // behind: half as fast
		{8 * time.Second, -10 * time.Second, 27 * time.Second},
		{12 * time.Second, -10 * time.Second, 33 * time.Second},
		{10 * time.Second, -10 * time.Second, 43 * time.Second}, // behind by 10 s in full
		{0, 0, 53 * time.Second},
	}
	for i, step := range steps {
		m.Advance(step.pass)
		by = step.by
		if now := c.Now(); now != step.want {
			t.Fatalf("step %d: %v, not %v (base is at %v)", i, now, step.want, m.Clock().Now())
		}
	}
}

func TestSkewedClockWithoutSkewIsItsBase(t *testing.T) {
	m := NewManual()
	c := Skewed(m.Clock(), func() time.Duration { return 0 })
	for n := range 100 {
		m.Advance(time.Duration(n*n) * time.Millisecond)
		if c.Now() != m.Clock().Now() {
			t.Fatal(c.Now(), m.Clock().Now())
		}
	}
	if n := testing.AllocsPerRun(100, func() { c.Now() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSkewIsOverAfterTwiceItsTime: a minute ahead, the most that kit/fault has by default, is right again in two.
func TestSkewIsOverAfterTwiceItsTime(t *testing.T) {
	m := NewManual()
	by := time.Minute
	c := Skewed(m.Clock(), func() time.Duration { return by })
	c.Now()
	by = 0
	c.Now()
	m.Advance(2*time.Minute - time.Second)
	if c.Now() == m.Clock().Now() {
		t.Error("they have met before")
	}
	m.Advance(time.Second)
	if c.Now() != m.Clock().Now() {
		t.Error(c.Now(), m.Clock().Now())
	}
	by = -time.Minute
	m.Advance(time.Hour)
	c.Now()
	by = 0
	if c.Now() != m.Clock().Now() {
		t.Error("one that is behind is right at once:", c.Now(), m.Clock().Now())
	}
}

// TestSkewIsAnnouncedBeforeBaseIsAsked: a reader without a skew, who asks base first and then whether there is one, has
// not been shown more than the first reader with one.
func TestSkewIsAnnouncedBeforeBaseIsAsked(t *testing.T) {
	s := &skewed{by: func() time.Duration { return -time.Second }}
	s.base = &Clock{read: func() time.Duration {
		if !s.off.Load() {
			t.Error("base was asked before")
		}
		return time.Minute
	}}
	s.base.now.Store(unknown)
	if now := s.read(); now != time.Minute {
		t.Error(now)
	}
}

// TestNoReaderOfASkewedClockSeesTimeGoBack flips skews while many read: also from reader to reader, by way of what
// another has seen before.
func TestNoReaderOfASkewedClockSeesTimeGoBack(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	defer func() {
		if t.Failed() {
			t.Logf("replay with -run=%s -args -seed=%d", t.Name(), seed)
		}
	}()
	rnd := rand.New(rand.NewPCG(seed, 0))
	m := NewManual()
	for name, base := range map[string]*Clock{"exact": Exact(), "coarse": NewCoarse(time.Millisecond).Clock(), "manual": m.Clock()} {
		var skew, seen atomic.Int64
		var over atomic.Bool
		c := Skewed(base, func() time.Duration { return time.Duration(skew.Load()) })
		var flips, readers sync.WaitGroup
		flips.Go(func() {
			defer over.Store(true)
			for range 2000 {
				skew.Store(rnd.Int64N(1_000_000) - 500_000)
				m.Advance(time.Duration(rnd.Int64N(1000)))
				runtime.Gosched()
				skew.Store(0)
				m.Advance(time.Duration(rnd.Int64N(1_000_000)))
				runtime.Gosched()
			}
		})
		for range 8 {
			readers.Go(func() {
				for n := 0; !over.Load(); n++ {
					if n%20 == 0 {
						runtime.Gosched() // who flips has its turn soon
					}
					before := seen.Load()
					now := int64(c.Now())
					if now < before {
						t.Errorf("%s: %v after %v", name, now, before)
						return
					}
					for old := seen.Load(); old < now && !seen.CompareAndSwap(old, now); old = seen.Load() {
					}
				}
			})
		}
		flips.Wait()
		readers.Wait()
	}
}

func BenchmarkSkewedOff(b *testing.B) {
	c := Skewed(NewCoarse(Resolution).Clock(), func() time.Duration { return 0 })
	for b.Loop() {
		c.Now()
	}
}
