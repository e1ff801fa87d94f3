package limit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/internal/seeded"
)

// blocks works so many blocks of d each with a permit, and reports each wait between two.
func blocks(ctx context.Context, p Permit, count int, d time.Duration, waited func(time.Duration)) error {
	for i := range count {
		if i > 0 {
			began := time.Now()
			if err := p.Yield(ctx); err != nil {
				return fmt.Errorf("before block %d: %w", i, err)
			}
			waited(time.Since(began))
		}
		time.Sleep(d)
	}
	return nil
}

func ignore(time.Duration) {}

// TestShortWorkWaitsForOneBlock: beside a stream of short requests one long job runs, or three, in the only slot. Each
// short one waits for those before it and for a block of each that has begun, and the long ones have what they leave.
func TestShortWorkWaitsForOneBlock(t *testing.T) {
	const block, count = time.Millisecond, 60
	for name, tenant := range map[string]func(i int) string{
		"all of one tenant":      func(int) string { return "" },
		"each of its own tenant": func(i int) string { return fmt.Sprint(i) },
	} {
		for _, load := range []float64{0.5, 0.8, 0.9} {
			for _, jobs := range []int{1, 3} {
				t.Run(fmt.Sprintf("%s, load %v, %d", name, load, jobs), func(t *testing.T) {
					seeded.Each(t, 3, func(t *testing.T, rnd *rand.Rand) {
						synctest.Test(t, func(t *testing.T) {
							l := newLimit(t, 1, 1000)
							var long, short sync.WaitGroup
							began := time.Now()
							var mu sync.Mutex
							var took, ahead, most time.Duration // ahead: work of the short ones that are here
							working := jobs
							locked := func(do func()) {
								mu.Lock()
								defer mu.Unlock()
								do()
							}
							for i := range jobs {
								long.Go(func() {
									p, err := l.AcquireFor(t.Context(), Request{Tenant: tenant(-i)})
									if err != nil {
										t.Error(err)
									}
									if err := blocks(t.Context(), p, count/jobs, block, ignore); err != nil {
										t.Error(err)
									}
									p.Done()
									locked(func() { took, working = max(took, time.Since(began)), working-1 })
								})
								synctest.Wait()
							}
							more := true
							for i := 1; more; i++ {
								hold := time.Duration(1 + rnd.IntN(2*int(block)/10))
								short.Go(func() {
									var before time.Duration
									locked(func() { before, ahead = ahead, ahead+hold })
									came := time.Now()
									p, err := l.AcquireFor(t.Context(), Request{Tenant: tenant(i)})
									if err != nil {
										t.Error(err)
										return
									}
									waited := time.Since(came) - before
									if waited > time.Duration(jobs)*block {
										t.Errorf("waited %v longer than for those before it", waited)
									}
									time.Sleep(hold)
									locked(func() { ahead, most = ahead-hold, max(most, waited) })
									p.Done()
								})
								time.Sleep(time.Duration(float64(block) / 10 / load))
								locked(func() { more = working > 0 })
							}
							long.Wait()
							short.Wait()
							if factor := took.Seconds() / (count * block.Seconds() / (1 - load)); factor > 1.25 {
								t.Errorf("the long work took %.2f times what the others leave", factor)
							}
							if most < block/2 { // or nothing was tried
								t.Errorf("nobody waited for more than %v of a block", most)
							}
							wantIdle(t, l)
						})
					})
				})
			}
		}
	}
}

