package httpserver

import "time"

// Observer receives what the server does. Its methods are called from many
// goroutines.
type Observer interface {
	// Route is called once for each pattern, before the first request: the
	// place to resolve labels. Requests that match no pattern are reported
	// under "other".
	Route(pattern string) RouteObserver

	// LogLinesDropped reports access lines that were not written because the
	// sink did not keep up.
	LogLinesDropped(n int)

	// ConnectionRefused reports a connection above max_connections.
	ConnectionRefused()
}

// RouteObserver receives the requests of one route. Its methods are on the path
// of every request.
type RouteObserver interface {
	// Begin and End enclose each request, so that Begin minus End is in flight.
	Begin()
	End(Outcome)
	// Panic reports a handler that panicked; End follows.
	Panic()
}

// Outcome is one finished request.
type Outcome struct {
	Method   string // GET, HEAD, POST, PUT, PATCH, DELETE, CONNECT, OPTIONS, TRACE or OTHER
	Status   int    // as sent; 499 when the handler aborted before it answered
	Duration time.Duration
	BytesIn  int64 // of the body, as read by the handler
	BytesOut int64 // of the body
}

// otherRoute is the label of requests that match no pattern.
const otherRoute = "other"

// boundedMethod keeps a client from inventing label values.
func boundedMethod(m string) string {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE":
		return m
	}
	return "OTHER"
}

type discardObserver struct{}

func (discardObserver) Route(string) RouteObserver { return discardObserver{} }
func (discardObserver) LogLinesDropped(int)        {}
func (discardObserver) ConnectionRefused()         {}
func (discardObserver) Begin()                     {}
func (discardObserver) End(Outcome)                {}
func (discardObserver) Panic()                     {}
