package grpcmw

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
)

// ClientConfig tunes the connections of a client.
type ClientConfig struct {
	ConnectDelay      time.Duration `json:"connect_delay" doc:"How long to wait after a connection failed, the first time."`
	ConnectFactor     float64       `json:"connect_factor" doc:"By how much each further wait is longer."`
	ConnectJitter     float64       `json:"connect_jitter" doc:"The part by which a wait is longer or shorter at random, 0 to 1, so that many clients do not come back at once."`
	ConnectDelayMost  time.Duration `json:"connect_delay_most" doc:"The longest wait: about so late a server that is back is noticed."`
	ConnectAtLeastFor time.Duration `json:"connect_at_least_for" doc:"How long one try to connect may take, when the wait before the next is shorter than that."`

	PingAfter   time.Duration `json:"ping_after" doc:"A ping when the connection has been silent for so long; at least 10s, and more than the server's min_ping_interval."`
	PingTimeout time.Duration `json:"ping_timeout" doc:"A connection whose ping is not answered for so long is given up, and its calls fail."`
	PingIdle    bool          `json:"ping_idle" doc:"Ping without calls too, so that the first call after a pause does not find a dead connection."`
	IdleTimeout time.Duration `json:"idle_timeout" doc:"Without calls for so long the connections are closed until the next; 0: never."`

	MaxReceiveBytes int `json:"max_receive_bytes" unit:"bytes" doc:"The largest answer."`
	MaxSendBytes    int `json:"max_send_bytes" unit:"bytes" doc:"The largest request."`
}

// ServerConfig tunes the connections of a server.
type ServerConfig struct {
	MinPingInterval time.Duration `json:"min_ping_interval" doc:"A client that pings more often is sent away; less than the ping_after of every client."`
	PingIdle        bool          `json:"ping_idle" doc:"Clients may ping without calls."`
	PingAfter       time.Duration `json:"ping_after" doc:"A ping to the client when the connection has been silent for so long; at least 1s."`
	PingTimeout     time.Duration `json:"ping_timeout" doc:"A connection whose ping is not answered for so long is closed."`

	MaxConnAge       time.Duration `json:"max_conn_age" doc:"A connection is ended after so long (10 % more or less at random), so that clients spread over new servers; 0: never."`
	MaxConnAgeGrace  time.Duration `json:"max_conn_age_grace" doc:"How long its calls may go on then; 0: as long as they like."`
	HandshakeTimeout time.Duration `json:"handshake_timeout" doc:"How long a new connection may take to be one, TLS included."`

	MaxStreams      uint32 `json:"max_streams" doc:"Calls at once on one connection; the client waits with more."`
	MaxReceiveBytes int    `json:"max_receive_bytes" unit:"bytes" doc:"The largest request."`
	MaxSendBytes    int    `json:"max_send_bytes" unit:"bytes" doc:"The largest answer."`
}

// The names of the presets. Clients and servers of any two of them go together.
const (
	PresetDefault = "default" // a service that calls some others
	PresetGateway = "gateway" // much traffic between near machines: a failure is noticed, and its end, within seconds
)

// Presets returns the names of the presets.
func Presets() []string { return []string{PresetDefault, PresetGateway} }

// ClientPreset returns the configuration of a client by its name. The caller may change it.
func ClientPreset(name string) (ClientConfig, bool) {
	c := ClientConfig{
		ConnectDelay: 200 * time.Millisecond, ConnectFactor: 1.6, ConnectJitter: 0.2, ConnectDelayMost: 10 * time.Second, ConnectAtLeastFor: 5 * time.Second,
		PingAfter: 30 * time.Second, PingTimeout: 10 * time.Second, PingIdle: true, IdleTimeout: 30 * time.Minute,
		MaxReceiveBytes: 4 << 20, MaxSendBytes: 4 << 20,
	}
	switch name {
	case PresetDefault:
	case PresetGateway:
		c.ConnectDelay, c.ConnectDelayMost, c.ConnectAtLeastFor = 100*time.Millisecond, 3*time.Second, 2*time.Second
		c.PingAfter, c.PingTimeout = 15*time.Second, 5*time.Second
		c.IdleTimeout = 0
		c.MaxReceiveBytes, c.MaxSendBytes = 16<<20, 16<<20
	default:
		return ClientConfig{}, false
	}
	return c, true
}

// ServerPreset returns the configuration of a server by its name. The caller may change it.
func ServerPreset(name string) (ServerConfig, bool) {
	c := ServerConfig{
		MinPingInterval: 8 * time.Second, PingIdle: true, PingAfter: 30 * time.Second, PingTimeout: 10 * time.Second,
		MaxConnAge: 30 * time.Minute, MaxConnAgeGrace: 5 * time.Minute, HandshakeTimeout: 10 * time.Second,
		MaxStreams: 250, MaxReceiveBytes: 4 << 20, MaxSendBytes: 4 << 20,
	}
	switch name {
	case PresetDefault:
	case PresetGateway:
		c.PingAfter, c.PingTimeout = 15*time.Second, 5*time.Second
		c.MaxStreams, c.MaxReceiveBytes, c.MaxSendBytes = 1000, 16<<20, 16<<20
	default:
		return ServerConfig{}, false
	}
	return c, true
}

