package httpmw

import (
	"net/http"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/ramp"
)

// Ramp lets in what the ramp does, and answers the rest with 503 and Retry-After. What [StatusOutcome] calls a
// failure, and a panic, is one before the ramp; a request whose client has left says nothing.
func Ramp(rm *ramp.Ramp, c Caller) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			permit, err := rm.Allow(c.ofRamp(r))
			if err != nil {
				refuse(w, err)
				return
			}
			a := watch(w)
			serve(next, a, r, StatusOutcome, func(o breaker.Outcome) { doneRamp(permit, o) })
		})
	}
}

// doneRamp gives an outcome to a ramp, for which what says nothing need not be given back.
func doneRamp(permit ramp.Permit, o breaker.Outcome) {
	if o != breaker.Ignored {
		permit.Done(o != breaker.Failure)
	}
}
