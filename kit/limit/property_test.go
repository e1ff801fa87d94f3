package limit

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/internal/seeded"
)

// request does one random thing with the limit. busy counts those who believe that they have a slot.
func request(t *testing.T, l *Limit, rnd *rand.Rand, busy *atomic.Int64, pause func(time.Duration)) {
	upTo := func(most time.Duration) time.Duration { return time.Duration(rnd.Int64N(int64(most))) }
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var deadline time.Time
	if rnd.IntN(2) == 0 {
		deadline = time.Now().Add(upTo(60 * time.Millisecond))
	}
	r := Request{Deadline: deadline, Priority: Priority(rnd.IntN(3) - 1), Tenant: []string{"", "a", "b", "c"}[rnd.IntN(4)]}
	take := func() (Permit, error) { return l.AdmitFor(r) }
	atOnce := rnd.IntN(3) == 0 // without a body
	if atOnce {
		ctx, cancelAtDeadline := ctx, context.CancelFunc(func() {})
		if !deadline.IsZero() {
			ctx, cancelAtDeadline = context.WithDeadline(ctx, deadline)
		}
		defer cancelAtDeadline()
		take = func() (Permit, error) { return l.AcquireFor(ctx, r) }
	}
	p, err := take()
	most := l.config.Slots
	if l.config.Adaptive != nil {
		most = l.config.Adaptive.Max
	}
	if s := l.Stats(); s.Arriving > l.config.Arriving || s.Running > most || s.Queued > l.config.Queue ||
		s.Admitted != s.Arriving+s.Running+s.Queued+s.Yielding || s.Yielding > l.config.Queue ||
		s.Queued+s.Yielding > 0 && s.Running < s.Slots && l.config.TenantShare == 0 {
		t.Errorf("impossible: %+v", s)
	}
	if err != nil {
		return
	}
	defer func() { _ = recover() }()
	defer p.Done()
	if !atOnce {
		pause(upTo(5 * time.Millisecond)) // reads its body
	}
	var others sync.WaitGroup
	defer others.Wait()
	gone := false // someone else may give back our slot while we have it
	work, leave := upTo(20*time.Millisecond), upTo(30*time.Millisecond)
	switch rnd.IntN(8) {
	case 0:
		return // never starts
	case 1:
		others.Go(func() { pause(leave); cancel() })
	case 2:
		gone = true
		others.Go(func() { pause(leave); p.Done() })
	}
	if rnd.IntN(3) == 0 {
		p.Long()
	}
	if !atOnce && p.Start(ctx) != nil {
		return
	}
	claim := func(n int64) {
		if n = busy.Add(n); n > int64(most) {
			t.Errorf("%d run at once in %d slots", n, most)
		}
	}
	if !gone {
		claim(1)
	}
	blocks := 1
	if rnd.IntN(3) == 0 {
		blocks += rnd.IntN(8)
	}
	extra := !gone && rnd.IntN(3) == 0
	var helpers sync.WaitGroup
	var slots []Slot
	defer func() {
		helpers.Wait()
		for _, e := range slots { // the permit has given them back, unless Yield failed
			e.Done()
		}
	}()
	for block := range blocks {
		if block > 0 {
			if !gone {
				busy.Add(-1)
			}
			if err := p.Yield(ctx); err != nil {
				if e, ok := errors.AsType[*RejectedError](err); ok && e.Reason != Deadline {
					t.Error(err)
				}
				return
			}
			if !gone {
				claim(1)
			}
		}
		if e, ok := p.Extra(); ok && !extra {
			e.Done()
		} else if ok {
			claim(1)
			slots = append(slots, e)
			more, leaks := rnd.IntN(8), rnd.IntN(2) == 0
			helpers.Go(func() {
				for range more {
					pause(work / 8)
					busy.Add(-1)
					if !e.Keep() {
						return
					}
					claim(1)
				}
				busy.Add(-1)
				if !leaks {
					e.Done()
				}
			})
		}
		pause(work / time.Duration(blocks))
	}
	if !gone {
		busy.Add(-1)
	}
	helpers.Wait()
	if rnd.IntN(8) == 0 {
		panic("work")
	}
	p.DoneWith(Outcome(rnd.IntN(3)))
	if rnd.IntN(2) == 0 {
		pause(leave) // and a late Done
	}
}

