package inference

import "sync/atomic"

// budget bounds the bytes of request bodies and unsent answers in memory.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take reserves n bytes, or none and returns false.
func (b *budget) take(n int64) bool {
	for {
		used := b.used.Load()
		if n > b.limit-used {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (b *budget) give(n int64) { b.used.Add(-n) }