// TestFloodOfLongWorkDelaysItself: one tenant has more long jobs than the queue has places. Not all of them begin, and
// those of others, the urgent, and even the next of its own wait for one block as long as there is room.
func TestFloodOfLongWorkDelaysItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const block, count, queue = time.Millisecond, 20, 20
		l := newLimit(t, 1, queue)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		var mu sync.Mutex
		var ended []time.Duration
		began := time.Now()
		for range 2 * queue {
			all.Go(func() {
				for ctx.Err() == nil {
					p, err := l.AcquireFor(ctx, Request{Tenant: "flood"})
					if err != nil {
						time.Sleep(block)
						continue
					}
					if blocks(ctx, p, count, block, ignore) == nil {
						mu.Lock()
						ended = append(ended, time.Since(began))
						mu.Unlock()
					}
					p.Done()
				}
			})
			time.Sleep(block / 2)
		}
		for i := range 200 {
			time.Sleep(2*block + block/3)
			if s := l.Stats(); s.Yielding > queue/2+1 || s.Running != 1 {
				t.Fatalf("%+v", s)
			}
			came := time.Now()
			r := Request{Tenant: fmt.Sprint(i)}
			if i%2 == 0 {
				r = Request{Tenant: "flood", Priority: Critical}
			}
			p, err := l.AcquireFor(t.Context(), r)
			if waited := time.Since(came); err != nil || waited > block {
				t.Errorf("%+v waited %v, %v", r, waited, err)
			}
			time.Sleep(block / 10)
			p.Done()
		}
		cancel()
		all.Wait()
		wantIdle(t, l)
		if len(ended) < 15 { // a job has 20 blocks, and the rest may be unfinished
			t.Errorf("ended: %v", ended)
		}
	})
}

// TestRoomForThoseWhoHaveBegunIsBounded: with too many long jobs, each of a tenant of its own, one keeps the slot, so
// that there are less.
func TestRoomForThoseWhoHaveBegunIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const block, count, queue = time.Millisecond, 20, 5
		l := newLimit(t, 1, queue)
		var all sync.WaitGroup
		var mu sync.Mutex
		ended, most := 0, 0
		for i := range 100 {
			all.Go(func() {
				p, err := l.AcquireFor(t.Context(), Request{Tenant: fmt.Sprint(i)})
				if err != nil {
					return
				}
				if err := blocks(t.Context(), p, count, block, func(time.Duration) {
					mu.Lock()
					defer mu.Unlock()
					most = max(most, l.Stats().Yielding)
				}); err != nil {
					t.Error(err)
				}
				p.Done()
				mu.Lock()
				defer mu.Unlock()
				ended++
			})
			time.Sleep(3 * block)
		}
		all.Wait()
		if most != queue || ended < 15 {
			t.Errorf("%d waited between blocks, %d ended", most, ended)
		}
		wantIdle(t, l)
	})
}

// TestStreamOfNewTenantsStarvesNobody offers twice what can be done, each request of a tenant that comes once: who
// works in blocks has its part even so, as one among those who wait.
func TestStreamOfNewTenantsStarvesNobody(t *testing.T) {
	for _, queue := range []int{1, 4, 32} {
		t.Run(fmt.Sprint(queue), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const block, count = time.Millisecond, 50
				l := newLimit(t, 1, queue)
				p, err := l.AcquireFor(t.Context(), Request{Tenant: "long"})
				if err != nil {
					t.Fatal(err)
				}
				ended := make(chan time.Duration, 1)
				began := time.Now()
				go func() {
					if err := blocks(t.Context(), p, count, block, ignore); err != nil {
						t.Error(err)
					}
					p.Done()
					ended <- time.Since(began)
				}()
				for i := 0; len(ended) == 0; i++ {
					go func() {
						p, err := l.AcquireFor(t.Context(), Request{Tenant: fmt.Sprint(i)})
						if err != nil {
							return
						}
						time.Sleep(block / 10)
						p.Done()
					}()
					time.Sleep(block / 20)
					if time.Since(began) > 10*time.Second {
						t.Error("starved")
						l.Close()
					}
				}
				if factor := float64(<-ended) / float64(count*block); factor > 1.25*float64(queue+2) || factor < 1.5 {
					t.Errorf("the long job took %.1f times its work beside %d who wait", factor, queue)
				}
				time.Sleep(time.Second)
				wantIdle(t, l)
			})
		})
	}
}

