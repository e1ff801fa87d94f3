//go:build unix

package etcd

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/adapters/etcd"
)

func TestChangeTakesEffectWithinATenthOfASecond(t *testing.T) {
	s, c := running(t)
	put(t, c, key, 1000)
	config := etcd.DefaultConfig()
	config.Endpoints = []string{s.Endpoint()}
	f := follow(t, config, false)
	f.waitFor(key, 1000)
	put(t, c, key, 1001) // etcd may hold the first change of a new stream back for 100 ms
	f.waitFor(key, 1001)
	took := make([]time.Duration, 200)
	for i := range took {
		began := time.Now()
		put(t, c, key, i+2000)
		f.waitFor(key, i+2000)
		f.mu.Lock()
		took[i] = f.applied[key].Sub(began)
		f.mu.Unlock()
	}
	slices.Sort(took)
	p50, p99 := took[len(took)/2-1], took[len(took)*99/100-1]
	t.Logf("from before the put to after the apply, %d changes: p50 %v, p99 %v, max %v", len(took), p50, p99, took[len(took)-1])
	// The tail belongs to the machine and its disk; half of the changes must be fast on any.
	if p50 > 100*time.Millisecond {
		t.Errorf("half of the changes took more than %v, want at most 100 ms", p50)
	}
}

func TestWhatIsRefusedLeavesTheLastGoodInForce(t *testing.T) {
	s, c := running(t)
	first := put(t, c, key, 1)
	f := follow(t, quickConfig(s), false)
	f.waitFor(key, 1)
	for _, bad := range []struct{ value, want string }{
		{"{", "unexpected end"},
		{`{"number":-1}`, "number: must be at least 0"},
		{`{"number":13}`, "panic: bad luck"},
		{`{"number":2}` + strings.Repeat(" ", 64<<10), "max_value_bytes"},
		{"", "unexpected end"},
	} {
		revision := put(t, c, key, bad.value)
		f.waitKey(key, func(k etcd.KeyStatus) bool {
			return k.Refused == revision && k.Revision == first && strings.Contains(k.Error, bad.want)
		})
		if got := f.now()[key]; got != 1 {
			t.Fatalf("%q: %d is in force, want 1", bad.value, got)
		}
	}
	revision := put(t, c, key, 2)
	f.waitFor(key, 2)
	f.waitKey(key, func(k etcd.KeyStatus) bool { return k.Revision == revision && k.Refused == 0 && k.Error == "" })
	if got := f.source.Status().LastError; !strings.Contains(got, key) {
		t.Errorf("the last error is %q", got)
	}
}

func TestDeletionIsToldToThoseWhoAsk(t *testing.T) {
	s, c := running(t)
	put(t, c, key, 1)
	put(t, c, "each/a", 2)
	put(t, c, "unbound", 3)
	stays, goes := follow(t, quickConfig(s), false), follow(t, quickConfig(s), true)
	for _, f := range []*follower{stays, goes} {
		f.waitFor("a", 2)
		f.waitFor(key, 1)
	}
	remove(t, c, key)
	remove(t, c, "each/a")
	remove(t, c, "unbound")
	goes.wait("deletions", func() bool { return slices.Equal(goes.deleted, []string{key, "a"}) })
	goes.wait("no key", func() bool { return len(goes.source.Status().Keys) == 0 })
	stays.waitKey("each/a", func(k etcd.KeyStatus) bool { return k.Absence == etcd.Deleted })
	stays.waitKey(key, func(k etcd.KeyStatus) bool { return k.Absence == etcd.Deleted })
	if got := stays.now(); got[key] != 1 || got["a"] != 2 {
		t.Errorf("in force is %v, want what it was", got)
	}
	// The same value again is news to who forgot it.
	put(t, c, key, 1)
	goes.waitFor(key, 1)
	stays.waitKey(key, func(k etcd.KeyStatus) bool { return k.Absence == "" })
}

func TestDeletionIsSeenAfterBeingAway(t *testing.T) {
	for name, compacted := range map[string]bool{"with the changes there": false, "with the changes compacted": true} {
		t.Run(name, func(t *testing.T) {
			s, c := running(t)
			config := quickConfig(s)
			config.Cache = cacheIn(t)
			put(t, c, key, 1)
			put(t, c, "each/a", 2)
			f := follow(t, config, true)
			f.waitFor("a", 2)
			f.stop()
			remove(t, c, key)
			revision := put(t, c, "each/a", 3)
			if compacted {
				compact(t, c, revision)
			}
			f = follow(t, config, true)
			f.waitFor("a", 3)
			if !compacted {
				f.wait("deletion", func() bool { return slices.Equal(f.deleted, []string{key}) })
				return
			}
			f.wait("missing", func() bool { return slices.Equal(f.missing, []string{"/dougong/" + key}) })
			f.waitConnected(true)
			if got := f.now(); got[key] != 1 {
				t.Errorf("in force is %v: etcd told of no deletion", got)
			}
			put(t, c, key, 4)
			f.waitFor(key, 4)
		})
	}
}

