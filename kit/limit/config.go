package limit

import (
	"errors"
	"fmt"
)

// Config is the size of a [Limit].
type Config struct {
	Slots int `json:"slots" doc:"How many requests run at once; for work that is bound by the CPU fewer than there are CPUs."`
	Queue int `json:"queue" doc:"How many further requests may wait for a slot; 0 for none."`

	Arriving int `json:"arriving" doc:"How many requests beside these may have been admitted while their input is still on its way; 0: as many as slots and queue together."`

	TenantShare float64   `json:"tenant_share" doc:"Most of the slots, and of the places for those that arrive, that one named tenant may have, from 0 to 1; at least one of each. 0: no such bound."`
	Adaptive    *Adaptive `json:"adaptive" doc:"Finds the number of slots from latency, starting at slots. null: it is fixed."`
}

// DefaultConfig returns 64 slots and a queue of 256, which suits work that mostly waits for the network, and
// 1,024 places for requests that arrive.
func DefaultConfig() Config { return Config{Slots: 64, Queue: 256, Arriving: 1024} }

// maxPlaces keeps sums of places far from overflow, also where int has 32 bits.
const maxPlaces = 1 << 28

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	switch {
	case c.Slots < 1:
		faults = append(faults, fmt.Errorf("slots: must be at least 1, is %d", c.Slots))
	case c.Slots > maxPlaces:
		faults = append(faults, fmt.Errorf("slots: must be at most %d, is %d", maxPlaces, c.Slots))
	}
	switch {
	case c.Queue < 0:
		faults = append(faults, fmt.Errorf("queue: must be at least 0, is %d", c.Queue))
	case c.Queue > maxPlaces:
		faults = append(faults, fmt.Errorf("queue: must be at most %d, is %d", maxPlaces, c.Queue))
	}
	switch {
	case c.Arriving < 0:
		faults = append(faults, fmt.Errorf("arriving: must be at least 0, is %d", c.Arriving))
	case c.Arriving > maxPlaces:
		faults = append(faults, fmt.Errorf("arriving: must be at most %d, is %d", maxPlaces, c.Arriving))
	}
	if !(c.TenantShare >= 0 && c.TenantShare <= 1) {
		faults = append(faults, fmt.Errorf("tenant_share: must be from 0 to 1, is %v", c.TenantShare))
	}
	if c.Adaptive != nil {
		faults = append(faults, c.Adaptive.faults(c.Slots)...)
	}
	return errors.Join(faults...)
}
