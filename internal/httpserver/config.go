package httpserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/dougong-io/dougong/internal/reload"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/loopback"
)

// Config is how one listener behaves. Start from [DefaultConfig] or
// [DefaultAdminConfig]; the zero value is refused by Validate.
type Config struct {
	Listen            string        `json:"listen" doc:"Address to listen on, as host:port; port 0 takes a free one."`
	ReadHeaderTimeout time.Duration `json:"read_header_timeout" doc:"How long a client may take to send the request header, and a TLS handshake; then the connection is closed."`
	ReadTimeout       time.Duration `json:"read_timeout" doc:"How long a client may take to send the whole request with its body; then 408. On streams: between two reads."`
	WriteTimeout      time.Duration `json:"write_timeout" doc:"How long from the request's header to the end of the answer. On streams: for one write. Must exceed request_timeout."`
	IdleTimeout       time.Duration `json:"idle_timeout" doc:"How long a connection is kept for the next request."`
	MaxHeaderBytes    int64         `json:"max_header_bytes" unit:"bytes" doc:"Largest request header; then 431."`
	MaxBodyBytes      int64         `json:"max_body_bytes" unit:"bytes" doc:"Largest request body, unless the route says otherwise; then 413."`
	MaxConnections    int           `json:"max_connections" doc:"Most connections at a time. For a further one the connection that is idle longest is closed; while none is, the further one is closed at once. Upgraded (WebSocket) connections no longer count. 0: no bound."`
	MaxPerClient      int           `json:"max_connections_per_client" doc:"Most connections at a time of one client: an IPv4 address, or an IPv6 /64. For a further one that of the same client gives way that is idle longest; while none is, the further one is closed at once. A proxy, or all behind one router, are one client. 0: no bound."`
	MinRate           int64         `json:"min_rate" unit:"bytes" doc:"A client that sends a request, or takes an answer, at less than so much a second is closed after slow_grace. 0: the time-outs alone bound it."`
	SlowGrace         time.Duration `json:"slow_grace" doc:"For how long a client may be below min_rate."`
	RequestTimeout    time.Duration `json:"request_timeout" doc:"Default and upper bound of a request's deadline."`
	DeadlineMargin    time.Duration `json:"deadline_margin" doc:"Taken off the caller's deadline, so that the answer still arrives in time."`
	DrainTimeout      time.Duration `json:"drain_timeout" doc:"How long requests in flight may take to end when the server stops; what did not end is named and cut."`
	TLS               TLSConfig     `json:"tls" doc:"TLS and mutual TLS; off while cert_file is empty."`
	TokensFile        string        `json:"tokens_file" doc:"Bearer tokens (dougong token create). Without it, routes that need a role are open on loopback and closed elsewhere."`
	AccessLog         bool          `json:"access_log" doc:"Write one JSON line for each request."`
}

// TLSConfig names PEM files. They are read again when they change.
type TLSConfig struct {
	CertFile     string `json:"cert_file" doc:"PEM file with the server's certificate chain; empty: no TLS."`
	KeyFile      string `json:"key_file" doc:"PEM file with its private key."`
	ClientCAFile string `json:"client_ca_file" doc:"PEM file with the authorities of client certificates; when set, every client must present one."`
	MinVersion   string `json:"min_version" doc:"Oldest TLS version: 1.2 or 1.3."`
}

// Certificates are those that the configuration names, for connections of these protocols; Load reads them.
func (c TLSConfig) Certificates(protocols ...string) *reload.Certificates {
	return &reload.Certificates{
		CertFile: c.CertFile, KeyFile: c.KeyFile, ClientCAFile: c.ClientCAFile, MinVersion: tlsVersions[c.MinVersion], Protocols: protocols,
	}
}

