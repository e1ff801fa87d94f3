package ramp

import (
	"errors"
	"fmt"
	"time"

	"github.com/dougong-io/dougong/kit/internal/strictjson"
)

// Config is how a [Ramp] recovers.
type Config struct {
	Backoff  Backoff  `json:"backoff" doc:"How long nothing passes after a fall."`
	Probing  Probing  `json:"probing" doc:"The test calls after that."`
	Schedule Schedule `json:"schedule" doc:"The shares of the keys after that."`
	Relapse  Relapse  `json:"relapse" doc:"When the calls let in by the schedule count as a relapse."`
}

// Probing bounds the test calls.
type Probing struct {
	Successes     int           `json:"successes" doc:"How many test calls must succeed; one failure begins a longer wait. 0: no test calls, the schedule begins after the wait."`
	AtOnce        int           `json:"at_once" doc:"How many test calls run at once at most."`
	Timeout       time.Duration `json:"timeout" doc:"After so long without a result the place of a test call is free again and its result counts no more. At least as long as a call may take."`
	UnmarkedAfter time.Duration `json:"unmarked_after" doc:"When for so long no marked call had a result, ordinary calls are taken as test calls; 0 for never: then recovery needs marked calls."`
}

// Relapse is a rule over the results of calls let in by the schedule.
type Relapse struct {
	Failures int `json:"failures" doc:"More than so many failures are a relapse."`
	Of       int `json:"of" doc:"Among so many last results; 0 for no such rule: then only Fall tells of a relapse."`
}

// DefaultConfig is the preset first-minute-5-percent.
func DefaultConfig() Config {
	c, _ := Preset(FirstMinute5Percent)
	return c
}

const (
	maxProbes  = 1000
	maxResults = 100_000
)

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	faults = append(faults, below("backoff", c.Backoff.Validate())...)
	faults = append(faults, below("probing", c.Probing.Validate())...)
	faults = append(faults, below("schedule", c.Schedule.Validate())...)
	faults = append(faults, below("relapse", c.Relapse.Validate())...)
	return errors.Join(faults...)
}

// below puts a path before each fault of a section.
func below(path string, err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	var faults []error
	for _, fault := range joined.Unwrap() {
		faults = append(faults, fmt.Errorf("%s.%w", path, fault))
	}
	return faults
}

// Validate reports every fault at once.
func (p Probing) Validate() error {
	var faults []error
	if p.Successes < 0 {
		faults = append(faults, fmt.Errorf("successes: must be at least 0, is %d", p.Successes))
	}
	if p.Successes > 0 && (p.AtOnce < 1 || p.AtOnce > maxProbes) {
		faults = append(faults, fmt.Errorf("at_once: must be 1 to %d, is %d", maxProbes, p.AtOnce))
	}
	if p.Successes > 0 && p.Timeout <= 0 {
		faults = append(faults, fmt.Errorf("timeout: must be above 0, is %v", p.Timeout))
	}
	if p.UnmarkedAfter < 0 {
		faults = append(faults, fmt.Errorf("unmarked_after: must be at least 0, is %v", p.UnmarkedAfter))
	}
	return errors.Join(faults...)
}

// Validate reports every fault at once.
func (r Relapse) Validate() error {
	var faults []error
	if r.Of < 0 || r.Of > maxResults {
		faults = append(faults, fmt.Errorf("of: must be 0 to %d, is %d", maxResults, r.Of))
	}
	if r.Failures < 0 || r.Of > 0 && r.Failures >= r.Of {
		faults = append(faults, fmt.Errorf("failures: must be at least 0 and below of (%d), is %d", r.Of, r.Failures))
	}
	return errors.Join(faults...)
}

// ParseConfig reads a configuration from strict JSON: an object whose missing keys have the values of
// [DefaultConfig], or the name of a preset in quotes. Durations are text such as "30s". Every fault of the
// reading is reported at once, and if there is none, every fault of the values.
func ParseConfig(data []byte) (Config, error) {
	var name string
	if strictjson.Decode(data, &name) == nil {
		if c, ok := Preset(name); ok {
			return c, nil
		}
		return Config{}, fmt.Errorf("ramp: no preset is named %q; there are %q", name, Presets())
	}
	c := DefaultConfig()
	if err := strictjson.Decode(data, &c); err != nil {
		return Config{}, fmt.Errorf("ramp: %w", err)
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("ramp: %w", err)
	}
	return c, nil
}
