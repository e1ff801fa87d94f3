package etcd

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/adapters/internal/faultrules"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// struck is a source whose points rules strike, with a fake etcd that has the value one.
type struck struct {
	*heard
	faults *fault.Set
	etcd   *fakeEtcd
	cache  string
	rule   func(effect string) // replaces the rules of the case by one of another effect
}

// failed returns what the source reports next, with the source's own words about silence left out.
func (s *struck) failed(t *testing.T, want error) {
	t.Helper()
	for {
		err := next(t, s.heard.failed)
		if errors.Is(err, want) {
			return
		}
		if !errors.Is(err, errSilent) && !errors.Is(err, errBroken) {
			t.Fatalf("told of %v, want %v", err, want)
		}
	}
}

// TestEveryPointIsTripped strikes each point by name. Whatever it does, the last good value is in force meanwhile, and
// the newest in the end.
func TestEveryPointIsTripped(t *testing.T) {
	inForce := func(t *testing.T, s *struck, want string) {
		t.Helper()
		if got := next(t, s.applied); got != want {
			t.Errorf("%q was applied, want %q", got, want)
		}
	}
	var cases []faultrules.Case
	for _, c := range []struct {
		point, effect string
		check         func(*testing.T, *struck)
	}{
		{"etcd.dial", `"error":{"cause":"refused"},"count":2`, func(t *testing.T, s *struck) {
			s.failed(t, syscall.ECONNREFUSED)
			s.failed(t, fault.ErrInjected)
			inForce(t, s, "one")
		}},
		{"etcd.dial", `"hang":{},"count":1`, func(t *testing.T, s *struck) {
			s.failed(t, context.DeadlineExceeded) // dial_timeout holds for it too
			inForce(t, s, "one")
		}},
		{"etcd.get", `"error":{"cause":"reset"},"count":1`, func(t *testing.T, s *struck) {
			s.failed(t, syscall.ECONNRESET)
			inForce(t, s, "one")
		}},
		{"etcd.get", `"hang":{},"count":1`, func(t *testing.T, s *struck) {
			s.failed(t, context.DeadlineExceeded)
			inForce(t, s, "one")
		}},
		{"etcd.watch", `"drop":{},"where":{"key":"/dougong/a","type":"put"},"count":1`, func(t *testing.T, s *struck) {
			inForce(t, s, "one")
			s.etcd.waitOpen(t)
			s.etcd.put("a", "two")
			eventually(t, "the change is lost", func() bool { return faulttest.Hits(s.faults, "etcd.watch") == 1 })
			s.rule(`"error":{"cause":"eof"}`) // the next one cuts the stream, and after that everything is read anew
			s.etcd.put("a", "three")
			s.failed(t, fault.ErrInjected)
			inForce(t, s, "three")
		}},
		{"etcd.watch", `"delay":{"fixed":"30ms"}`, func(t *testing.T, s *struck) {
			inForce(t, s, "one")
			s.etcd.waitOpen(t)
			began := time.Now()
			s.etcd.put("a", "two")
			inForce(t, s, "two")
			if took := time.Since(began); took < 25*time.Millisecond {
				t.Errorf("took %v", took)
			}
		}},
		{"etcd.watch", `"hang":{}`, func(t *testing.T, s *struck) {
			inForce(t, s, "one")
			s.etcd.waitOpen(t)
			s.etcd.put("a", "two")
			s.failed(t, errSilent) // and so it is noticed, and read
			inForce(t, s, "two")
		}},
		{"etcd.cache.write", `"error":{"cause":"no_space"},"count":1`, func(t *testing.T, s *struck) {
			s.failed(t, syscall.ENOSPC)
			inForce(t, s, "one")
			eventually(t, "it is tried again", func() bool { _, err := os.Stat(s.cache); return err == nil })
		}},
		{"etcd.cache.write", `"drop":{}`, func(t *testing.T, s *struck) {
			inForce(t, s, "one")
			eventually(t, "a write is lost", func() bool { return faulttest.Hits(s.faults, "etcd.cache.write") > 0 })
			if _, err := os.Stat(s.cache); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there is a cache: %v", err)
			}
		}},
		{"etcd.cache.write", `"truncate":{"after":100}`, func(t *testing.T, s *struck) {
			inForce(t, s, "one")
			eventually(t, "a file is written", func() bool { _, err := os.Stat(s.cache); return err == nil })
			c := DefaultConfig()
			c.Cache = s.cache
			if _, err := (&points{}).readCache(t.Context(), c); !errors.Is(err, ErrCache) || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("the next start would believe it: %v", err)
			}
		}},
		{"etcd.cache.sync", `"error":{"cause":"io"}`, func(t *testing.T, s *struck) {
			s.failed(t, syscall.EIO)
			inForce(t, s, "one")
			if _, err := os.Stat(s.cache); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what may not be on the disk has replaced what is: %v", err)
			}
		}},
		{"etcd.cache.read", `"error":{"cause":"io"}`, func(t *testing.T, s *struck) {
			s.failed(t, ErrCache)
			inForce(t, s, "one")
		}},
		{"etcd.cache.read", `"corrupt":{"offset":120}`, func(t *testing.T, s *struck) {
			s.failed(t, ErrCache)
			inForce(t, s, "one") // etcd's, not what the cache says
		}},
	} {
		cases = append(cases, faultrules.Case{Point: c.point, Effect: c.effect, Check: func(t *testing.T, set *fault.Set) {
			s := &struck{faults: set, etcd: &fakeEtcd{at: Place{1, 5}, value: "one", progress: true}, cache: filepath.Join(t.TempDir(), "cache")}
			s.rule = func(effect string) { faultrules.Put(t, s.faults, `{"point":"`+c.point+`",`+effect+`}`) }
			if c.point == "etcd.cache.read" {
				old := snapshot{Prefix: "/dougong/", Values: []cached{{Key: "/dougong/a", Value: []byte("old")}}}
				if err := os.WriteFile(s.cache, encoded(t, old), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s.heard = runAt(t, serve(t, s.etcd), func(config *Config) {
				config.Cache, config.DialTimeout = s.cache, 200*time.Millisecond
			}, WithFaults(s.faults))
			c.check(t, s)
		}})
	}
	faultrules.Trip(t, cases)
}

// TestPanicAndHangAreSurvived at each point: the process lives, and once the rules are gone the newest value comes into
// force. Run ends in any case, which runAt checks.
func TestPanicAndHangAreSurvived(t *testing.T) {
	all := faulttest.New(t)
	newSource(t, WithFaults(all))
	for _, p := range all.Status().Points {
		for _, effect := range []string{`"panic":{}`, `"hang":{}`} {
			for _, removed := range []bool{true, false} { // the rule, before the source ends
				t.Run(p.Name+" "+effect, func(t *testing.T) {
					faults, f := faulttest.New(t), &fakeEtcd{at: Place{1, 5}, value: "one", progress: true}
					faultrules.Put(t, faults, `{"point":"`+p.Name+`",`+effect+`}`)
					h := runAt(t, serve(t, f), func(c *Config) {
						c.Cache, c.DialTimeout = filepath.Join(t.TempDir(), "cache"), 200*time.Millisecond
					}, WithFaults(faults))
					eventually(t, "it strikes", func() bool {
						f.put("a", "two")
						return faulttest.Hits(faults, p.Name) > 0
					})
					if !removed {
						return
					}
					faultrules.Put(t, faults)
					f.put("a", "three")
					for next(t, h.applied) != "three" {
					}
				})
			}
		}
	}
}

// TestWhatTakesFaultsAwayPassesThem: rules that lose all that etcd says do not lose the kill switch.
func TestWhatTakesFaultsAwayPassesThem(t *testing.T) {
	faults, f := faulttest.New(t), &fakeEtcd{at: Place{1, 5}, value: "one", progress: true}
	faultrules.Put(t, faults, `{"point":"etcd.watch","drop":{}}`)
	h := runBound(t, serve(t, f), func(*Config) {}, func(s *Source) error { return WatchFaults(s, faults) }, WithFaults(faults))
	next(t, h.applied)
	f.waitOpen(t)
	f.put("a", "two")
	eventually(t, "the change is lost", func() bool { return faulttest.Hits(faults, "etcd.watch") == 1 })
	f.put(FaultKillKey, "")
	eventually(t, "the switch is thrown", func() bool { return len(faults.Status().Killed) == 1 })
	f.put("a", "three") // no rule is in force any more
	if got := next(t, h.applied); got != "three" {
		t.Errorf("applied %q", got)
	}
	f.remove(FaultKillKey)
	eventually(t, "the switch is released", func() bool { return len(faults.Status().Killed) == 0 })
	f.put("a", "four")
	eventually(t, "the change is lost again", func() bool { return faulttest.Hits(faults, "etcd.watch") == 2 })
}

// TestRuleForEverythingSparesTheWayOfTheKillSwitch: only one that says etcd reaches it.
func TestRuleForEverythingSparesTheWayOfTheKillSwitch(t *testing.T) {
	faults := faulttest.New(t)
	newSource(t, WithFaults(faults))
	for rule, want := range map[string]bool{`{"point":"*","panic":{}}`: false, `{"point":"e*","panic":{}}`: false, `{"point":"etcd.*","panic":{}}`: true} {
		faultrules.Put(t, faults, rule)
		for _, p := range faults.Status().Points {
			if cache := strings.HasPrefix(p.Name, "etcd.cache."); p.On != (want || cache) {
				t.Errorf("%s: %s is on: %v", rule, p.Name, p.On)
			}
		}
	}
}

// TestNoRuleKeepsTheKillSwitchAway, not even one that strikes all that passes between a source and etcd, nor one that
// makes the next try wait. Once it is thrown, so is everything else there.
func TestNoRuleKeepsTheKillSwitchAway(t *testing.T) {
	for _, rule := range []string{
		`{"point":"etcd.*","error":{}}`, `{"point":"etcd.*","panic":{}}`, `{"point":"etcd.*","hang":{}}`, `{"point":"etcd.dial","error":{}}`, `{"point":"etcd.dial","hang":{}}`,
		`{"point":"etcd.get","error":{}}`, `{"point":"etcd.get","hang":{}}`, `{"point":"etcd.watch","error":{}}`, `{"point":"etcd.watch","hang":{}}`, `{"point":"etcd.watch","drop":{}}`,
	} {
		for _, when := range []string{"before it starts", "while it is away", "while all is well"} {
			if when == "while all is well" && strings.Contains(rule, "dial") {
				continue // nothing passes there
			}
			t.Run(rule+" "+when, func(t *testing.T) {
				faults, f := faulttest.New(t), &fakeEtcd{at: Place{1, 5}, value: "one", progress: true}
				if when == "before it starts" {
					f.put(FaultKillKey, "")
				}
				if when != "while all is well" {
					faultrules.Put(t, faults, rule)
				}
				slow := func(c *Config) {
					c.RetryMin, c.RetryMax = time.Hour, time.Hour // who waits for the next try waits for ever
					c.DialTimeout, c.RequestTimeout, c.CheckInterval = 10*time.Second, 10*time.Second, time.Second
				}
				h := runBound(t, serve(t, f), slow, func(s *Source) error { return WatchFaults(s, faults) }, WithFaults(faults))
				if when == "while all is well" {
					next(t, h.applied)
					f.waitOpen(t)
					faultrules.Put(t, faults, rule)
				}
				if when != "before it starts" {
					f.waitWatches(t, 2)
					if strings.Contains(rule, "watch") {
						f.waitWatches(t, 3)
						f.put("a", "two")
					}
					eventually(t, "it strikes", func() bool { return len(faults.Status().Recent) > 0 })
					f.put(FaultKillKey, "")
				}
				eventually(t, "the switch is thrown", func() bool { return len(faults.Status().Killed) == 1 })
				f.put("a", "three")
				for next(t, h.applied) != "three" {
				}
			})
		}
	}
}

// TestLostChangeIsFoundWhenItsRuleHasEnded, without anything else that would begin a new stream.
func TestLostChangeIsFoundWhenItsRuleHasEnded(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *fault.Set){
		"removed": func(t *testing.T, s *fault.Set) { faultrules.Put(t, s) },
		"replaced": func(t *testing.T, s *fault.Set) {
			faultrules.Put(t, s, `{"point":"etcd.watch","drop":{},"where":{"key":"x"}}`)
		},
		"exhausted": nil,
	} {
		t.Run(name, func(t *testing.T) {
			faults, f := faulttest.New(t), &fakeEtcd{at: Place{1, 5}, value: "one", progress: true}
			count := ""
			if end == nil {
				count = `,"count":1`
			}
			faultrules.Put(t, faults, `{"point":"etcd.watch","drop":{}`+count+`}`)
			h := runAt(t, serve(t, f), func(*Config) {}, WithFaults(faults))
			next(t, h.applied)
			f.waitOpen(t)
			f.put("a", "two")
			eventually(t, "the change is lost", func() bool { return faulttest.Hits(faults, "etcd.watch") == 1 })
			if end != nil {
				end(t, faults)
			}
			if got := next(t, h.applied); got != "two" {
				t.Errorf("applied %q", got)
			}
			if err := next(t, h.failed); err != errLost {
				t.Errorf("told of %v", err)
			}
		})
	}
}
