//go:build unix

package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/adapters/etcd"
	"github.com/dougong-io/dougong/kit/fault"
)

var point = fault.Def{Name: "test.point", Doc: "For tests.", Effects: fault.Call}

// changes is an observer that tells when something came into force.
type changes chan fault.Change

func (changes) Struck(context.Context, fault.Hit) {}
func (c changes) Changed(change fault.Change)     { c <- change }

func newFaults(t *testing.T, opts ...fault.Option) *fault.Set {
	t.Helper()
	set, err := fault.New(fault.DefaultConfig(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	if set.Status().CompiledOut {
		t.Skip(fault.ErrCompiledOut)
	}
	set.Point(point)
	return set
}

// strikes is the rule that strikes the point, "" if none does.
func strikes(set *fault.Set) string {
	err := set.Point(point).Hit(context.Background())
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Rule
	}
	return ""
}

// rules is a document with one rule that fails the point for so long.
func rules(id string, lasts time.Duration) string {
	return fmt.Sprintf(`{"version":1,"rules":[{"id":%q,"point":"test.*","expires":%q,"error":{"cause":"io"}}]}`,
		id, time.Now().Add(lasts).UTC().Format(time.RFC3339Nano))
}

// followFaults starts a process that follows the keys of fault injection.
func followFaults(t *testing.T, config etcd.Config, set *fault.Set, bind func(*follower) error, opts ...etcd.Option) *follower {
	t.Helper()
	f := &follower{t: t, inForce: make(map[string]int), applied: make(map[string]time.Time)}
	source, err := etcd.New(config, append(opts, etcd.WithObserver(f))...)
	if err != nil {
		t.Fatal(err)
	}
	f.source = source
	if err := etcd.WatchFaults(source, set); err != nil {
		t.Fatal(err)
	}
	if bind != nil {
		if err := bind(f); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(f.stop)
	return f
}

func (f *follower) waitStrikes(set *fault.Set, id string) {
	f.t.Helper()
	f.wait(fmt.Sprintf("%q strikes", id), func() bool { return strikes(set) == id })
}

func (f *follower) waitKilled(set *fault.Set, killed bool) {
	f.t.Helper()
	f.wait(fmt.Sprintf("killed is %v", killed), func() bool { return (len(set.Status().Killed) > 0) == killed })
}

// TestFaultsArePushed measures, too: from before the put until the rule strikes, and until the switch lets go; then
// once more just after a connection broke, when etcd may hold back the first change of a stream. The figures are in its
// log; how fast it must be depends on the machine and its disk.
func TestFaultsArePushed(t *testing.T) {
	s, c := running(t)
	told := make(changes, 10)
	set := newFaults(t, fault.WithObserver(told))
	config := etcd.DefaultConfig()
	config.Endpoints = []string{s.Endpoint()}
	f := followFaults(t, config, set, nil)
	f.waitConnected(true)
	put(t, c, etcd.FaultRulesKey, rules("first", time.Hour)) // etcd may hold the first change of a new stream back for 100 ms
	f.waitStrikes(set, "first")
	for len(told) > 0 {
		<-told
	}
	until := func(state fault.State) time.Time {
		t.Helper()
		for {
			select {
			case change := <-told:
				if change.State == state {
					return time.Now()
				}
			case <-time.After(patience):
				t.Fatalf("nothing is %s: %+v", state, f.source.Status())
			}
		}
	}
	const rounds = 200
	var push, kill, release []time.Duration
	for i := range rounds {
		id := fmt.Sprint("r", i)
		began := time.Now()
		put(t, c, etcd.FaultRulesKey, rules(id, time.Hour))
		push = append(push, until(fault.Active).Sub(began))
		if got := strikes(set); got != id {
			t.Fatalf("round %d: %q strikes", i, got)
		}
		began = time.Now()
		put(t, c, etcd.FaultKillKey, "stop it")
		kill = append(kill, until(fault.Killed).Sub(began))
		if got := strikes(set); got != "" {
			t.Fatalf("round %d: killed, and %q strikes", i, got)
		}
		began = time.Now()
		remove(t, c, etcd.FaultKillKey)
		release = append(release, until(fault.Released).Sub(began))
		if got := strikes(set); got != id {
			t.Fatalf("round %d: released, and %q strikes", i, got)
		}
	}
	s.Kill()
	f.waitConnected(false)
	s.Start()
	f.waitConnected(true)
	for len(told) > 0 {
		<-told
	}
	began := time.Now()
	put(t, c, etcd.FaultRulesKey, rules("again", time.Hour))
	pushed := until(fault.Active).Sub(began)
	began = time.Now()
	put(t, c, etcd.FaultKillKey, "stop it")
	killed := until(fault.Killed).Sub(began)
	if got := strikes(set); got != "" {
		t.Errorf("after a broken connection: killed, and %q strikes", got)
	}
	t.Logf("the first after a broken connection: a rule in force after %v, the kill switch after %v", pushed, killed)
	for name, took := range map[string][]time.Duration{"a rule": push, "the kill switch": kill, "its release": release} {
		slices.Sort(took)
		t.Logf("%-15s in force: p50 %v, p99 %v, max %v (%d rounds)", name, took[rounds/2-1], took[rounds*99/100-1], took[rounds-1], rounds)
	}
}

func TestFaultsOutliveEtcdAndEndByThemselves(t *testing.T) {
	s, c := running(t)
	set := newFaults(t)
	put(t, c, etcd.FaultRulesKey, rules("before", time.Hour))
	f := followFaults(t, quickConfig(s), set, nil)
	f.waitStrikes(set, "before")

	s.Kill()
	f.waitConnected(false)
	if got := strikes(set); got != "before" {
		t.Errorf("etcd is gone, and %q strikes", got)
	}
	s.Start()
	put(t, c, etcd.FaultKillKey, "")
	f.waitKilled(set, true)

	s.Suspend()
	f.waitConnected(false)
	if len(set.Status().Killed) != 1 {
		t.Error("etcd hangs, and the switch is released")
	}
	s.Resume()
	remove(t, c, etcd.FaultKillKey)
	put(t, c, etcd.FaultRulesKey, rules("short", 2*time.Second))
	f.waitStrikes(set, "short")

	s.Suspend() // for good: nobody takes the rule away, and it ends
	f.waitStrikes(set, "")
	if got := set.Status().Rules; len(got) != 1 || got[0].State != fault.Expired {
		t.Errorf("rules %+v", got)
	}
	s.Resume()
}

func TestChangesOfFaultsMadeWhileAwayAreFound(t *testing.T) {
	s, c := running(t)
	config := quickConfig(s)
	config.Cache = cacheIn(t)
	put(t, c, etcd.FaultRulesKey, rules("before", time.Hour))
	put(t, c, etcd.FaultKillKey, "")
	f := followFaults(t, config, newFaults(t), nil)
	f.waitConnected(true)
	f.stop()
	remove(t, c, etcd.FaultKillKey)
	put(t, c, etcd.FaultRulesKey, rules("after", time.Hour))

	set := newFaults(t)
	f = followFaults(t, config, set, nil)
	f.waitStrikes(set, "after")
	f.waitKilled(set, false)
}

// TestCacheOfFaults: a process that starts while etcd is away has the switch, and the rules that have not expired.
func TestCacheOfFaults(t *testing.T) {
	s, c := running(t)
	config := quickConfig(s)
	config.Cache = cacheIn(t)
	for _, kill := range []bool{false, true} {
		put(t, c, etcd.FaultRulesKey, rules("cached", time.Hour))
		if kill {
			put(t, c, etcd.FaultKillKey, "{")
		}
		set := newFaults(t)
		f := followFaults(t, config, set, nil)
		f.wait("the rule", func() bool { return len(set.Status().Rules) == 1 })
		f.waitKilled(set, kill)
		f.stop()
		s.Kill()
		set = newFaults(t)
		f = followFaults(t, config, set, nil)
		<-f.source.Settled()
		if got, killed := strikes(set), len(set.Status().Killed) > 0; killed != kill || (got == "cached") == kill {
			t.Errorf("from the cache: killed %v, want %v; %q strikes", killed, kill, got)
		}
		f.stop()
		s.Start()
	}
	put(t, c, etcd.FaultRulesKey, rules("short", time.Second))
	remove(t, c, etcd.FaultKillKey)
	set := newFaults(t)
	f := followFaults(t, config, set, nil)
	f.wait("expiry", func() bool {
		r := set.Status().Rules
		return len(r) == 1 && r[0].ID == "short" && r[0].State == fault.Expired
	})
	f.stop()
	s.Kill()
	set = newFaults(t)
	f = followFaults(t, config, set, nil)
	<-f.source.Settled()
	if r := set.Status().Rules; strikes(set) != "" || len(r) != 1 || r[0].State != fault.Expired {
		t.Errorf("an expired rule of the cache: %+v", r)
	}
}

// TestEmptyEtcdReleasesNothing: what it lost nobody has deleted.
func TestEmptyEtcdReleasesNothing(t *testing.T) {
	s, c := running(t)
	put(t, c, etcd.FaultRulesKey, rules("kept", time.Hour))
	put(t, c, etcd.FaultKillKey, "")
	set := newFaults(t)
	f := followFaults(t, quickConfig(s), set, nil)
	f.waitKilled(set, true)
	s.Kill()
	s.Wipe()
	s.Start()
	f.wait("missing", func() bool { return len(f.missing) == 2 })
	if len(set.Status().Killed) != 1 || len(set.Status().Rules) != 1 {
		t.Errorf("status %+v", set.Status())
	}
	put(t, c, etcd.FaultKillKey, "") // put and delete: so it is released
	remove(t, c, etcd.FaultKillKey)
	f.waitStrikes(set, "kept")
}

func TestRulesFromTheFutureAreRefusedAndTold(t *testing.T) {
	s, c := running(t)
	put(t, c, etcd.FaultRulesKey, rules("good", time.Hour))
	set := newFaults(t)
	f := followFaults(t, quickConfig(s), set, nil)
	f.waitStrikes(set, "good")
	revision := put(t, c, etcd.FaultRulesKey, `{"version":2,"rules":[{"id":"a","point":"*","black_hole":{}}]}`)
	f.waitKey(etcd.FaultRulesKey, func(k etcd.KeyStatus) bool {
		return k.Refused == revision && strings.Contains(k.Error, "from the future")
	})
	f.wait("told", func() bool { return len(f.refused) == 1 })
	if got := strikes(set); got != "good" {
		t.Errorf("%q strikes", got)
	}
	remove(t, c, etcd.FaultRulesKey)
	f.waitStrikes(set, "")
}

// TestSourcesAtOdds: what a person does now goes before what etcd says, that before the file; any switch before all.
func TestSourcesAtOdds(t *testing.T) {
	s, c := running(t)
	set := newFaults(t)
	rule := func(source, message string) {
		t.Helper()
		d, err := fault.Parse([]byte(fmt.Sprintf(`{"version":1,"rules":[{"id":"same","point":"test.*","for":"1h","error":{"message":%q}}]}`, message)))
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Apply(source, d); err != nil {
			t.Fatal(err)
		}
	}
	says := func() string {
		if e, ok := errors.AsType[*fault.Error](set.Point(point).Hit(t.Context())); ok {
			return e.Message
		}
		return ""
	}
	rule(fault.File, "file")
	f := followFaults(t, quickConfig(s), set, nil)
	waitSays := func(want string) {
		t.Helper()
		f.wait(want, func() bool { return says() == want })
	}
	waitSays("file")
	etcdRule := strings.Replace(rules("same", time.Hour), `"cause":"io"`, `"message":"etcd"`, 1)
	put(t, c, etcd.FaultRulesKey, etcdRule)
	waitSays("etcd")
	rule(fault.Admin, "admin")
	waitSays("admin")
	put(t, c, etcd.FaultRulesKey, strings.Replace(etcdRule, `"etcd"`, `"etcd again"`, 1))
	f.wait("applied", func() bool {
		return slices.ContainsFunc(set.Status().Rules, func(r fault.RuleStatus) bool { return r.Rule.Error.Message == "etcd again" })
	})
	if got := says(); got != "admin" {
		t.Errorf("%q strikes", got)
	}
	put(t, c, etcd.FaultKillKey, "false") // whatever it says
	waitSays("")
	if err := set.Kill(fault.Admin, true); err != nil {
		t.Fatal(err)
	}
	remove(t, c, etcd.FaultKillKey)
	f.wait("released by etcd", func() bool { return slices.Equal(set.Status().Killed, []string{fault.Admin}) })
	if got := says(); got != "" {
		t.Errorf("%q strikes, which the admin has killed", got)
	}
	if err := set.Kill(fault.Admin, false); err != nil {
		t.Fatal(err)
	}
	if err := set.Remove(fault.Admin, "same"); err != nil {
		t.Fatal(err)
	}
	waitSays("etcd again")
	remove(t, c, etcd.FaultRulesKey)
	waitSays("file")
}

// TestNoNumberOfKeysHidesTheKillSwitch, which comes after them all in order.
func TestNoNumberOfKeysHidesTheKillSwitch(t *testing.T) {
	s, c := running(t)
	for i := range 60 {
		put(t, c, fmt.Sprintf("each/%02d", i), i)
	}
	put(t, c, etcd.FaultKillKey, strings.Repeat("x", 100<<10))
	config := quickConfig(s)
	config.MaxKeys = 5
	set := newFaults(t)
	f := followFaults(t, config, set, func(f *follower) error {
		return etcd.WatchEach(f.source, below, parse, f.apply)
	})
	f.waitKilled(set, true)
	remove(t, c, etcd.FaultKillKey)
	f.waitKilled(set, false)
	put(t, c, etcd.FaultKillKey, "")
	f.waitKilled(set, true)
}

// TestLostDeletionIsFoundWhenItsRuleHasEnded: what a rule took from the stream counts as not heard.
func TestLostDeletionIsFoundWhenItsRuleHasEnded(t *testing.T) {
	s, c := running(t)
	set := newFaults(t)
	f := followFaults(t, quickConfig(s), set, func(f *follower) error {
		return etcd.WatchEach(f.source, below, parse, f.apply, etcd.OnDelete(f.remove))
	}, etcd.WithFaults(set))
	put(t, c, "each/a", 1)
	f.waitFor("a", 1)
	r, err := fault.ParseRule([]byte(`{"id":"lose","point":"etcd.watch","where":{"type":"delete"},"for":"1h","drop":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Put(fault.Admin, r); err != nil {
		t.Fatal(err)
	}
	remove(t, c, "each/a")
	f.wait("the deletion is lost", func() bool { return set.Status().Rules[0].Hits == 1 })
	put(t, c, "each/b", 2) // the stream goes on
	f.waitFor("b", 2)
	if got := f.now(); got["a"] != 1 {
		t.Errorf("in force is %v", got)
	}
	if err := set.Remove(fault.Admin, "lose"); err != nil {
		t.Fatal(err)
	}
	f.wait("the deletion", func() bool { return slices.Equal(f.deleted, []string{"a"}) })
}

// TestNoRuleOfEtcdKeepsItsOwnSwitchAway: rules that etcd itself has pushed, and that fail all that passes between it and
// the source, end by its switch, and by their deletion.
func TestNoRuleOfEtcdKeepsItsOwnSwitchAway(t *testing.T) {
	s, c := running(t)
	set := newFaults(t)
	f := followFaults(t, quickConfig(s), set, nil, etcd.WithFaults(set))
	f.waitConnected(true)
	for _, effect := range []string{`"error":{}`, `"hang":{}`, `"panic":{}`} {
		document := strings.Replace(strings.Replace(rules("all", time.Hour), `"test.*"`, `"etcd.*"`, 1), `"error":{"cause":"io"}`, effect, 1)
		put(t, c, etcd.FaultRulesKey, document)
		f.wait(effect+" strikes", func() bool { return len(set.Status().Rules) == 1 && set.Status().Rules[0].Hits > 0 })
		f.waitConnected(false)
		began := time.Now()
		put(t, c, etcd.FaultKillKey, "")
		f.waitKilled(set, true)
		t.Logf("%s: the switch was in force after %v", effect, time.Since(began))
		remove(t, c, etcd.FaultKillKey)
		f.waitKilled(set, false)
		began = time.Now()
		remove(t, c, etcd.FaultRulesKey)
		f.wait("the rule is gone", func() bool { return len(set.Status().Rules) == 0 })
		t.Logf("%s: its deletion was in force after %v", effect, time.Since(began))
		f.waitConnected(true)
	}
}

// TestUnderFaultsTheLastGoodStaysAndTheNewestComes: rules fail, lose and hold up what passes between the source and etcd
// and its cache. No value is in force that was not put, and when the rules are gone the newest is.
func TestUnderFaultsTheLastGoodStaysAndTheNewestComes(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("replay with -run=%s -args -seed=%d", t.Name(), seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	s, c := running(t)
	var mu sync.Mutex
	set := newFaults(t, fault.WithRand(func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return rnd.Float64()
	}))
	put(t, c, key, 0)
	config := quickConfig(s)
	config.Cache = cacheIn(t)
	f := followFaults(t, config, set, func(f *follower) error {
		return etcd.Watch(f.source, key, parse, func(p policy) error { return f.apply(key, p) }, etcd.OnDelete(f.remove))
	}, etcd.WithFaults(set))
	f.waitFor(key, 0)
	expires := time.Now().Add(10 * time.Minute).UTC().Format(time.RFC3339)
	var list []string
	for i, rule := range []string{
		`"point":"etcd.dial","error":{"cause":"refused"}`, `"point":"etcd.get","error":{"cause":"reset"}`, `"point":"etcd.get","delay":{"fixed":"100ms"}`,
		`"point":"etcd.watch","error":{"cause":"eof"}`, `"point":"etcd.watch","drop":{}`, `"point":"etcd.watch","panic":{}`,
		`"point":"etcd.cache.write","error":{"cause":"no_space"}`, `"point":"etcd.cache.write","corrupt":{}`, `"point":"etcd.cache.sync","error":{"cause":"io"}`,
	} {
		list = append(list, fmt.Sprintf(`{"id":"r%d","expires":%q,"probability":0.15,%s}`, i, expires, rule))
	}
	put(t, c, etcd.FaultRulesKey, `{"version":1,"rules":[`+strings.Join(list, ",")+`]}`)
	f.wait("rules", func() bool { return len(set.Status().Rules) == len(list) })
	// Until each rule struck: how many values pass in a given time, a fast machine and a slow one do not agree on.
	last := 0
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		last++
		put(t, c, key, last)
		if got, ok := f.now()[key]; !ok || got < 0 || got > last {
			t.Fatalf("%d is in force (%v), %d was put", got, ok, last)
		}
		unhit := neverStruck(set)
		if len(unhit) == 0 {
			t.Logf("each rule struck within %d values, %v", last, time.Since(began))
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("after %d values in %v these rules never struck: %s", last, time.Since(began), unhit)
		}
	}
	put(t, c, etcd.FaultKillKey, "")
	f.waitKilled(set, true)
	last++
	put(t, c, key, last)
	f.waitFor(key, last)
	f.stop()
	// What the cache says now is what is in force: the rules are of no more effect.
	s.Kill()
	f = followFaults(t, config, newFaults(t), func(f *follower) error {
		return etcd.Watch(f.source, key, parse, func(p policy) error { return f.apply(key, p) })
	})
	f.waitFor(key, last)
}

// neverStruck names the rules that are in force and had no effect yet.
func neverStruck(set *fault.Set) []string {
	var ids []string
	for _, r := range set.Status().Rules {
		if r.Hits == 0 {
			ids = append(ids, fmt.Sprintf("%s at %s (seen %d times)", r.ID, r.Rule.Point, r.Seen))
		}
	}
	return ids
}
