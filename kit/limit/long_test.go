package limit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestLongWorkGivesWayToShortWorkAlone: three long jobs and a stream of short requests, in one slot. A short one waits for
// one block, whatever long ones wait (where one that came before it begins meanwhile, for one of that, too), and the long ones of a tenant are done one after another.
func TestLongWorkGivesWayToShortWorkAlone(t *testing.T) {
	const block, count, hold = time.Millisecond, 20, 100 * time.Microsecond
	for name, short := range map[string]string{"of one tenant": "long", "of another": "short", "of nobody": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimit(t, 1, 1000)
				var all sync.WaitGroup
				var mu sync.Mutex
				var order []string
				note := func(format string, args ...any) {
					mu.Lock()
					defer mu.Unlock()
					order = append(order, fmt.Sprintf(format, args...))
				}
				for i := range 3 {
					all.Go(func() {
						p, err := l.AdmitFor(Request{Tenant: "long"})
						if err != nil {
							t.Error(err)
							return
						}
						defer p.Done()
						p.Long()
						if err := p.Start(t.Context()); err != nil {
							t.Error(err)
						}
						note("begins %d", i)
						if err := blocks(t.Context(), p, count, block, ignore); err != nil {
							t.Error(err)
						}
						note("ends %d", i)
					})
					synctest.Wait()
				}
				for range 50 {
					all.Go(func() {
						came := time.Now()
						p, err := l.AcquireFor(t.Context(), Request{Tenant: short})
						if err != nil {
							t.Error(err)
							return
						}
						most := block
						if short == "long" {
							most += block // one of its own tenant came before it, and begins as another ends
						}
						if waited := time.Since(came); waited > most {
							t.Errorf("waited %v", waited)
						}
						time.Sleep(hold)
						p.Done()
					})
					time.Sleep(1300 * time.Microsecond)
				}
				all.Wait()
				if got := fmt.Sprint(order); got != "[begins 0 ends 0 begins 1 ends 1 begins 2 ends 2]" {
					t.Error(got)
				}
				if s := l.Stats(); s.Running+s.Queued+s.Arriving+s.Yielding != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// TestShortWorkThatIsTooLateIsNotLetPass: what cannot be done in time any more is refused, not given a slot.
func TestShortWorkThatIsTooLateIsNotLetPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 1, 10)
		p, err := l.AcquireFor(t.Context(), Request{})
		if err != nil {
			t.Fatal(err)
		}
		p.Long()
		var ended sync.WaitGroup
		for _, patience := range []time.Duration{time.Second, 3 * time.Second} {
			ended.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				q, err := l.AcquireFor(ctx, Request{Deadline: time.Now().Add(patience)})
				if late := patience < 2*time.Second; late != (err != nil) || late && !errors.Is(err, ErrRejected) && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("patient for %v: %v", patience, err)
				}
				if err == nil {
					q.Done()
				}
			})
			synctest.Wait()
		}
		time.Sleep(2 * time.Second)
		if err := p.Yield(t.Context()); err != nil {
			t.Error(err)
		}
		p.Done()
		ended.Wait()
	})
}

// TestLongIsForgottenWithItsPermit: the next one on the seat takes turns again.
func TestLongIsForgottenWithItsPermit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 1, 10)
		p, _ := l.AcquireFor(t.Context(), Request{})
		p.Long()
		p.Done()
		p.Long() // is worthless, and does nothing
		p, _ = l.AcquireFor(t.Context(), Request{})
		began := false
		go func() {
			q, err := l.AdmitFor(Request{})
			if err != nil {
				t.Error(err)
				return
			}
			q.Long()
			if err := q.Start(t.Context()); err != nil {
				t.Error(err)
			}
			began = true
			q.Done()
		}()
		synctest.Wait()
		if err := p.Yield(t.Context()); err != nil || !began {
			t.Errorf("%v; the long one had the slot: %v", err, began)
		}
		p.Done()
	})
}

func TestLongWorkYieldsWithoutAllocating(t *testing.T) {
	l := newLimit(t, 1, 10)
	p, err := l.AcquireFor(t.Context(), Request{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Done()
	p.Long()
	waiting, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if q, err := l.AdmitFor(Request{}); err == nil {
			q.Long()
			if q.Start(waiting) == nil {
				q.Done()
			}
		}
	}()
	for l.Stats().Queued == 0 {
		time.Sleep(time.Millisecond)
	}
	if n := testing.AllocsPerRun(100, func() {
		if err := p.Yield(t.Context()); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	cancel()
	<-done
}

// TestWhatBeganFirstEndsFirst: callers of one tenant who come again at once, each with work that turns out to be long once it
// has a slot. Nobody's is left behind by those who come later.
func TestWhatBeganFirstEndsFirst(t *testing.T) {
	for _, slots := range []int{1, 2} {
		for _, tenant := range []string{"", "one"} {
			t.Run(fmt.Sprint(slots, tenant), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const callers, count, block = 30, 10, time.Millisecond
					l := newLimit(t, slots, 100)
					var all sync.WaitGroup
					var mu sync.Mutex
					ended, slowest := 0, time.Duration(0)
					began := time.Now()
					for range callers {
						all.Go(func() {
							for time.Since(began) < 5*time.Second {
								came := time.Now()
								p, err := l.AcquireFor(t.Context(), Request{Tenant: tenant})
								if err != nil {
									t.Error(err)
									return
								}
								time.Sleep(block / 10) // what it is, it learns with its slot
								p.Long()
								if err := blocks(t.Context(), p, count, block, ignore); err != nil {
									t.Error(err)
								}
								p.Done()
								mu.Lock()
								ended, slowest = ended+1, max(slowest, time.Since(came))
								mu.Unlock()
							}
						})
					}
					all.Wait()
					round := callers * (count*block + block/10) / time.Duration(slots)
					t.Logf("%d ended, the slowest after %v; all of them once need %v", ended, slowest, round)
					if slowest > round+round/2 {
						t.Errorf("somebody waited %v while all of them once need %v", slowest, round)
					}
				})
			})
		}
	}
}

