package lifecycle

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

// runs runs a group of two members, a and b, which is stopped once it is ready, and returns what they saw.
func runs(t *testing.T, set *fault.Set) (seen []string, g *Group, err error) {
	t.Helper()
	var mu sync.Mutex
	saw := func(what string) {
		mu.Lock()
		seen = append(seen, what)
		mu.Unlock()
	}
	member := func(name string) Member {
		return Member{Name: name, Run: func(ctx context.Context, ready func()) error {
			saw("start " + name)
			ready()
			<-ctx.Done()
			saw("stop " + name)
			return ctx.Err()
		}}
	}
	config := Config{StartTimeout: time.Second, DrainDelay: time.Second, StopTimeout: 10 * time.Second}
	g, err = NewGroup("shop", config, []Member{member("a"), member("b")}, WithFaults(set))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		if _, err := g.Wait(ctx, func(s State) bool { return s == Ready }); err == nil {
			cancel()
		}
	}()
	err = g.Run(ctx)
	synctest.Wait() // until all goroutines have ended
	return seen, g, err
}

func TestEachPointStrikes(t *testing.T) {
	all := []string{"start a", "start b", "stop b", "stop a"}
	bubble := func(test func(t *testing.T, set *fault.Set)) func(t *testing.T, set *fault.Set) {
		return func(t *testing.T, set *fault.Set) {
			synctest.Test(t, func(t *testing.T) {
				defer faulttest.Clear(t, set) // what it holds belongs to this bubble
				test(t, set)
				faulttest.Clear(t, set)
				if seen, g, err := runs(t, set); err != nil || g.State() != Stopped || !slices.Equal(seen, all) {
					t.Error("without faults:", seen, g.State(), err)
				}
			})
		}
	}
	b := map[string]string{"group": "shop", "member": "b"}
	faulttest.Trip(t, map[string]func(t *testing.T, set *fault.Set){
		"lifecycle.start": bubble(func(t *testing.T, set *fault.Set) {
			faulttest.Put(t, set, fault.Rule{Point: "lifecycle.start", Where: b, Error: &fault.Failure{Cause: "refused"}})
			seen, g, err := runs(t, set)
			if failed, ok := errors.AsType[*MemberError](err); !ok || failed.Name != "b" || !errors.Is(err, fault.ErrInjected) || g.State() != Failed || !slices.Equal(seen, []string{"start a", "stop a"}) {
				t.Error(seen, g.State(), err)
			}
			faulttest.Put(t, set, fault.Rule{Point: "lifecycle.start", Where: b, Panic: &fault.Panicking{}})
			if seen, g, err := runs(t, set); !errors.Is(err, fault.ErrInjected) || g.State() != Failed || !slices.Equal(seen, []string{"start a", "stop a"}) {
				t.Error(seen, g.State(), err)
			}
			faulttest.Put(t, set, fault.Rule{Point: "lifecycle.start", Where: b, Hang: &fault.Hang{}})
			if seen, g, err := runs(t, set); !errors.Is(err, ErrNotReady) || g.State() != Failed || !slices.Equal(seen, []string{"start a", "stop a"}) {
				t.Error(seen, g.State(), err)
			}
			faulttest.Put(t, set, fault.Rule{Point: "lifecycle.start", Delay: &fault.Delay{Fixed: 900 * time.Millisecond}})
			if seen, g, err := runs(t, set); err != nil || g.State() != Stopped || !slices.Equal(seen, all) {
				t.Error(seen, g.State(), err)
			}
		}),
		"lifecycle.stop": bubble(func(t *testing.T, set *fault.Set) {
			faulttest.Put(t, set, fault.Rule{Point: "lifecycle.stop", Where: b, Error: &fault.Failure{Cause: "io"}})
			seen, g, err := runs(t, set)
			if failed, ok := errors.AsType[*MemberError](err); !ok || failed.Name != "b" || !errors.Is(err, fault.ErrInjected) || g.State() != Stopped || !slices.Equal(seen, all) {
				t.Error(seen, g.State(), err)
			}
			faulttest.Put(t, set, fault.Rule{Point: "lifecycle.stop", Where: b, Panic: &fault.Panicking{}})
			if seen, _, err := runs(t, set); !errors.Is(err, fault.ErrInjected) || !slices.Equal(seen, all) {
				t.Error(seen, err)
			}
			// A hang ends with the bound, is named, costs the others nothing, and leaves no goroutine.
			faulttest.Put(t, set, fault.Rule{Point: "lifecycle.stop", Where: b, Hang: &fault.Hang{}})
			began := time.Now()
			seen, g, err = runs(t, set)
			if late, ok := errors.AsType[*StopError](err); !ok || !slices.Equal(late.Names, []string{"b"}) || !slices.Equal(seen, all) {
				t.Error(seen, g.State(), err)
			}
			if took := time.Since(began); took != 11*time.Second {
				t.Error(took)
			}
			if held := set.Status().Held.Calls; held != 0 {
				t.Error(held, "goroutines still hang")
			}
		}),
	})
}

func TestMemberThatEndsByItselfPassesNoStop(t *testing.T) {
	set := faulttest.New(t)
	faulttest.Put(t, set, fault.Rule{Point: "lifecycle.stop", Error: &fault.Failure{}})
	g, err := NewGroup("shop", DefaultConfig(), []Member{{Name: "a", Run: func(context.Context, func()) error { return nil }}}, WithFaults(set))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(t.Context()); !errors.Is(err, ErrEnded) || errors.Is(err, fault.ErrInjected) {
		t.Error(err)
	}
}
