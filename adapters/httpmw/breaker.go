package httpmw

import (
	"context"
	"errors"
	"net/http"

	"github.com/dougong-io/dougong/kit/breaker"
)

// BreakerOptions say what [Breaker] may know of requests. The zero value suits most handlers.
type BreakerOptions struct {
	Caller Caller

	// Outcome judges what the handler answered; nil: StatusOutcome. It is not asked about a panic, which is a failure,
	// about a client that has left, nor about an answer of other middleware of this package, which say nothing.
	Outcome func(r *http.Request, status int) breaker.Outcome
}

// StatusOutcome calls a status of 500 and above a failure, everything else a success: what a client did wrong is no
// fault of the handler.
func StatusOutcome(_ *http.Request, status int) breaker.Outcome {
	if status >= http.StatusInternalServerError {
		return breaker.Failure
	}
	return breaker.Success
}

// Breaker gives the handler a circuit for each key, such as [ByPattern], and answers requests that it refuses with
// 503 and Retry-After.
func Breaker[K comparable](g *breaker.Group[K], key func(*http.Request) K, o BreakerOptions) func(http.Handler) http.Handler {
	if o.Outcome == nil {
		o.Outcome = StatusOutcome
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			permit, err := g.AllowCall(key(r), o.Caller.ofBreaker(r))
			if err != nil {
				refuse(w, err)
				return
			}
			serve(next, watch(w), r, o.Outcome, permit.Done)
		})
	}
}

// serve calls a handler, and done with what became of it, whether it returns or not.
func serve(next http.Handler, a *answer, r *http.Request, judge func(*http.Request, int) breaker.Outcome, done func(breaker.Outcome)) {
	returned := false
	outcome := breaker.Failure // if the judge does not return
	defer func() {
		if !returned && gone(r.Context()) { // http.ErrAbortHandler ends what nobody reads any more
			outcome = breaker.Ignored
		}
		done(outcome)
	}()
	next.ServeHTTP(a, r)
	returned = true
	switch {
	case a.refused, gone(r.Context()):
		outcome = breaker.Ignored
	case a.status == 0 && errors.Is(r.Context().Err(), context.DeadlineExceeded): // had no answer in time
	case a.status == 0:
		outcome = judge(r, http.StatusOK) // as net/http will say
	default:
		outcome = judge(r, a.status)
	}
}
