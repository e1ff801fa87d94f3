package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/dougong-io/dougong/internal/grpcserver"
	"github.com/dougong-io/dougong/internal/hardening"
	"github.com/dougong-io/dougong/internal/httpserver"
	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/services/inference"
)

// Config is the whole configuration file.
type Config struct {
	HTTP         httpserver.Config  `json:"http" doc:"The public HTTP listener, shared by all services."`
	GRPC         grpcserver.Config  `json:"grpc" doc:"The public gRPC listener, shared by all services."`
	Admin        httpserver.Config  `json:"admin" doc:"The admin listener: /metrics, /healthz, /readyz, /statusz, /faults, /debug/pprof, /debug/invariants. Off loopback all but metrics and health need a bearer token with the role read, /faults one with the role fault."`
	Lifecycle    lifecycle.Config   `json:"lifecycle" doc:"How the process starts, drains and stops."`
	Log          LogConfig          `json:"log" doc:"The log on standard error."`
	Hardening    hardening.Config   `json:"hardening" doc:"What the process refuses to start with."`
	Memory       MemoryConfig       `json:"memory" doc:"How the process stays below the memory limit of its cgroup."`
	Coordination CoordinationConfig `json:"coordination" doc:"Where policies come from that change while the process runs; see docs/etcd.md."`
	Faults       FaultsConfig       `json:"faults" doc:"Faults that are injected on purpose: see docs/kit/fault.md. The admin port sets them with the role fault."`
	Inference    inference.Config   `json:"inference" doc:"The inference service."`
}

// LogConfig says what is logged.
type LogConfig struct {
	Level slog.Level `json:"level" doc:"The lowest level that is logged: DEBUG, INFO, WARN or ERROR."`
}

// DefaultConfig serves the demo on loopback.
func DefaultConfig() Config {
	return Config{
		HTTP:         httpserver.DefaultConfig(),
		GRPC:         grpcserver.DefaultConfig(),
		Admin:        httpserver.DefaultAdminConfig(),
		Lifecycle:    lifecycle.DefaultConfig(),
		Log:          LogConfig{Level: slog.LevelInfo},
		Hardening:    hardening.DefaultConfig(),
		Memory:       DefaultMemoryConfig(),
		Coordination: defaultCoordination(),
		Faults:       defaultFaults(),
		Inference:    inference.DefaultConfig(),
	}
}

// Validate reports what does not fit between the sections.
func (c Config) Validate() error {
	var faults []error
	// Beyond its turn the services would end beneath the requests that are still in flight.
	turn := c.Lifecycle.Turn()
	if c.HTTP.DrainTimeout > turn {
		faults = append(faults, fmt.Errorf("http.drain_timeout: %v exceeds nine tenths of lifecycle.stop_timeout (%v), which would cut it short", c.HTTP.DrainTimeout, turn))
	}
	if c.GRPC.DrainTimeout > turn {
		faults = append(faults, fmt.Errorf("grpc.drain_timeout: %v exceeds nine tenths of lifecycle.stop_timeout (%v), which would cut it short", c.GRPC.DrainTimeout, turn))
	}
	taken := map[string]string{}
	for _, l := range []struct{ key, listen string }{{"http", c.HTTP.Listen}, {"grpc", c.GRPC.Listen}, {"admin", c.Admin.Listen}} {
		_, port, _ := net.SplitHostPort(l.listen)
		if first, ok := taken[l.listen]; ok && port != "0" {
			faults = append(faults, fmt.Errorf("%s.listen: %s is %s.listen already", l.key, l.listen, first))
		}
		taken[l.listen] = l.key
	}
	// A body is read into a buffer that may be twice as long.
	for _, most := range []struct {
		key   string
		bytes int64
	}{{"http.max_body_bytes", c.HTTP.MaxBodyBytes}, {"grpc.max_message_bytes", c.GRPC.MaxMessageBytes}, {"inference.max_inflated_bytes", c.Inference.MaxInflatedBytes}} {
		if c.Inference.InFlightBytes/2 < most.bytes {
			faults = append(faults, fmt.Errorf("inference.in_flight_bytes: %d is below twice %s (%d): a body of that size could be refused for ever", c.Inference.InFlightBytes, most.key, most.bytes))
		}
	}
	return errors.Join(faults...)
}
