package httpserver

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/dougong-io/dougong/internal/auth"
	"github.com/dougong-io/dougong/kit/problem"
)

// A Route is a handler together with how the server treats its requests.
type Route struct {
	Pattern string    // of http.ServeMux; the label in logs and metrics
	Role    auth.Role // that the caller's token must hold; "": open to anyone
	Handler http.Handler

	Service      string        // in the access log; "": Deps.Service
	Timeout      time.Duration // default and upper bound of the deadline; 0: Config.RequestTimeout; at most that, unless Stream
	MaxBodyBytes int64         // 0: Config.MaxBodyBytes; below 0: no bound
	Stream       bool          // long-lived, or upgraded: no deadline unless the caller or Timeout gives one; time-outs are those of one read and one write; the context ends when the server begins to stop
	Quiet        bool          // not in the access log
	Audit        bool          // an audit line for each request that is not GET, HEAD, OPTIONS or TRACE; always on for the roles fault and release, and on the admin server
}

// A ProblemWriter is a handler whose protocol has an error form of its own. What the server refuses before the handler
// has the request is answered in it too.
type ProblemWriter interface {
	WriteProblem(w http.ResponseWriter, p *problem.Problem)
}

// route is a Route with everything resolved that does not depend on the request.
type route struct {
	Route
	srv      *Server
	observer RouteObserver
	timeout  time.Duration // 0: none
	maxBody  int64         // 0: none
}

// exchange is one request and its answer: the request that the handler sees,
// its context, its body and the ResponseWriter that counts. All in one
// allocation, and not pooled: a context may outlive its request, and a late
// write of a faulty handler must not land in somebody else's answer.
type exchange struct {
	responseWriter
	srv    *Server
	route  *route // nil until the mux found one
	req    http.Request
	ctx    requestCtx
	body   requestBody
	start  time.Time
	method string
	failed string // the code of the problem that the server itself answered

	shard      *inflightShard // nil while not registered
	prev, next *exchange
}

// ServeHTTP is the path of every request:
//
//	ServeHTTP → paths or mux → route.ServeHTTP → admit → handler → end
//
// A path that is not clean goes no further than to unclean.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{srv: s, start: time.Now()}
	x.responseWriter = responseWriter{w: w, x: x}
	defer x.end(r)
	if rt := s.paths.find(r); rt != nil {
		r.Pattern = rt.Pattern
		rt.ServeHTTP(x, r)
		return
	}
	if clean, ok := cleaned(r); ok {
		s.unclean(x, r, clean)
		return
	}
	s.mux.ServeHTTP(x, r)
}

func (rt *route) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := w.(*exchange)
	x.route, x.method = rt, r.Method
	x.ctx.trace = traceOf(r.Header)
	rt.observer.Begin()
	rt.srv.inflight.add(x)
	if rt.Stream {
		// It would outlive every stop, so it is told when one begins.
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		defer context.AfterFunc(rt.srv.stopping, func() { cancel(errStopping) })()
		r = r.WithContext(ctx)
	}
	if x.admit(r) && (rt.Quiet || !rt.srv.fault.On() || x.strike()) {
		rt.Handler.ServeHTTP(x, &x.req)
	}
}

