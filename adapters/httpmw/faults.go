package httpmw

import (
	"net/http"
	"strconv"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulthttp"
)

// The points of clients. Test is whether the request is marked as test traffic, so that a rule can spare everybody
// else.
var (
	pointClient = fault.Def{
		Name: "httpmw.client", Doc: "A client sends a request; what is cut or damaged is the body of the answer.",
		Attrs: []string{"method", "host", "path", "test"}, Effects: fault.Bytes,
	}
	pointClientBody = fault.Def{
		Name: "httpmw.client.body", Doc: "A client reads from the body of an answer.",
		Attrs: []string{"method", "host", "path", "test"}, Effects: fault.Call,
	}
)

// The points of servers.
var (
	pointServer = fault.Def{
		Name: "httpmw.server", Doc: "A handler is about to have a request; what is cut or damaged is the body of its answer.",
		Attrs: []string{"method", "host", "path", "route", "test"}, Effects: fault.Bytes,
	}
	pointServerBody = fault.Def{
		Name: "httpmw.server.body", Doc: "A handler reads from the body of a request.",
		Attrs: []string{"method", "host", "path", "route", "test"}, Effects: fault.Call,
	}
)

// WithFaults gives calls the fault points httpmw.client and httpmw.client.body, beneath the joints: a limit holds the
// place of a call that is delayed, a breaker counts an injected error as the failure that it stands for, and a fallback
// answers in its place. An error whose rule has an HTTP status is an answer with that status.
func WithFaults(s *fault.Set) Option { return func(t *Transport) { t.faults = s } }

// Faults gives the handler the fault points httpmw.server and httpmw.server.body. Put it inside the joints, next to the
// handler, which it stands in for: then a limit holds the slot of a request that is delayed, and a breaker counts an
// injected error as a failure of the handler. An error is answered with the status of its rule, else 500, and the code
// "injected_fault"; a connection that is to be broken is cut without an answer. See [faulthttp.Handler].
func Faults(s *fault.Set, c Caller) func(http.Handler) http.Handler {
	points := faulthttp.Points{Exchange: s.Point(pointServer), Body: s.Point(pointServerBody), Attrs: c.attrs}
	return func(next http.Handler) http.Handler { return faulthttp.Handler(next, points) }
}

// strikable puts the points around the transport beneath.
func (t *Transport) strikable() {
	t.base = faulthttp.Transport(t.base, faulthttp.Points{
		Exchange: t.faults.Point(pointClient), Body: t.faults.Point(pointClientBody), Attrs: t.caller.attrs,
	})
}

// attrs is what a point is told of a request beyond what every one of HTTP is.
func (c Caller) attrs(r *http.Request) []fault.Attr {
	return []fault.Attr{{Key: "test", Value: strconv.FormatBool(c.marked(r))}}
}
