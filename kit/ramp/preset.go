package ramp

import "time"

// The names of the presets.
const (
	FirstMinute5Percent = "first-minute-5-percent" // careful, 6 minutes: for a model that was damaged or is new
	DoublingWithin10s   = "doubling-within-10s"    // quick: for an upstream that was away for a moment
)

// Presets returns the names of the presets.
func Presets() []string { return []string{FirstMinute5Percent, DoublingWithin10s} }

// Preset returns a configuration by its name. The caller may change it.
func Preset(name string) (Config, bool) {
	switch name {
	case FirstMinute5Percent:
		return Config{
			Backoff: Backoff{First: 5 * time.Second, Factor: 2, Most: 5 * time.Minute, Jitter: 0.2, Calm: 10 * time.Minute},
			Probing: Probing{Successes: 5, AtOnce: 2, Timeout: 30 * time.Second, UnmarkedAfter: 10 * time.Second},
			Schedule: Schedule{Steps: []Step{
				{0.05, time.Minute}, {0.1, time.Minute}, {0.25, time.Minute}, {0.5, time.Minute}, {0.75, time.Minute}, {1, time.Minute},
			}},
			Relapse: Relapse{Failures: 10, Of: 100},
		}, true
	case DoublingWithin10s:
		return Config{
			Backoff: Backoff{First: time.Second, Factor: 2, Most: time.Minute, Jitter: 0.2, Calm: time.Minute},
			Probing: Probing{Successes: 3, AtOnce: 3, Timeout: 5 * time.Second, UnmarkedAfter: 500 * time.Millisecond},
			Schedule: Schedule{Steps: []Step{
				{0.0625, 2500 * time.Millisecond}, {0.125, 2500 * time.Millisecond}, {0.25, 2500 * time.Millisecond}, {0.5, 2500 * time.Millisecond},
			}},
			Relapse: Relapse{Failures: 10, Of: 50},
		}, true
	}
	return Config{}, false
}
