package httpmw

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/ramp"
)

// Transport is an http.RoundTripper whose calls need leave: first of a limit, for a place; then of a ramp and of a
// breaker. What they refuse is an error that wraps that of the kit, and is not sent. This type is concurrency safe.
//
// A call has ended when its body was read to the end or closed, when reading it failed, or when its context ended:
// then its permits are given back. A body that is neither read nor closed, under a context that never ends, keeps
// its connection and its place in the limit; a breaker gives up on it after its Policy.ProbeTimeout. One upgraded to
// another protocol has ended when that was agreed.
type Transport struct {
	base     http.RoundTripper
	caller   Caller
	limit    func(*http.Request) *limit.Limit
	request  func(*http.Request) limit.Request
	ramp     *ramp.Ramp
	circuit  func(*http.Request, breaker.Call) (breaker.Permit, error)
	outcome  func(*http.Response, error) breaker.Outcome
	fallback *Fallback
	faults   *fault.Set
}

// Option gives a Transport one of its parts.
type Option func(*Transport)

// WithBreaker guards calls by a circuit for each key, such as [ByHost].
func WithBreaker[K comparable](g *breaker.Group[K], key func(*http.Request) K) Option {
	return func(t *Transport) {
		t.circuit = func(r *http.Request, call breaker.Call) (breaker.Permit, error) { return g.AllowCall(key(r), call) }
	}
}

// WithLimit bounds the calls that run at once. pick gives the limit of a request, nil for none; see [PerHost].
// request may be nil; it says what the limit can know of a request.
func WithLimit(pick func(*http.Request) *limit.Limit, request func(*http.Request) limit.Request) Option {
	return func(t *Transport) { t.limit, t.request = pick, request }
}

// WithRamp brings calls back by degrees.
func WithRamp(r *ramp.Ramp) Option { return func(t *Transport) { t.ramp = r } }

// WithCaller says for whom calls are. Without it the share that passes while something recovers is a random one, and
// tests are those with the header x-ai-test: true, which goes on to the server.
func WithCaller(c Caller) Option { return func(t *Transport) { t.caller = c } }

// WithFallback answers in place of calls that fail or are refused.
func WithFallback(f *Fallback) Option { return func(t *Transport) { t.fallback = f } }

// WithOutcome replaces [OutcomeOf]. One of its arguments is nil. It must not read the body. It is not asked when the
// caller has canceled.
func WithOutcome(outcome func(*http.Response, error) breaker.Outcome) Option {
	return func(t *Transport) { t.outcome = outcome }
}

// NewTransport returns a Transport upon base, nil for http.DefaultTransport.
func NewTransport(base http.RoundTripper, opts ...Option) *Transport {
	if base == nil {
		base = http.DefaultTransport
	}
	t := &Transport{base: base, outcome: OutcomeOf}
	for _, opt := range opts {
		opt(t)
	}
	t.strikable()
	return t
}

// OutcomeOf judges a call: a status of 500 and above is a failure, 429 with Retry-After too, other answers are
// successes. Of errors, that the kit refused the call or that the caller canceled it says nothing; the rest, a
// deadline that passed among them, are failures.
func OutcomeOf(resp *http.Response, err error) breaker.Outcome {
	switch {
	case err != nil && isRejection(err):
		return breaker.Ignored
	case err != nil:
		return breaker.OutcomeOf(err)
	case resp.StatusCode >= http.StatusInternalServerError:
		return breaker.Failure
	case resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "":
		return breaker.Failure
	}
	return breaker.Success
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.fallback != nil {
		return t.fallback.roundTrip(t, r)
	}
	return t.try(r)
}

// CloseIdleConnections is what http.Client.CloseIdleConnections looks for.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// call is what one call holds, until it ends.
type call struct {
	ended   atomic.Bool
	limit   limit.Permit
	ramp    ramp.Permit
	breaker breaker.Permit

	outcome breaker.Outcome // if the rest of the body comes
	load    limit.Outcome
}

func (t *Transport) try(r *http.Request) (*http.Response, error) {
	c := &call{outcome: breaker.Failure, load: limit.Ignored} // if base does not return
	if err := t.admit(c, r); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	returned := false
	defer func() {
		if !returned {
			c.end(c.outcome, c.load)
		}
	}()
	resp, err := t.base.RoundTrip(r)
	c.outcome, c.load = t.judge(r, resp, err)
	returned = true
	if err == nil && resp.Body == nil { // a base of the user's
		resp.Body = http.NoBody
	}
	switch {
	case err != nil, resp.Body == http.NoBody, resp.ContentLength == 0, r.Method == http.MethodHead, resp.StatusCode == http.StatusSwitchingProtocols:
		c.end(c.outcome, c.load)
	default:
		resp.Body = watchBody(t, c, r, resp.Body)
	}
	return resp, err
}

// admit takes what a call needs leave of, or gives back what it has and says why there is none.
func (t *Transport) admit(c *call, r *http.Request) (err error) {
	admitted := false
	defer func() {
		if !admitted {
			c.end(breaker.Ignored, limit.Ignored)
		}
	}()
	if t.limit != nil {
		if l := t.limit(r); l != nil {
			var asked limit.Request
			if t.request != nil {
				asked = t.request(r)
			}
			if c.limit, err = l.AcquireFor(r.Context(), asked); err != nil {
				return err
			}
		}
	}
	if t.ramp != nil {
		if c.ramp, err = t.ramp.Allow(t.caller.ofRamp(r)); err != nil {
			return err
		}
	}
	if t.circuit != nil {
		if c.breaker, err = t.circuit(r, t.caller.ofBreaker(r)); err != nil {
			return err
		}
	}
	admitted = true
	return nil
}

// judge says what an answer, or an error, means to a breaker and to a limit.
func (t *Transport) judge(r *http.Request, resp *http.Response, err error) (breaker.Outcome, limit.Outcome) {
	if err != nil && gone(r.Context()) {
		return breaker.Ignored, limit.Ignored
	}
	outcome := t.outcome(resp, err)
	switch {
	case err == nil && resp.StatusCode == http.StatusSwitchingProtocols: // the work only begins
		return outcome, limit.Ignored
	case err == nil && (resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable):
		return outcome, limit.Overloaded
	case err == nil && resp.StatusCode < http.StatusInternalServerError:
		return outcome, limit.Finished
	case errors.Is(err, context.DeadlineExceeded): // took at least so long
		return outcome, limit.Finished
	}
	return outcome, limit.Ignored
}

// end gives back what the call holds, once.
func (c *call) end(o breaker.Outcome, load limit.Outcome) {
	if c.ended.Swap(true) {
		return
	}
	// Deferred, so that each has its own back whatever another does: observers and fault points may panic. The slot
	// comes first, since a rule may hold the call at breaker.done.
	defer c.breaker.Done(o)
	defer doneRamp(c.ramp, o)
	c.limit.DoneWith(load)
}
