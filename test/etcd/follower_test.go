//go:build unix

package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/adapters/etcd"
	"github.com/dougong-io/dougong/test/testenv/etcdserver"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if etcdserver.IsChild() {
		os.Exit(etcdserver.Serve())
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for something that must happen. It is no measure of speed.
const patience = 30 * time.Second

// policy stands for whatever a value means.
type policy struct {
	Number int `json:"number"`
}

func parse(data []byte) (policy, error) {
	var p policy
	err := json.Unmarshal(data, &p)
	return p, err
}

// follower is a process that follows etcd, and what is in force in it.
type follower struct {
	t      *testing.T
	source *etcd.Source
	stop   func() // ends Run and waits for that

	mu       sync.Mutex
	inForce  map[string]int
	applied  map[string]time.Time // when
	deleted  []string             // OnDelete was called for
	missing  []string             // Gone with Missing was told for
	refused  []string             // as key: error
	failures []error
}

const key, below = "breaker/policies/search", "each/"

func (f *follower) Connected(bool)        {}
func (f *follower) Applied(string, int64) {}

func (f *follower) Refused(key string, _ int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = append(f.refused, key+": "+err.Error())
}

func (f *follower) Gone(key string, absence etcd.Absence) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if absence == etcd.Missing {
		f.missing = append(f.missing, key)
	}
}

func (f *follower) Failed(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, err)
}

func (f *follower) apply(name string, p policy) error {
	if p.Number < 0 {
		return errors.New("number: must be at least 0")
	}
	if p.Number == 13 {
		panic("bad luck")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inForce[name], f.applied[name] = p.Number, time.Now()
	return nil
}

func (f *follower) remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.inForce, name)
	f.deleted = append(f.deleted, name)
	return nil
}

func quickConfig(s *etcdserver.Server) etcd.Config {
	c := etcd.DefaultConfig()
	c.Endpoints = []string{s.Endpoint()}
	c.RequestTimeout = 500 * time.Millisecond
	c.CheckInterval = 200 * time.Millisecond
	c.RetryMin, c.RetryMax = 10*time.Millisecond, 100*time.Millisecond
	return c
}

// follow starts a follower that also follows the policies below each/. With hooks, a deletion ends what is in force.
func follow(t *testing.T, config etcd.Config, hooks bool) *follower {
	t.Helper()
	f := &follower{t: t, inForce: make(map[string]int), applied: make(map[string]time.Time)}
	source, err := etcd.New(config, etcd.WithObserver(f))
	if err != nil {
		t.Fatal(err)
	}
	f.source = source
	var opts []etcd.WatchOption
	if hooks {
		opts = append(opts, etcd.OnDelete(f.remove))
	}
	if err := etcd.Watch(source, key, parse, func(p policy) error { return f.apply(key, p) }, opts...); err != nil {
		t.Fatal(err)
	}
	if err := etcd.WatchEach(source, below, parse, f.apply, opts...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(f.stop)
	return f
}

func (f *follower) now() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.inForce)
}

// wait waits until a condition holds, which is called with the lock.
func (f *follower) wait(what string, holds func() bool) {
	f.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		f.mu.Lock()
		ok := holds()
		f.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.t.Fatalf("%s: not in time; in force %v, failures %v, refused %v, status %+v", what, f.inForce, f.failures, f.refused, f.source.Status())
		}
	}
}

func (f *follower) waitFor(name string, number int) {
	f.t.Helper()
	f.wait(fmt.Sprintf("%s is %d", name, number), func() bool { got, ok := f.inForce[name]; return ok && got == number })
}

func (f *follower) waitConnected(connected bool) {
	f.t.Helper()
	f.wait(fmt.Sprintf("connected is %v", connected), func() bool { return f.source.Status().Connected == connected })
}

// waitKey waits until what the status says of a key is so.
func (f *follower) waitKey(name string, holds func(etcd.KeyStatus) bool) {
	f.t.Helper()
	f.wait("status of "+name, func() bool {
		for _, k := range f.source.Status().Keys {
			if k.Key == "/dougong/"+name {
				return holds(k)
			}
		}
		return false
	})
}

// waitHistory waits until the follower was told of another history, n times.
func (f *follower) waitHistory(n int) {
	f.t.Helper()
	f.wait("another history", func() bool {
		count := 0
		for _, err := range f.failures {
			if errors.Is(err, etcd.ErrHistory) {
				count++
			}
		}
		return count == n
	})
}

func put(t *testing.T, c *clientv3.Client, name string, value any) int64 {
	t.Helper()
	text, ok := value.(string)
	if !ok {
		text = fmt.Sprintf(`{"number":%d}`, value)
	}
	return insist(t, func(ctx context.Context) (int64, error) {
		r, err := c.Put(ctx, "/dougong/"+name, text)
		if err != nil {
			return 0, err
		}
		return r.Header.Revision, nil
	})
}

func remove(t *testing.T, c *clientv3.Client, name string) int64 {
	t.Helper()
	return insist(t, func(ctx context.Context) (int64, error) {
		r, err := c.Delete(ctx, "/dougong/"+name)
		if err != nil {
			return 0, err
		}
		return r.Header.Revision, nil
	})
}

// insist tries again while the test's own connection comes back after a restart.
func insist(t *testing.T, change func(context.Context) (int64, error)) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		revision, err := change(ctx)
		if err == nil {
			return revision
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func compact(t *testing.T, c *clientv3.Client, revision int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := c.Compact(ctx, revision); err != nil {
		t.Fatal(err)
	}
}

func running(t *testing.T) (*etcdserver.Server, *clientv3.Client) {
	t.Helper()
	s := etcdserver.New(t)
	s.Start()
	return s, s.Client()
}

func cacheIn(t *testing.T) string { return filepath.Join(t.TempDir(), "policies.cache") }
