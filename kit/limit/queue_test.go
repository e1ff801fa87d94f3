package limit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/internal/seeded"
)

// full returns a limit of one slot, which is taken, and so many places in the queue. Must run in a bubble.
func full(t *testing.T, queue int) (*Limit, Permit) {
	t.Helper()
	l := newLimit(t, 1, queue)
	teach(t, l, 10*time.Millisecond)
	return l, acquire(t, l)
}

// crowd is requests that wait.
type crowd struct {
	t      *testing.T
	l      *Limit
	mu     sync.Mutex
	served []string
	lost   []string
	hold   func(name string) time.Duration
}

// join has requests wait, one after the other, under a name.
func (c *crowd) join(count int, name string, r Request) {
	for range count {
		go func() {
			p, err := c.l.AcquireFor(c.t.Context(), r)
			c.mu.Lock()
			if err != nil {
				if rejected, ok := errors.AsType[*RejectedError](err); ok {
					c.lost = append(c.lost, fmt.Sprintf("%s %s", name, rejected.Reason))
				}
				c.mu.Unlock()
				return
			}
			c.served = append(c.served, name)
			c.mu.Unlock()
			d := 10 * time.Millisecond
			if c.hold != nil {
				d = c.hold(name)
			}
			time.Sleep(d)
			p.Done()
		}()
		synctest.Wait()
	}
}

func (c *crowd) order() string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.served, "")
}

func TestUrgentGoFirstAndNobodyStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, busy := full(t, 100)
		c := &crowd{t: t, l: l}
		c.join(3, "b", Request{Priority: Batch})
		c.join(3, "n", Request{})
		c.join(30, "c", Request{Priority: Critical})
		busy.Done()
		time.Sleep(10 * time.Second)
		// Eight go past: then both others are due, the batch first. From then on each is due for itself.
		want := "cccccccc" + "bn" + "ccccccc" + "b" + "c" + "n" + "cccccc" + "b" + "cc" + "n" + "cccccc"
		if got := c.order(); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
		wantIdle(t, l)
	})
}

func TestTenantThatFloodsDelaysItselfAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, busy := full(t, 100)
		c := &crowd{t: t, l: l}
		c.join(20, "f", Request{Tenant: "flood"})
		c.join(3, "a", Request{Tenant: "a"})
		c.join(3, "b", Request{Tenant: "b"})
		busy.Done()
		time.Sleep(10 * time.Second)
		if got, want := c.order(), "fabfabfab"+strings.Repeat("f", 17); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
		if n := l.Stats().Tenants; n != 0 {
			t.Fatalf("%d tenants are remembered", n)
		}
	})
}

func TestTenantsPayForTheTimeTheyHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, busy := full(t, 1000)
		c := &crowd{t: t, l: l, hold: func(name string) time.Duration {
			if name == "s" {
				return 40 * time.Millisecond
			}
			return 10 * time.Millisecond
		}}
		c.join(200, "s", Request{Tenant: "slow"})
		c.join(200, "q", Request{Tenant: "quick"})
		busy.Done()
		time.Sleep(4 * time.Second)
		got := c.order()
		slow, quick := 40*strings.Count(got, "s"), 10*strings.Count(got, "q")
		if ratio := float64(slow) / float64(quick); ratio < 0.8 || ratio > 1.25 {
			t.Fatalf("slow had %d ms, quick %d ms", slow, quick)
		}
		l.Close()
		time.Sleep(time.Second)
	})
}

func TestOneLongHoldDoesNotKeepItsTenantOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, busy := full(t, 1000)
		long := true
		c := &crowd{t: t, l: l, hold: func(name string) time.Duration {
			if name == "x" && long {
				long = false
				return time.Hour
			}
			return 10 * time.Millisecond
		}}
		c.join(10, "x", Request{Tenant: "x"})
		c.join(500, "y", Request{Tenant: "y"})
		busy.Done()
		time.Sleep(2 * time.Hour)
		got := c.order()
		first := strings.Index(got, "x")
		if second := strings.Index(got[first+1:], "x"); second < 10 || second > 2*mostDebt {
			t.Fatalf("%d others before the next of x: %s", second, got)
		}
	})
}