// TestBlocksTakeTurnsByTime: a tenant that works in blocks without end, one that floods with short requests, and one
// that always has one request, hold the slot for the same time.
func TestBlocksTakeTurnsByTime(t *testing.T) {
	for _, block := range []time.Duration{100 * time.Microsecond, time.Millisecond, 20 * time.Millisecond} {
		t.Run(block.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimit(t, 1, 100)
				const during = 20 * time.Second
				p, err := l.AcquireFor(t.Context(), Request{Tenant: "blocks"})
				if err != nil {
					t.Fatal(err)
				}
				var own time.Duration
				var all sync.WaitGroup
				all.Go(func() {
					for began := time.Now(); time.Since(began) < during; own += block {
						if err := blocks(t.Context(), p, 1, block, ignore); err != nil {
							t.Error(err)
						}
						if err := p.Yield(t.Context()); err != nil {
							t.Error(err)
						}
					}
					p.Done()
				})
				held := loops(t, l, map[string]time.Duration{"flood": time.Millisecond, "one": time.Millisecond},
					map[string]int{"flood": 10, "one": 1}, during)
				all.Wait()
				held["blocks"] = own
				for who, d := range held {
					if part := d.Seconds() / during.Seconds(); who != "one" && (part < 0.25 || part > 0.5) {
						t.Errorf("%s had %.2f of the time: %v", who, part, held)
					}
				}
				if held["one"] < during/5 { // it is not always there to take its turn
					t.Errorf("%v", held)
				}
				wantIdle(t, l)
			})
		})
	}
}

func TestYieldLetsThoseGoWhoCameBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, long := full(t, 10)
		c := &crowd{t: t, l: l}
		c.join(3, "s", Request{})
		go func() {
			if err := long.Yield(t.Context()); err != nil {
				t.Error(err)
			}
			c.mu.Lock()
			c.served = append(c.served, "L")
			c.mu.Unlock()
			time.Sleep(time.Millisecond)
			if err := long.Yield(t.Context()); err != nil {
				t.Error(err)
			}
			long.Done()
			c.mu.Lock()
			c.served = append(c.served, "D")
			c.mu.Unlock()
		}()
		synctest.Wait()
		if s := l.Stats(); s.Yielding != 1 || s.Queued != 2 || s.Running != 1 || s.Admitted != 4 {
			t.Errorf("%+v", s)
		}
		c.join(2, "t", Request{})
		time.Sleep(time.Second)
		if got := c.order(); got != "sssLttD" {
			t.Errorf("served %s", got)
		}
		wantIdle(t, l)
	})
}

// TestUrgentWorkInBlocksIsPassedByOneInNine: it keeps its slot before less urgent ones, but each block counts.
func TestUrgentWorkInBlocksIsPassedByOneInNine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 1, 10)
		p, err := l.AcquireFor(t.Context(), Request{Priority: Critical})
		if err != nil {
			t.Fatal(err)
		}
		c := &crowd{t: t, l: l, hold: func(string) time.Duration { return 10 * time.Millisecond }}
		c.join(3, "b", Request{Priority: Batch})
		passed := 0
		err = blocks(t.Context(), p, 28, time.Millisecond, func(waited time.Duration) {
			if waited > 0 {
				passed++
			}
		})
		if err != nil || passed != 3 {
			t.Errorf("passed %d times, %v", passed, err)
		}
		p.Done()
		if got := c.order(); got != "bbb" {
			t.Errorf("served %s", got)
		}
		wantIdle(t, l)
	})
}

func TestYieldIsNeitherRefusedNorDisplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 2, 3)
		a, b := acquire(t, l), acquire(t, l)
		c := &crowd{t: t, l: l, hold: func(string) time.Duration { return time.Second }}
		c.join(3, "s", Request{})
		var mu sync.Mutex
		var done []string
		for name, p := range map[string]Permit{"a": a, "b": b} {
			go func() {
				if err := p.Yield(t.Context()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				done = append(done, name)
				p.Done()
			}()
			synctest.Wait()
		}
		c.join(2, "s", Request{}) // behind them
		if s := l.Stats(); s.Yielding != 2 || s.Queued != 3 || s.Running != 2 {
			t.Errorf("%+v", s)
		}
		c.join(2, "t", Request{Tenant: "t"})        // the first displaces the last, the second is told that the queue is full
		c.join(4, "c", Request{Priority: Critical}) // two displace those who have a place, until others have but one
		if s := l.Stats(); s.Yielding != 2 || s.Queued != 3 || s.Rejected[Displaced] != 3 || s.Rejected[QueueFull] != 3 {
			t.Errorf("%+v", s)
		}
		time.Sleep(10 * time.Second)
		c.order()
		mu.Lock()
		defer mu.Unlock()
		if len(done) != 2 {
			t.Errorf("%v went on", done)
		}
		wantIdle(t, l)
	})
}

