package clock

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestManualMovesOnlyWhenTold(t *testing.T) {
	m := NewManual()
	c := m.Clock()
	if c.Now() != 0 {
		t.Fatal(c.Now())
	}
	m.Advance(3 * time.Second)
	m.Advance(0)
	if c.Now() != 3*time.Second {
		t.Fatal(c.Now())
	}
	defer func() {
		if recover() == nil {
			t.Error("went back")
		}
	}()
	m.Advance(-1)
}

func TestExactClockShowsTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Exact()
		time.Sleep(time.Hour)
		if c.Now() != time.Hour {
			t.Error(c.Now())
		}
	})
}

func TestCoarseClockIsExactWhileFewRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewCoarse(Resolution)
		for i := range 1000 {
			if want := time.Duration(i) * 2 * time.Millisecond; k.Clock().Now() != want {
				t.Fatalf("reading %d is %v, want %v", i, k.Clock().Now(), want)
			}
			time.Sleep(2 * time.Millisecond)
		}
		if k.Lag() != 0 {
			t.Errorf("lag %v although nothing was coarse", k.Lag())
		}
	})
}

func TestCoarseClockIsBehindByItsResolutionAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewCoarse(Resolution)
		exact := Exact()
		coarse := 0
		for range 100_000 {
			time.Sleep(10 * time.Microsecond)
			behind := exact.Now() - k.Clock().Now()
			if behind < 0 || behind > Resolution {
				t.Fatalf("behind by %v", behind)
			}
			if behind > 0 {
				coarse++
			}
		}
		if coarse < 80_000 {
			t.Errorf("only %d of 100,000 readings were saved", coarse)
		}
		time.Sleep(Resolution - time.Microsecond) // the lag of now counts, before the tick that ends it
		if lag := k.Lag(); lag > Resolution || lag < Resolution/2 {
			t.Errorf("lag %v", lag)
		}
		time.Sleep(time.Hour)
		if k.Lag() != Resolution {
			t.Errorf("lag %v", k.Lag())
		}
	})
}

func TestCoarseClockSleepsWhenNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewCoarse(Resolution)
		for range 3 * sample {
			k.Clock().Now()
		}
		awake := func() bool { k.mu.Lock(); defer k.mu.Unlock(); return k.ticks > 0 }
		if !awake() {
			t.Fatal("asleep")
		}
		time.Sleep(time.Hour)
		if awake() || k.Clock().Now() != time.Hour {
			t.Fatalf("awake or late: %v", k.Clock().Now())
		}
	})
}

func TestNoReaderSeesTimeGoBack(t *testing.T) {
	k := NewCoarse(time.Millisecond)
	stop := time.Now().Add(200 * time.Millisecond)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			last := k.Clock().Now()
			for time.Now().Before(stop) {
				for range 100 {
					now := k.Clock().Now()
					if now < last {
						t.Errorf("%v after %v", now, last)
						return
					}
					last = now
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkExact(b *testing.B) {
	c := Exact()
	for b.Loop() {
		c.Now()
	}
}

func BenchmarkCoarse(b *testing.B) {
	c := NewCoarse(Resolution).Clock()
	for b.Loop() {
		c.Now()
	}
}
