package pool

import (
	"sync"
	"sync/atomic"
	"testing"
)

// The first line of each pair is the least that it can cost, the second ours.

func BenchmarkSyncPool(b *testing.B) {
	free := sync.Pool{New: func() any { return new(scratch) }}
	b.ReportAllocs()
	for b.Loop() {
		v := free.Get().(*scratch)
		v.numbers = append(v.numbers, 1)
		v.Reset()
		free.Put(v)
	}
}

func BenchmarkPool(b *testing.B) {
	p := newPool(b, DefaultConfig())
	b.ReportAllocs()
	for b.Loop() {
		l := p.Get()
		v := l.Value()
		v.numbers = append(v.numbers, 1)
		l.Release()
	}
}

func BenchmarkValue(b *testing.B) {
	l := newPool(b, DefaultConfig()).Get()
	defer l.Release()
	for b.Loop() {
		l.Value()
	}
}

func BenchmarkSyncPoolParallel(b *testing.B) {
	free := sync.Pool{New: func() any { return new(scratch) }}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			v := free.Get().(*scratch)
			v.Reset()
			free.Put(v)
		}
	})
}

// BenchmarkSyncPoolCountedParallel counts gets and puts the plain way.
func BenchmarkSyncPoolCountedParallel(b *testing.B) {
	free := sync.Pool{New: func() any { return new(scratch) }}
	var gets, puts atomic.Uint64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			v := free.Get().(*scratch)
			gets.Add(1)
			v.Reset()
			puts.Add(1)
			free.Put(v)
		}
	})
}

func BenchmarkPoolParallel(b *testing.B) {
	p := newPool(b, DefaultConfig())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p.Get().Release()
		}
	})
}

// BenchmarkBufferMake makes what the next one leases.
func BenchmarkBufferMake(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		sink = make([]byte, 0, 4096)
	}
}

func BenchmarkBuffer(b *testing.B) {
	p := newBuffers(b, DefaultBuffersConfig())
	b.ReportAllocs()
	for b.Loop() {
		p.Get(4096).Release()
	}
}

func BenchmarkBufferGrows(b *testing.B) {
	p := newBuffers(b, DefaultBuffersConfig())
	piece := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		buf := p.Get(0)
		for range 40 {
			buf.Write(piece)
		}
		buf.Release()
	}
}

var sink []byte
