package clock

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

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
	for range 100 {
		m.Advance(time.Duration(rand.Int64N(1e9)))
		if c.Now() != m.Clock().Now() {
			t.Fatal(c.Now(), m.Clock().Now())
		}
	}
	if n := testing.AllocsPerRun(100, func() { c.Now() }); n != 0 {
		t.Errorf("%v allocations", n)
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
	for _, base := range []*Clock{Exact(), NewCoarse(time.Millisecond).Clock()} {
		var skew, seen atomic.Int64
		c := Skewed(base, func() time.Duration { return time.Duration(skew.Load()) })
		stop := time.Now().Add(300 * time.Millisecond)
		var wg sync.WaitGroup
		wg.Go(func() {
			for time.Now().Before(stop) {
				skew.Store(rand.Int64N(5) * int64(rand.N(200*time.Microsecond)-100*time.Microsecond))
				time.Sleep(20 * time.Microsecond)
				skew.Store(0)
				time.Sleep(time.Duration(rand.Int64N(400_000)))
			}
		})
		for range 8 {
			wg.Go(func() {
				for time.Now().Before(stop) {
					for range 100 {
						before := seen.Load()
						now := int64(c.Now())
						if now < before {
							t.Errorf("%v after %v", now, before)
							return
						}
						for old := seen.Load(); old < now && !seen.CompareAndSwap(old, now); old = seen.Load() {
						}
					}
				}
			})
		}
		wg.Wait()
	}
}

func BenchmarkSkewedOff(b *testing.B) {
	c := Skewed(NewCoarse(Resolution).Clock(), func() time.Duration { return 0 })
	for b.Loop() {
		c.Now()
	}
}
