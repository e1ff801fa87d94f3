package load

import (
	"sync/atomic"
	"time"
)

// clock counts nanoseconds since load began, monotonically; before that it is far below zero.
type clock struct {
	zero  time.Time
	begun atomic.Int64 // when load began, from zero
}

const notBegun = int64(1) << 61

func newClock() *clock {
	c := &clock{zero: time.Now()}
	c.begun.Store(notBegun)
	return c
}

func (c *clock) now() int64 { return int64(time.Since(c.zero)) - c.begun.Load() }

// begin makes now zero.
func (c *clock) begin() time.Time {
	now := time.Now()
	c.begun.Store(int64(now.Sub(c.zero)))
	return now
}
