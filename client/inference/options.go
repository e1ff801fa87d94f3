package inferenceclient

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fault"
)

// Option injects a collaborator.
type Option func(*parts)

// parts are what options give a client.
type parts struct {
	token    func(context.Context) (string, error)
	headers  func(ctx context.Context, set func(name, value string))
	tls      *tls.Config
	dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	observer Observer
	breaker  []breaker.Option[string]
	attempt  *fault.Point
}

// WithToken gives each call a bearer token, in place of Config.TokenFile. token is called for each call and must be
// concurrency safe; it should keep what it has for as long as that is valid.
func WithToken(token func(ctx context.Context) (string, error)) Option {
	return func(p *parts) { p.token = token }
}

// WithHeaders has headers add headers (gRPC: metadata) to each call, the same to all its attempts: traceparent, as a
// propagator of OpenTelemetry injects it, or the priority of the caller. It must be concurrency safe. The names that
// the client sets itself, names and values that are none, and what is not ASCII make the call ErrInvalid.
func WithHeaders(headers func(ctx context.Context, set func(name, value string))) Option {
	return func(p *parts) { p.headers = headers }
}

// WithTLS replaces Config.TLS.
func WithTLS(config *tls.Config) Option { return func(p *parts) { p.tls = config.Clone() } }

// WithDialer replaces how connections are made, for example by those in memory or to a Unix socket. No proxy of the
// environment is used then. addr is host and port of the URL.
func WithDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(p *parts) { p.dial = dial }
}

// WithObserver has the client report its attempts.
func WithObserver(o Observer) Option { return func(p *parts) { p.observer = o } }

// WithBreaker passes options on to the group of circuits, whose keys are the URLs: an observer, fault points, a clock.
func WithBreaker(opts ...breaker.Option[string]) Option {
	return func(p *parts) { p.breaker = append(p.breaker, opts...) }
}
