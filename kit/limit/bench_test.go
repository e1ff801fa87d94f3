package limit

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func benchLimit(b *testing.B, c Config) *Limit {
	l, err := New(c)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	return l
}

func BenchmarkAcquireDone(b *testing.B) {
	l := benchLimit(b, DefaultConfig())
	ctx := context.Background()
	for b.Loop() {
		p, err := l.Acquire(ctx)
		if err != nil {
			b.Fatal(err)
		}
		p.Done()
	}
}

func BenchmarkAdmitStartDone(b *testing.B) {
	l := benchLimit(b, DefaultConfig())
	ctx := context.Background()
	for b.Loop() {
		p, err := l.Admit(time.Time{})
		if err != nil || p.Start(ctx) != nil {
			b.Fatal(err)
		}
		p.Done()
	}
}

// BenchmarkClock is one reading of the clock, which Admit, Acquire, Start and Done each do once.
func BenchmarkClock(b *testing.B) {
	l := benchLimit(b, DefaultConfig())
	for b.Loop() {
		l.elapsed()
	}
}

func BenchmarkAcquireDoneWithDeadline(b *testing.B) {
	l := benchLimit(b, DefaultConfig())
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	for b.Loop() {
		p, err := l.Acquire(ctx)
		if err != nil {
			b.Fatal(err)
		}
		p.Done()
	}
}

func BenchmarkAcquireDoneParallel(b *testing.B) {
	l := benchLimit(b, DefaultConfig())
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p, err := l.Acquire(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			p.Done()
		}
	})
}

func BenchmarkRejected(b *testing.B) {
	l := benchLimit(b, Config{Slots: 1})
	p, _ := l.Acquire(context.Background())
	defer p.Done()
	for b.Loop() {
		if _, err := l.Acquire(context.Background()); err == nil {
			b.Fatal("admitted")
		}
	}
}

// BenchmarkAcquireDoneOfATenant is the same for a request with a name, where shares are counted.
func BenchmarkAcquireDoneOfATenant(b *testing.B) {
	c := DefaultConfig()
	c.TenantShare = 0.5
	l := benchLimit(b, c)
	for b.Loop() {
		p, err := l.AcquireFor(context.Background(), Request{Tenant: "tenant"})
		if err != nil {
			b.Fatal(err)
		}
		p.Done()
	}
}

func BenchmarkAcquireDoneAdaptive(b *testing.B) {
	c, a := DefaultConfig(), DefaultAdaptive()
	c.Adaptive = &a
	l := benchLimit(b, c)
	for b.Loop() {
		p, err := l.Acquire(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		p.Done()
	}
}

// BenchmarkYield is between two blocks when nobody waits.
func BenchmarkYield(b *testing.B) {
	l := benchLimit(b, DefaultConfig())
	ctx := context.Background()
	p, err := l.Acquire(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Done()
	for b.Loop() {
		if p.Yield(ctx) != nil {
			b.Fatal("no slot")
		}
	}
}

// BenchmarkKeep is the same for an extra slot.
func BenchmarkKeep(b *testing.B) {
	l := benchLimit(b, DefaultConfig())
	p, err := l.Acquire(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	defer p.Done()
	slot, ok := p.Extra()
	if !ok {
		b.Fatal("no slot")
	}
	for b.Loop() {
		if !slot.Keep() {
			b.Fatal("no slot")
		}
	}
}

// BenchmarkYieldInTurn has two hand one slot to and fro: each operation is two blocks.
func BenchmarkYieldInTurn(b *testing.B) {
	l := benchLimit(b, Config{Slots: 1, Queue: 64})
	ctx, cancel := context.WithCancel(context.Background())
	p, err := l.Acquire(ctx)
	if err != nil {
		b.Fatal(err)
	}
	var other sync.WaitGroup
	other.Go(func() {
		p, err := l.Acquire(context.Background())
		for err == nil && ctx.Err() == nil {
			err = p.Yield(context.Background())
		}
		p.Done()
	})
	for l.Stats().Queued == 0 {
		runtime.Gosched()
	}
	for b.Loop() {
		if p.Yield(ctx) != nil {
			b.Fatal("no slot")
		}
	}
	cancel()
	p.Done()
	other.Wait()
}

// BenchmarkExtraDone takes one more slot and gives it back.
func BenchmarkExtraDone(b *testing.B) {
	l := benchLimit(b, DefaultConfig())
	p, err := l.Acquire(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	defer p.Done()
	for b.Loop() {
		slot, ok := p.Extra()
		if !ok {
			b.Fatal("no slot")
		}
		slot.Done()
	}
}

// BenchmarkQueuedTenants hands one slot to and fro among a thousand tenants that wait all the time.
func BenchmarkQueuedTenants(b *testing.B) {
	l := benchLimit(b, Config{Slots: 1, Queue: 1000})
	var number atomic.Int64
	b.SetParallelism(500)
	b.RunParallel(func(pb *testing.PB) {
		r := Request{Tenant: strconv.FormatInt(number.Add(1), 10)}
		for pb.Next() {
			p, err := l.AcquireFor(context.Background(), r)
			if err != nil {
				b.Fatal(err)
			}
			p.Done()
		}
	})
}

// BenchmarkQueued hands one slot back and forth through the queue.
func BenchmarkQueued(b *testing.B) {
	l := benchLimit(b, Config{Slots: 1, Queue: 64})
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p, err := l.Acquire(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			p.Done()
		}
	})
}
