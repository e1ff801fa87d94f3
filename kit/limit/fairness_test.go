package limit

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// loops has each tenant hold the only slot, always so many requests at a time, and returns for how long each had it.
// Must run in a bubble.
func loops(t *testing.T, l *Limit, holds map[string]time.Duration, outstanding map[string]int, during time.Duration) map[string]time.Duration {
	t.Helper()
	held := map[string]time.Duration{}
	var mu sync.Mutex
	ctx, cancel := context.WithTimeout(context.Background(), during)
	defer cancel()
	var all sync.WaitGroup
	for who, d := range holds {
		for range outstanding[who] {
			all.Go(func() {
				for ctx.Err() == nil {
					p, err := l.AcquireFor(context.Background(), Request{Tenant: who})
					if err != nil {
						t.Error(err)
						return
					}
					time.Sleep(d)
					if ctx.Err() == nil { // not those who only leave
						mu.Lock()
						held[who] += d
						mu.Unlock()
					}
					p.Done()
				}
			})
		}
	}
	all.Wait()
	return held
}

// TestLongHoldsArePaidFor: the time is shared, however much longer one tenant holds a slot than the other, and also if
// it has one request at a time, so that nothing of it is here when its debt begins.
func TestLongHoldsArePaidFor(t *testing.T) {
	for _, times := range []int{10, 100, 1000} {
		for _, outstanding := range []int{1, 2, 10} {
			t.Run(fmt.Sprintf("%d times as long, %d at a time", times, outstanding), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLimit(t, 1, 100)
					held := loops(t, l, map[string]time.Duration{"long": time.Duration(times) * time.Millisecond, "short": time.Millisecond},
						map[string]int{"long": outstanding, "short": 10}, 60*time.Second)
					if ratio := held["long"].Seconds() / held["short"].Seconds(); ratio < 0.8 || ratio > 1.25 {
						t.Errorf("held %v", held)
					}
					wantIdle(t, l)
					if n := l.Stats().Tenants; n != 0 {
						t.Errorf("%d tenants are remembered", n)
					}
				})
			})
		}
	}
}

// TestDebtsAreForgottenInTime: debts end with the wait of the others, and are bounded however many names there are.
func TestDebtsAreForgottenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, busy := full(t, 20)
		hold := 10 * time.Millisecond
		c := &crowd{t: t, l: l, hold: func(name string) time.Duration {
			if name == "d" {
				return hold
			}
			return time.Millisecond
		}}
		c.join(10, "y", Request{Tenant: "patient"})
		busy.Done()
		most := 0
		for i := range 100 {
			c.join(1, "d", Request{Tenant: fmt.Sprint("debtor ", i)})
			c.join(1, "y", Request{Tenant: "patient"})
			time.Sleep(hold + 2*time.Millisecond)
			most = max(most, l.Stats().Tenants)
		}
		if most < 3 || most > 2*(20+1) {
			t.Errorf("%d tenants were remembered at a time", most)
		}
		time.Sleep(10 * time.Second)
		wantIdle(t, l)
		if n := l.Stats().Tenants; n != 0 || l.waiting.debtors != 0 {
			t.Errorf("%d tenants are remembered, %d debts", n, l.waiting.debtors)
		}
	})
}
