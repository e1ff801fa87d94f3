package main

import (
	"sync"

	"github.com/dougong-io/dougong/kit/pool"
)

// scratch is a value of the kind that is pooled: it owns memory that is worth keeping.
type scratch struct{ rows []float64 }

func (s *scratch) Reset() { s.rows = s.rows[:0] }

const pooledBytes = 4096

// pools compares leases, which cannot be put back twice or used afterwards, with the bare sync.Pool that they are made of.
func (b *bench) pools() error {
	values := must(pool.New(func() *scratch { return &scratch{rows: make([]float64, 0, 512)} }, pool.DefaultConfig()))
	buffers := must(pool.NewBuffers(pool.DefaultBuffersConfig()))
	bareValues := sync.Pool{New: func() any { return &scratch{rows: make([]float64, 0, 512)} }}
	bareBuffers := sync.Pool{New: func() any { return new(make([]byte, 0, pooledBytes)) }}
	contests := []*contest{
		{name: "sync.Pool of values", run: func(n int) {
			for i := range n {
				s := bareValues.Get().(*scratch)
				s.rows = append(s.rows, float64(i))
				s.Reset()
				bareValues.Put(s)
			}
		}},
		{name: "kit/pool, lease of a value", run: func(n int) {
			for i := range n {
				lease := values.Get()
				s := lease.Value()
				s.rows = append(s.rows, float64(i))
				lease.Release()
			}
		}},
		{name: "sync.Pool of buffers of one size", run: func(n int) {
			for i := range n {
				p := bareBuffers.Get().(*[]byte)
				*p = append((*p)[:0], byte(i))
				bareBuffers.Put(p)
			}
		}},
		{name: "kit/pool, buffer of 4 KiB by size", run: func(n int) {
			for i := range n {
				buffer := buffers.Get(pooledBytes)
				buffer.SetBytes(append(buffer.Bytes(), byte(i)))
				buffer.Release()
			}
		}},
		{name: "make([]byte, 0, 4096)", run: func(n int) {
			for i := range n {
				kept = append(make([]byte, 0, pooledBytes), byte(i))
			}
		}},
	}
	b.compare("a value, or a buffer, got and given back", contests...)
	b.ceiling("allocations of a lease", contests[1].allocs, 0.001, "")
	b.ceiling("allocations of a buffer", contests[3].allocs, 0.001, "")
	return nil
}

var kept []byte
