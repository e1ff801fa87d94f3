package ramp

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Call is what decides whether a call passes.
type Call struct {
	Hash   uint64          // of its key, as [HashString] makes it; 0 if it has none: then chance decides
	Marked bool            // is test traffic; see [Marked]
	Ctx    context.Context // ends what an injected fault does to the call; nil: only the end of its rule does. Nothing else reads it
}

// Permit is one call that may be made. Copies are the same permit. It need not be given back: a test call that
// never is costs its place until Probing.Timeout, any other nothing. This type is concurrency safe.
type Permit struct {
	ramp *Ramp
	call *call // nil if the result does not matter
}

// call is one whose result matters.
type call struct {
	epoch    uint64
	test     bool // takes a place until it is done or its deadline has passed, whatever the stage
	marked   bool
	deadline time.Duration // for its result
	done     bool          // guarded by the lock of the ramp
}

// Allow lets a call pass, or returns a [RejectedError]. In Full it takes no lock, does not read the clock and
// does not allocate. Only an injected fault can hold it; if Call.Ctx ends meanwhile, the error wraps why, is no
// rejection, and counts as none.
func (r *Ramp) Allow(c Call) (Permit, error) {
	if r.point.On() {
		if err := r.struck(c); err != nil {
			return Permit{}, err
		}
	}
	if r.state.Load().full {
		return Permit{}, nil
	}
	return r.allow(c)
}

func (r *Ramp) allow(c Call) (Permit, error) {
	now := r.clock.Now()
	st := r.state.Load()
	if now >= st.until {
		r.mu.Lock()
		st = r.advance(now)
		r.unlock()
	}
	switch st.stage {
	case Full:
		return Permit{}, nil
	case Testing:
		return r.probe(now, st, c)
	case Rising:
		hash := c.Hash
		if hash == 0 {
			hash = r.random()
		}
		if !Admits(hash, st.share) {
			return r.reject(Rising, st.config.Schedule.Wait(hash, now-st.since))
		}
		if st.config.Relapse.Of == 0 {
			return Permit{}, nil
		}
		return Permit{r, &call{epoch: st.epoch, deadline: never}}, nil
	}
	return r.reject(Waiting, max(0, st.until-now))
}

// whileTesting is a guess of when another try makes sense: it is not known when test calls end.
const whileTesting = time.Second

// probe lets a test call pass if a place is free. Most are refused, without the lock.
func (r *Ramp) probe(now time.Duration, st *state, c Call) (Permit, error) {
	if !r.isProbe(now, st, c) || now < time.Duration(r.busyUntil.Load()) {
		return r.reject(Testing, whileTesting)
	}
	r.mu.Lock()
	current := r.state.Load()
	if current.epoch != st.epoch {
		r.mu.Unlock()
		return r.allow(c) // as rare as a change of the stage
	}
	st = current
	r.freePlaces(now)
	if len(r.calls) >= st.config.Probing.AtOnce {
		earliest := never
		for _, other := range r.calls {
			earliest = min(earliest, other.deadline)
		}
		r.busyUntil.Store(int64(earliest))
		r.mu.Unlock()
		return r.reject(Testing, whileTesting)
	}
	own := &call{epoch: st.epoch, test: true, marked: c.Marked, deadline: after(now, st.config.Probing.Timeout)}
	r.calls = append(r.calls, own)
	r.mu.Unlock()
	return Permit{r, own}, nil
}

// isProbe reports whether a call may be a test call: it is marked, or no marked ones come.
func (r *Ramp) isProbe(now time.Duration, st *state, c Call) bool {
	patience := st.config.Probing.UnmarkedAfter
	return c.Marked || patience > 0 && now-time.Duration(r.unmarked.Load()) >= patience
}

// freePlaces takes back the places of test calls that had no result in time. The lock is held.
func (r *Ramp) freePlaces(now time.Duration) {
	kept := r.calls[:0]
	for _, c := range r.calls {
		if now < c.deadline {
			kept = append(kept, c)
		}
	}
	clear(r.calls[len(kept):])
	r.calls = kept
}

func (r *Ramp) reject(stage Stage, retryAfter time.Duration) (Permit, error) {
	r.rejected.Add(1)
	return Permit{}, &RejectedError{Stage: stage, RetryAfter: retryAfter}
}

var errProbe = errors.New("a test call failed")

// Done says how the call ended. Only the first counts, and only in the stage that let the call in; the result
// of a test call also must not come later than Probing.Timeout. What was canceled by its caller and says
// nothing need not be given back. A caller that may panic does it in a deferred function.
func (p Permit) Done(ok bool) {
	if p.call == nil {
		return
	}
	r, c := p.ramp, p.call
	now, random := r.clock.Now(), uint64(0)
	if !ok {
		random = r.random()
	}
	r.mu.Lock()
	defer r.unlock()
	if c.done {
		return
	}
	c.done = true
	st := r.advance(now)
	late := c.epoch != st.epoch || now >= c.deadline
	if c.test {
		c.deadline = now
		r.freePlaces(now)
		r.busyUntil.Store(0)
	}
	if late {
		r.late++
		return
	}
	if c.test {
		r.probed(now, random, c, ok)
		return
	}
	rule := st.config.Relapse
	if failures := r.results.add(!ok, rule.Of); failures > rule.Failures {
		r.fall(now, random, fmt.Errorf("relapse: %d of the last %d calls failed", failures, r.results.count))
	}
}

// probed counts the result of a test call. The lock is held.
func (r *Ramp) probed(now time.Duration, random uint64, c *call, ok bool) {
	if !ok {
		r.fall(now, random, errProbe)
		return
	}
	if c.marked {
		r.unmarked.Store(int64(now))
	}
	r.successes++
	if r.successes >= r.state.Load().config.Probing.Successes {
		r.enter(Rising, now, nil)
	}
}