// TestYieldEndsAsStartDoes: with the same errors, a place that is given back, and one word to the observer.
func TestYieldEndsAsStartDoes(t *testing.T) {
	const work = 10 * time.Millisecond
	for name, test := range map[string]struct {
		deadline time.Duration
		end      func(l *Limit, p Permit, cancel func()) // what happens while it waits
		before   bool                                    // or already before it waits
		want     func(error) bool
		held     bool // the observer hears Done, else Rejected
	}{
		"deadline":           {deadline: 15 * time.Millisecond, want: rejectedFor(Deadline)},
		"deadline, at once":  {deadline: work, before: true, want: rejectedFor(Deadline)},
		"context":            {end: func(_ *Limit, _ Permit, cancel func()) { cancel() }, want: func(err error) bool { return errors.Is(err, context.Canceled) && !errors.Is(err, ErrRejected) }, held: true},
		"context, at once":   {end: func(_ *Limit, _ Permit, cancel func()) { cancel() }, before: true, want: func(err error) bool { return errors.Is(err, context.Canceled) }, held: true},
		"close":              {end: func(l *Limit, _ Permit, _ func()) { l.Close() }, want: rejectedFor(Closed)},
		"done by another":    {end: func(_ *Limit, p Permit, _ func()) { p.Done() }, want: func(err error) bool { return err == errSpent }, held: true},
		"done as it is over": {end: func(_ *Limit, p Permit, _ func()) { p.DoneWith(Overloaded) }, want: func(err error) bool { return err == errSpent }, held: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &told{}
				l := newLimit(t, 2, 10, WithObserver(o))
				r := Request{}
				if test.deadline > 0 {
					r.Deadline = time.Now().Add(test.deadline)
				}
				p, err := l.AcquireFor(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				extra, ok := p.Extra()
				if !ok {
					t.Fatal("no extra slot")
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				c := &crowd{t: t, l: l, hold: func(string) time.Duration { return time.Second }}
				time.Sleep(work)
				c.join(1, "s", Request{})
				if test.before && test.end != nil {
					test.end(l, p, cancel)
				} else if test.end != nil {
					time.AfterFunc(5*time.Millisecond, func() { test.end(l, p, cancel) })
				}
				err = p.Yield(ctx)
				if !test.want(err) {
					t.Errorf("got %v", err)
				}
				synctest.Wait()
				if err != errSpent { // who works in the extra slot must be asked first
					if s := l.Stats(); s.Running != 2 || s.Yielding != 0 || s.Queued != 0 {
						t.Errorf("%+v", s)
					}
				}
				if extra.Keep() {
					t.Error("kept the extra slot of a permit that is over")
				}
				extra.Done()
				if s := l.Stats(); s.Running != 1 || s.Yielding != 0 || s.Queued != 0 {
					t.Errorf("%+v", s)
				}
				p.Done()
				if err := p.Yield(ctx); err != errSpent {
					t.Errorf("a second time: %v", err)
				}
				synctest.Wait()
				least, want := 2*work, told{admitted: 2, started: 2, rejected: 1}
				if test.held {
					want = told{admitted: 2, started: 2, done: 1}
				}
				o.mu.Lock()
				held := o.held
				o.held = 0
				if o.admitted != want.admitted || o.started != want.started || o.rejected != want.rejected || o.done != want.done {
					t.Errorf("told %d, %d, %d, %d", o.admitted, o.started, o.rejected, o.done)
				}
				o.mu.Unlock()
				if test.held && (held < least || held > least+5*time.Millisecond) { // the extra slot went on
					t.Errorf("held %v", held)
				}
				time.Sleep(10 * time.Second)
				wantIdle(t, l)
			})
		})
	}
}

func rejectedFor(reason Reason) func(error) bool {
	return func(err error) bool {
		rejected, ok := errors.AsType[*RejectedError](err)
		return ok && rejected.Reason == reason
	}
}

// told is what an observer has heard.
type told struct {
	mu                                sync.Mutex
	admitted, started, rejected, done int
	held                              time.Duration
}

func (o *told) tell(n *int, held time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	*n++
	o.held += held
}
func (o *told) Admitted()               { o.tell(&o.admitted, 0) }
func (o *told) Started(time.Duration)   { o.tell(&o.started, 0) }
func (o *told) Rejected(Reason)         { o.tell(&o.rejected, 0) }
func (o *told) Done(held time.Duration) { o.tell(&o.done, held) }

