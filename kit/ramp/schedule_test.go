package ramp

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/internal/seeded"
)

func TestScheduleGoesThroughItsStepsToTheEnd(t *testing.T) {
	s := Schedule{Steps: []Step{{0.1, time.Second}, {0.5, 2 * time.Second}, {0.5, time.Second}}}
	for since, want := range map[time.Duration]string{
		-time.Hour: "0.1 false", 0: "0.1 false", time.Second - 1: "0.1 false", time.Second: "0.5 false", 4*time.Second - 1: "0.5 false",
		4 * time.Second: "1 true", math.MaxInt64: "1 true",
	} {
		share, done := s.Share(since)
		if got := fmt.Sprint(share, done); got != want {
			t.Errorf("after %v: %s, want %s", since, got, want)
		}
	}
	if share, done := (Schedule{}).Share(0); share != 1 || !done {
		t.Errorf("without steps: %v %v", share, done)
	}
	endless := Schedule{Steps: []Step{{0.1, math.MaxInt64}, {0.2, math.MaxInt64}}}
	if share, _ := endless.Share(math.MaxInt64); share != 0.2 {
		t.Errorf("endless: %v", share)
	}
}

func TestWhoIsAdmittedStaysAdmitted(t *testing.T) {
	seeded.Each(t, 20, func(t *testing.T, rnd *rand.Rand) {
		for range 10_000 {
			hash, a, b := rnd.Uint64(), rnd.Float64(), rnd.Float64()
			if Admits(hash, min(a, b)) && !Admits(hash, max(a, b)) {
				t.Fatalf("%#x is admitted at %v and not at %v", hash, min(a, b), max(a, b))
			}
		}
	})
}

func TestEdgesOfAShare(t *testing.T) {
	for _, test := range []struct {
		hash  uint64
		share float64
		want  bool
	}{
		{0, 0, false}, {0, -1, false}, {0, math.NaN(), false}, {0, 1e-300, false}, {0, 1e-19, true}, {1 << 63, 0.5, false}, {1<<63 - 1, 0.5, true},
		{math.MaxUint64, 1, true}, {math.MaxUint64, 2, true}, {math.MaxUint64, math.Nextafter(1, 0), false},
	} {
		if got := Admits(test.hash, test.share); got != test.want {
			t.Errorf("%#x at %v: %v", test.hash, test.share, got)
		}
	}
}

// The golden values are those of every version: a change would let in other users after an update.
func TestHashNeverChanges(t *testing.T) {
	for key, want := range map[string]uint64{
		"": 0xf52a15e9a9b5e89b, "a": 0x02c0bdbf481420f8, "user-1": 0xc499b5f8a721df58, "user-2": 0x4fb38f414590a87b, "斗拱": 0xd7c5a539a832b7e1,
	} {
		if got := HashString(key); got != want {
			t.Errorf("%q: %#016x, want %#016x", key, got, want)
		}
	}
}

func TestHashDoesNotAllocate(t *testing.T) {
	key, admitted := strconv.Itoa(rand.Int()), false
	if n := testing.AllocsPerRun(100, func() { admitted = admitted != Admits(HashString(key), 0.5) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Keys as people make them: they differ in few characters. The bound is what chance allows five in ten million
// times.
func TestShareOfKeysIsAsScheduled(t *testing.T) {
	const keys = 10_000
	for _, pattern := range []string{"%d", "user-%d", "%08d", "tenant/%d/model", "10.0.%d"} {
		for _, share := range []float64{0.001, 0.01, 0.05, 0.0625, 0.1, 0.125, 0.25, 0.5, 0.75, 0.999} {
			admitted := 0
			for i := range keys {
				if Admits(HashString(fmt.Sprintf(pattern, i)), share) {
					admitted++
				}
			}
			deviation := math.Abs(float64(admitted)/keys - share)
			if deviation > 5*math.Sqrt(share*(1-share)/keys) {
				t.Errorf("%s at %v: %d of %d", pattern, share, admitted, keys)
			}
			if share >= 0.05 && pattern == "user-%d" && deviation > 0.1*share {
				t.Errorf("%s at %v: %d of %d, which is not within 10 %%", pattern, share, admitted, keys)
			}
		}
	}
}

func TestRetryComesWhenTheKeyIsLetIn(t *testing.T) {
	s := Schedule{Steps: []Step{{0.1, time.Second}, {0.5, 2 * time.Second}, {0.75, time.Second}}}
	seeded.Each(t, 20, func(t *testing.T, rnd *rand.Rand) {
		for range 1000 {
			hash, since := rnd.Uint64(), time.Duration(rnd.Int64N(int64(5*time.Second)))
			wait := s.Wait(hash, since)
			if share, _ := s.Share(since + wait); !Admits(hash, share) {
				t.Fatalf("%#x is not let in after %v + %v", hash, since, wait)
			}
			if share, _ := s.Share(since + wait - 1); wait > 0 && Admits(hash, share) {
				t.Fatalf("%#x is let in before %v + %v", hash, since, wait)
			}
		}
	})
}

func BenchmarkHashString(b *testing.B) {
	key := "tenant/4711/user/1234567"
	b.ReportAllocs()
	for b.Loop() {
		HashString(key)
	}
}