func TestFullQueueMakesRoomForTheUrgentAndTheFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, busy := full(t, 9) // each class is sure of one place
		c := &crowd{t: t, l: l}
		c.join(8, "flood", Request{Tenant: "flood"})
		c.join(1, "few", Request{Tenant: "few"})
		c.join(1, "few", Request{Tenant: "few"})       // flood has 8
		c.join(1, "flood", Request{Tenant: "flood"})   // has most itself
		c.join(1, "batch", Request{Priority: Batch})   // is sure of one
		c.join(1, "batch", Request{Priority: Batch})   // and of no more
		c.join(9, "c", Request{Priority: Critical})    // is sure of all but one of each
		_, err := l.AdmitFor(Request{Priority: Batch}) // refused at the door already
		wantReason(t, err, QueueFull)
		if p, err := l.AdmitFor(Request{Priority: Critical, Tenant: "another"}); err != nil {
			t.Error("nobody made room at the door:", err)
		} else {
			p.Done()
		}
		synctest.Wait()
		want := []string{"flood displaced", "flood queue_full", "flood displaced", "batch queue_full",
			"flood displaced", "flood displaced", "flood displaced", "flood displaced", "few displaced", "few displaced", "flood displaced", "c queue_full", "c queue_full"}
		c.mu.Lock()
		got := slices.Clone(c.lost)
		c.mu.Unlock()
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("lost %q\nwant %q", got, want)
		}
		if s := l.Stats(); s.Queued != 9 || s.Rejected[Displaced] == 0 {
			t.Errorf("%+v", s)
		}
		busy.Done()
		time.Sleep(time.Second)
		if got := c.order(); strings.Count(got, "batch") != 1 || strings.Count(got, "c") != 7+1 {
			t.Errorf("served %s", got)
		}
		wantIdle(t, l)
	})
}

func TestShareBoundsWhatATenantHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := New(Config{Slots: 4, Queue: 10, Arriving: 10, TenantShare: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		c := &crowd{t: t, l: l, hold: func(string) time.Duration { return time.Second }}
		c.join(5, "a", Request{Tenant: "a"})
		if s := l.Stats(); s.Running != 2 || s.Queued != 3 {
			t.Fatalf("%+v", s)
		}
		c.join(2, "b", Request{Tenant: "b"}) // goes past those of a
		if s := l.Stats(); s.Running != 4 || s.Queued != 3 {
			t.Fatalf("%+v", s)
		}
		for i := range 6 {
			_, err := l.AdmitFor(Request{Tenant: "sends slowly"})
			if i < 5 && err != nil {
				t.Fatal(err)
			} else if i == 5 {
				wantReason(t, err, TenantFull)
			}
		}
		time.Sleep(time.Second)
		if got := c.order(); got != "aabbaa" {
			t.Fatalf("served %s", got)
		}
		time.Sleep(5 * time.Second)
		if s := l.Stats(); s.Running != 0 || s.Queued != 0 || s.Tenants != 1 {
			t.Fatalf("%+v", s)
		}
	})
}

// TestFloodDoesNotRefuseOthersForTheirDeadline is about the estimate of the wait, which must know the turns.
func TestFloodDoesNotRefuseOthersForTheirDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, busy := full(t, 100)
		defer busy.Done()
		c := &crowd{t: t, l: l}
		c.join(50, "f", Request{Tenant: "flood"})
		soon := time.Now().Add(45 * time.Millisecond)
		_, err := l.AdmitFor(Request{Tenant: "flood", Deadline: soon})
		wantReason(t, err, Deadline)
		if p, err := l.AdmitFor(Request{Tenant: "other", Deadline: soon}); err != nil {
			t.Error(err)
		} else {
			p.Done()
		}
		if p, err := l.AdmitFor(Request{Tenant: "flood", Priority: Critical, Deadline: soon}); err != nil {
			t.Error(err)
		} else {
			p.Done()
		}
		l.Close()
	})
}

