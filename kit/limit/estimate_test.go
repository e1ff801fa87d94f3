package limit

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/internal/seeded"
)

// hold feeds the estimate with holds one after the other, and returns the time after them.
func hold(e *estimate, at time.Duration, holds ...time.Duration) time.Duration {
	for _, h := range holds {
		e.add(at, at+h)
		at += h
	}
	return at
}

func steady(e *estimate, d time.Duration) time.Duration {
	at := time.Duration(0)
	for range 100 {
		at = hold(e, at, d)
	}
	return at
}

func TestTwoLongHoldsInARowAreBelieved(t *testing.T) {
	var e estimate
	at := steady(&e, time.Millisecond)
	hold(&e, at, time.Second, time.Second)
	if e.mean != time.Second {
		t.Fatalf("mean %v after two holds of 1 s", e.mean)
	}
	if e.atLeast() != 0 {
		t.Fatalf("at least %v: two holds prove nothing for those who wait", e.atLeast())
	}
}

func TestTwoLongHoldsAreForgottenWhenTheNextIsShort(t *testing.T) {
	var e estimate
	at := steady(&e, time.Millisecond)
	hold(&e, at, time.Second, time.Second, time.Millisecond)
	if e.mean > 2*time.Millisecond {
		t.Fatalf("mean %v", e.mean)
	}
}

func TestOnePauseOfManyIsOneOutlier(t *testing.T) {
	var e estimate
	at := steady(&e, 10*time.Millisecond)
	for range 64 { // all that ran when the process was stopped for 5 s
		e.add(at, at+5*time.Second)
	}
	if e.expected() > 20*time.Millisecond {
		t.Fatalf("expects %v", e.expected())
	}
}

// TestThrottlingIsSeen is about a process that may use the CPU for a part of each 100 ms: most holds are short, and
// the one that is held up is long. A rule that cuts it off sees a fraction of the time.
func TestThrottlingIsSeen(t *testing.T) {
	seeded.Each(t, 20, func(t *testing.T, rnd *rand.Rand) {
		var e estimate
		at, sum, count, seen := time.Duration(0), time.Duration(0), 0, time.Duration(0)
		used := time.Duration(0)
		for i := range 5000 {
			work := 500*time.Microsecond + time.Duration(rnd.Int64N(int64(time.Millisecond)))
			h := work
			if used += work; used > 20*time.Millisecond { // of 100 ms
				used = 0
				h += 80 * time.Millisecond
			}
			at = hold(&e, at, h)
			if i > 100 {
				sum += h
				seen += e.expected()
				count++
			}
		}
		if ratio := float64(seen) / float64(sum); ratio < 0.5 || ratio > 1.2 {
			t.Errorf("expects %.2f of the time that holds take, %v", ratio, sum/time.Duration(count))
		}
	})
}
