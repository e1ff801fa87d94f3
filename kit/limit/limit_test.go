package limit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func newLimit(t *testing.T, slots, queue int, opts ...Option) *Limit {
	t.Helper()
	l, err := New(Config{Slots: slots, Queue: queue}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func acquire(t *testing.T, l *Limit) Permit {
	t.Helper()
	p, err := l.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// teach makes the limit know that a slot is held for d. Must run in a bubble.
func teach(t *testing.T, l *Limit, d time.Duration) {
	t.Helper()
	for range 100 {
		p := acquire(t, l)
		time.Sleep(d)
		p.Done()
	}
}

func wantReason(t *testing.T, err error, want Reason) *RejectedError {
	t.Helper()
	rejected, ok := errors.AsType[*RejectedError](err)
	if !ok || rejected.Reason != want || !errors.Is(err, ErrRejected) {
		t.Fatalf("got %v, want a rejection for %s", err, want)
	}
	return rejected
}

func wantIdle(t *testing.T, l *Limit) {
	t.Helper()
	if s := l.Stats(); s.Admitted != 0 || s.Running != 0 || s.Queued != 0 {
		t.Fatalf("not idle: %+v", s)
	}
}

func TestConfigReportsEveryFault(t *testing.T) {
	_, err := New(Config{Slots: 0, Queue: -1, Arriving: -2})
	if want := "limit: slots: must be at least 1, is 0\nqueue: must be at least 0, is -1\narriving: must be at least 0, is -2"; err == nil || err.Error() != want {
		t.Fatalf("got %v, want %s", err, want)
	}
	if err := (Config{Slots: 1 << 30, Queue: 1 << 30, Arriving: 1 << 30}).Validate(); err == nil || strings.Count(err.Error(), "must be at most") != 3 {
		t.Fatal(err)
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
}

// slowBodies admits requests that never call Start, until no more are let in.
func slowBodies(t *testing.T, l *Limit) (permits []Permit) {
	t.Helper()
	for {
		p, err := l.Admit(time.Time{})
		if err != nil {
			wantReason(t, err, ArrivingFull)
			return permits
		}
		permits = append(permits, p)
	}
}

func TestPlacesForThoseWhoArriveAreBounded(t *testing.T) {
	for arriving, want := range map[int]int{0: 5, 1: 1, 7: 7} {
		l, err := New(Config{Slots: 2, Queue: 3, Arriving: arriving})
		if err != nil {
			t.Fatal(err)
		}
		permits := slowBodies(t, l)
		if s := l.Stats(); len(permits) != want || s.Arriving != want || s.Admitted != want || s.Running != 0 || s.Queued != 0 || s.Rejected[ArrivingFull] != 1 {
			t.Errorf("%d: %d permits, %+v", arriving, len(permits), s)
		}
		_, err = l.Admit(time.Time{})
		if got := wantReason(t, err, ArrivingFull).RetryAfter; got != time.Second {
			t.Errorf("retry after %v with nothing known", got)
		}
		// The place is free again after Done, and after Start.
		permits[0].Done()
		p, err := l.Admit(time.Time{})
		if err != nil {
			t.Fatal("the place that was given back is lost:", err)
		}
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Admit(time.Time{}); err != nil {
			t.Fatal("the place of the one that started is lost:", err)
		}
	}
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 2, 3)
		late, err := l.Admit(time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		var waiting sync.WaitGroup
		fill(t, l, &waiting)
		_, err = l.Admit(time.Time{}) // at the door, so that no body is read in vain
		if got := wantReason(t, err, QueueFull).RetryAfter; got != time.Second {
			t.Errorf("retry after %v with nothing known", got)
		}
		_, err = l.Acquire(t.Context())
		wantReason(t, err, QueueFull)
		wantReason(t, late.Start(t.Context()), QueueFull)
		if s := l.Stats(); s.Arriving != 0 || s.Running != 2 || s.Queued != 3 || s.Rejected[QueueFull] != 3 {
			t.Errorf("%+v", s)
		}
		l.Close()
		waiting.Wait()
	})
}

func TestSlowBodiesTakeNeitherSlotsNorTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 1, 2)
		teach(t, l, 100*time.Millisecond)
		ready, err := l.Admit(time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		slowBodies(t, l)
		busy := acquire(t, l)
		time.AfterFunc(100*time.Millisecond, busy.Done)
		got := make(chan error, 2)
		go func() { got <- ready.Start(t.Context()) }() // as if nobody arrived
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 301*time.Millisecond) // two before it, and then itself
		defer cancel()
		go func() { _, err := l.Acquire(ctx); got <- err }()
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		ready.Done()
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	})
}

