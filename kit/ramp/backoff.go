package ramp

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Backoff says how long to wait before the next try. The zero value never waits.
type Backoff struct {
	First  time.Duration `json:"first" doc:"How long to wait after the first fall."`
	Factor float64       `json:"factor" doc:"By how much each further wait is longer; 1 for always the same."`
	Most   time.Duration `json:"most" doc:"The longest wait."`
	Jitter float64       `json:"jitter" doc:"The part of a wait that is random, 0 to 1: at 0.2 a wait of 10s lasts 8s to 10s, so that many processes do not try at once."`
	Calm   time.Duration `json:"calm" doc:"A fall after so long in full health waits as long as the first again; after less the waits go on growing. 0: any full health will do."`
}

// Validate reports every fault at once.
func (b Backoff) Validate() error {
	var faults []error
	if b.First <= 0 {
		faults = append(faults, fmt.Errorf("first: must be above 0, is %v", b.First))
	}
	if !(b.Factor >= 1 && b.Factor <= 1000) {
		faults = append(faults, fmt.Errorf("factor: must be 1 to 1000, is %v", b.Factor))
	}
	if b.Most < b.First {
		faults = append(faults, fmt.Errorf("most: must be at least first (%v), is %v", b.First, b.Most))
	}
	if !(b.Jitter >= 0 && b.Jitter <= 1) {
		faults = append(faults, fmt.Errorf("jitter: must be 0 to 1, is %v", b.Jitter))
	}
	if b.Calm < 0 {
		faults = append(faults, fmt.Errorf("calm: must be at least 0, is %v", b.Calm))
	}
	return errors.Join(faults...)
}

// Delay is how long to wait before try number attempt, which counts from 0. It is First × Factor^attempt, at
// most Most, of which the part Jitter is scaled down by random, any 64 bits: a wait is never longer than the
// same wait without jitter. It is pure, never negative, and does not overflow.
func (b Backoff) Delay(attempt int, random uint64) time.Duration {
	wait := float64(b.First) * math.Pow(b.Factor, float64(max(0, attempt)))
	if !(wait < float64(b.Most)) { // infinite, or not a number, too
		wait = float64(b.Most)
	}
	wait *= 1 - b.Jitter*(float64(random>>11)/(1<<53))
	if !(wait > 0) {
		return 0
	}
	return min(b.Most, time.Duration(min(wait, math.MaxInt64/2)))
}

// Next is the number of the attempt after a fall: 0 when what fell was in full health for Calm or longer, else
// one more than attempt. healthy is 0 for what fell before it was in full health. Before the first fall attempt
// is -1.
func (b Backoff) Next(attempt int, healthy time.Duration) int {
	if healthy > 0 && healthy >= b.Calm {
		return 0
	}
	return min(max(attempt, -1), math.MaxInt32-1) + 1
}
