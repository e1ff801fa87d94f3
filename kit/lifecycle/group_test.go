package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// journal is what happened in a group, in order and with the time since its beginning.
type journal struct {
	begin time.Time
	mu    sync.Mutex
	lines []string
}

func newJournal() *journal { return &journal{begin: time.Now()} }

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf("%v ", time.Since(j.begin))+fmt.Sprintf(format, args...))
}

func (j *journal) Transition(_ string, _, to State, _ error) { j.add("%v", to) }

func (j *journal) expect(t *testing.T, want ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.lines, want) {
		t.Fatalf("got\n\t%s\nwant\n\t%s", strings.Join(j.lines, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// takes is a member that needs the given times to become ready and to stop.
func (j *journal) takes(name string, toStart, toStop time.Duration) Member {
	return Member{Name: name, Run: func(ctx context.Context, ready func()) error {
		j.add("%s starts", name)
		select {
		case <-time.After(toStart):
			ready()
			<-ctx.Done()
		case <-ctx.Done():
		}
		time.Sleep(toStop)
		j.add("%s ended", name)
		return ctx.Err()
	}}
}

var config = Config{StartTimeout: 10 * time.Second, DrainDelay: 5 * time.Second, StopTimeout: 20 * time.Second}

func newGroup(t *testing.T, j *journal, members ...Member) *Group {
	t.Helper()
	g, err := NewGroup("shop", config, members, WithObserver(j))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

var errDone = errors.New("enough")

// endAfter is a context that ends with the cause errDone.
func endAfter(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(d, func() { cancel(errDone) })
	return ctx
}

func TestGroupStartsInOrderAndStopsInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		g := newGroup(t, j, j.takes("store", time.Second, time.Second), j.takes("cache", 2*time.Second, 0), j.takes("web", 0, 3*time.Second))
		if err := g.Run(endAfter(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		j.expect(t, "0s store starts", "1s cache starts", "3s web starts", "3s Ready", "1m0s Draining",
			"1m8s web ended", "1m8s cache ended", "1m9s store ended", "1m9s Stopped")
	})
}

func TestDrainingSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, newJournal())
		waited := make(chan error, 1)
		go func() {
			_, err := g.Wait(t.Context(), func(s State) bool { return s == Draining })
			waited <- err
		}()
		time.AfterFunc(time.Minute+time.Second, func() {
			if s := g.Status(); s.State != Draining || s.Cause != errDone || g.State().Serving() {
				t.Errorf("%+v", s)
			}
		})
		if err := g.Run(endAfter(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		if err := <-waited; err != nil {
			t.Error("Wait:", err)
		}
	})
}

func TestFailedStartAtEachPositionStopsThoseBefore(t *testing.T) {
	boom := errors.New("boom")
	ways := map[string]struct {
		run  func(context.Context, func()) error
		want error
	}{
		"error":     {func(context.Context, func()) error { return boom }, boom},
		"early end": {func(context.Context, func()) error { return nil }, ErrEnded},
		"panic":     {func(context.Context, func()) error { panic(boom) }, boom},
		"too slow":  {func(ctx context.Context, _ func()) error { <-ctx.Done(); return ctx.Err() }, ErrNotReady},
	}
	for way, bad := range ways {
		for position := range 4 {
			t.Run(fmt.Sprintf("%s %d", way, position), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					j := newJournal()
					var members []Member
					var want []string
					for i := range 4 {
						members = append(members, j.takes(fmt.Sprint(i), 0, 0))
						if i < position {
							want = append(want, fmt.Sprintf("0s %d starts", i))
						}
					}
					members[position] = Member{Name: "bad", Run: bad.run}
					at := "0s"
					if bad.want == ErrNotReady {
						at = "10s"
					}
					want = append(want, at+" Failed") // and no drain delay
					for i := position - 1; i >= 0; i-- {
						want = append(want, fmt.Sprintf("%s %d ended", at, i))
					}

					g := newGroup(t, j, members...)
					err := g.Run(t.Context())
					failed, ok := errors.AsType[*MemberError](err)
					if !ok || failed.Name != "bad" || !errors.Is(err, bad.want) {
						t.Fatalf("Run = %v", err)
					}
					if s := g.Status(); s.State != Failed || !errors.Is(s.Cause, bad.want) {
						t.Fatalf("%+v", s)
					}
					j.expect(t, want...)
				})
			})
		}
	}
}

