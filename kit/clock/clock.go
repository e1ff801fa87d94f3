package clock

import (
	"sync/atomic"
	"time"
)

// Clock tells the time since its origin. It is made by [Exact], [NewCoarse] or [NewManual]. This type is
// concurrency safe.
type Clock struct {
	now  atomic.Int64         // what the time is, or unknown
	read func() time.Duration // asked while now is unknown
}

const unknown = -1

// Now is the time since the clock's origin, never less than an earlier reading.
func (c *Clock) Now() time.Duration {
	if now := c.now.Load(); now >= 0 {
		return time.Duration(now)
	}
	return c.read()
}

// Exact returns a clock that asks the system at each reading.
func Exact() *Clock {
	origin := time.Now()
	c := &Clock{read: func() time.Duration { return time.Since(origin) }}
	c.now.Store(unknown)
	return c
}
