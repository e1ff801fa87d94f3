package httpmw

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
)

// ClientConfig tunes the connections of a client.
type ClientConfig struct {
	Timeout               time.Duration `json:"timeout" doc:"How long a call may take, its body included; 0: as long as its context lets it."`
	DialTimeout           time.Duration `json:"dial_timeout" doc:"How long it may take to connect, looking up the name included."`
	TLSHandshakeTimeout   time.Duration `json:"tls_handshake_timeout" doc:"How long the TLS handshake may take after that."`
	ResponseHeaderTimeout time.Duration `json:"response_header_timeout" doc:"How long the server may take to begin its answer once it has the request; 0: any time."`

	MaxIdleConns        int           `json:"max_idle_conns" doc:"Connections that are kept while nobody uses them, to all hosts together; 0: any number."`
	MaxIdleConnsPerHost int           `json:"max_idle_conns_per_host" doc:"The same for each host. Fewer than the calls that run at once means connections made and thrown away."`
	MaxConnsPerHost     int           `json:"max_conns_per_host" doc:"Connections of a host at most; calls wait for one. 0: any number."`
	IdleConnTimeout     time.Duration `json:"idle_conn_timeout" doc:"How long a connection is kept that nobody uses; less than what the server and the middleboxes keep."`

	KeepAlive   time.Duration `json:"keep_alive" doc:"A TCP probe after so long without traffic, and between probes; nine without an answer end the connection. Below 0: none."`
	HTTP2       bool          `json:"http2" doc:"Use HTTP/2 over TLS where the server can: many calls upon one connection."`
	PingAfter   time.Duration `json:"ping_after" doc:"HTTP/2: a ping when a connection with calls upon it has been silent for so long; 0: none."`
	PingTimeout time.Duration `json:"ping_timeout" doc:"HTTP/2: a connection whose ping is not answered for so long is given up, and its calls fail."`

	MaxHeaderBytes int64 `json:"max_header_bytes" unit:"bytes" doc:"The largest header of an answer."`
}

// The names of the presets.
const (
	PresetDefault = "default" // a service that calls some others
	PresetGateway = "gateway" // thousands of calls at once to few hosts
)

// ClientPresets returns the names of the presets.
func ClientPresets() []string { return []string{PresetDefault, PresetGateway} }

// ClientPreset returns a configuration by its name. The caller may change it.
func ClientPreset(name string) (ClientConfig, bool) {
	c := ClientConfig{
		DialTimeout: 3 * time.Second, TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
		MaxIdleConns: 1000, MaxIdleConnsPerHost: 100, IdleConnTimeout: 90 * time.Second,
		KeepAlive: 15 * time.Second, HTTP2: true, PingAfter: 15 * time.Second, PingTimeout: 5 * time.Second,
		MaxHeaderBytes: 1 << 20,
	}
	switch name {
	case PresetDefault:
	case PresetGateway:
		c.DialTimeout, c.TLSHandshakeTimeout = time.Second, 2*time.Second
		c.MaxIdleConns, c.MaxIdleConnsPerHost = 0, 2000
		c.PingAfter, c.PingTimeout = 10*time.Second, 3*time.Second
	default:
		return ClientConfig{}, false
	}
	return c, true
}

// DefaultClientConfig is the preset default.
func DefaultClientConfig() ClientConfig {
	c, _ := ClientPreset(PresetDefault)
	return c
}

// Validate reports every fault at once.
func (c ClientConfig) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, f := range []struct {
		name  string
		value time.Duration
		zero  bool // is allowed
	}{
		{"timeout", c.Timeout, true},
		{"dial_timeout", c.DialTimeout, false},
		{"tls_handshake_timeout", c.TLSHandshakeTimeout, false},
		{"response_header_timeout", c.ResponseHeaderTimeout, true},
		{"idle_conn_timeout", c.IdleConnTimeout, false},
		{"ping_after", c.PingAfter, true},
	} {
		switch {
		case f.value < 0:
			bad("%s: must not be negative, is %v", f.name, f.value)
		case f.value == 0 && !f.zero:
			bad("%s: must be above 0", f.name)
		}
	}
	for _, f := range []struct {
		name  string
		value int
	}{{"max_idle_conns", c.MaxIdleConns}, {"max_conns_per_host", c.MaxConnsPerHost}} {
		if f.value < 0 {
			bad("%s: must be at least 0, is %d", f.name, f.value)
		}
	}
	switch {
	case c.MaxIdleConnsPerHost < 1: // net/http would make two of 0
		bad("max_idle_conns_per_host: must be at least 1, is %d", c.MaxIdleConnsPerHost)
	case c.MaxIdleConns > 0 && c.MaxIdleConnsPerHost > c.MaxIdleConns:
		bad("max_idle_conns_per_host: must be at most max_idle_conns (%d), is %d", c.MaxIdleConns, c.MaxIdleConnsPerHost)
	}
	if c.KeepAlive == 0 {
		bad("keep_alive: must be above 0, or below 0 for none")
	}
	if c.PingAfter > 0 && c.PingTimeout <= 0 {
		bad("ping_timeout: must be above 0 when ping_after is, is %v", c.PingTimeout)
	}
	if c.MaxHeaderBytes < 4<<10 {
		bad("max_header_bytes: must be at least 4096, is %d", c.MaxHeaderBytes)
	}
	return errors.Join(faults...)
}

// Transport returns connections as configured, with the proxies of the environment, or what is wrong. The caller may
// change what it does not know, such as TLSClientConfig.
func (c ClientConfig) Transport() (*http.Transport, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("httpmw: client: %w", err)
	}
	dialer := &net.Dialer{Timeout: c.DialTimeout, KeepAlive: -1}
	if c.KeepAlive > 0 {
		dialer.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: c.KeepAlive, Interval: c.KeepAlive, Count: 9}
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(c.HTTP2)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    c.TLSHandshakeTimeout,
		ResponseHeaderTimeout:  c.ResponseHeaderTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxIdleConns:           c.MaxIdleConns,
		MaxIdleConnsPerHost:    c.MaxIdleConnsPerHost,
		MaxConnsPerHost:        c.MaxConnsPerHost,
		IdleConnTimeout:        c.IdleConnTimeout,
		MaxResponseHeaderBytes: c.MaxHeaderBytes,
		Protocols:              protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: c.PingAfter, PingTimeout: c.PingTimeout},
	}, nil
}

// NewClient returns a client with connections as configured, and with opts a [Transport] upon them.
func NewClient(c ClientConfig, opts ...Option) (*http.Client, error) {
	base, err := c.Transport()
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: base, Timeout: c.Timeout}
	if len(opts) > 0 {
		client.Transport = NewTransport(base, opts...)
	}
	return client, nil
}

// DialFunc is the DialContext of an http.Transport, of a database driver, and of others.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// GuardDial gives each address a circuit, so that one that does not answer is left alone for a growing time, however
// many calls want it; net/http itself has no back-off. The preset [breaker.PresetConnections] is meant for it.
func GuardDial(g *breaker.Group[string], dial DialFunc) DialFunc {
	return func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		err = g.Do(ctx, addr, func(ctx context.Context) error {
			conn, err = dial(ctx, network, addr)
			return err
		})
		return conn, err
	}
}