func TestMemberThatDiesStopsTheGroupAfterTheDrainDelay(t *testing.T) {
	for name, end := range map[string]func() error{
		"error": func() error { return errors.New("disk gone") },
		"nil":   func() error { return nil },
		"panic": func() error { panic("disk gone") },
		"exit":  func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := newJournal()
				dies := Member{Name: "dies", Run: func(_ context.Context, ready func()) error {
					ready()
					time.Sleep(time.Minute)
					return end()
				}, Drain: func(context.Context) { t.Error("drained although it is dead") }}
				g := newGroup(t, j, j.takes("store", 0, 0), dies, j.takes("web", 0, time.Second))
				err := g.Run(t.Context())
				if failed, ok := errors.AsType[*MemberError](err); !ok || failed.Name != "dies" {
					t.Fatalf("Run = %v", err)
				}
				if p, ok := errors.AsType[*PanicError](err); ok && !strings.Contains(p.Error(), "group_test.go") {
					t.Errorf("no stack in %v", p)
				} else if !ok && (name == "panic" || name == "exit") {
					t.Errorf("no PanicError in %v", err)
				}
				j.expect(t, "0s store starts", "0s web starts", "0s Ready", "1m0s Failed", "1m6s web ended", "1m6s store ended")
			})
		})
	}
}

func TestStopNowCutsTheDrainDelayShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		g := newGroup(t, j, j.takes("web", 0, 0))
		time.AfterFunc(time.Minute+2*time.Second, func() { _ = g.StopNow() })
		if err := g.Run(endAfter(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		j.expect(t, "0s web starts", "0s Ready", "1m0s Draining", "1m2s web ended", "1m2s Stopped")
	})
}

func TestDrainRunsBesideServingUntilTheDelayIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		web := j.takes("web", 0, 0)
		web.Drain = func(ctx context.Context) {
			j.add("web drains")
			<-ctx.Done()
			time.Sleep(time.Second)
			j.add("web drained")
		}
		g := newGroup(t, j, j.takes("store", 0, 0), web)
		if err := g.Run(endAfter(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		j.expect(t, "0s store starts", "0s web starts", "0s Ready", "1m0s Draining", "1m0s web drains",
			"1m5s web ended", "1m6s web drained", "1m6s store ended", "1m6s Stopped")
	})
}

func TestPanicInDrainDoesNotStopTheOthersFromDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		web := j.takes("web", 0, 0)
		web.Drain = func(context.Context) { panic("no GOAWAY") }
		g := newGroup(t, j, j.takes("store", 0, 0), web)
		err := g.Run(endAfter(t, time.Minute))
		if failed, ok := errors.AsType[*MemberError](err); !ok || failed.Name != "web" || !strings.Contains(err.Error(), "no GOAWAY") {
			t.Fatal(err)
		}
		j.expect(t, "0s store starts", "0s web starts", "0s Ready", "1m0s Draining", "1m5s web ended", "1m5s store ended", "1m5s Stopped")
	})
}

