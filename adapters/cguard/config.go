//go:build cgo

package cguard

import (
	"errors"
	"fmt"
)

// Config of Calls.
type Config struct {
	Threads int `json:"threads" doc:"calls that may be in C at a time, each of which holds a thread; those whose caller has left count"`
	Queue   int `json:"queue" doc:"callers that may wait for one of them to end, until their deadline; one more is refused at once"`
}

// DefaultConfig bounds the threads at 64, and has nobody wait.
func DefaultConfig() Config { return Config{Threads: 64} }

// Validate reports every fault, each beginning with the field's name.
func (c Config) Validate() error {
	var faults []error
	if c.Threads < 1 || c.Threads > 10000 {
		faults = append(faults, fmt.Errorf("threads: %d; it must be from 1 to 10000", c.Threads))
	}
	if c.Queue < 0 {
		faults = append(faults, fmt.Errorf("queue: %d; it must not be negative", c.Queue))
	}
	return errors.Join(faults...)
}
