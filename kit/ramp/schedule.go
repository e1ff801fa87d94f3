package ramp

import (
	"errors"
	"fmt"
	"time"
)

// Schedule is how a share of the keys grows with time. After its last step, or without steps, it is everything.
type Schedule struct {
	Steps []Step `json:"steps" doc:"What share is let in for how long; after the last step everything is."`
}

// Step is a share for a time.
type Step struct {
	Share float64       `json:"share" doc:"The share of keys that is let in, above 0 and at most 1."`
	For   time.Duration `json:"for" doc:"For how long."`
}

const maxSteps = 100

// Validate reports every fault at once.
func (s Schedule) Validate() error {
	var faults []error
	if len(s.Steps) > maxSteps {
		faults = append(faults, fmt.Errorf("steps: must be at most %d, are %d", maxSteps, len(s.Steps)))
	}
	before := 0.0
	for i, step := range s.Steps {
		switch {
		case !(step.Share > 0 && step.Share <= 1):
			faults = append(faults, fmt.Errorf("steps[%d].share: must be above 0 and at most 1, is %v", i, step.Share))
		case step.Share < before:
			faults = append(faults, fmt.Errorf("steps[%d].share: must be at least that of the step before (%v), is %v", i, before, step.Share))
		default:
			before = step.Share
		}
		if step.For <= 0 {
			faults = append(faults, fmt.Errorf("steps[%d].for: must be above 0, is %v", i, step.For))
		}
	}
	return errors.Join(faults...)
}

// Share is the share of keys to let in at a time since the start, and whether the last step has ended.
func (s Schedule) Share(sinceStart time.Duration) (share float64, done bool) {
	share, _, done = s.at(sinceStart)
	return share, done
}

// at is Share, with the time that is left of the step.
func (s Schedule) at(sinceStart time.Duration) (share float64, left time.Duration, done bool) {
	sinceStart = max(0, sinceStart)
	for _, step := range s.Steps {
		if sinceStart < step.For {
			return step.Share, step.For - sinceStart, false
		}
		sinceStart -= step.For
	}
	return 1, 0, true
}

// Wait is how long after sinceStart a key is let in.
func (s Schedule) Wait(hash uint64, sinceStart time.Duration) time.Duration {
	var end time.Duration
	for _, step := range s.Steps {
		if end+step.For > sinceStart && Admits(hash, step.Share) {
			break
		}
		end += step.For
	}
	return max(0, end-sinceStart)
}

// Admits reports whether a key is part of a share. It is stable: what is part of a share is part of every
// larger one. Of keys whose hashes are spread evenly over 64 bits, which those of [HashString] are, share ×
// their number are admitted, as exactly as chance allows. A share of 0 or less admits none, of 1 or more all.
func Admits(hash uint64, share float64) bool {
	switch {
	case share >= 1:
		return true
	case share > 0:
		return hash < uint64(share*(1<<64)) // exact: below 1 a float64 has 53 bits and stays under 2^64
	}
	return false
}