// DefaultConfig is the public listener.
func DefaultConfig() Config {
	return Config{
		Listen:            "127.0.0.1:8080",
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    64 << 10,
		MaxBodyBytes:      8 << 20,
		MaxConnections:    16_384,
		MaxPerClient:      2048,
		SlowGrace:         20 * time.Second,
		RequestTimeout:    30 * time.Second,
		DeadlineMargin:    5 * time.Millisecond,
		DrainTimeout:      15 * time.Second,
		TLS:               TLSConfig{MinVersion: "1.2"},
		AccessLog:         true,
	}
}

// DefaultAdminConfig is the admin listener: smaller, and without access log.
func DefaultAdminConfig() Config {
	c := DefaultConfig()
	c.Listen = "127.0.0.1:9090"
	c.MaxBodyBytes = 1 << 20
	c.MaxConnections = 256
	c.MaxPerClient = 0
	c.DrainTimeout = 2 * time.Second
	c.AccessLog = false
	return c
}

// Validate reports every fault at once, each beginning with the field's path.
func (c Config) Validate() error {
	var errs []error
	fault := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	_, port, err := net.SplitHostPort(c.Listen)
	fault(err == nil, "listen: %q is not host:port, such as 127.0.0.1:8081", c.Listen)
	if err == nil {
		n, err := strconv.Atoi(port)
		fault(err == nil && n >= 0 && n <= 65535, "listen: port %q must be 0 to 65535", port)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"read_header_timeout", c.ReadHeaderTimeout},
		{"read_timeout", c.ReadTimeout},
		{"write_timeout", c.WriteTimeout},
		{"idle_timeout", c.IdleTimeout},
		{"request_timeout", c.RequestTimeout},
		{"drain_timeout", c.DrainTimeout},
	} {
		fault(d.value > 0, "%s: must be positive", d.name)
	}
	fault(c.ReadTimeout >= c.ReadHeaderTimeout, "read_timeout: must be at least read_header_timeout (%v)", c.ReadHeaderTimeout)
	fault(c.WriteTimeout > c.RequestTimeout, "write_timeout: must exceed request_timeout (%v), or answers at the deadline are cut", c.RequestTimeout)
	fault(c.DeadlineMargin >= 0, "deadline_margin: must not be negative")
	fault(c.DeadlineMargin < c.RequestTimeout, "deadline_margin: must be below request_timeout")
	fault(c.MaxHeaderBytes >= 1<<10 && c.MaxHeaderBytes <= 16<<20, "max_header_bytes: must be 1 KiB to 16 MiB")
	fault(c.MaxBodyBytes > 0, "max_body_bytes: must be positive")
	fault(c.MaxConnections >= 0, "max_connections: must not be negative")
	fault(c.MaxPerClient >= 0, "max_connections_per_client: must not be negative")
	fault(c.MinRate >= 0, "min_rate: must not be negative")
	fault(c.MinRate == 0 || c.SlowGrace > 0 && c.SlowGrace <= time.Hour, "slow_grace: must be positive and at most 1h")
	for _, f := range c.TLS.faults() {
		errs = append(errs, fmt.Errorf("tls.%w", f))
	}
	return errors.Join(errs...)
}

// clients is what a client may have open, and how slow it may be.
func (c Config) clients() limit.ConnConfig {
	return limit.ConnConfig{MaxPerClient: c.MaxPerClient, MinRate: c.MinRate, Grace: c.SlowGrace}
}

func (t TLSConfig) faults() (errs []error) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		errs = append(errs, errors.New("cert_file: cert_file and key_file are needed together"))
	}
	if t.ClientCAFile != "" && t.CertFile == "" {
		errs = append(errs, errors.New("client_ca_file: needs cert_file and key_file"))
	}
	if _, ok := tlsVersions[t.MinVersion]; !ok {
		errs = append(errs, fmt.Errorf("min_version: %q is not 1.2 or 1.3", t.MinVersion))
	}
	return errs
}

var tlsVersions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// onLoopback reports whether only this machine can reach the listener. A name
// other than localhost may resolve to anything, so it is taken as reachable.
func (c Config) onLoopback() bool {
	host, _, _ := net.SplitHostPort(c.Listen)
	return loopback.Host(host)
}
