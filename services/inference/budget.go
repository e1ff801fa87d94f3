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

// share is what one body or answer has of a budget.
type share struct {
	of    *budget
	bytes int64
}

// take reserves n more bytes, or none and returns false.
func (s *share) take(n int) bool {
	if !s.of.take(int64(n)) {
		return false
	}
	s.bytes += int64(n)
	return true
}

// give gives back all of it.
func (s *share) give() {
	s.of.used.Add(-s.bytes)
	s.bytes = 0
}
