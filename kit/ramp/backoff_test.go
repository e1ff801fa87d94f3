package ramp

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/internal/seeded"
)

func TestWaitsGrowUpToTheLongest(t *testing.T) {
	b := Backoff{First: time.Second, Factor: 2, Most: time.Minute}
	for attempt, want := range map[int]time.Duration{
		-5: time.Second, 0: time.Second, 1: 2 * time.Second, 5: 32 * time.Second, 6: time.Minute, 7: time.Minute, 5000: time.Minute, math.MaxInt: time.Minute,
	} {
		if got := b.Delay(attempt, math.MaxUint64); got != want {
			t.Errorf("attempt %d waits %v, want %v", attempt, got, want)
		}
	}
}

func TestJitterShortensAWaitByItsPartAtMost(t *testing.T) {
	seeded.Each(t, 100, func(t *testing.T, rnd *rand.Rand) {
		b := Backoff{First: time.Duration(1 + rnd.Int64N(1e12)), Factor: 1 + rnd.Float64()*3, Jitter: rnd.Float64()}
		b.Most = b.First * time.Duration(1+rnd.IntN(100))
		plain := b
		plain.Jitter = 0
		var sum float64
		for range 1000 {
			attempt := rnd.IntN(20)
			full, got := plain.Delay(attempt, 0), b.Delay(attempt, rnd.Uint64())
			if got > full || float64(got) < float64(full)*(1-b.Jitter)-1 {
				t.Fatalf("%+v: attempt %d waits %v, without jitter %v", b, attempt, got, full)
			}
			sum += float64(full-got) / float64(full)
		}
		if mean := sum / 1000; math.Abs(mean-b.Jitter/2) > 0.1*b.Jitter+1e-3 {
			t.Errorf("%+v: waits are %v shorter on average, want half the jitter", b, mean)
		}
	})
}

func TestOnlyALongHealthyTimeStartsTheWaitsAnew(t *testing.T) {
	b := Backoff{Calm: time.Minute}
	for _, test := range []struct {
		attempt int
		healthy time.Duration
		want    int
	}{{-1, 0, 0}, {-1, time.Hour, 0}, {0, 0, 1}, {3, time.Minute - 1, 4}, {3, time.Minute, 0}, {math.MaxInt, 0, math.MaxInt32}} {
		if got := b.Next(test.attempt, test.healthy); got != test.want {
			t.Errorf("after attempt %d and %v: %d, want %d", test.attempt, test.healthy, got, test.want)
		}
	}
	if (Backoff{}).Next(3, 0) != 4 {
		t.Error("without calm, what was never healthy began anew")
	}
}

// FuzzDelay holds that any backoff, valid or not, gives a wait from 0 to Most.
func FuzzDelay(f *testing.F) {
	f.Add(int64(time.Second), 2.0, int64(time.Minute), 0.2, 3, uint64(1))
	f.Add(int64(math.MaxInt64), math.Inf(1), int64(math.MaxInt64), math.NaN(), math.MaxInt, uint64(math.MaxUint64))
	f.Add(int64(-1), -1.0, int64(-1), -1.0, -1, uint64(0))
	f.Fuzz(func(t *testing.T, first int64, factor float64, most int64, jitter float64, attempt int, random uint64) {
		b := Backoff{First: time.Duration(first), Factor: factor, Most: time.Duration(most), Jitter: jitter}
		got := b.Delay(attempt, random)
		if got < min(0, b.Most) || got > max(0, b.Most) {
			t.Errorf("%+v, attempt %d: %v", b, attempt, got)
		}
		if b.Validate() == nil && got > b.Most {
			t.Errorf("%+v, attempt %d: %v", b, attempt, got)
		}
	})
}