// TestSharesFollowTheNumberOfSlots: those who wait for a slot of their own share get it, or no longer, when it changes.
func TestSharesFollowTheNumberOfSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := New(Config{Slots: 4, Queue: 10, TenantShare: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		resize := func(slots int) {
			l.mu.Lock()
			l.resize(slots, l.elapsed())
			l.mu.Unlock()
		}
		c := &crowd{t: t, l: l, hold: func(string) time.Duration { return time.Second }}
		c.join(5, "a", Request{Tenant: "a"}) // two run
		time.Sleep(time.Second / 2)
		resize(6)
		if got := c.order(); got != "aaa" {
			t.Fatalf("served %s with a share of 3", got)
		}
		resize(2)
		time.Sleep(time.Second / 2) // the first two end
		if got := c.order(); got != "aaa" {
			t.Fatalf("served %s with a share of 1", got)
		}
		time.Sleep(time.Second / 2)
		if got := c.order(); got != "aaaa" {
			t.Fatalf("served %s", got)
		}
		time.Sleep(5 * time.Second)
		wantIdle(t, l)
	})
}

// TestUrgentCrowdRefusesOthersForTheirDeadline: who has to let others pass knows it beforehand.
func TestUrgentCrowdRefusesOthersForTheirDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, busy := full(t, 100)
		defer busy.Done()
		c := &crowd{t: t, l: l}
		c.join(20, "c", Request{Priority: Critical})
		for after, want := range map[time.Duration]bool{60 * time.Millisecond: false, 120 * time.Millisecond: true} {
			p, err := l.AdmitFor(Request{Deadline: time.Now().Add(after)})
			if want && err != nil {
				t.Errorf("refused with %v left, which is enough for those who may pass", after)
			}
			if !want {
				wantReason(t, err, Deadline)
			}
			p.Done()
		}
		l.Close()
	})
}

// TestRandomCrowdsAreServedFairly sends random requests of random tenants and classes and checks, at each slot that
// is given: it is never one too many; the class is the most urgent, or was passed over eight times; and everyone is served
// or told why not, but who has begun is never turned away.
func TestRandomCrowdsAreServedFairly(t *testing.T) {
	seeded.Each(t, 30, func(t *testing.T, rnd *rand.Rand) {
		synctest.Test(t, func(t *testing.T) {
			slots, queue, tenants := 1+rnd.IntN(4), 3+rnd.IntN(60), 1+rnd.IntN(6)
			l := newLimit(t, slots, queue)
			type served struct {
				Request
				permit Permit
				err    error
				begun  bool // and waited in Yield
			}
			var busy []served
			for range slots {
				busy = append(busy, served{permit: acquire(t, l)})
			}
			got := make(chan served, 1000)
			var waiting []Request
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			join := func() {
				r := Request{Tenant: fmt.Sprint(rnd.IntN(tenants)), Priority: Priority(rnd.IntN(3) - 1)}
				if rnd.IntN(2) == 0 {
					r.Tenant = "flood"
				}
				waiting = append(waiting, r)
				go func() { p, err := l.AcquireFor(ctx, r); got <- served{r, p, err, false} }()
				synctest.Wait()
			}
			yield := func(s served) {
				waiting = append(waiting, s.Request)
				go func() { got <- served{s.Request, s.permit, s.permit.Yield(ctx), true} }()
				synctest.Wait()
			}
			leave := func(r Request) bool {
				i := slices.Index(waiting, r)
				if i < 0 {
					return false
				}
				waiting = slices.Delete(waiting, i, i+1)
				return true
			}
			passed := map[Priority]int{}
			serve := func(s served) {
				if s.err != nil {
					if rejected, ok := errors.AsType[*RejectedError](s.err); !ok || s.begun || rejected.Reason != QueueFull && rejected.Reason != Displaced {
						t.Errorf("%+v: %v", s.Request, s.err)
					}
					leave(s.Request)
					return
				}
				for p := Critical; p > s.Priority; p-- {
					if passed[s.Priority] < passes && slices.ContainsFunc(waiting, func(r Request) bool { return r.Priority == p }) {
						t.Errorf("%v before %v, passed over %d times", s.Priority, p, passed[s.Priority])
					}
				}
				if !leave(s.Request) {
					t.Errorf("served %+v twice", s.Request)
				}
				passed[s.Priority] = 0
				for p := s.Priority - 1; p >= Batch; p-- {
					if slices.ContainsFunc(waiting, func(r Request) bool { return r.Priority == p }) {
						if passed[p]++; passed[p] > passes+1 {
							t.Errorf("%v was passed over %d times", p, passed[p])
						}
					}
				}
				for p := Batch; p <= Critical; p++ {
					if !slices.ContainsFunc(waiting, func(r Request) bool { return r.Priority == p }) {
						passed[p] = 0
					}
				}
				busy = append(busy, s)
			}
			drain := func() {
				for {
					synctest.Wait()
					select {
					case s := <-got:
						serve(s)
					default:
						if s := l.Stats(); s.Queued+s.Yielding != len(waiting) || s.Queued > queue || s.Yielding > queue || s.Running > slots {
							t.Errorf("%d wait, %+v", len(waiting), s)
						}
						return
					}
				}
			}
			for range 300 {
				if rnd.IntN(5) < 3 || len(waiting) == 0 {
					join()
				} else if len(busy) > 0 {
					time.Sleep(time.Millisecond)
					i := rnd.IntN(len(busy))
					s := busy[i]
					busy = slices.Delete(busy, i, i+1)
					if rnd.IntN(2) == 0 || l.Stats().Yielding == queue {
						s.permit.Done()
					} else {
						yield(s)
					}
				}
				drain()
				if t.Failed() {
					break
				}
			}
			cancel()
			for _, s := range busy {
				s.permit.Done()
			}
			for synctest.Wait(); len(got) > 0; { // the last who leave because of cancel, and those who were quicker
				(<-got).permit.Done()
			}
			wantIdle(t, l)
			if n := l.Stats().Tenants; n != 0 {
				t.Errorf("%d tenants are remembered", n)
			}
		})
	})
}

