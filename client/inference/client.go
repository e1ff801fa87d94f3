package inferenceclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"sync/atomic"

	"github.com/dougong-io/dougong/kit/breaker"
)

// Client calls one or more servers. This type is concurrency safe.
type Client struct {
	cfg       Config
	parts     parts
	overGRPC  bool
	endpoints []*endpoint
	circuits  *breaker.Group[string]
	turn      atomic.Uint32 // of the endpoint at which the next call begins
	retries   *tokens
	hedges    *tokens
	latencies latencies
	forms     forms

	random func() float64 // in [0, 1)

	closing sync.Once
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // calls, and attempts that lost; Add is under mu
}

// New returns a client. It connects to nobody yet; calls do.
func New(cfg Config, opts ...Option) (*Client, error) {
	return build(cfg, opts, func(u *url.URL, c *Client) (wire, error) {
		if c.overGRPC {
			return newGRPCWire(u, &c.cfg, &c.parts)
		}
		return newRESTWire(u, &c.cfg, &c.parts), nil
	})
}

func build(cfg Config, opts []Option, connect func(*url.URL, *Client) (wire, error)) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("inference client: %w", err)
	}
	urls, err := parseURLs(cfg.URLs)
	if err != nil {
		return nil, err
	}
	c := &Client{
		cfg: cfg, overGRPC: overGRPC(urls[0]), retries: newTokens(cfg.RetryBudget), hedges: newTokens(cfg.Hedge.Budget),
		latencies: latencies{quantile: cfg.Hedge.Quantile}, random: randomShare,
	}
	for _, opt := range opts {
		opt(&c.parts)
	}
	if c.parts.observer == nil {
		c.parts.observer = silent{}
	}
	if c.parts.token == nil && cfg.TokenFile != "" {
		c.parts.token = (&tokenFile{path: cfg.TokenFile}).get
	}
	if c.parts.token != nil && !cfg.mayCarryToken() {
		return nil, errors.New("inference client: a token needs https://, grpcs:// or a loopback address; say plaintext_token if something else encrypts")
	}
	if c.parts.tls == nil {
		if c.parts.tls, err = cfg.TLS.load(); err != nil {
			return nil, fmt.Errorf("inference client: %w", err)
		}
	}
	if c.circuits, err = breaker.New(cfg.Breaker, c.parts.breaker...); err != nil {
		return nil, fmt.Errorf("inference client: %w", err)
	}
	for _, u := range urls {
		e := &endpoint{url: u.String()}
		if e.circuit, err = c.circuits.Circuit(e.url); err == nil {
			e.wire, err = connect(u, c)
		}
		if err != nil {
			c.disconnect()
			return nil, fmt.Errorf("inference client: %s: %w", e.url, err)
		}
		c.endpoints = append(c.endpoints, e)
	}
	return c, nil
}

// load reads the authorities; the client's own certificate is read for each handshake, since it may be renewed.
func (t TLSConfig) load() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file: %s has no certificate in PEM", t.CAFile)
		}
	}
	if t.CertFile != "" {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			own, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			return &own, err
		}
	}
	return config, nil
}

// Infer asks a model. An error is an [*Error].
func (c *Client) Infer(ctx context.Context, r Request) (*Response, error) {
	const what = "infer "
	m, err := c.encode(&r)
	if err != nil {
		return nil, &Error{Call: what + r.Model, Kind: ErrInvalid, cause: err}
	}
	answer, at, failed := do(ctx, c, operation[*Response]{
		call: what + r.Model, id: r.ID, hedged: c.cfg.Hedge.on(),
		run: func(ctx context.Context, w wire, h *head) (*Response, *Error) { return w.infer(ctx, h, m) },
	})
	if failed != nil {
		return nil, failed
	}
	answer.Endpoint, answer.Attempts = at.endpoint.url, at.number
	return answer, nil
}

// encode makes of a request what all its attempts send.
func (c *Client) encode(r *Request) (*message, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if c.overGRPC {
		return r.overGRPC(), nil
	}
	return r.overREST(c.cfg.JSON)
}

// Circuits shows the circuits of the servers, by their URLs.
func (c *Client) Circuits() breaker.GroupStatus { return c.circuits.Snapshot() }

// Close refuses further calls, waits for those that run, which their deadlines bound, and closes the connections. A
// second call waits for the first, and returns nil.
func (c *Client) Close() (err error) {
	c.closing.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		c.running.Wait()
		err = c.disconnect()
	})
	return err
}

func (c *Client) disconnect() error {
	var errs []error
	for _, e := range c.endpoints {
		errs = append(errs, e.wire.close())
	}
	return errors.Join(errs...)
}

// enter counts what runs; leave it with c.running.Done.
func (c *Client) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.running.Add(1)
	return true
}