// TestYieldWaitsUntilItsDeadline: what is left of work that has begun may be less than work ever takes.
func TestYieldWaitsUntilItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 1, 10)
		teach(t, l, 10*time.Millisecond)
		p, err := l.AcquireFor(t.Context(), Request{Deadline: time.Now().Add(18 * time.Millisecond)})
		if err != nil {
			t.Fatal(err)
		}
		c := &crowd{t: t, l: l}
		c.join(1, "s", Request{})
		time.Sleep(5 * time.Millisecond)
		if err := p.Yield(t.Context()); err != nil {
			t.Error(err)
		}
		c.join(1, "s", Request{})
		before := time.Now()
		err = p.Yield(t.Context())
		wantReason(t, err, Deadline)
		if waited := time.Since(before); waited < 3*time.Millisecond || waited > 3*time.Millisecond+time.Microsecond {
			t.Errorf("waited %v of 3 ms", waited)
		}
		time.Sleep(time.Second)
		wantIdle(t, l)
	})
}

// TestNobodyIsAskedToYieldForThoseWhoLeft: nor pays for more than a look.
func TestNobodyIsAskedToYieldForThoseWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := full(t, 10)
		wait := func(r Request, want Reason) {
			go func() {
				_, err := l.AcquireFor(t.Context(), r)
				wantReason(t, err, want)
			}()
			synctest.Wait()
			if !l.crowded.Load() {
				t.Error("nobody seems to wait")
			}
		}
		wait(Request{Deadline: time.Now().Add(30 * time.Millisecond)}, Deadline)
		time.Sleep(time.Second)
		if l.crowded.Load() {
			t.Error("somebody seems to wait, who gave up")
		}
		wait(Request{}, Closed)
		l.Close()
		if l.crowded.Load() {
			t.Error("somebody seems to wait, who was turned away")
		}
		synctest.Wait()
		p.Done()
	})
}

// TestEstimateCountsThoseWhoYield: they go before who comes now.
func TestEstimateCountsThoseWhoYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := full(t, 10)
		c := &crowd{t: t, l: l, hold: func(string) time.Duration { return time.Second }}
		c.join(1, "s", Request{})
		go func() { _ = p.Yield(t.Context()) }()
		synctest.Wait()
		// What is known is about 9 ms for each: the one that runs, and the one in Yield.
		for after, want := range map[time.Duration]bool{15 * time.Millisecond: false, 25 * time.Millisecond: true} {
			q, err := l.Admit(time.Now().Add(after))
			if (err == nil) != want {
				t.Errorf("with %v left: %v", after, err)
			}
			q.Done()
		}
		time.Sleep(2 * time.Second)
		p.Done()
		wantIdle(t, l)
	})
}

func TestYieldNeedsASlot(t *testing.T) {
	l := newLimit(t, 1, 1)
	p, err := l.Admit(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Yield(t.Context()); err != errNoSlot {
		t.Errorf("before Start: %v", err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Yield(t.Context()); err != nil {
		t.Error(err)
	}
	p.Done()
	again := acquire(t, l) // on the same seat
	if err := p.Yield(t.Context()); err != errSpent {
		t.Errorf("after Done: %v", err)
	}
	if err := again.Yield(t.Context()); err != nil {
		t.Error(err)
	}
	if err := (Permit{}).Yield(t.Context()); err != errSpent {
		t.Errorf("of no permit: %v", err)
	}
	again.Done()
}

// TestWaitInYieldIsNoWork: neither for the observer nor for an adaptive limit, and each block is a hold for the
// estimate of the wait.
func TestWaitInYieldIsNoWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &told{}
		l, err := New(Config{Slots: 1, Queue: 10, Adaptive: &Adaptive{Min: 1, Max: 1, Tolerance: 1}}, WithObserver(o))
		if err != nil {
			t.Fatal(err)
		}
		p := acquire(t, l)
		var waited time.Duration
		for i := range 10 {
			time.Sleep(time.Millisecond)
			go func() {
				other := acquire(t, l)
				time.Sleep(100 * time.Millisecond)
				other.DoneWith(Ignored)
			}()
			synctest.Wait()
			time.Sleep(time.Millisecond)
			before := time.Now()
			if err := p.Yield(t.Context()); err != nil {
				t.Fatal(i, err)
			}
			waited += time.Since(before)
		}
		if waited != time.Second {
			t.Errorf("waited %v", waited)
		}
		synctest.Wait()
		o.held = 0
		if o.started != 11 || o.admitted != 11 {
			t.Errorf("%d were admitted and %d began", o.admitted, o.started)
		}
		p.Done()
		if o.held != 20*time.Millisecond || l.adapt.sum != float64(20*time.Millisecond) || l.adapt.count != 1 {
			t.Errorf("held %v, %v for the limit", o.held, time.Duration(l.adapt.sum))
		}
		if s := l.Stats(); s.Hold != time.Millisecond {
			t.Errorf("others waited %v for a slot", s.Hold)
		}
		wantIdle(t, l)
	})
}

