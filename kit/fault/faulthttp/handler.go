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
// cases next is not called. Drop has next called and its answer lost: the connection is cut. A panic is one of the
// handler, which whoever recovers such answers. An answer that is truncated has its first bytes sent, and then the
// connection cut; next is not told. A call that hangs until its context ends goes on to next, which answers as it
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
		asked := r
		r = new(*r)
		r.Body = &body{
			ReadCloser: r.Body, ctx: r.Context(), point: h.points.Body,
			attrs: func() []fault.Attr { return h.points.attrs(asked, asked.Host) },
		}
	}
	switch {
	case damage.Drop:
		h.next.ServeHTTP(&lost{header: http.Header{}}, r)
		panic(http.ErrAbortHandler)
	case damage.Any():
		h.damaged(w, r, damage)
	default:
		h.next.ServeHTTP(w, r)
	}
}

func (h *handler) damaged(w http.ResponseWriter, r *http.Request, damage fault.Damage) {
	d := &writer{ResponseWriter: w, damage: damage}
	h.next.ServeHTTP(d, r)
	if d.cut {
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

// lost takes an answer that nobody gets.
type lost struct{ header http.Header }

func (l *lost) Header() http.Header         { return l.header }
func (l *lost) WriteHeader(int)             {}
func (l *lost) Write(b []byte) (int, error) { return len(b), nil }
func (l *lost) Flush()                      {}
