package limit

import (
	"errors"
	"fmt"
)

// Config is the size of a [Limit].
type Config struct {
	Slots int `json:"slots" doc:"How many requests run at once; for work that is bound by the CPU fewer than there are CPUs."`
	Queue int `json:"queue" doc:"How many further requests may wait, or be reading their body; 0 for none."`
}

// DefaultConfig returns 64 slots and a queue of 256, which suits work that mostly waits for the network.
func DefaultConfig() Config { return Config{Slots: 64, Queue: 256} }

// maxPlaces keeps Slots+Queue far from overflow.
const maxPlaces = 1 << 30

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
	return errors.Join(faults...)
}
