package fallback

import (
	"errors"
	"fmt"
	"time"
)

// Config bounds a [Fallback].
type Config struct {
	Entries        int           `json:"entries" doc:"How many last good results are kept; those used longest ago go first. 0: none."`
	Bytes          int64         `json:"bytes" unit:"bytes" doc:"How large all of them may be together, by the size function; 0: any size."`
	TTL            time.Duration `json:"ttl" doc:"How old a result may be to be served instead of an error."`
	DefaultTimeout time.Duration `json:"default_timeout" doc:"How long a default may take to compute, within the deadline of the caller."`
	Reserve        time.Duration `json:"reserve" doc:"What is kept of the time to the caller's deadline for the fallback, at most half of it; 0: nothing, so that a call that hangs leaves no time."`
}

// DefaultConfig keeps 10,000 results for 300 s, gives a default 1 s and reserves 50 ms for it.
func DefaultConfig() Config {
	return Config{Entries: 10_000, TTL: 300 * time.Second, DefaultTimeout: time.Second, Reserve: 50 * time.Millisecond}
}

const (
	maxEntries = 1 << 28
	maxBytes   = 1 << 60 // keeps sums far from overflow
)

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	if c.Entries < 0 || c.Entries > maxEntries {
		faults = append(faults, fmt.Errorf("entries: must be 0 to %d, is %d", maxEntries, c.Entries))
	}
	if c.Bytes < 0 || c.Bytes > maxBytes {
		faults = append(faults, fmt.Errorf("bytes: must be 0 to %d, is %d", int64(maxBytes), c.Bytes))
	}
	if c.Entries > 0 && c.TTL <= 0 {
		faults = append(faults, fmt.Errorf("ttl: must be above 0, is %v", c.TTL))
	}
	if c.DefaultTimeout <= 0 {
		faults = append(faults, fmt.Errorf("default_timeout: must be above 0, is %v", c.DefaultTimeout))
	}
	if c.Reserve < 0 {
		faults = append(faults, fmt.Errorf("reserve: must be at least 0, is %v", c.Reserve))
	}
	return errors.Join(faults...)
}
