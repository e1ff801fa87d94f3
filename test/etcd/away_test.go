//go:build unix

package etcd

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/adapters/etcd"
	"github.com/dougong-io/dougong/test/testenv/etcdserver"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestKilledEtcdLeavesPoliciesInForce(t *testing.T) {
	s, c := running(t)
	put(t, c, key, 1)
	put(t, c, "each/a", 2)
	config := quickConfig(s)
	config.CheckInterval = time.Hour // the end of the connection must be enough
	f := follow(t, config, true)
	f.waitFor("a", 2)
	want := f.now()
	for round := range 3 {
		s.Kill()
		f.waitConnected(false)
		if got := f.now(); !maps.Equal(got, want) {
			t.Fatalf("round %d: in force is %v, want %v", round, got, want)
		}
		s.Start()
		f.waitConnected(true)
		if got := f.now(); !maps.Equal(got, want) {
			t.Fatalf("round %d: back, in force is %v, want %v", round, got, want)
		}
		began := time.Now()
		put(t, c, key, 100+round)
		f.waitFor(key, 100+round)
		t.Logf("round %d: the next change took %v", round, time.Since(began))
		want[key] = 100 + round
	}
	if f.deleted != nil || f.missing != nil {
		t.Errorf("told of deleted %v, missing %v", f.deleted, f.missing)
	}
}