// TestDeletionAfterACompactionIsSeen: a compaction takes the changes before it, not those since.
func TestDeletionAfterACompactionIsSeen(t *testing.T) {
	s, c := running(t)
	config := quickConfig(s)
	config.Cache = cacheIn(t)
	put(t, c, key, 1)
	put(t, c, "each/a", 2)
	f := follow(t, config, true)
	f.waitFor("a", 2)
	f.stop()
	remove(t, c, "each/a")
	compact(t, c, put(t, c, "unbound", 0))
	remove(t, c, key)
	put(t, c, "unbound", 1) // the last change is seen in any case
	f = follow(t, config, true)
	f.wait("deletion", func() bool { return slices.Equal(f.deleted, []string{key}) })
	f.wait("missing", func() bool { return slices.Equal(f.missing, []string{"/dougong/each/a"}) })
}

// TestCacheKnowsHowFarItFollowed, also where nothing below the prefix had changed for long.
func TestCacheKnowsHowFarItFollowed(t *testing.T) {
	s, c := running(t)
	config := quickConfig(s)
	config.Cache = cacheIn(t)
	put(t, c, key, 1)
	f := follow(t, config, true)
	f.waitFor(key, 1)
	var revisions []int64
	for range 3 { // each check but the first tells that the sign of life before it came
		r, err := c.Put(t.Context(), "/elsewhere", "")
		if err != nil {
			t.Fatal(err)
		}
		f.wait("a check", func() bool { return f.source.Status().Revision >= r.Header.Revision })
		revisions = append(revisions, r.Header.Revision)
	}
	f.stop()
	compact(t, c, revisions[0])
	remove(t, c, key)
	put(t, c, "unbound", 0) // the last change is seen in any case
	f = follow(t, config, true)
	f.wait("deletion", func() bool { return slices.Equal(f.deleted, []string{key}) })
}

func TestValueOfADeletedKeyEndsWithTheProcess(t *testing.T) {
	s, c := running(t)
	config := quickConfig(s)
	config.Cache = cacheIn(t)
	put(t, c, key, 1)
	put(t, c, "each/a", 2)
	f := follow(t, config, false)
	f.waitFor("a", 2)
	remove(t, c, key)
	f.waitKey(key, func(k etcd.KeyStatus) bool { return k.Absence == etcd.Deleted })
	f.stop()
	f = follow(t, config, false)
	<-f.source.Settled()
	if got := f.now(); !maps.Equal(got, map[string]int{"a": 2}) {
		t.Errorf("in force is %v", got)
	}
}

func TestKeysAreBounded(t *testing.T) {
	s, c := running(t)
	config := quickConfig(s)
	config.MaxKeys = 50
	long := strings.Repeat(" ", 60<<10) // several answers
	for i := range 70 {
		put(t, c, fmt.Sprintf("each/%02d", i), fmt.Sprintf(`{"number":%d}%s`, i+100, long))
	}
	f := follow(t, config, true)
	f.waitConnected(true)
	if got := len(f.now()); got != 50 {
		t.Fatalf("%d keys are in force, want 50", got)
	}
	f.wait("told", func() bool {
		return slices.ContainsFunc(f.failures, func(err error) bool { return strings.Contains(err.Error(), "max_keys") })
	})
	put(t, c, "each/70", 1)
	put(t, c, "each/07", 7)
	f.waitFor("07", 7)
	if got := f.now(); len(got) != 50 || got["07"] != 7 {
		t.Errorf("in force are %v", got)
	}
	remove(t, c, "each/08")
	f.wait("deletion", func() bool { return len(f.inForce) == 49 })
	put(t, c, "each/70", 70)
	f.waitFor("70", 70)
	// Without hooks, what was deleted makes room too.
	f = follow(t, config, false)
	f.wait("settled", func() bool { return len(f.inForce) == 50 })
	for i := range 30 {
		remove(t, c, fmt.Sprintf("each/%02d", i))
	}
	f.waitKey("each/29", func(k etcd.KeyStatus) bool { return k.Absence == etcd.Deleted })
	for i := range 30 {
		name := fmt.Sprintf("x%02d", i)
		put(t, c, "each/"+name, i)
		if i < 28 && i != 13 { // 13 is refused, and the last two are too many again
			f.waitFor(name, i)
		}
	}
	if got := len(f.source.Status().Keys); got != 50 {
		t.Errorf("the status tells of %d keys, want 50", got)
	}
}
