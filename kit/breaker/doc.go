// Package breaker stops calls to what fails, lets a few of them try, and brings the rest back by degrees.
//
// A [Group] has a circuit for each key, such as (query type, upstream), within a bound. A circuit counts in a
// sliding window of 60 buckets and opens when the failure rate, or the rate of slow calls, is surely above a
// threshold: when its lower confidence bound is, so that a few failures among few calls open nothing. A
// [Policy] holds the conditions; it changes while calls run, and the counts stay.
//
// Do not use it for what has no other side that could recover, nor to bound how much runs at once: that is
// kit/limit. A call that is retried belongs inside the retry loop, not around it.
//
//	g, err := breaker.New[string](breaker.DefaultPolicy())
//	permit, err := g.Allow("payments")
//	if err != nil {
//		return err // a *RejectedError: the call must not be made
//	}
//	defer permit.Release() // nothing after Done; against panics
//	err = call()
//	permit.Done(breaker.OutcomeOf(err))
//
// Do is the same in one.
package breaker
