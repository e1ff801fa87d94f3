package httpserver

import (
	"cmp"
	"errors"
	"net/http"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/problem"
)

var pointRequest = fault.Def{
	Name: "http.request", Doc: "A request of the public port goes to its handler, unless it asks for health or metrics. An error is answered as a problem; what is dropped loses its connection.",
	Attrs: []string{"route", "method", "tenant"}, Effects: fault.Fail | fault.Lose,
}

// strike is passed by a request whose route has been found. It reports whether the handler is to have it.
func (x *exchange) strike() bool {
	attrs := []fault.Attr{{Key: "route", Value: x.route.Pattern}, {Key: "method", Value: boundedMethod(x.method)}}
	if x.ctx.who != nil {
		attrs = append(attrs, fault.Attr{Key: "tenant", Value: x.ctx.who.Tenant})
	}
	damage, err := x.srv.fault.Damage(&x.ctx, attrs...)
	if injected, ok := errors.AsType[*fault.Error](err); ok {
		x.fail(&problem.Problem{
			Status: cmp.Or(injected.HTTPStatus, http.StatusInternalServerError), Code: "injected_fault", Detail: injected.Error(), RetryAfter: injected.RetryAfter,
		})
		return false
	}
	if err != nil {
		x.refuse(http.StatusGatewayTimeout, "deadline_exceeded", "the deadline passed while an injected fault held the request")
		return false
	}
	if damage.Drop {
		panic(http.ErrAbortHandler)
	}
	return true
}