func TestMembersThatHangAreNamedAndTheOthersStopped(t *testing.T) {
	tests := map[string]struct {
		bounds []time.Duration // of hang1 and hang2
		stop   time.Duration   // from the end of the context to the end of the group
	}{
		"own bounds":        {[]time.Duration{2 * time.Second, 3 * time.Second}, 11 * time.Second},
		"bound of all":      {[]time.Duration{0, 0}, 25 * time.Second},
		"one eats the time": {[]time.Duration{time.Second, time.Hour}, 25 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := newJournal()
				release := make(chan struct{})
				defer close(release)
				hang := func(name string, bound time.Duration) Member {
					return Member{Name: name, StopTimeout: bound, Run: func(_ context.Context, ready func()) error {
						ready()
						<-release
						return nil
					}}
				}
				g := newGroup(t, j, j.takes("store", 0, time.Second), hang("hang1", test.bounds[0]),
					j.takes("cache", 0, 0), hang("hang2", test.bounds[1]), j.takes("web", 0, 0))
				err := g.Run(endAfter(t, time.Minute))
				late, ok := errors.AsType[*StopError](err)
				if !ok || !slices.Equal(late.Names, []string{"hang2", "hang1"}) {
					t.Fatalf("Run = %v", err)
				}
				if want := "lifecycle: group shop: did not stop in time: hang2, hang1"; err.Error() != want {
					t.Errorf("error reads %q", err)
				}
				if !slices.ContainsFunc(j.lines, func(l string) bool { return strings.HasSuffix(l, "store ended") }) {
					t.Errorf("store was not stopped: %q", j.lines)
				}
				if got := time.Since(j.begin) - time.Minute; got != test.stop {
					t.Errorf("stopped in %v, want %v", got, test.stop)
				}
				if s := g.Status(); s.State != Stopped || !errors.As(s.Cause, &late) {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestErrorWhileStoppingIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("flush failed")
		j := newJournal()
		g := newGroup(t, j, Member{Name: "store", Run: func(ctx context.Context, ready func()) error {
			ready()
			<-ctx.Done()
			return boom
		}})
		err := g.Run(endAfter(t, time.Minute))
		if failed, ok := errors.AsType[*MemberError](err); !ok || failed.Name != "store" || !errors.Is(err, boom) {
			t.Fatal(err)
		}
	})
}

func TestOnlyTheEndOfTheContextIsACleanError(t *testing.T) {
	lost := errors.New("flush: disk full, 17 rows lost")
	for name, test := range map[string]struct {
		end   func(context.Context) error
		clean bool
	}{
		"itself":             {func(ctx context.Context) error { return ctx.Err() }, true},
		"wrapped":            {func(ctx context.Context) error { return fmt.Errorf("serve: %w", ctx.Err()) }, true},
		"twice":              {func(ctx context.Context) error { return errors.Join(ctx.Err(), fmt.Errorf("a: %w", ctx.Err())) }, true},
		"with another":       {func(ctx context.Context) error { return errors.Join(ctx.Err(), lost) }, false},
		"with another, deep": {func(ctx context.Context) error { return fmt.Errorf("a: %w", fmt.Errorf("%w, %w", lost, ctx.Err())) }, false},
		"a panic":            {func(ctx context.Context) error { panic(ctx.Err()) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t, newJournal(), Member{Name: "store", Run: func(ctx context.Context, ready func()) error {
					ready()
					<-ctx.Done()
					return test.end(ctx)
				}})
				err := g.Run(endAfter(t, time.Second))
				if _, failed := errors.AsType[*MemberError](err); failed == test.clean {
					t.Errorf("Run = %v", err)
				}
			})
		})
	}
}

// stuck is an observer that does not return from the given transition until it is released.
type stuck struct {
	in      State
	release chan struct{}
}

func (o *stuck) Transition(_ string, _, to State, _ error) {
	if to == o.in {
		<-o.release
	}
}

