package limit

import (
	"context"
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