func TestRetryAfterIsTheTimeToWorkOffWhatIsHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 2, 4)
		teach(t, l, 100*time.Millisecond)
		permits := slowBodies(t, l) // no work yet
		_, err := l.Admit(time.Time{})
		if got := wantReason(t, err, ArrivingFull).RetryAfter; got != time.Second {
			t.Errorf("retry after %v: nobody knows when bodies end", got)
		}
		permits[0].Done()
		var waiting sync.WaitGroup
		fill(t, l, &waiting)
		_, err = l.Admit(time.Time{})
		if got := wantReason(t, err, QueueFull).RetryAfter; got != 300*time.Millisecond {
			t.Fatalf("retry after %v, want 6 places * 100 ms / 2 slots", got)
		}
		l.Close()
		waiting.Wait()
	})
}

func TestWhoHasItsShareIsNotToldToComeBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := New(Config{Slots: 2, Queue: 4, Arriving: 4, TenantShare: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		teach(t, l, time.Millisecond)
		for range 2 {
			p, err := l.AdmitFor(Request{Tenant: "a"})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Done()
		}
		_, err = l.AdmitFor(Request{Tenant: "a"})
		if got := wantReason(t, err, TenantFull).RetryAfter; got < retryUnknown {
			t.Errorf("retry after %v: nobody knows when its bodies end", got)
		}
	})
}

func TestDoorRefusesWhatCannotBeDoneInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 1, 10)
		teach(t, l, 100*time.Millisecond)
		slow, _ := l.Admit(time.Time{}) // counts for nothing
		defer slow.Done()
		acquire(t, l)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		in := func(ms int) time.Time { return time.Now().Add(time.Duration(ms) * time.Millisecond) }
		for i, step := range []struct {
			deadline time.Time
			want     Reason
		}{
			{in(199), Deadline}, // waits 100 ms and then needs 100 ms
			{in(201), ""},       // the first in the queue
			{in(299), Deadline},
			{in(301), ""},
			{in(-1), Deadline},
			{time.Time{}.Add(1), Deadline}, // a date that is further away than a Duration can be
			{time.Time{}, ""},
			{time.Now().AddDate(9000, 0, 0), ""},
		} {
			p, err := l.Admit(step.deadline)
			if step.want != "" {
				wantReason(t, err, step.want)
				continue
			}
			if err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
			go func() { _ = p.Start(ctx) }()
			synctest.Wait() // it is in the queue
		}
		if got := l.Stats().Queued; got != 4 {
			t.Errorf("%d wait, want 4", got)
		}
	})
}

func TestStartChecksAgainWithThePlaceInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 1, 10)
		teach(t, l, 100*time.Millisecond)
		p, err := l.Admit(time.Now().Add(300 * time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		acquire(t, l)
		time.Sleep(150 * time.Millisecond) // reads its body
		begin := time.Now()
		wantReason(t, p.Start(t.Context()), Deadline)
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("refused after %v", waited)
		}
		if got := l.Stats().Admitted; got != 1 {
			t.Errorf("%d places taken after the refusal", got)
		}
	})
}

func TestQueueIsLeftWhenTooLittleTimeIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 1, 10)
		teach(t, l, 100*time.Millisecond)
		slow := acquire(t, l)
		begin := time.Now()
		ctx, cancel := context.WithDeadline(t.Context(), begin.Add(250*time.Millisecond))
		defer cancel()
		_, err := l.Acquire(ctx)
		wantReason(t, err, Deadline)
		if waited := time.Since(begin).Round(time.Millisecond); waited != 150*time.Millisecond {
			t.Errorf("left after %v, want 150 ms: 100 of 250 are needed", waited)
		}
		slow.Done()
		wantIdle(t, l)
	})
}

func TestPatienceGrowsWhenTheEstimateFalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 2, 10)
		teach(t, l, 100*time.Millisecond)
		busy := []Permit{acquire(t, l), acquire(t, l)}
		got := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
			defer cancel()
			_, err := l.Acquire(ctx)
			got <- err
		}()
		synctest.Wait()
		l.mu.Lock()
		l.hold = estimate{mean: 10 * time.Millisecond, known: true}
		l.mu.Unlock()
		time.AfterFunc(200*time.Millisecond, busy[0].Done) // after the 150 ms for which it was patient at first
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	})
}

