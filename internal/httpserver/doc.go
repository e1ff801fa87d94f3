// Package httpserver is the one HTTP server of the house: it runs the public
// listener and the admin listener, and it holds everything that each request
// passes before a service sees it (deadline, trace, identity, body limit) and
// after (metrics, access log, recovery from panics).
//
// Services do not import it. They hand (pattern, role, handler) to internal/app
// and see standard things only: the context's deadline, [http.MaxBytesError]
// for a body that is too large, [os.ErrDeadlineExceeded] for one that is too
// slow. Do not use it for a client, nor for protocols other than HTTP.
//
//	s, err := httpserver.New(httpserver.DefaultConfig(), httpserver.Deps{Service: "order"})
//	// … check err, then:
//	s.Handle("GET /v1/orders/{id}", "", orders) // open to anyone
//	s.Handle("POST /v1/orders", auth.Write, orders)
//	err = s.Run(ctx, func() { log.Println("serving on", s.Addr()) })
//
// # Deadlines
//
// A request's context ends at the earliest of what the caller allows
// (X-Request-Timeout: 250ms or 1.5 for seconds; grpc-timeout: 250m) minus
// [Config].DeadlineMargin, and [Config].RequestTimeout. Its timer is armed only
// when somebody asks for Done.
//
// # Who may call
//
// A route with a role needs a bearer token that holds it. Without a tokens
// file, such a route is open on a loopback listener, except to changes that a
// browser sends for a page of another origin, and closed on any other.
package httpserver