// admit makes the request that the handler will see, or answers why it won't.
func (x *exchange) admit(r *http.Request) bool {
	x.ctx.parent = r.Context()
	if x.ctx.trace.Parent != [8]byte{} {
		x.ctx.tracestate = joinTracestate(r.Header["Tracestate"])
	}

	timeout := x.route.timeout
	asked, ok, err := callerTimeout(r.Header)
	switch {
	case err != nil:
		x.refuse(http.StatusBadRequest, "malformed_timeout", "X-Request-Timeout takes a duration such as 250ms or seconds such as 1.5, grpc-timeout digits and a unit such as 250m; each once")
		return false
	case ok && asked <= x.srv.cfg.DeadlineMargin:
		x.refuse(http.StatusGatewayTimeout, "deadline_exceeded", fmt.Sprintf(
			"the caller's deadline, %v, is not longer than the deadline_margin of this listener, %v, which is kept to answer in: work did not begin", asked, x.srv.cfg.DeadlineMargin))
		return false
	case ok && (timeout == 0 || asked-x.srv.cfg.DeadlineMargin < timeout):
		timeout = asked - x.srv.cfg.DeadlineMargin
	}
	if timeout > 0 {
		x.ctx.deadline = x.start.Add(timeout)
	}

	if !x.identify(r) {
		return false
	}
	x.req = *r.WithContext(&x.ctx)
	if r.Body != nil && r.Body != http.NoBody {
		x.body = requestBody{x: x, rc: r.Body, limit: x.route.maxBody, left: x.route.maxBody, declared: r.ContentLength}
		x.req.Body = &x.body
		switch {
		case x.route.Stream:
			x.setReadTimeout(0)
		case ok && timeout < x.srv.cfg.ReadTimeout:
			// A body that comes after the caller has left is of no use.
			x.setReadDeadline(x.ctx.deadline)
		}
	}
	if x.route.Stream {
		x.setWriteTimeout(0)
	}
	return true
}

// identify finds out who calls and whether they may.
func (x *exchange) identify(r *http.Request) bool {
	s, role := x.srv, x.route.Role
	header := r.Header["Authorization"]
	if role == "" && len(header) == 0 {
		return true
	}
	var presented bool
	if tokens := s.tokens.Load(); tokens != nil {
		var token string
		if token, presented = bearer(header); presented {
			x.ctx.who, _ = tokens.Lookup(token)
		}
	}
	switch {
	case role == "" || x.ctx.who.Has(role):
		return true
	case s.open:
		// Open to the machine, not to a page in a browser on it.
		if crossOrigin.Check(r) == nil {
			return true
		}
		x.refuse(http.StatusForbidden, "cross_origin", crossOriginDetail)
	case s.tokens.Load() == nil:
		x.refuse(http.StatusForbidden, "no_tokens_file", "this route needs the role "+string(role)+", and the server listens beyond loopback without a tokens_file: create a token (dougong token create) and name the file in the configuration")
	case x.ctx.who == nil:
		challenge := `Bearer realm="dougong"`
		if presented {
			challenge += `, error="invalid_token"`
		}
		x.Header().Set("WWW-Authenticate", challenge)
		x.refuse(http.StatusUnauthorized, "unauthenticated", "this route needs a bearer token with the role "+string(role))
	default:
		x.refuse(http.StatusForbidden, "forbidden", "the token does not hold the role "+string(role))
	}
	return false
}

// bearer returns the token of the one Authorization header there may be.
func bearer(header []string) (string, bool) {
	const scheme = "Bearer "
	if len(header) != 1 || len(header[0]) <= len(scheme) || !strings.EqualFold(header[0][:len(scheme)], scheme) {
		return "", false
	}
	return header[0][len(scheme):], true
}

// refuse answers with a problem document.
func (x *exchange) refuse(status int, code, detail string) {
	x.fail(&problem.Problem{Status: status, Code: code, Detail: detail})
}

func (x *exchange) fail(p *problem.Problem) {
	var handler http.Handler
	if x.route != nil {
		handler = x.route.Handler
	}
	x.failAs(handler, p)
}

// failAs answers with a problem in the form of a handler, if it has one of its own.
func (x *exchange) failAs(handler http.Handler, p *problem.Problem) {
	x.failed = p.Code
	if x.ctx.trace.IsZero() {
		x.ctx.trace = traceOf(nil)
	}
	x.Header().Set("X-Request-Id", x.ctx.trace.ID())
	if own, ok := handler.(ProblemWriter); ok {
		own.WriteProblem(&x.responseWriter, p)
		return
	}
	problem.Write(&x.responseWriter, p)
}