// TestBlocksRefuseNobodyForTheirDeadline: however long work in blocks has taken, it is no reason to think that others
// must wait that long.
func TestBlocksRefuseNobodyForTheirDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 1, 10)
		for range 20 { // nobody waits
			p := acquire(t, l)
			if err := blocks(t.Context(), p, 65, time.Millisecond, ignore); err != nil {
				t.Fatal(err)
			}
			p.Done()
		}
		for range 20 { // and among others
			long := acquire(t, l)
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() {
					p, err := l.AcquireFor(t.Context(), Request{Deadline: time.Now().Add(8 * time.Millisecond)})
					if err != nil {
						t.Error(err)
						return
					}
					time.Sleep(100 * time.Microsecond)
					p.Done()
				})
			}
			synctest.Wait()
			if err := blocks(t.Context(), long, 65, time.Millisecond, ignore); err != nil {
				t.Fatal(err)
			}
			long.Done()
			all.Wait()
		}
		// But who has no time for one block is told at once.
		long := acquire(t, l)
		if hold := l.Stats().Hold; hold < 100*time.Microsecond || hold > time.Millisecond {
			t.Errorf("hold %v", hold)
		}
		_, err := l.AcquireFor(t.Context(), Request{Deadline: time.Now().Add(50 * time.Microsecond)})
		wantReason(t, err, Deadline)
		long.Done()
	})
}

// TestSharesBoundWorkInBlocks: only those of its own tenant have the slot of one that has its share.
func TestSharesBoundWorkInBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := New(Config{Slots: 3, Queue: 10, TenantShare: 0.34})
		if err != nil {
			t.Fatal(err)
		}
		p, err := l.AcquireFor(t.Context(), Request{Tenant: "a"})
		if err != nil {
			t.Fatal(err)
		}
		q, err := l.AcquireFor(t.Context(), Request{Tenant: "b"})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := p.Extra(); ok {
			t.Error("more than its share")
		}
		r, err := l.AcquireFor(t.Context(), Request{Tenant: "c"})
		if err != nil {
			t.Fatal(err)
		}
		c := &crowd{t: t, l: l}
		c.join(1, "a", Request{Tenant: "a"})
		r.Done()
		before := time.Now()
		if err := q.Yield(t.Context()); err != nil || time.Since(before) != 0 {
			t.Errorf("waited %v for who cannot have the slot: %v", time.Since(before), err)
		}
		if err := p.Yield(t.Context()); err != nil || time.Since(before) != 10*time.Millisecond {
			t.Errorf("waited %v, %v", time.Since(before), err)
		}
		p.Done()
		q.Done()
		if got := c.order(); got != "a" {
			t.Errorf("served %s", got)
		}
		wantIdle(t, l)
		if n := l.Stats().Tenants; n != 0 {
			t.Errorf("%d tenants are remembered", n)
		}
	})
}

func TestYieldDoesNotAllocate(t *testing.T) {
	l := newLimit(t, 2, 1)
	p := acquire(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // which nobody looks at
	if n := testing.AllocsPerRun(100, func() {
		if p.Yield(ctx) != nil {
			t.Error("no slot")
		}
		e, ok := p.Extra()
		if !ok || !e.Keep() {
			t.Error("no extra slot")
		}
		e.Done()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	p.Done()
}
