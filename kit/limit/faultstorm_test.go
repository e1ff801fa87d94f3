package limit

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"

	"github.com/dougong-io/dougong/kit/internal/seeded"
)

// TestStormOfFaultsLeavesNothingBehind has many callers run into panics, errors, delays and hangs at every point of a
// limit, leave early, and give up: when the storm is over no place is taken, and each request was told of once.
func TestStormOfFaultsLeavesNothingBehind(t *testing.T) {
	seeded.Each(t, 3, func(t *testing.T, rnd *rand.Rand) {
		synctest.Test(t, func(t *testing.T) { stormOver(t, rnd) })
	})
}

func stormOver(t *testing.T, rnd *rand.Rand) {
	chance := rand.New(rand.NewPCG(rnd.Uint64(), 0))
	set := faulttest.New(t, fault.WithRand(locked(chance.Float64)))
	o := &books{}
	l, err := New(Config{Slots: 3, Queue: 5, Arriving: 6, TenantShare: 0.7}, WithFaults(set), WithObserver(o))
	if err != nil {
		t.Fatal(err)
	}
	at := func(id string, p float64, r fault.Rule) {
		r.ID, r.Point, r.Probability = id, "limit.*", &p
		faulttest.Put(t, set, r)
	}
	at("delays", 0.2, fault.Rule{Delay: &fault.Delay{Max: 3 * time.Millisecond}})
	at("hangs", 0.1, fault.Rule{Hang: &fault.Hang{}})
	at("panics", 0.1, fault.Rule{Panic: &fault.Panicking{}})
	at("errors", 0.1, fault.Rule{Error: &fault.Failure{}})
	var callers sync.WaitGroup
	for range 20 {
		own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
		callers.Go(func() {
			for range 200 {
				storm(t, l, own)
			}
		})
	}
	callers.Wait()
	faulttest.Clear(t, set)
	wantIdle(t, l)
	// Who was admitted was told of as done, or as rejected; others may have been rejected, too.
	if o.open < 0 || o.open > o.rejected || o.admitted < 100 || o.started < 100 || o.rejected < 100 {
		t.Errorf("%+v", o)
	}
	p, err := l.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.Done()
	t.Logf("admitted %d, started %d, rejected %d, abandoned %d", o.admitted, o.started, o.rejected, l.Stats().Abandoned)
}

// storm makes one request.
func storm(t *testing.T, l *Limit, rng *rand.Rand) {
	defer func() {
		if v := recover(); v != nil {
			if _, ok := v.(*fault.Panicked); !ok {
				panic(v)
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rng.IntN(20))*time.Millisecond)
	defer cancel()
	if rng.IntN(4) == 0 {
		gone, leave := context.WithCancel(ctx)
		timer := time.AfterFunc(time.Duration(rng.IntN(10))*time.Millisecond, leave)
		defer timer.Stop()
		defer leave()
		ctx = gone
	}
	deadline, _ := ctx.Deadline()
	r := Request{Deadline: deadline, Priority: Priority(rng.IntN(3)), Tenant: []string{"", "a", "b"}[rng.IntN(3)]}
	work := func() { time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond) }
	if rng.IntN(2) == 0 {
		p, err := l.AcquireFor(ctx, r)
		if err == nil {
			defer p.Done()
			work()
		}
		return
	}
	p, err := l.AdmitFor(r)
	if err != nil {
		return
	}
	defer p.Done()
	work()
	if err := p.Start(ctx); err == nil {
		work()
	} else if errors.Is(err, errSpent) {
		t.Error(err)
	}
}

func locked(f func() float64) func() float64 {
	var mu sync.Mutex
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return f()
	}
}

// books count what is told.
type books struct {
	mu                                sync.Mutex
	open, admitted, started, rejected int
}

func (b *books) Admitted() {
	b.mu.Lock()
	b.admitted++
	b.open++
	b.mu.Unlock()
}

func (b *books) Started(time.Duration) { b.mu.Lock(); b.started++; b.mu.Unlock() }
func (b *books) Rejected(Reason)       { b.mu.Lock(); b.rejected++; b.mu.Unlock() }
func (b *books) Done(time.Duration)    { b.mu.Lock(); b.open--; b.mu.Unlock() }
