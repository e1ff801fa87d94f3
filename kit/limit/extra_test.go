package limit

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestExtraSlotsAreFreeOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimit(t, 3, 2)
		p, err := l.Admit(time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := p.Extra(); ok {
			t.Error("an extra slot before the first")
		}
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		a, ok1 := p.Extra()
		b, ok2 := p.Extra()
		_, ok3 := p.Extra()
		if s := l.Stats(); !ok1 || !ok2 || ok3 || s.Running != 3 || s.Admitted != 3 {
			t.Fatalf("%v %v %v %+v", ok1, ok2, ok3, s)
		}
		a.Done()
		a.Done()
		if s := l.Stats(); s.Running != 2 || a.Keep() || !b.Keep() {
			t.Fatalf("%+v", s)
		}
		c := &crowd{t: t, l: l, hold: func(string) time.Duration { return time.Second }}
		c.join(2, "s", Request{}) // one more than there are
		if b.Keep() || l.Stats().Queued != 0 {
			t.Errorf("kept: %+v", l.Stats())
		}
		if _, ok := p.Extra(); ok {
			t.Error("extra, with no slot free")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		d, ok := p.Extra()
		if !ok {
			t.Error("no extra slot, with two free")
		}
		p.Done() // which gives back what is left
		d.Done()
		if _, ok := p.Extra(); ok || d.Keep() || (Slot{}).Keep() {
			t.Error("extra, without a permit")
		}
		(Slot{}).Done()
		if _, ok := (Permit{}).Extra(); ok {
			t.Error("extra, of no permit")
		}
		wantIdle(t, l)
		q := acquire(t, l)
		l.Close()
		if _, ok := q.Extra(); ok {
			t.Error("extra, of a limit that is closed")
		}
		if err := q.Yield(t.Context()); err != nil {
			t.Error("who has a slot works on:", err)
		}
		q.Done()
	})
}

// TestExtraSlotsAreGivenBackWhenThereAreFewer is about adaptive limits.
func TestExtraSlotsAreGivenBackWhenThereAreFewer(t *testing.T) {
	l, err := New(Config{Slots: 4, Queue: 1, Adaptive: &Adaptive{Min: 2, Max: 4, Tolerance: 1}})
	if err != nil {
		t.Fatal(err)
	}
	p, overloaded := acquire(t, l), acquire(t, l)
	a, ok1 := p.Extra()
	b, ok2 := p.Extra()
	if !ok1 || !ok2 || !a.Keep() || !b.Keep() {
		t.Fatal("no extra slots")
	}
	overloaded.DoneWith(Overloaded)
	if s := l.Stats(); s.Slots != 2 || s.Running != 3 {
		t.Fatalf("%+v", s)
	}
	if a.Keep() || !b.Keep() {
		t.Error("not one was given back")
	}
	if err := p.Yield(t.Context()); err != nil {
		t.Error(err)
	}
	p.Done()
	wantIdle(t, l)
}

// TestExtraSlotIsKeptFromThoseWhoHaveTheirShare: as they could not have it.
func TestExtraSlotIsKeptFromThoseWhoHaveTheirShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := New(Config{Slots: 5, Queue: 10, TenantShare: 0.4})
		if err != nil {
			t.Fatal(err)
		}
		p, err := l.AcquireFor(t.Context(), Request{Tenant: "p"})
		if err != nil {
			t.Fatal(err)
		}
		c := &crowd{t: t, l: l, hold: func(string) time.Duration { return time.Second }}
		c.join(3, "a", Request{Tenant: "a"}) // the third waits for the others
		e, ok := p.Extra()
		if !ok || !e.Keep() || l.Stats().Running != 4 {
			t.Errorf("no slot that nobody else may have: %v %+v", ok, l.Stats())
		}
		if _, ok := p.Extra(); ok {
			t.Error("more than its share")
		}
		c.join(1, "p", Request{Tenant: "p"})
		if e.Keep() || l.Stats().Running != 4 {
			t.Errorf("kept from its own tenant: %+v", l.Stats())
		}
		p.Done()
		time.Sleep(10 * time.Second)
		wantIdle(t, l)
		if n := l.Stats().Tenants; n != 0 {
			t.Errorf("%d tenants are remembered", n)
		}
	})
}

// TestExtraWorkIsWork: what is held is the time of all slots, so that it is the same with more of them.
func TestExtraWorkIsWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &told{}
		l := newLimit(t, 4, 2, WithObserver(o))
		p := acquire(t, l)
		a, _ := p.Extra()
		b, _ := p.Extra()
		time.Sleep(10 * time.Millisecond)
		a.Done()
		time.Sleep(10 * time.Millisecond)
		p.Done()
		if o.held != 50*time.Millisecond || b.Keep() || o.done != 1 || o.started != 1 {
			t.Errorf("%+v", o)
		}
		wantIdle(t, l)
	})
}

// TestNobodyWaitsForMoreThanOneBlockOfExtraSlots has work on all slots of a limit, and requests that come all at once.
func TestNobodyWaitsForMoreThanOneBlockOfExtraSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const block, count, slots = time.Millisecond, 400, 4
		l := newLimit(t, slots, 100)
		p := acquire(t, l)
		var next, done atomic.Int64
		began := time.Now()
		ended := make(chan time.Duration, 1)
		work := func() bool {
			if next.Add(1) > count {
				return false
			}
			time.Sleep(block)
			done.Add(1)
			return true
		}
		extras := func(most int) {
			for range most {
				e, ok := p.Extra()
				if !ok {
					return
				}
				go func() {
					for work() && e.Keep() {
					}
					e.Done()
				}()
			}
		}
		go func() {
			for extras(slots); work(); extras(slots) {
				if err := p.Yield(t.Context()); err != nil {
					t.Error(err)
				}
			}
			for done.Load() < count { // who has a block ends it
				time.Sleep(block / 10)
			}
			p.Done()
			ended <- time.Since(began)
		}()
		for i := range 20 {
			time.Sleep(3*block + block/3)
			for range 1 + i%slots {
				go func() {
					came := time.Now()
					q := acquire(t, l)
					if waited := time.Since(came); waited > block {
						t.Errorf("%d: waited %v", i, waited)
					}
					time.Sleep(block / 10)
					q.Done()
				}()
			}
		}
		if took := <-ended; took < count*block/slots || took > count*block/slots*5/4 {
			t.Errorf("took %v for %v of work on %d slots", took, count*block, slots)
		}
		wantIdle(t, l)
	})
}
