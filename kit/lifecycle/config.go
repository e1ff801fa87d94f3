package lifecycle

import (
	"errors"
	"fmt"
	"time"
)

// Config bounds how long a [Group] starts and stops. DrainDelay and StopTimeout together should stay below
// the time after which the platform kills the process (30 s on Kubernetes, unless it is told otherwise).
type Config struct {
	StartTimeout time.Duration `json:"start_timeout" doc:"How long each member may take to become ready."`
	DrainDelay   time.Duration `json:"drain_delay" doc:"How long to go on serving after readiness failed, so that load balancers notice; 0 for none."`
	StopTimeout  time.Duration `json:"stop_timeout" doc:"How long all members together may take to stop, after the drain delay."`
}

// DefaultConfig returns 30 s to start a member, 5 s of drain delay and 20 s to stop.
func DefaultConfig() Config {
	return Config{StartTimeout: 30 * time.Second, DrainDelay: 5 * time.Second, StopTimeout: 20 * time.Second}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	if c.StartTimeout <= 0 {
		faults = append(faults, fmt.Errorf("start_timeout: must be above 0, is %v", c.StartTimeout))
	}
	if c.DrainDelay < 0 {
		faults = append(faults, fmt.Errorf("drain_delay: must be at least 0, is %v", c.DrainDelay))
	}
	if c.StopTimeout <= 0 {
		faults = append(faults, fmt.Errorf("stop_timeout: must be above 0, is %v", c.StopTimeout))
	}
	return errors.Join(faults...)
}

// Turn is how long members may take one after the other: nine tenths of StopTimeout. The rest is kept for those whose turn
// had not come by then, which end together. A member whose own bound is longer may be in use while what it uses ends.
func (c Config) Turn() time.Duration { return turn(c.StopTimeout) }

func turn(stop time.Duration) time.Duration { return stop - stop/10 }
