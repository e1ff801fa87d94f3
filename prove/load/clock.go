package load

import "time"

// clock counts nanoseconds since the start of a run, monotonically.
type clock struct{ zero time.Time }

func (c clock) now() int64 { return int64(time.Since(c.zero)) }
