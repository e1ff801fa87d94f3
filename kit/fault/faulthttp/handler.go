package faulthttp

import (
	"net/http"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/problem"
)

// Handler returns next with points before it; next itself if there are none.
//
// An error is answered as a problem document with the code "injected_fault", the status of its rule, or else 500, and
// Retry-After if the rule has one. If the rule has no status and its cause is a connection that ended (reset,
// broken_pipe, eof, unexpected_eof), the connection is cut without an answer, as by [http.ErrAbortHandler]. In both
// cases next is not called. Drop has next called and its answer lost: the connection is cut when next is done. A panic
// is one of the handler, which whoever recovers such answers. An answer that is truncated has its first bytes sent, and
// the connection cut when next is done. In both next is told that it writes, for as long as the rule stands; then its
// writes fail, so that one which streams comes to an end. A connection that is hijacked is left alone. A call that hangs until its context ends goes on to next, which answers as it
// does when a context has ended.
func Handler(next http.Handler, p Points) http.Handler {
	if p.none() {
		return next
	}
	return &handler{next, p}
}

type handler struct {
	next   http.Handler
	points Points
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var damage fault.Damage
	if h.points.Exchange.On() {
		var err error
		damage, err = h.points.Exchange.Damage(r.Context(), h.points.attrs(r, r.Host)...)
		if e, ok := err.(*fault.Error); ok {
			answer(w, e)
			return
		}
	}
	if h.points.Body.On() && r.Body != nil && r.Body != http.NoBody {
		// In place: whoever called this handler looks in r for the route and for parsed forms, whose files net/http removes.
		bare := r.Body
		passing := &body{
			ReadCloser: bare, ctx: r.Context(), point: h.points.Body,
			attrs: func() []fault.Attr { return h.points.attrs(r, r.Host) },
		}
		r.Body = passing
		defer func() {
			if r.Body == passing {
				r.Body = bare
			}
		}()
	}
	if !damage.Any() {
		h.next.ServeHTTP(w, r)
		return
	}
	d := &writer{ResponseWriter: w, damage: damage, bodiless: r.Method == http.MethodHead}
	h.next.ServeHTTP(d, r)
	if d.ruined() {
		panic(http.ErrAbortHandler)
	}
}

func answer(w http.ResponseWriter, e *fault.Error) {
	status := e.HTTPStatus
	if status == 0 {
		if broken(e.Cause) {
			panic(http.ErrAbortHandler)
		}
		status = http.StatusInternalServerError
	}
	problem.Write(w, &problem.Problem{Status: status, Code: "injected_fault", Detail: e.Error(), RetryAfter: e.RetryAfter})
}
