package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dougong-io/dougong/adapters/etcd"
	"github.com/dougong-io/dougong/adapters/prom"
	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fault"
)

// CoordinationConfig names the engine by which processes agree on what is in force.
type CoordinationConfig struct {
	URL          string         `json:"url" doc:"etcd://HOST:PORT[,HOST:PORT...], or etcds:// for TLS: where policies and fault rules come from that change while the process runs. Empty: from nowhere, what this file says is in force."`
	Prefix       string         `json:"prefix" doc:"What the names of all keys begin with; ends with a slash."`
	Cache        string         `json:"cache" doc:"File that keeps what is in force for the next start, one for each process; empty: none."`
	Username     string         `json:"username" doc:"User name for etcd's own authentication; empty: none."`
	PasswordFile string         `json:"password_file" doc:"File with the password on its first line."`
	TLS          etcd.TLSConfig `json:"tls" doc:"Certificates for etcds://."`
}

func defaultCoordination() CoordinationConfig {
	return CoordinationConfig{Prefix: etcd.DefaultConfig().Prefix}
}

// Validate reports every fault at once.
func (c CoordinationConfig) Validate() error {
	if c.URL == "" {
		return nil
	}
	config, err := c.etcd()
	if err != nil {
		return err
	}
	return config.Validate()
}

func (c CoordinationConfig) etcd() (etcd.Config, error) {
	config := etcd.DefaultConfig()
	scheme, hosts, _ := strings.Cut(c.URL, "://")
	transport := map[string]string{"etcd": "http", "etcds": "https"}[scheme]
	if transport == "" || hosts == "" {
		return config, fmt.Errorf("url: %q is neither etcd://HOST:PORT nor etcds://HOST:PORT", redacted(c.URL))
	}
	if strings.ContainsAny(hosts, "/@?#") {
		return config, errors.New("url: takes hosts and ports only; users, passwords and prefixes have keys of their own")
	}
	config.Endpoints = nil
	for host := range strings.SplitSeq(hosts, ",") {
		config.Endpoints = append(config.Endpoints, transport+"://"+host)
	}
	config.Prefix, config.Cache = c.Prefix, c.Cache
	config.Username, config.PasswordFile, config.TLS = c.Username, c.PasswordFile, c.TLS
	return config, nil
}

// redacted is a URL without what may be a password.
func redacted(s string) string {
	if u, err := url.Parse(s); err == nil {
		return u.Redacted()
	}
	return "…"
}

// newCoordination returns the source of live policies, nil if there is none.
func newCoordination(c CoordinationConfig, log *slog.Logger, r *prom.Registry, faults *fault.Set) (*etcd.Source, error) {
	o := &coordinationObserver{
		log:     log,
		applied: r.Counter(prom.Opts{Name: "dougong_coordination_applied_total", Help: "Live values that were put into force."}),
		refused: r.Counter(prom.Opts{Name: "dougong_coordination_refused_total", Help: "Live values that were refused, so that what was in force stayed."}),
	}
	connected := r.GaugeVec(prom.Opts{Name: "dougong_coordination_connected", Labels: []string{"engine"}, Help: "1 while the engine of coordination answers, 0 while it does not; there is none if none is configured."})
	if c.URL == "" {
		return nil, nil
	}
	o.link = connected.WithLabelValues("etcd")
	config, err := c.etcd()
	if err != nil {
		return nil, err
	}
	source, err := etcd.New(config, etcd.WithObserver(o), etcd.WithFaults(faults))
	if err != nil || faults == nil {
		return source, err
	}
	return source, etcd.WatchFaults(source, faults)
}

// watchPolicies binds the policies of the services that there are.
func (a *App) watchPolicies() error {
	if a.coordination == nil {
		return nil
	}
	for i, s := range a.running {
		if s.setBreakerPolicy == nil {
			continue
		}
		configured := s.breakerPolicy
		err := etcd.Watch(a.coordination, "breaker/policies/"+a.names[i], breaker.ParsePolicy, s.setBreakerPolicy,
			etcd.OnDelete(func(string) error { return s.setBreakerPolicy(configured) }))
		if err != nil {
			return fmt.Errorf("coordination: %w", err)
		}
	}
	return nil
}

// runCoordination is ready at once: nothing waits for etcd, what is configured is in force until it answers.
func (a *App) runCoordination(ctx context.Context, ready func()) error {
	ready()
	return a.coordination.Run(ctx)
}

type coordinationObserver struct {
	log              *slog.Logger
	applied, refused prometheus.Counter
	link             prometheus.Gauge
}

func (o *coordinationObserver) Connected(connected bool) {
	if connected {
		o.link.Set(1)
		o.log.Info("coordination is reached")
	} else {
		o.link.Set(0)
		o.log.Warn("coordination is away: what is in force stays", "error_code", "coordination_away")
	}
}

func (o *coordinationObserver) Applied(key string, revision int64) {
	o.applied.Inc()
	o.log.Info("live value in force", "key", key, "revision", revision)
}

func (o *coordinationObserver) Refused(key string, revision int64, err error) {
	o.refused.Inc()
	o.log.Error("live value refused: what was in force stays", "error_code", "live_value_refused", "key", key, "revision", revision, "error", err)
}

func (o *coordinationObserver) Gone(key string, absence etcd.Absence) {
	o.log.Warn("live value is gone", "error_code", "live_value_gone", "key", key, "absence", string(absence))
}

func (o *coordinationObserver) Failed(err error) {
	o.log.Warn("coordination", "error_code", "coordination_failed", "error", err)
}