// end runs whatever happened: it turns a panic into an answer, ends the
// request's context and accounts for the request.
func (x *exchange) end(r *http.Request) {
	panicked := recover()
	aborted := panicked != nil
	if panicked != nil && !isAbort(panicked) {
		aborted = x.status != 0
		x.panicked(panicked, r)
	}
	x.ctx.finish()
	if x.req.MultipartForm != nil {
		x.req.MultipartForm.RemoveAll() // net/http does it only for its own copy of the request
	}
	if x.status == 0 {
		x.status = 499
		if !aborted {
			x.status = http.StatusOK
			x.sayClose(x.status)
		}
	}
	if x.route != nil && x.route.Stream && !x.hijacked {
		x.setWriteTimeout(x.srv.cfg.WriteTimeout) // for what is buffered
		if x.body.rc != nil && x.body.err != io.EOF {
			x.setReadTimeout(x.srv.cfg.ReadTimeout) // net/http reads the rest, or some of it
		}
	}
	x.account(r)
	if aborted {
		panic(http.ErrAbortHandler) // the only way to make net/http cut the connection
	}
}

func isAbort(v any) bool {
	err, ok := v.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

func (x *exchange) panicked(v any, r *http.Request) {
	rt := cmp.Or(x.route, x.srv.other)
	rt.observer.Panic()
	x.srv.deps.Logger.LogAttrs(context.WithoutCancel(r.Context()), slog.LevelError, "handler panicked",
		slog.String("service", rt.Service), slog.String("error_code", "panic"), slog.Any("panic", v), slog.String("route", rt.Pattern),
		slog.String("trace_id", x.ctx.trace.ID()), slog.String("stack", string(debug.Stack())))
	if x.status != 0 {
		return // too late for an answer
	}
	clear(x.Header())
	x.refuse(http.StatusInternalServerError, "internal", "the handler failed; the request id finds it in the log")
}

// account reports the finished request to metrics, access log and audit log.
func (x *exchange) account(r *http.Request) {
	s, rt := x.srv, x.route
	d := time.Since(x.start)
	if rt == nil {
		rt = s.other
		rt.observer.Begin()
	}
	s.inflight.remove(x)
	rt.observer.End(Outcome{
		Method:   boundedMethod(r.Method),
		Status:   x.status,
		Duration: d,
		BytesIn:  x.body.read,
		BytesOut: x.written,
	})
	if s.access != nil && !rt.Quiet {
		if x.ctx.trace.IsZero() {
			x.ctx.trace = traceOf(r.Header)
		}
		line := accessLine{
			time:      x.start.Add(d),
			service:   rt.Service,
			method:    r.Method,
			route:     rt.Pattern,
			path:      r.URL.Path,
			status:    x.status,
			bytesIn:   x.body.read,
			bytesOut:  x.written,
			duration:  d,
			trace:     &x.ctx.trace,
			remote:    r.RemoteAddr,
			userAgent: first(r.Header["User-Agent"]),
			code:      x.failed,
			who:       x.ctx.who,
		}
		room := s.access.Room()
		s.access.Write(room, line.appendTo((*room)[:0]))
	}
	if rt.Audit && !slices.Contains(safeMethods, r.Method) {
		e := AuditEvent{
			Time: x.start.Add(d), Service: rt.Service, Method: r.Method, Route: rt.Pattern, Path: r.URL.Path, Status: x.status,
			Remote: r.RemoteAddr, TraceID: hex.EncodeToString(x.ctx.trace.TraceID[:]),
		}
		if who := x.ctx.who; who != nil {
			e.Name, e.Tenant = who.Name, who.Tenant
		}
		s.audit(e)
	}
}

var safeMethods = []string{"GET", "HEAD", "OPTIONS", "TRACE"}

func first(v []string) string {
	if len(v) == 0 {
		return ""
	}
	return v[0]
}