func TestTurnIsRefusedWhenTheDeadlineHasPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A clock of our own moves while timers do not: as when the machine was too busy to run them.
		var mu sync.Mutex
		clock := time.Now()
		l := newLimit(t, 1, 10, WithNow(func() time.Time { mu.Lock(); defer mu.Unlock(); return clock }))
		busy := acquire(t, l)
		late, next := make(chan error, 1), make(chan error, 1)
		p, err := l.Admit(clock.Add(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		go func() { late <- p.Start(t.Context()) }()
		synctest.Wait()
		go func() { _, err := l.Acquire(t.Context()); next <- err }()
		synctest.Wait()
		mu.Lock()
		clock = clock.Add(2 * time.Second)
		mu.Unlock()
		busy.Done()
		wantReason(t, <-late, Deadline)
		if err := <-next; err != nil {
			t.Fatal("the slot did not go on to the next:", err)
		}
	})
}

func TestFreeSlotIsTriedWhateverTheEstimate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 2, 10)
		teach(t, l, 10*time.Second)
		acquire(t, l)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := l.Acquire(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

func TestOneOutlierDoesNotRefuseThoseAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 1, 10)
		teach(t, l, 10*time.Millisecond)
		p := acquire(t, l)
		time.Sleep(time.Minute)
		p.Done()

		busy := acquire(t, l)
		defer busy.Done()
		if _, err := l.Admit(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatalf("%v, estimate %v", err, l.Stats().Hold)
		}
	})
}

func TestSlowFirstRequestIsForgottenUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 1, 10)
		first := acquire(t, l)
		time.Sleep(time.Minute)
		first.Done()

		refused, lastRefused := 0, 0
		for round := range 100 { // two at once every 25 ms, each 10 ms of work within 1 s
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					p, err := l.Acquire(ctx)
					if err != nil {
						refused, lastRefused = refused+1, round
						return
					}
					time.Sleep(10 * time.Millisecond)
					p.Done()
				})
			}
			both.Wait()
			time.Sleep(5 * time.Millisecond)
		}
		if refused == 0 || lastRefused > 40 {
			t.Fatalf("%d refused, the last in round %d", refused, lastRefused)
		}
	})
}

func TestSlowFirstRequestDoesNotRefuseThoseWhoWaitedForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 1, 10)
		first := acquire(t, l)
		time.AfterFunc(5*time.Second, first.Done)
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		if _, err := l.Acquire(ctx); err != nil {
			t.Fatal(err) // 3 s are left, and one measurement of 5 s proves nothing
		}
	})
}

func TestEstimateFollowsWorkThatBecameSlower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 1, 0)
		teach(t, l, time.Millisecond)
		teach(t, l, time.Second)
		if got := l.Stats().Hold.Round(10 * time.Millisecond); got != time.Second {
			t.Fatal(got)
		}
	})
}

func TestDoneTwiceNeverReleasesSomeoneElsesSlot(t *testing.T) {
	l := newLimit(t, 1, 0)
	first := acquire(t, l)
	first.Done()
	second := acquire(t, l) // sits on the same seat
	first.Done()
	copied := first
	copied.Done()
	if s := l.Stats(); s.Running != 1 {
		t.Fatalf("a late Done gave back the slot of another: %+v", s)
	}
	if err := first.Start(t.Context()); err != errSpent {
		t.Fatal(err)
	}
	if err := second.Start(t.Context()); err != errSpent {
		t.Fatal(err)
	}
	second.Done()
	wantIdle(t, l)
	Permit{}.Done()
	if err := (Permit{}).Start(t.Context()); err != errSpent {
		t.Fatal(err)
	}
}

func TestDoneWhileStartWaitsEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 1, 1)
		busy := acquire(t, l)
		p, err := l.Admit(time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error)
		go func() { got <- p.Start(t.Context()) }()
		synctest.Wait()
		p.Done()
		if err := <-got; err != errSpent {
			t.Fatal(err)
		}
		busy.Done()
		wantIdle(t, l)
	})
}

