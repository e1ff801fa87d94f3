package httpmw

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/problem"
	"github.com/dougong-io/dougong/kit/ramp"
)

// The codes of the problems that refusals are answered with. Their member "reason" says more.
const (
	CodeOverloaded  = "overloaded"   // by a limit
	CodeCircuitOpen = "circuit_open" // by a breaker
	CodeRecovering  = "recovering"   // by a ramp
	CodeCanceled    = "canceled"     // the request ended while it waited
)

// refuse answers a request that is not let in. Its body is not read; net/http does away with a short one, so that
// the connection can be used again.
func refuse(w http.ResponseWriter, err error) {
	noteRefusal(w)
	problem.Write(w, problemOf(err))
}

func problemOf(err error) *problem.Problem {
	p := &problem.Problem{Status: http.StatusServiceUnavailable, RetryAfter: time.Second}
	reason, exact := "", false
	if e, ok := errors.AsType[*limit.RejectedError](err); ok {
		p.Code, p.Detail, reason, p.RetryAfter = CodeOverloaded, "too much is asked for at the moment", string(e.Reason), e.RetryAfter
		if e.Reason == limit.TenantFull {
			p.Status, p.Detail = http.StatusTooManyRequests, "too many requests of this tenant are on their way"
		}
	} else if e, ok := errors.AsType[*breaker.RejectedError](err); ok {
		p.Code, p.Detail, reason, p.RetryAfter = CodeCircuitOpen, "what this request needs has been failing", string(e.Reason), e.RetryAfter()
		exact = e.Reason == breaker.ReasonRising // the time of this very key
	} else if e, ok := errors.AsType[*ramp.RejectedError](err); ok {
		p.Code, p.Detail, reason, p.RetryAfter = CodeRecovering, "what this request needs is being brought back by degrees", string(e.Stage), e.RetryAfter
		exact = e.Stage == ramp.Rising
	} else {
		p.Code, p.Detail, p.RetryAfter = CodeCanceled, "the request ended while it waited", 0
		return p
	}
	if exact {
		p.RetryAfter = max(p.RetryAfter, time.Second)
	} else {
		p.RetryAfter = spread(p.RetryAfter)
	}
	p.Extensions = map[string]any{"reason": reason}
	return p
}

// spread makes whole seconds of a time, and up to a fifth more, at least one second, so that all those who were refused
// together do not return together.
func spread(after time.Duration) time.Duration {
	seconds := max(1, (after+time.Second-1)/time.Second)
	return (seconds + rand.N(max(1, seconds/5)+1)) * time.Second
}

// isRejection reports whether a joint of the kit has refused a call, which is no failure of the other side.
func isRejection(err error) bool {
	return errors.Is(err, breaker.ErrRejected) || errors.Is(err, limit.ErrRejected) || errors.Is(err, ramp.ErrRejected)
}

// noteRefusal tells the middleware outside that the answer is not one of the handler.
func noteRefusal(w http.ResponseWriter) {
	for {
		if a, ok := w.(*answer); ok {
			a.refused = true
		}
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = inner.Unwrap()
	}
}
