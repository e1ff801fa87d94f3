package etcd

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

var seedFlag = flag.Uint64("seed", 0, "replay a random test with this seed")

var pointOfTest = fault.Def{Name: "test.point", Doc: "For tests.", Effects: fault.Call}

const (
	killKey  = "/dougong/" + FaultKillKey
	rulesKey = "/dougong/" + FaultRulesKey
)

// watched is a source that nothing runs, with the two keys bound to a set.
func watched(t *testing.T) (*Source, *fault.Set) {
	t.Helper()
	s, set := newSource(t), faulttest.New(t)
	if set.Status().CompiledOut {
		t.Skip(fault.ErrCompiledOut)
	}
	if err := WatchFaults(s, set); err != nil {
		t.Fatal(err)
	}
	return s, set
}

// document has one rule that fails the point, until an hour from now.
func document(kill bool, id string) string {
	return fmt.Sprintf(`{"version":1,"kill":%v,"rules":[{"id":%q,"point":"test.point","expires":%q,"error":{}}]}`,
		kill, id, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

// strikes is the rule that strikes the point, "" if none does.
func strikes(t *testing.T, set *fault.Set) string {
	t.Helper()
	err := set.Point(pointOfTest).Hit(t.Context())
	if err == nil {
		return ""
	}
	return err.(*fault.Error).Rule
}

func TestWhatIsWrongWithFaultRulesIsSaidAndTheLastGoodStays(t *testing.T) {
	s, set := watched(t)
	s.book.put(pair{rulesKey, []byte(document(false, "good")), 3})
	for i, c := range []struct{ value, want string }{
		{``, "document"},
		{`{"version":2,"rules":[]}`, "from the future"},
		{`{"version":2,"rules":[],"shards":3}`, "from the future"},
		{`{"version":1,"rules":[],"shards":3}`, "shards"},
		{`{"version":1,"rules":[{"id":"a","point":"*","for":"1m","panic":{}},{"id":"b","point":"*","for":"1m","panic":{}}]}`, "rules[1].for: begins anew"},
		{`{"version":1,"rules":[{"id":"a","point":"*","expires":"2026-01-01T00:00:00Z"}]}`, "effect: none"},
		{`{"version":1,"rules":[{"id":"a","point":"*","expires":"2126-01-01T00:00:00Z","delay":{"fixed":"2h"}}]}`, "ceiling"},
	} {
		revision := int64(4 + i)
		s.book.put(pair{rulesKey, []byte(c.value), revision})
		if k := s.Status().Keys[0]; k.Refused != revision || k.Revision != 3 || !strings.Contains(k.Error, c.want) {
			t.Errorf("%s: status %+v, want %q", c.value, k, c.want)
		}
		if got := strikes(t, set); got != "good" {
			t.Fatalf("%s: %q strikes", c.value, got)
		}
	}
	s.book.remove(rulesKey, 100)
	if got := strikes(t, set); got != "" {
		t.Errorf("after the deletion %q strikes", got)
	}
}

// TestNothingRefusesTheKillSwitch: no content, no length, no number of keys.
func TestNothingRefusesTheKillSwitch(t *testing.T) {
	for name, value := range map[string]string{"empty": "", "garbage": "{\xff", "false": "false", "long": strings.Repeat("x", 1<<20)} {
		t.Run(name, func(t *testing.T) {
			s, set := watched(t)
			if err := WatchEach(s, "each/", text, func(string, string) error { return nil }); err != nil {
				t.Fatal(err)
			}
			s.book.put(pair{rulesKey, []byte(document(false, "rule")), 3})
			for i := range s.config.MaxKeys {
				s.book.put(pair{fmt.Sprintf("/dougong/each/%d", i), nil, int64(4 + i)})
			}
			revision := int64(10_000)
			s.book.put(sureOf(s, value, revision))
			if got := set.Status().Killed; !slices.Equal(got, []string{fault.Etcd}) || strikes(t, set) != "" {
				t.Errorf("killed by %v", got)
			}
			// The next start has it too.
			again, restarted := watched(t)
			again.book.restore(s.book.snapshot())
			if len(restarted.Status().Killed) != 1 || strikes(t, restarted) != "" {
				t.Error("not killed after a restart")
			}
			// What etcd lost nobody has deleted.
			again.book.settle(Place{1, revision}, nil, true)
			if len(restarted.Status().Killed) != 1 {
				t.Error("not killed after etcd lost the key")
			}
			s.book.remove(killKey, revision+1)
			if len(set.Status().Killed) != 0 || strikes(t, set) != "rule" {
				t.Error("killed still")
			}
		})
	}
}

// TestChangeThatComesLateRevivesNothing: what the line told is told again by the stream of all keys, later.
func TestChangeThatComesLateRevivesNothing(t *testing.T) {
	s, set := watched(t)
	s.book.settle(Place{1, 2}, nil, true)
	rule := pair{rulesKey, []byte(document(false, "rule")), 3}
	late := []pair{sureOf(s, "", 4), rule}
	for _, p := range late {
		s.book.put(p)
	}
	if s.book.contradicts(Place{1, 2}, []pair{{rulesKey, rule.value, 2}}) {
		t.Error("an answer that is older than what the line told is taken for another history")
	}
	s.book.remove(killKey, 5)
	s.book.remove(rulesKey, 6)
	for _, p := range late {
		s.book.put(p)
	}
	if len(set.Status().Killed) != 0 || strikes(t, set) != "" {
		t.Errorf("killed by %v; %q strikes", set.Status().Killed, strikes(t, set))
	}
	s.book.turn(Place{2, 1}) // revisions begin anew
	s.book.put(sureOf(s, "", 1))
	if len(set.Status().Killed) != 1 {
		t.Error("another history is not heard")
	}
}

// sureOf is the kill key with a value, as a session makes it.
func sureOf(s *Source, value string, revision int64) pair {
	p, _ := s.book.pairOf(kvOf(killKey, value, revision))
	return p
}

// TestExpiredRulesOfACacheHaveNoEffect, those that stand have.
func TestExpiredRulesOfACacheHaveNoEffect(t *testing.T) {
	s, set := watched(t)
	old := strings.Replace(document(false, "old"), time.Now().UTC().Format("2006-"), "2020-", 1)
	s.book.restore(snapshot{Prefix: "/dougong/", Values: []cached{{Key: rulesKey, Value: []byte(old), Revision: 3}}})
	if got := strikes(t, set); got != "" {
		t.Errorf("%q strikes", got)
	}
	if r := set.Status().Rules; len(r) != 1 || r[0].State != fault.Expired {
		t.Errorf("rules %+v", r)
	}
	s, set = watched(t)
	s.book.restore(snapshot{Prefix: "/dougong/", Values: []cached{{Key: rulesKey, Value: []byte(document(false, "new")), Revision: 3}}})
	if got := strikes(t, set); got != "new" {
		t.Errorf("%q strikes", got)
	}
}

func TestWatchFaultsNeedsTheSource(t *testing.T) {
	c := fault.DefaultConfig()
	c.Sources = []string{fault.Admin}
	set, err := fault.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []*fault.Set{set, nil} {
		if err := WatchFaults(newSource(t), set); err == nil || !strings.Contains(err.Error(), `no source "etcd"`) {
			t.Errorf("got %v", err)
		}
	}
	s, _ := watched(t)
	if err := WatchFaults(s, faulttest.New(t)); err == nil || !strings.Contains(err.Error(), "bound already") {
		t.Errorf("bound twice: %v", err)
	}
}

// TestAnyOrderOfChangesEndsInWhatTheKeysSay holds the two keys against a model. The admin's source has a rule of its own,
// and a kill switch that etcd must not release.
func TestAnyOrderOfChangesEndsInWhatTheKeysSay(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("replay with -run=%s -args -seed=%d", t.Name(), seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		s, set := watched(t)
		set.Point(pointOfTest)
		var thrown, inDoc, byAdmin bool
		rule := ""
		for revision := int64(1); revision < 60; revision++ {
			switch rnd.IntN(7) {
			case 0, 1:
				inDoc, rule = rnd.IntN(3) == 0, fmt.Sprint("r", revision)
				s.book.put(pair{rulesKey, []byte(document(inDoc, rule)), revision})
			case 2:
				s.book.put(pair{rulesKey, []byte(`{"version":1,"kill":true,"rules":[{}]}`), revision}) // refused as a whole
			case 3:
				s.book.remove(rulesKey, revision)
				if rule != "" {
					inDoc, rule = false, ""
				}
			case 4:
				s.book.put(sureOf(s, fmt.Sprint(revision), revision))
				thrown = true
			case 5:
				s.book.remove(killKey, revision)
				thrown = false
			default:
				byAdmin = !byAdmin
				if err := set.Kill(fault.Admin, byAdmin); err != nil {
					t.Fatal(err)
				}
			}
			var killed []string
			if byAdmin {
				killed = append(killed, fault.Admin)
			}
			if thrown || inDoc {
				killed = append(killed, fault.Etcd)
			}
			want := rule
			if killed != nil {
				want = ""
			}
			if got := set.Status().Killed; !slices.Equal(got, killed) || strikes(t, set) != want {
				t.Fatalf("revision %d: killed by %v, want %v; %q strikes, want %q", revision, got, killed, strikes(t, set), want)
			}
		}
	}
}
