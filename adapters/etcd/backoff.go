package etcd

import "time"

// backoff returns the wait before attempt number n, from 0, of a random share in [0, 1): anything up to a bound
// that doubles ("full jitter"), but never less than half of the first one.
func backoff(n int, first, last time.Duration, share float64) time.Duration {
	bound := first
	for ; n > 0 && bound < last; n-- {
		bound *= 2
	}
	bound = min(bound, last)
	return max(time.Duration(share*float64(bound)), first/2)
}
