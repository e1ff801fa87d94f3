// Package ramp brings back, step by step, something that has failed: a model, an upstream, a circuit. At full
// traffic at once, what has just come back falls again.
//
// After a fall nothing passes for a back-off; then a few test calls do, those that are marked if there are any;
// then a share of the keys, chosen by a stable hash so that a user who is let in stays in; then everything. A
// relapse begins anew, with a longer back-off if it came soon.
//
// It does not notice a failure in full traffic: a breaker or a health check does, and calls Fall. Do not use it
// for a gradual release, which someone must be able to hold at a step, nor for work that cannot be refused.
//
//	r, err := ramp.New(ramp.DefaultConfig())
//	permit, err := r.Allow(ramp.Call{Hash: ramp.HashString(user), Marked: ramp.Marked(request.Header)})
//	if err != nil {
//		return err // a *RejectedError: answer from a fallback, or with its RetryAfter
//	}
//	err = work()
//	permit.Done(err == nil)
//
// [Backoff] and [Schedule] are pure functions of time and can be used alone.
package ramp