// DefaultClientConfig is the preset default.
func DefaultClientConfig() ClientConfig {
	c, _ := ClientPreset(PresetDefault)
	return c
}

// DefaultServerConfig is the preset default.
func DefaultServerConfig() ServerConfig {
	c, _ := ServerPreset(PresetDefault)
	return c
}

// minPing is what grpc-go has a client wait at least.
const minPing = 10 * time.Second

// faults collects what is wrong with fields.
type faults []error

func (f *faults) bad(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

func (f *faults) above(least time.Duration, field string, is time.Duration) {
	if is < least {
		f.bad("%s: must be at least %v, is %v", field, least, is)
	}
}

func (f *faults) bytes(field string, is int) {
	if is < 1 {
		f.bad("%s: must be at least 1, is %d", field, is)
	}
}

// Validate reports every fault at once.
func (c ClientConfig) Validate() error {
	var f faults
	f.above(time.Millisecond, "connect_delay", c.ConnectDelay)
	if !(c.ConnectFactor >= 1 && c.ConnectFactor <= 10) {
		f.bad("connect_factor: must be 1 to 10, is %v", c.ConnectFactor)
	}
	if !(c.ConnectJitter >= 0 && c.ConnectJitter <= 1) {
		f.bad("connect_jitter: must be 0 to 1, is %v", c.ConnectJitter)
	}
	if c.ConnectDelayMost < c.ConnectDelay {
		f.bad("connect_delay_most: must be at least connect_delay (%v), is %v", c.ConnectDelay, c.ConnectDelayMost)
	}
	f.above(time.Millisecond, "connect_at_least_for", c.ConnectAtLeastFor)
	f.above(minPing, "ping_after", c.PingAfter)
	f.above(time.Millisecond, "ping_timeout", c.PingTimeout)
	f.above(0, "idle_timeout", c.IdleTimeout)
	f.bytes("max_receive_bytes", c.MaxReceiveBytes)
	f.bytes("max_send_bytes", c.MaxSendBytes)
	return errors.Join(f...)
}

// Validate reports every fault at once.
func (c ServerConfig) Validate() error {
	var f faults
	f.above(time.Millisecond, "min_ping_interval", c.MinPingInterval)
	f.above(time.Second, "ping_after", c.PingAfter)
	f.above(time.Millisecond, "ping_timeout", c.PingTimeout)
	f.above(0, "max_conn_age", c.MaxConnAge)
	f.above(0, "max_conn_age_grace", c.MaxConnAgeGrace)
	f.above(time.Millisecond, "handshake_timeout", c.HandshakeTimeout)
	if c.MaxStreams < 1 {
		f.bad("max_streams: must be at least 1, is %d", c.MaxStreams)
	}
	f.bytes("max_receive_bytes", c.MaxReceiveBytes)
	f.bytes("max_send_bytes", c.MaxSendBytes)
	return errors.Join(f...)
}

// DialOptions returns what grpc.NewClient takes, or what is wrong with the configuration. Credentials are not among
// them.
func (c ClientConfig) DialOptions() ([]grpc.DialOption, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("grpcmw: client: %w", err)
	}
	return []grpc.DialOption{
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: c.ConnectDelay, Multiplier: c.ConnectFactor, Jitter: c.ConnectJitter, MaxDelay: c.ConnectDelayMost},
			MinConnectTimeout: c.ConnectAtLeastFor,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: c.PingAfter, Timeout: c.PingTimeout, PermitWithoutStream: c.PingIdle}),
		grpc.WithIdleTimeout(c.IdleTimeout),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(c.MaxReceiveBytes), grpc.MaxCallSendMsgSize(c.MaxSendBytes)),
	}, nil
}

// ServerOptions returns what grpc.NewServer takes, or what is wrong with the configuration.
func (c ServerConfig) ServerOptions() ([]grpc.ServerOption, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("grpcmw: server: %w", err)
	}
	return []grpc.ServerOption{
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: c.MinPingInterval, PermitWithoutStream: c.PingIdle}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: c.MaxConnAge, MaxConnectionAgeGrace: c.MaxConnAgeGrace, Time: c.PingAfter, Timeout: c.PingTimeout,
		}),
		grpc.ConnectionTimeout(c.HandshakeTimeout),
		grpc.MaxConcurrentStreams(c.MaxStreams),
		grpc.MaxRecvMsgSize(c.MaxReceiveBytes),
		grpc.MaxSendMsgSize(c.MaxSendBytes),
	}, nil
}
