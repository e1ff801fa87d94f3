//go:build unix

package etcd

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/dougong-io/dougong/adapters/etcd"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var seedFlag = flag.Uint64("seed", 0, "replay a random test with this seed")

// TestRandomHistoriesEndInWhatEtcdHas: whatever happens to etcd and to the process short of a loss of data, in the end
// the last good value of each key is in force, and nothing that was deleted.
func TestRandomHistoriesEndInWhatEtcdHas(t *testing.T) {
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	for range rounds {
		seed := *seedFlag
		if seed == 0 {
			seed = rand.Uint64()
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("replay with -run=TestRandomHistoriesEndInWhatEtcdHas -args -seed=%d", seed)
				}
			}()
			randomHistory(t, rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

func randomHistory(t *testing.T, rnd *rand.Rand) {
	s, c := running(t)
	config := quickConfig(s)
	config.Cache = cacheIn(t)
	f := follow(t, config, true)
	good := make(map[string]int) // what is in force once all is heard
	heard := func() {
		t.Helper()
		// What a refused value was before is in force only where it was heard of in time.
		f.wait(fmt.Sprintf("in force is %v", good), func() bool { return maps.Equal(f.inForce, good) })
	}
	for step := range 60 {
		name := string(rune('a' + rnd.IntN(5)))
		switch n := rnd.IntN(40); {
		case n < 20:
			number := 100 + step
			put(t, c, "each/"+name, number)
			good[name] = number
		case n < 26:
			remove(t, c, "each/"+name)
			delete(good, name)
		case n < 30:
			heard()
			put(t, c, "each/"+name, -1)
		case n < 33:
			// A deletion that is compacted before it was heard of is one that nobody can know of, and what is in force does not
			// tell whether changes were heard that changed nothing. This one comes after them on the stream.
			put(t, c, "each/z", 1000+step)
			good["z"] = 1000 + step
			heard()
			if r, err := c.Get(t.Context(), "/dougong/", clientv3.WithCountOnly()); err != nil {
				t.Fatal(err)
			} else if rev := r.Header.Revision; rev > 1 {
				_, _ = c.Compact(t.Context(), rev) // fails where it was done already
			}
		case n < 36:
			s.Kill()
			s.Start()
		case n < 38:
			s.Suspend()
			if rnd.IntN(2) == 0 {
				f.waitConnected(false)
			}
			if rnd.IntN(2) == 0 {
				f.stop()
				f = follow(t, config, true)
				<-f.source.Settled()
			}
			s.Resume()
		default:
			heard()
			f.stop()
			f = follow(t, config, true)
		}
	}
	heard()
	if f.missing != nil {
		t.Errorf("%v is missing", f.missing)
	}
	for _, k := range f.source.Status().Keys {
		if k.Absence != "" && k.Absence != etcd.Missing {
			t.Errorf("the status tells of %+v", k)
		}
	}
}