func TestObserverThatBlocksDoesNotKeepTheGroupFromStopping(t *testing.T) {
	for _, in := range []State{Ready, Draining, Stopped} {
		t.Run(in.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := newJournal()
				o := &stuck{in, make(chan struct{})}
				g, err := NewGroup("shop", config, []Member{j.takes("store", 0, time.Second), j.takes("web", 0, time.Second)}, WithObserver(o), WithObserver(j))
				if err != nil {
					t.Fatal(err)
				}
				if err := g.Run(endAfter(t, time.Minute)); !errors.Is(err, ErrObserver) {
					t.Errorf("Run = %v", err)
				}
				if got, most := time.Since(j.begin), time.Minute+7*time.Second+observerPatience; got > most || g.State() != Stopped {
					t.Errorf("%v after %v, want it stopped within %v", g.State(), got, most)
				}
				if err := g.Stop(); !errors.Is(err, ErrObserver) {
					t.Errorf("Stop = %v", err)
				}
				close(o.release)
				synctest.Wait()
				var told []string
				for _, line := range j.lines {
					if _, what, _ := strings.Cut(line, " "); !strings.Contains(what, " ") {
						told = append(told, what)
					}
				}
				if want := []string{"Ready", "Draining", "Stopped"}; !slices.Equal(told, want) {
					t.Errorf("told %q, want %q", told, want)
				}
			})
		})
	}
}

func TestEndOfContextWhileStartingStopsWithoutDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		g := newGroup(t, j, j.takes("store", time.Second, 0), j.takes("cache", 5*time.Second, 0), j.takes("web", 0, 0))
		if err := g.Run(endAfter(t, 2*time.Second)); err != nil {
			t.Fatal(err)
		}
		j.expect(t, "0s store starts", "1s cache starts", "2s Draining", "2s cache ended", "2s store ended", "2s Stopped")
	})
}

func TestThousandStopsWaitForTheOneStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("flush failed")
		j := newJournal()
		g := newGroup(t, j, Member{Name: "store", Run: func(ctx context.Context, ready func()) error {
			ready()
			<-ctx.Done()
			time.Sleep(time.Second)
			return boom
		}})
		results := make(chan error, 1001)
		go func() { results <- g.Run(t.Context()) }()
		synctest.Wait()
		for range 1000 {
			go func() { results <- g.Stop() }()
		}
		first := <-results
		if at := time.Since(j.begin); at != 6*time.Second {
			t.Errorf("a Stop returned after %v", at)
		}
		for range 1000 {
			if err := <-results; err != first || !errors.Is(err, boom) {
				t.Fatalf("%v and %v", err, first)
			}
		}
		j.expect(t, "0s Ready", "0s Draining", "6s Stopped")
		if err := g.Stop(); err != first {
			t.Errorf("a late Stop got %v", err)
		}
		if err := g.Run(t.Context()); !errors.Is(err, ErrAlreadyRun) {
			t.Errorf("second Run: %v", err)
		}
	})
}

func TestStopBeforeRunStartsNothing(t *testing.T) {
	j := newJournal()
	g := newGroup(t, j, Member{Name: "web", Run: func(context.Context, func()) error { t.Error("started"); return nil }})
	if err := g.Stop(); err != nil || g.State() != Stopped {
		t.Fatal(err, g.State())
	}
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestMembersKeepTheValuesOfTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		g := newGroup(t, newJournal(), Member{Name: "web", Run: func(ctx context.Context, ready func()) error {
			if ctx.Value(key{}) != "tenant" {
				t.Error("value lost")
			}
			ready()
			ready() // a second call does nothing
			<-ctx.Done()
			return nil
		}})
		if err := g.Run(context.WithValue(endAfter(t, time.Second), key{}, "tenant")); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNewGroupReportsEveryFault(t *testing.T) {
	run := func(context.Context, func()) error { return nil }
	_, err := NewGroup("shop", Config{DrainDelay: -1}, []Member{{Name: "a", Run: run}, {Run: run}, {Name: "a", StopTimeout: -1}})
	want := `lifecycle: group shop: start_timeout: must be above 0, is 0s
drain_delay: must be at least 0, is -1ns
stop_timeout: must be above 0, is 0s
member 1: has no name
member 2: the name a is taken
member 2: has no Run
member 2: StopTimeout must be at least 0, is -1ns`
	if err == nil || err.Error() != want {
		t.Fatalf("got\n%v\nwant\n%s", err, want)
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
}