func TestPanicGivesTheSlotBack(t *testing.T) {
	l := newLimit(t, 1, 0)
	func() {
		defer func() { _ = recover() }()
		p := acquire(t, l)
		defer p.Done()
		panic("work")
	}()
	wantIdle(t, l)
}

func TestCanceledContextLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 1, 5)
		busy := acquire(t, l)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := l.Acquire(ctx)
		if !errors.Is(err, context.Canceled) || errors.Is(err, ErrRejected) {
			t.Fatal(err)
		}
		if _, err := l.Acquire(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		busy.Done()
		if _, err := l.Acquire(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if got := l.Stats().Abandoned; got != 3 {
			t.Errorf("%d abandoned", got)
		}
		wantIdle(t, l)

		// A deadline that ends the context is a rejection like one that was seen coming.
		acquire(t, l)
		p, _ := l.Admit(time.Time{})
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantReason(t, p.Start(ctx), Deadline)
	})
}

func TestCloseRefusesAllWithoutASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 1, 5)
		running := acquire(t, l)
		reading, _ := l.Admit(time.Time{})
		waiting := make(chan error)
		for range 3 {
			go func() { _, err := l.Acquire(t.Context()); waiting <- err }()
		}
		synctest.Wait()
		l.Close()
		l.Close()
		for range 3 {
			wantReason(t, <-waiting, Closed)
		}
		wantReason(t, reading.Start(t.Context()), Closed)
		_, err := l.Admit(time.Time{})
		wantReason(t, err, Closed)
		if s := l.Stats(); s.Running != 1 || s.Admitted != 1 || s.Rejected[Closed] != 5 {
			t.Fatalf("%+v", s)
		}
		running.Done()
		wantIdle(t, l)
	})
}

type tally struct {
	mu     sync.Mutex
	events []string
}

func (o *tally) add(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, fmt.Sprintf(format, args...))
}
func (o *tally) Admitted()               { o.add("admitted") }
func (o *tally) Started(w time.Duration) { o.add("started %v", w) }
func (o *tally) Rejected(r Reason)       { o.add("rejected %s", r) }
func (o *tally) Done(h time.Duration)    { o.add("done %v", h) }

func TestObserverHearsWhatHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &tally{}
		l, err := New(Config{Slots: 1, Queue: 1, Arriving: 1}, WithObserver(o))
		if err != nil {
			t.Fatal(err)
		}
		first := acquire(t, l)
		time.AfterFunc(time.Second, func() { first.Done(); first.Done() })
		second := acquire(t, l)
		time.Sleep(2 * time.Second)
		third, _ := l.Admit(time.Time{})
		_, err = l.Admit(time.Time{})
		wantReason(t, err, ArrivingFull)
		third.Done()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := l.Acquire(ctx); err == nil {
			t.Fatal("acquired")
		}
		second.Done()
		want := []string{"admitted", "started 0s", "admitted", "done 1s", "started 1s", "admitted", "rejected arriving_full", "done 0s",
			"admitted", "done 0s", "done 3s"}
		if !slices.Equal(o.events, want) {
			t.Fatalf("got  %q\nwant %q", o.events, want)
		}
	})
}

func TestStatsAreACopy(t *testing.T) {
	l := newLimit(t, 1, 0)
	s := l.Stats()
	s.Rejected[Closed] = 7
	if want := map[Reason]uint64{QueueFull: 0, ArrivingFull: 0, TenantFull: 0, Displaced: 0, Deadline: 0, Closed: 0}; !maps.Equal(l.Stats().Rejected, want) {
		t.Fatal(l.Stats().Rejected)
	}
}

func TestUncontendedAcquireDoesNotAllocate(t *testing.T) {
	l := newLimit(t, 4, 4)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if n := testing.AllocsPerRun(1000, func() {
		p, err := l.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		p.Done()
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(1000, func() {
		p, err := l.Admit(time.Time{})
		if err != nil || p.Start(ctx) != nil {
			t.Fatal(err)
		}
		p.Done()
	}); n != 0 {
		t.Fatalf("%v allocations in two steps", n)
	}
	if n := testing.AllocsPerRun(1000, func() {
		p, err := l.AcquireFor(ctx, Request{Priority: Critical, Tenant: "tenant"})
		if err != nil {
			t.Fatal(err)
		}
		p.Done()
	}); n != 0 {
		t.Fatalf("%v allocations for a tenant", n)
	}
}
