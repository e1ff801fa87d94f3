package inferenceclient

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// latencies knows a quantile of how long attempts took lately, from 128 of them on: within an eighth, and about the
// last few thousand, since all counts are halved now and then. An attempt that lost to its hedge must count with the
// time until then: without it, the quantile would shrink with each hedge.
type latencies struct {
	quantile float64
	value    atomic.Int64 // nanoseconds; 0: not known yet

	mu     sync.Mutex
	counts [64 * steps]uint32
	total  uint32
	fresh  int // since value was found
}

const (
	steps       = 8 // buckets for each doubling
	enough      = 128
	forgetFrom  = 4096
	renewedEach = 64
)

func (l *latencies) observe(d time.Duration) {
	if l.quantile == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[bucketOf(d)]++
	l.total++
	l.fresh++
	if l.total < enough || l.fresh < renewedEach {
		return
	}
	l.fresh = 0
	l.value.Store(int64(l.find()))
	if l.total >= forgetFrom {
		l.total = 0
		for i := range l.counts {
			l.counts[i] /= 2
			l.total += l.counts[i]
		}
	}
}

// find is the upper end of the bucket in which the quantile is.
func (l *latencies) find() time.Duration {
	rank := uint32(math.Ceil(l.quantile * float64(l.total)))
	var seen uint32
	for i, n := range l.counts {
		if seen += n; seen >= rank {
			return endOf(i)
		}
	}
	return endOf(len(l.counts) - 1)
}

// bucketOf: the position of the highest bit, and the three below it.
func bucketOf(d time.Duration) int {
	n := uint64(max(d, steps))
	octave := bits.Len64(n) - 1
	return octave*steps + int(n>>(octave-3)&(steps-1))
}

// endOf is the least duration above the bucket.
func endOf(i int) time.Duration {
	octave, step := max(i/steps, 3), i%steps // nothing is below 8 ns
	if octave >= 62 {
		return math.MaxInt64
	}
	return time.Duration(steps+step+1) << (octave - 3)
}