// TestEachTenantHasItsPart lets tenants that always have someone waiting hold slots for random times, and compares
// how long each held them.
func TestEachTenantHasItsPart(t *testing.T) {
	seeded.Each(t, 5, func(t *testing.T, rnd *rand.Rand) {
		synctest.Test(t, func(t *testing.T) {
			slots, tenants := 1+rnd.IntN(4), 2+rnd.IntN(5)
			l := newLimit(t, slots, 200)
			held := make([]time.Duration, tenants)
			count := make([]int, tenants)
			var mu sync.Mutex
			var all sync.WaitGroup
			begin := time.Now()
			most := time.Duration(0)
			for i := range tenants {
				mean := time.Duration(1+rnd.IntN(20)) * time.Millisecond // each its own
				for range 2*slots + rnd.IntN(20) {
					own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
					all.Go(func() {
						for time.Since(begin) < 20*time.Second {
							p, err := l.AcquireFor(t.Context(), Request{Tenant: fmt.Sprint(i)})
							if err != nil {
								t.Error(err)
								return
							}
							d := time.Duration(own.Int64N(int64(2*mean))) + 1
							time.Sleep(d)
							p.Done()
							mu.Lock()
							held[i] += d
							count[i]++
							most = max(most, d)
							mu.Unlock()
						}
					})
				}
			}
			all.Wait()
			if low, high := slices.Min(held), slices.Max(held); high-low > 5*time.Second*time.Duration(slots)/time.Duration(tenants) {
				t.Errorf("%d slots, %d tenants held %v by %v requests", slots, tenants, held, count)
			}
			wantIdle(t, l)
		})
	})
}

func TestPriorityText(t *testing.T) {
	for _, p := range []Priority{Critical, Normal, Batch} {
		text, err := p.MarshalText()
		if err != nil || string(text) != p.String() {
			t.Errorf("%v: %s, %v", p, text, err)
		}
		var got Priority
		if err := got.UnmarshalText(text); err != nil || got != p {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if _, err := Priority(7).MarshalText(); err == nil || Priority(7).class() != 0 || Priority(-7).class() != classes-1 {
		t.Error("priority 7 has a name")
	}
}

func FuzzPriority(f *testing.F) {
	for _, s := range []string{"critical", "normal", "batch", "", "Critical", "batch ", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := Priority(77)
		if err := p.UnmarshalText([]byte(s)); err != nil {
			if p != 77 {
				t.Errorf("%q changed the priority to %v and is an error", s, p)
			}
			return
		}
		if text, err := p.MarshalText(); err != nil || s != "" && string(text) != s {
			t.Errorf("%q is %q, %v", s, text, err)
		}
	})
}