// TestRacesWithSharesLoseNothing has the number of slots and the shares of tenants in the race, too.
func TestRacesWithSharesLoseNothing(t *testing.T) {
	seeded.Each(t, 5, func(t *testing.T, rnd *rand.Rand) {
		c := Config{Slots: 2, Queue: 4, Arriving: 8, TenantShare: rnd.Float64()}
		if rnd.IntN(2) == 0 {
			c.Adaptive = &Adaptive{Min: 1, Max: 4, Tolerance: 0.25}
		}
		l, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		var busy atomic.Int64
		var all sync.WaitGroup
		for range 8 {
			own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
			all.Go(func() {
				for range 1000 {
					request(t, l, own, &busy, func(d time.Duration) { spin(d / 1000) })
				}
			})
		}
		all.Wait()
		wantIdle(t, l)
		if s := l.Stats(); s.Tenants != 0 || s.Arriving != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// wantWhole checks that no place and no slot has been lost or won.
func wantWhole(t *testing.T, l *Limit) {
	t.Helper()
	wantIdle(t, l)
	for i := range l.config.Arriving {
		if _, err := l.Admit(time.Time{}); err != nil {
			t.Fatalf("place %d is lost: %v", i, err)
		}
	}
	if _, err := l.Admit(time.Time{}); err == nil {
		t.Fatal("won a place")
	}
	var waiting sync.WaitGroup
	fill(t, l, &waiting)
	if _, err := l.Acquire(t.Context()); err == nil {
		t.Fatal("won a place in the queue")
	}
	l.Close()
	waiting.Wait()
}

// fill takes all slots and all places in the queue of a limit that has them free. Close ends it.
func fill(t *testing.T, l *Limit, waiting *sync.WaitGroup) {
	t.Helper()
	for i := range l.config.Slots {
		if _, err := l.Acquire(t.Context()); err != nil {
			t.Fatalf("slot %d is lost: %v", i, err)
		}
	}
	for range l.config.Queue {
		waiting.Go(func() {
			_, err := l.Acquire(t.Context())
			if rejected, ok := errors.AsType[*RejectedError](err); !ok || rejected.Reason != Closed {
				t.Errorf("got %v, want a wait until Close", err)
			}
		})
	}
	for l.Stats().Queued < l.config.Queue {
		if t.Failed() { // one was refused
			t.Fatalf("a place in the queue is lost: %+v", l.Stats())
		}
		runtime.Gosched()
	}
}

func randomLimit(t *testing.T, slots, queue int, rnd *rand.Rand) *Limit {
	t.Helper()
	l, err := New(Config{Slots: slots, Queue: queue, Arriving: 1 + rnd.IntN(8)})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRandomSchedulesKeepTheLimit(t *testing.T) {
	seeded.Each(t, 50, func(t *testing.T, rnd *rand.Rand) {
		synctest.Test(t, func(t *testing.T) {
			l := randomLimit(t, 1+rnd.IntN(4), rnd.IntN(6), rnd)
			var busy atomic.Int64
			var all sync.WaitGroup
			for range 5 + rnd.IntN(15) {
				own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
				all.Go(func() {
					for range 30 {
						request(t, l, own, &busy, time.Sleep)
					}
				})
			}
			all.Wait()
			wantWhole(t, l)
		})
	})
}

// TestRacesKeepTheLimit does the same without a pause, so that a slot, a cancellation and a Done come at the
// same moment as often as possible.
func TestRacesKeepTheLimit(t *testing.T) {
	seeded.Each(t, 5, func(t *testing.T, rnd *rand.Rand) {
		l := randomLimit(t, 1+rnd.IntN(2), 4, rnd)
		var busy atomic.Int64
		var all sync.WaitGroup
		for range 8 {
			own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
			all.Go(func() {
				for range 2000 {
					request(t, l, own, &busy, func(d time.Duration) { spin(d / 1000) })
				}
			})
		}
		all.Wait()
		wantWhole(t, l)
	})
}

func spin(d time.Duration) {
	for begin := time.Now(); time.Since(begin) < d; {
	}
}

func TestSlotsGoInOrderOfArrival(t *testing.T) {
	seeded.Each(t, 50, func(t *testing.T, rnd *rand.Rand) {
		synctest.Test(t, func(t *testing.T) {
			slots := 1 + rnd.IntN(3)
			l := newLimit(t, slots, 20)
			var running []Permit
			for range slots {
				running = append(running, acquire(t, l))
			}
			type served struct {
				number int
				permit Permit
			}
			got := make(chan served, 20)
			var want []int
			for number := range 20 {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				leaves := rnd.IntN(3) == 0
				if leaves {
					time.AfterFunc(time.Duration(1+rnd.IntN(100))*time.Millisecond, cancel)
				} else {
					want = append(want, number)
				}
				go func() {
					if p, err := l.Acquire(ctx); err == nil {
						got <- served{number, p}
					} else if !leaves {
						t.Errorf("%d: %v", number, err)
					}
				}()
				synctest.Wait() // this one is in the queue before the next comes
			}
			time.Sleep(time.Second) // those who leave have left
			var order []int
			for range want {
				running[0].Done()
				s := <-got
				order = append(order, s.number)
				running = append(running[1:], s.permit)
			}
			if !slices.Equal(order, want) {
				t.Errorf("served %v, want %v", order, want)
			}
		})
	})
}
