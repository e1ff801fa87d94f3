package pool

import (
	"errors"
	"fmt"
)

// Config bounds what a [Pool] keeps.
type Config struct {
	MaxBytes      int64 `json:"max_bytes" unit:"bytes" doc:"Most bytes of the values that belong to the pool, in use or not. Further ones are made when they are needed, and dropped when they are released."`
	MaxValueBytes int64 `json:"max_value_bytes" unit:"bytes" doc:"A value that has grown beyond this is dropped when it is released."`
}

// DefaultConfig returns 64 MiB in all and 1 MiB a value.
func DefaultConfig() Config { return Config{MaxBytes: 64 << 20, MaxValueBytes: 1 << 20} }

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	if c.MaxBytes < 1 {
		faults = append(faults, fmt.Errorf("max_bytes: must be positive, is %d", c.MaxBytes))
	}
	if c.MaxValueBytes < 1 {
		faults = append(faults, fmt.Errorf("max_value_bytes: must be positive, is %d", c.MaxValueBytes))
	}
	return errors.Join(faults...)
}

// BuffersConfig says which sizes [Buffers] have and bounds what they keep.
type BuffersConfig struct {
	MinSize  int   `json:"min_size" unit:"bytes" doc:"Capacity of the smallest buffers, a power of two from 16."`
	MaxSize  int   `json:"max_size" unit:"bytes" doc:"Capacity of the largest buffers that are kept. Larger ones are made when they are needed, and dropped when they are released."`
	MaxBytes int64 `json:"max_bytes" unit:"bytes" doc:"Most bytes of the buffers that belong to the pool, in use or not. Further ones are made when they are needed, and dropped when they are released."`
}

// DefaultBuffersConfig returns buffers from 512 bytes to 1 MiB, 64 MiB in all.
func DefaultBuffersConfig() BuffersConfig {
	return BuffersConfig{MinSize: 512, MaxSize: 1 << 20, MaxBytes: 64 << 20}
}

// maxSize keeps the arithmetic of sizes far from overflow, also where int has 32 bits.
const maxSize = 1 << 29

// Validate reports every fault at once.
func (c BuffersConfig) Validate() error {
	var faults []error
	if c.MinSize < 16 || c.MinSize > maxSize || c.MinSize&(c.MinSize-1) != 0 {
		faults = append(faults, fmt.Errorf("min_size: must be a power of two from 16 to %d, is %d", maxSize, c.MinSize))
	}
	if c.MaxSize < max(16, c.MinSize) || c.MaxSize > maxSize {
		faults = append(faults, fmt.Errorf("max_size: must be from min_size to %d, is %d", maxSize, c.MaxSize))
	}
	if c.MaxBytes < 1 {
		faults = append(faults, fmt.Errorf("max_bytes: must be positive, is %d", c.MaxBytes))
	}
	return errors.Join(faults...)
}