// TestLongWorkEndsInTheOrderInWhichItBegan also has short requests pass, which is when long work waits between its blocks.
func TestLongWorkEndsInTheOrderInWhichItBegan(t *testing.T) {
	for _, slots := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(slots), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const callers, count, block = 12, 10, time.Millisecond
				l := newLimit(t, slots, 100)
				var all sync.WaitGroup
				var mu sync.Mutex
				var open []int // that have begun, in that order
				next := 0
				began := time.Now()
				for range callers {
					all.Go(func() {
						for time.Since(began) < 2*time.Second {
							p, err := l.AcquireFor(t.Context(), Request{Tenant: "long"})
							if err != nil {
								t.Error(err)
								return
							}
							mu.Lock()
							me := next
							next++
							open = append(open, me)
							mu.Unlock()
							time.Sleep(block / 10)
							p.Long()
							if err := blocks(t.Context(), p, count, block, ignore); err != nil {
								t.Error(err)
							}
							mu.Lock()
							at := slices.Index(open, me)
							if at >= slots {
								t.Errorf("%d ended, and %d that began before it had not: %v", me, at, open)
							}
							open = slices.Delete(open, at, at+1)
							mu.Unlock()
							p.Done()
						}
					})
				}
				all.Go(func() {
					for time.Since(began) < 2*time.Second {
						if p, err := l.AcquireFor(t.Context(), Request{Tenant: "short"}); err == nil {
							time.Sleep(block / 5)
							p.Done()
						}
						time.Sleep(1300 * time.Microsecond)
					}
				})
				all.Wait()
				if next < 100*slots {
					t.Errorf("only %d began", next)
				}
				wantIdle(t, l)
			})
		})
	}
}

// TestLongWorkThatCannotEndInTimeIsNotGoneOnWith: more callers than can be borne, each with a deadline, whose work turns out
// to be long once it has a slot. What the slots do is not lost on work that misses its deadline.
func TestLongWorkThatCannotEndInTimeIsNotGoneOnWith(t *testing.T) {
	for _, test := range []struct{ slots, tenants, callers int }{{1, 1, 30}, {2, 1, 60}, {2, 3, 20}, {4, 1, 120}} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const count, block, patience, during = 10, time.Millisecond, 100 * time.Millisecond, 10 * time.Second
				l := newLimit(t, test.slots, 1000)
				var all sync.WaitGroup
				var done atomic.Int64
				began := time.Now()
				for tenant := range test.tenants {
					for range test.callers {
						all.Go(func() {
							for time.Since(began) < during {
								ctx, cancel := context.WithTimeout(t.Context(), patience)
								p, err := l.AcquireFor(ctx, Request{Tenant: fmt.Sprint(tenant), Deadline: time.Now().Add(patience)})
								if err != nil {
									cancel()
									time.Sleep(block)
									continue
								}
								time.Sleep(block / 10)
								p.Long()
								if blocks(ctx, p, count, block, ignore) == nil && ctx.Err() == nil {
									done.Add(1)
									p.Done()
								} else {
									p.DoneWith(Ignored)
								}
								cancel()
							}
						})
					}
				}
				all.Go(func() {
					for time.Since(began) < during {
						if p, err := l.AcquireFor(t.Context(), Request{Tenant: "short"}); err == nil {
							time.Sleep(block / 5)
							p.Done()
						}
						time.Sleep(block)
					}
				})
				all.Wait()
				part := float64(done.Load()) * (count*block + block/10).Seconds() / during.Seconds() / float64(test.slots)
				t.Logf("%d were done in time: %.2f of what the slots can do", done.Load(), part)
				if part < 1.0/3 { // about as much goes to short ones, and to the first blocks of those that come in vain
					t.Error("the work of the slots was lost")
				}
			})
		})
	}
}

// TestLongWorkThatBecameShorterIsDoneAgain: what was learned of longer work must not keep out for good what takes less.
func TestLongWorkThatBecameShorterIsDoneAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const block = time.Millisecond
		l := newLimit(t, 1, 1000)
		for range 20 {
			p, err := l.AcquireFor(t.Context(), Request{})
			if err != nil {
				t.Fatal(err)
			}
			p.Long()
			if err := blocks(t.Context(), p, 500, block, ignore); err != nil {
				t.Fatal(err)
			}
			p.Done()
		}
		var all sync.WaitGroup
		var done atomic.Int64
		began := time.Now()
		for range 60 {
			all.Go(func() {
				for time.Since(began) < 10*time.Second {
					const patience = 100 * time.Millisecond
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					p, err := l.AcquireFor(ctx, Request{Deadline: time.Now().Add(patience)})
					if err != nil {
						cancel()
						time.Sleep(block)
						continue
					}
					p.Long()
					if blocks(ctx, p, 5, block, ignore) == nil && ctx.Err() == nil {
						done.Add(1)
						p.Done()
					} else {
						p.DoneWith(Ignored)
					}
					cancel()
				}
			})
		}
		all.Wait()
		t.Logf("%d done", done.Load())
		if done.Load() < 100 {
			t.Errorf("only %d of some 1,000 were done", done.Load())
		}
	})
}