// TestQuietEtcdIsNoFailure: a check every few milliseconds finds nothing wrong where nothing happens.
func TestQuietEtcdIsNoFailure(t *testing.T) {
	s, c := running(t)
	put(t, c, key, 1)
	config := quickConfig(s)
	config.CheckInterval = 20 * time.Millisecond
	config.RequestTimeout = time.Second
	f := follow(t, config, false)
	f.waitFor(key, 1)
	quietUntil := time.Now().Add(3 * time.Second)
	f.wait("3 s", func() bool { return time.Now().After(quietUntil) })
	for range 20 { // changes elsewhere, which only checks tell of
		r, err := c.Put(t.Context(), "/elsewhere", "")
		if err != nil {
			t.Fatal(err)
		}
		f.wait("a check", func() bool { return f.source.Status().Revision >= r.Header.Revision })
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failures != nil || !f.source.Status().Connected {
		t.Errorf("told of %v, connected %v", f.failures, f.source.Status().Connected)
	}
}

func TestChangesMadeWhileAwayAreFound(t *testing.T) {
	s, c := running(t)
	put(t, c, key, 1)
	put(t, c, "each/a", 2)
	f := follow(t, quickConfig(s), true)
	f.waitFor("a", 2)
	f.waitConnected(true)
	s.Suspend()
	f.waitConnected(false)
	s.Resume()
	s.Kill()
	s.Start()
	put(t, c, key, 3)
	remove(t, c, "each/a")
	put(t, c, "each/b", 4)
	f.waitFor(key, 3)
	f.waitFor("b", 4)
	f.wait("deletion", func() bool { return slices.Equal(f.deleted, []string{"a"}) })
}

func TestEtcdThatHangsIsNoticedAndForgiven(t *testing.T) {
	s, c := running(t)
	put(t, c, key, 1)
	config := quickConfig(s)
	f := follow(t, config, false)
	f.waitFor(key, 1)
	f.waitConnected(true)
	for round := range 2 {
		began := time.Now()
		s.Suspend()
		f.waitConnected(false)
		noticed := time.Since(began)
		if bound := config.CheckInterval + config.RequestTimeout; noticed > bound+2*time.Second {
			t.Errorf("noticed after %v, want about %v", noticed, bound)
		}
		if got := f.now()[key]; got != 1+round {
			t.Errorf("in force is %d", got)
		}
		s.Resume()
		began = time.Now()
		put(t, c, key, 2+round)
		f.waitFor(key, 2+round)
		t.Logf("noticed after %v; the next change took %v", noticed, time.Since(began))
	}
}

// TestEmptyEtcdDeletesNothing: a cluster that lost its data has the same ID, and counts from 1 again.
func TestEmptyEtcdDeletesNothing(t *testing.T) {
	s, c := running(t)
	config := quickConfig(s)
	config.Cache = cacheIn(t)
	put(t, c, key, 1)
	put(t, c, "each/a", 2)
	for i := range 20 {
		put(t, c, "each/b", i+20)
	}
	f := follow(t, config, true)
	f.waitFor("b", 39)
	f.waitFor("a", 2)
	f.waitFor(key, 1)
	want := f.now()
	s.Kill()
	s.Wipe()
	s.Start()
	f.waitHistory(1)
	f.waitConnected(true)
	f.wait("missing", func() bool { return len(f.missing) == 3 })
	if got := f.now(); !maps.Equal(got, want) {
		t.Fatalf("in force is %v, want %v", got, want)
	}
	if f.deleted != nil {
		t.Fatalf("%v counted as deleted", f.deleted)
	}
	// A restart in this state changes nothing.
	f.stop()
	f = follow(t, config, true)
	f.waitConnected(true)
	if got := f.now(); !maps.Equal(got, want) {
		t.Fatalf("after a restart in force is %v, want %v", got, want)
	}
	// The operator's word in the new history counts, though its revisions are lower.
	put(t, c, key, 5)
	f.waitFor(key, 5)
	put(t, c, "each/a", 6)
	f.waitFor("a", 6)
	remove(t, c, "each/a")
	f.wait("deletion", func() bool { return slices.Equal(f.deleted, []string{"a"}) })
}

// TestEmptyEtcdThatOvertookUsDeletesNothing: here nothing in what etcd says of itself tells that its data was lost.
func TestEmptyEtcdThatOvertookUsDeletesNothing(t *testing.T) {
	s, c := running(t)
	config := quickConfig(s)
	config.Cache = cacheIn(t)
	put(t, c, key, 1)
	put(t, c, "each/a", 2)
	put(t, c, "each/b", 3)
	f := follow(t, config, true)
	f.waitFor("b", 3)
	f.stop()
	s.Kill()
	s.Wipe()
	s.Start()
	put(t, c, "each/b", 4) // at a lower revision than the one we know
	for range 20 {
		put(t, c, "unbound", 0)
	}
	f = follow(t, config, true)
	f.waitFor("b", 4)
	f.wait("missing", func() bool { return len(f.missing) == 2 })
	if got := f.now(); !maps.Equal(got, map[string]int{key: 1, "a": 2, "b": 4}) || f.deleted != nil {
		t.Errorf("in force is %v, deleted %v", got, f.deleted)
	}
	f.waitHistory(1)
}

func TestCacheServesWhileEtcdIsAway(t *testing.T) {
	s, c := running(t)
	config := quickConfig(s)
	config.Cache = cacheIn(t)
	put(t, c, key, 1)
	f := follow(t, config, false)
	f.waitFor(key, 1)
	put(t, c, key, 2)
	f.waitFor(key, 2)
	revision := put(t, c, key, -1) // refused: the good one is kept
	f.waitKey(key, func(k etcd.KeyStatus) bool { return k.Refused == revision })
	f.stop()
	s.Kill()

	f = follow(t, config, false)
	<-f.source.Settled()
	if got := f.now(); !maps.Equal(got, map[string]int{key: 2}) {
		t.Fatalf("in force is %v", got)
	}
	if st := f.source.Status(); st.Connected || len(st.Keys) != 1 || !st.Keys[0].Cached {
		t.Errorf("status %+v", st)
	}
	s.Start()
	f.waitConnected(true)
	f.waitKey(key, func(k etcd.KeyStatus) bool { return k.Refused == revision && k.Revision == revision-1 })
	put(t, c, key, 3)
	f.waitFor(key, 3)
	f.waitKey(key, func(k etcd.KeyStatus) bool { return !k.Cached })
}

func TestGarbageInTheCacheIsReportedAndReplaced(t *testing.T) {
	s, c := running(t)
	config := quickConfig(s)
	config.Cache = cacheIn(t)
	put(t, c, key, 1)
	if err := os.WriteFile(config.Cache, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := follow(t, config, false)
	f.waitFor(key, 1)
	f.wait("told of the cache alone", func() bool { return len(f.failures) == 1 && errors.Is(f.failures[0], etcd.ErrCache) })
	f.stop()
	s.Kill()
	f = follow(t, config, false)
	f.waitFor(key, 1)
}

func TestWithoutEtcdAndCacheItGoesOnTrying(t *testing.T) {
	s := etcdserver.New(t)
	config := quickConfig(s)
	config.Cache = cacheIn(t)
	f := follow(t, config, false)
	<-f.source.Settled()
	if got := f.now(); len(got) != 0 {
		t.Errorf("in force is %v", got)
	}
	s.Start()
	put(t, s.Client(), key, 1)
	f.waitFor(key, 1)
}

func TestPasswordIsReadForEachConnection(t *testing.T) {
	s, c := running(t)
	put(t, c, key, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, err := range []error{
		second(c.UserAdd(ctx, "root", "secret")), second(c.RoleAdd(ctx, "root")), second(c.UserGrantRole(ctx, "root", "root")),
		second(c.UserAdd(ctx, "reader", "right")), second(c.RoleAdd(ctx, "reads")), second(c.UserGrantRole(ctx, "reader", "reads")),
		second(c.RoleGrantPermission(ctx, "reads", "/dougong/", clientv3.GetPrefixRangeEnd("/dougong/"), clientv3.PermissionType(clientv3.PermRead))),
		second(c.AuthEnable(ctx)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	config := quickConfig(s)
	config.Username, config.PasswordFile = "reader", filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(config.PasswordFile, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := follow(t, config, false)
	f.wait("refused", func() bool {
		return slices.ContainsFunc(f.failures, func(err error) bool { return strings.Contains(err.Error(), "authentication failed") })
	})
	if err := os.WriteFile(config.PasswordFile, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.waitFor(key, 1)
	f.waitConnected(true)
}

func second[T any](_ T, err error) error { return err }
