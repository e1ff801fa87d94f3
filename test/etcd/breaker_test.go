//go:build unix

package etcd

import (
	"context"
	"errors"
	"testing"

	"github.com/dougong-io/dougong/adapters/etcd"
	"github.com/dougong-io/dougong/kit/breaker"
)

// TestPolicyFromEtcdOpensACircuit: calls that failed under the policy before count under the new one.
func TestPolicyFromEtcdOpensACircuit(t *testing.T) {
	s, c := running(t)
	group, err := breaker.New[string](breaker.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{t: t}
	source, err := etcd.New(quickConfig(s), etcd.WithObserver(f))
	if err != nil {
		t.Fatal(err)
	}
	f.source = source
	if err := etcd.Watch(source, key, breaker.ParsePolicy, group.SetPolicy, etcd.OnDelete(func(string) error { return group.SetPolicy(breaker.DefaultPolicy()) })); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	fail := func() error {
		return group.Do(ctx, "a", func(context.Context) error { return errors.New("away") })
	}
	for range 12 {
		if err := fail(); errors.Is(err, breaker.ErrRejected) {
			t.Fatal("open below the least number of requests")
		}
	}
	put(t, c, key, `{"conditions":[{"above":0.5,"over":"30s","min_requests":5}]}`)
	f.wait("the policy", func() bool { return group.Policy().Conditions[0].MinRequests == 5 })
	_ = fail() // trips are decided on a failure
	if err := fail(); !errors.Is(err, breaker.ErrRejected) {
		t.Errorf("got %v, want a rejection", err)
	}
	put(t, c, key, `{"conditions":[{"abvoe":0.5}]}`)
	f.wait("refusal", func() bool { return len(f.refused) == 1 })
	if got := group.Policy().Conditions[0].MinRequests; got != 5 {
		t.Errorf("the policy in force asks for %d requests", got)
	}
	remove(t, c, key)
	f.wait("the default", func() bool { return group.Policy().Conditions[0].MinRequests == 20 })
}
