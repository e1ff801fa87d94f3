package grpcserver

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/dougong-io/dougong/internal/httpserver"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/loopback"
)

// Config is how the listener behaves. Start from [DefaultConfig]; the zero value is refused by Validate.
type Config struct {
	Listen           string        `json:"listen" doc:"Address to listen on, as host:port; port 0 takes a free one."`
	HandshakeTimeout time.Duration `json:"handshake_timeout" doc:"How long a new connection may take to be one, TLS included; then it is closed."`
	MaxHeaderBytes   int64         `json:"max_header_bytes" unit:"bytes" doc:"Largest metadata of a call; one with more is reset."`
	MaxMessageBytes  int64         `json:"max_message_bytes" unit:"bytes" doc:"Largest message of a client, before and after decompression; then RESOURCE_EXHAUSTED."`
	MaxConnections   int           `json:"max_connections" doc:"Most connections at a time. For a further one that is closed which is idle longest, as far as one can tell; while none is, the further one is closed at once. 0: no bound."`
	MaxPerClient     int           `json:"max_connections_per_client" doc:"Most connections at a time of one client: an IPv4 address, or an IPv6 /64. A proxy, or all behind one router, are one client. 0: no bound."`
	MinRate          int64         `json:"min_rate" unit:"bytes" doc:"A client that sends in a trickle, or takes answers, at less than so much a second is closed after slow_grace. 0: the time-outs alone bound it."`
	SlowGrace        time.Duration `json:"slow_grace" doc:"For how long a client may be below min_rate."`
	ReadTimeout      time.Duration `json:"read_timeout" doc:"How long the message of a unary call may take to come, from when it is asked for; then DEADLINE_EXCEEDED."`
	WriteTimeout     time.Duration `json:"write_timeout" doc:"A connection whose client has not taken an answer within it is closed."`
	MaxStreams       int           `json:"max_streams" doc:"Calls at once on one connection; the client waits with more."`

	RequestTimeout time.Duration `json:"request_timeout" doc:"Default and upper bound of a unary call's deadline."`
	DeadlineMargin time.Duration `json:"deadline_margin" doc:"Taken off the caller's deadline, so that the answer still arrives in time."`
	DrainTimeout   time.Duration `json:"drain_timeout" doc:"How long calls in flight may take to end when the server stops; what did not end is named and cut."`

	MinPingInterval time.Duration `json:"min_ping_interval" doc:"A client that pings more often than this is sent away."`
	PingIdle        bool          `json:"ping_idle" doc:"Clients may ping while they have no call."`
	PingAfter       time.Duration `json:"ping_after" doc:"A ping to the client when the connection has been silent for so long; at least 1s."`
	PingTimeout     time.Duration `json:"ping_timeout" doc:"A connection whose ping is not answered for so long is closed."`
	MaxConnIdle     time.Duration `json:"max_connection_idle" doc:"A connection without calls is ended after so long; its client connects again when it has one. 0: never."`
	MaxConnAge      time.Duration `json:"max_connection_age" doc:"A connection is ended after so long (10 % more or less at random), so that clients spread over new servers. 0: never."`
	MaxConnAgeGrace time.Duration `json:"max_connection_age_grace" doc:"How long the calls of a connection that is ended for its age may go on. 0: as long as they like."`

	TLS        httpserver.TLSConfig `json:"tls" doc:"TLS and mutual TLS; off while cert_file is empty."`
	TokensFile string               `json:"tokens_file" doc:"Bearer tokens (dougong token create). Without it, methods that need a role are open on loopback and closed elsewhere."`
	Reflection bool                 `json:"reflection" doc:"Tell clients such as grpcurl what services and messages there are."`
	AccessLog  bool                 `json:"access_log" doc:"Write one JSON line for each call."`
}

// DefaultConfig is the public listener.
func DefaultConfig() Config {
	return Config{
		Listen:           "127.0.0.1:8081",
		HandshakeTimeout: 5 * time.Second,
		MaxHeaderBytes:   64 << 10,
		MaxMessageBytes:  8 << 20,
		MaxConnections:   16_384,
		MaxPerClient:     2048,
		SlowGrace:        20 * time.Second,
		ReadTimeout:      10 * time.Second,
		WriteTimeout:     time.Minute,
		MaxStreams:       128,
		RequestTimeout:   30 * time.Second,
		DeadlineMargin:   5 * time.Millisecond,
		DrainTimeout:     15 * time.Second,
		MinPingInterval:  5 * time.Second,
		PingIdle:         true,
		PingAfter:        time.Minute,
		PingTimeout:      20 * time.Second,
		MaxConnIdle:      10 * time.Minute,
		MaxConnAgeGrace:  30 * time.Second,
		TLS:              httpserver.TLSConfig{MinVersion: "1.2"},
		Reflection:       true,
		AccessLog:        true,
	}
}

// Validate reports every fault at once, each beginning with the field's path.
func (c Config) Validate() error {
	var errs []error
	fault := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	// What both listeners have must keep the same rules.
	shared := httpserver.DefaultConfig()
	shared.Listen, shared.MaxConnections, shared.MaxPerClient, shared.MinRate, shared.SlowGrace, shared.TLS =
		c.Listen, c.MaxConnections, c.MaxPerClient, c.MinRate, c.SlowGrace, c.TLS
	if err := shared.Validate(); err != nil {
		errs = append(errs, err)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
		least time.Duration
	}{
		{"handshake_timeout", c.HandshakeTimeout, time.Millisecond},
		{"read_timeout", c.ReadTimeout, time.Millisecond},
		{"write_timeout", c.WriteTimeout, time.Millisecond},
		{"request_timeout", c.RequestTimeout, time.Millisecond},
		{"drain_timeout", c.DrainTimeout, time.Millisecond},
		{"min_ping_interval", c.MinPingInterval, time.Millisecond},
		{"ping_after", c.PingAfter, time.Second},
		{"ping_timeout", c.PingTimeout, time.Millisecond},
		{"max_connection_idle", c.MaxConnIdle, 0},
		{"max_connection_age", c.MaxConnAge, 0},
		{"max_connection_age_grace", c.MaxConnAgeGrace, 0},
	} {
		fault(d.value >= d.least, "%s: must be at least %v, is %v", d.name, d.least, d.value)
	}
	fault(c.DeadlineMargin >= 0, "deadline_margin: must not be negative")
	fault(c.DeadlineMargin < c.RequestTimeout, "deadline_margin: must be below request_timeout")
	fault(c.MaxHeaderBytes >= 1<<10 && c.MaxHeaderBytes <= 16<<20, "max_header_bytes: must be 1 KiB to 16 MiB")
	fault(c.MaxMessageBytes >= 1 && c.MaxMessageBytes <= 1<<30, "max_message_bytes: must be 1 byte to 1 GiB")
	fault(c.MaxStreams >= 1 && c.MaxStreams <= 1<<20, "max_streams: must be 1 to %d", 1<<20)
	return errors.Join(errs...)
}

// clients is what clients may have open, and how slow they may be.
func (c Config) clients() limit.ConnConfig {
	return limit.ConnConfig{MaxConns: c.MaxConnections, MaxPerClient: c.MaxPerClient, MinRate: c.MinRate, Grace: c.SlowGrace}
}

// onLoopback reports whether only this machine can reach the listener. A name other than localhost may resolve to
// anything, so it is taken as reachable.
func (c Config) onLoopback() bool {
	host, _, _ := net.SplitHostPort(c.Listen)
	return loopback.Host(host)
}
