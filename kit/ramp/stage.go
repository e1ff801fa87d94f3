package ramp

import (
	"errors"
	"math"
	"time"
)

// Stage is where a [Ramp] is in its recovery.
type Stage string

// The stages of a recovery. Time leads from Waiting to Testing, test calls that succeed to Rising, time to Full.
// A fall leads from each to Waiting.
const (
	Full    Stage = "full"    // everything passes
	Waiting Stage = "waiting" // nothing passes
	Testing Stage = "testing" // a few test calls pass
	Rising  Stage = "rising"  // a share of the keys passes
)

// state is what a call needs to know. Once published it is never changed.
type state struct {
	config *Config
	stage  Stage
	full   bool          // stage is Full
	epoch  uint64        // of the stage: results of calls of another one do not count
	since  time.Duration // when the stage began
	until  time.Duration // when time ends the stage or the step, or never
	share  float64
}

const never = time.Duration(math.MaxInt64)

// advance does what time has done, and returns the state that is in force. The lock is held.
func (r *Ramp) advance(now time.Duration) *state {
	for {
		st := r.state.Load()
		if now < st.until {
			return st
		}
		switch {
		case st.stage == Rising:
			r.rise(now, *st)
		case st.config.Probing.Successes > 0:
			r.enter(Testing, st.until, nil) // not now: when nobody has called for long, the first call is let in
		default:
			r.enter(Rising, now, nil)
		}
	}
}

// fall begins a wait. The lock is held.
func (r *Ramp) fall(now time.Duration, random uint64, cause error) {
	if cause == nil {
		cause = errors.New("no cause was given")
	}
	st := r.state.Load()
	healthy := time.Duration(0)
	if st.full {
		healthy = now - st.since
	}
	r.attempt = st.config.Backoff.Next(r.attempt, healthy)
	r.falls++
	r.cause = cause
	r.enterFor(Waiting, now, st.config.Backoff.Delay(r.attempt, random), cause)
}

// enter begins a stage. The lock is held.
func (r *Ramp) enter(stage Stage, since time.Duration, cause error) {
	r.enterFor(stage, since, never, cause)
}

func (r *Ramp) enterFor(stage Stage, since, lasts time.Duration, cause error) {
	before := r.state.Load()
	st := state{config: before.config, stage: stage, full: stage == Full, epoch: before.epoch + 1, since: since, until: after(since, lasts)}
	r.successes, r.results = 0, results{}
	r.unmarked.Store(int64(since))
	switch stage {
	case Full:
		st.share = 1
	case Rising:
		share, left, done := st.config.Schedule.at(0)
		if done {
			r.enter(Full, since, nil)
			return
		}
		st.share, st.until = share, after(since, left)
	}
	r.publish(&st, cause)
}

// rise goes to the step of the schedule that is due. The lock is held.
func (r *Ramp) rise(now time.Duration, st state) {
	share, left, done := st.config.Schedule.at(now - st.since)
	if done {
		r.enter(Full, now, nil)
		return
	}
	st.share, st.until = share, after(now, left)
	r.publish(&st, nil)
}

func (r *Ramp) publish(st *state, cause error) {
	before := r.state.Swap(st)
	if before.stage == st.stage && before.share == st.share && before.epoch == st.epoch {
		return // another configuration with the same share
	}
	r.changes++
	if r.observer == nil {
		return
	}
	change := Change{Number: r.changes, From: before.stage, To: st.stage, Share: st.share, Attempt: max(0, r.attempt), Cause: cause}
	if st.stage == Waiting {
		change.Wait = st.until - st.since
	}
	r.untold = append(r.untold, change)
}

// unlock gives back the lock, and then tells the observer what has changed under it.
func (r *Ramp) unlock() {
	untold := r.untold
	r.untold = nil
	r.mu.Unlock()
	for _, change := range untold {
		r.observer.Changed(change)
	}
}
