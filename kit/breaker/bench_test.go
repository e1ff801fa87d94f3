package breaker

import (
	"fmt"
	"testing"
)

type upstream struct{ query, host string }

func benchGroup(b *testing.B, p Policy) *Group[upstream] {
	g, err := New[upstream](p)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	return g
}

func BenchmarkHandle(b *testing.B) {
	c, err := benchGroup(b, DefaultPolicy()).Circuit(upstream{"full", "a"})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		p, err := c.Allow()
		if err != nil {
			b.Fatal(err)
		}
		p.Done(Success)
	}
}

func BenchmarkHandleEachCounted(b *testing.B) {
	policy := DefaultPolicy()
	policy.Sampling.Least = 1
	c, _ := benchGroup(b, policy).Circuit(upstream{"full", "a"})
	for b.Loop() {
		p, _ := c.Allow()
		p.Done(Success)
	}
}

func BenchmarkKey(b *testing.B) {
	g := benchGroup(b, DefaultPolicy())
	for i := range 10_000 {
		p, _ := g.Allow(upstream{"full", fmt.Sprint(i)})
		p.Done(Success)
	}
	key := upstream{"full", "77"}
	for b.Loop() {
		p, _ := g.Allow(key)
		p.Done(Success)
	}
}

func BenchmarkFailing(b *testing.B) {
	policy := DefaultPolicy()
	policy.Conditions[0].Above = 0.99
	policy.Sampling.Least = 1
	c, _ := benchGroup(b, policy).Circuit(upstream{"full", "a"})
	i := 0
	for b.Loop() {
		p, err := c.Allow()
		if err != nil {
			b.Fatal(err)
		}
		if i++; i%4 != 0 {
			p.Done(Failure)
		} else {
			p.Done(Success)
		}
	}
}

func BenchmarkRejected(b *testing.B) {
	c, _ := benchGroup(b, DefaultPolicy()).Circuit(upstream{"full", "a"})
	c.Trip("test")
	for b.Loop() {
		if _, err := c.Allow(); err == nil {
			b.Fatal("passed")
		}
	}
}

func BenchmarkFindAndAdd(b *testing.B) {
	g := benchGroup(b, DefaultPolicy())
	for i := range 10_000 {
		p, _ := g.Allow(upstream{"full", fmt.Sprint(i)})
		p.Done(Success)
	}
	key := upstream{"full", "77"}
	for b.Loop() {
		g.table.Load().find(key).ok.Add(1)
	}
}
