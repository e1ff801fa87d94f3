package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/dougong-io/dougong/adapters/prom"
	"github.com/dougong-io/dougong/internal/auth"
	"github.com/dougong-io/dougong/internal/httpserver"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faultadmin"
)

// FaultsConfig says who may injure this process, and how much.
type FaultsConfig struct {
	Enabled bool          `json:"enabled" doc:"Whether there are fault points at all: false leaves them out, and the admin port without /faults."`
	File    string        `json:"file" doc:"File with a document of fault rules, read again each second; it may come later. Empty: none."`
	Ceiling fault.Ceiling `json:"ceiling" doc:"What rules may do at most, whoever sets them."`
}

func defaultFaults() FaultsConfig {
	return FaultsConfig{Enabled: true, Ceiling: fault.DefaultCeiling()}
}

// Validate reports every fault at once.
func (c FaultsConfig) Validate() error {
	if c.Ceiling.Lifetime == fault.Forever { // for tests of Go programs only
		return errors.New("ceiling.lifetime: is for ever")
	}
	if !c.Enabled && c.File != "" {
		return errors.New("file: has no effect: enabled is false")
	}
	return nil
}

func newFaults(c FaultsConfig, log *slog.Logger, r *prom.Registry) (*fault.Set, error) {
	metrics := prom.NewFaults(r)
	if !c.Enabled {
		return nil, nil
	}
	config := fault.DefaultConfig()
	config.Ceiling = c.Ceiling
	set, err := fault.New(config, fault.WithObserver(faultObservers{metrics.Observer(), &faultLog{log: log}}))
	if err != nil {
		return nil, err
	}
	metrics.Watch(set)
	return set, nil
}

// faultObservers tells each of them.
type faultObservers []fault.Observer

func (all faultObservers) Struck(ctx context.Context, h fault.Hit) {
	for _, o := range all {
		o.Struck(ctx, h)
	}
}

func (all faultObservers) Changed(c fault.Change) {
	for _, o := range all {
		o.Changed(c)
	}
}

// serveFaults puts the faults on the admin port.
func (a *App) serveFaults() {
	if a.faults == nil {
		return
	}
	for pattern, handler := range faultadmin.Routes(a.faults, fault.Admin) {
		a.admin.HandleRoute(httpserver.Route{Pattern: pattern, Role: auth.Fault, Handler: handler, Audit: true})
	}
}

// runFaults is first to begin and last to end. What rules hold is let go then.
func (a *App) runFaults(ctx context.Context, ready func()) error {
	ready()
	defer a.faults.Close()
	if a.faultFile == nil {
		<-ctx.Done()
		return nil
	}
	return a.faultFile.run(ctx)
}

// faultLog writes a line for each change of a rule, and one for its first hit: an injected failure must never be
// taken for a real one.
type faultLog struct {
	log *slog.Logger

	mu   sync.Mutex
	told map[[2]string]bool // rules whose first hit is in the log
}

func (l *faultLog) Struck(ctx context.Context, h fault.Hit) {
	key := [2]string{h.Source, h.Rule}
	l.mu.Lock()
	first := !l.told[key]
	if first {
		if l.told == nil {
			l.told = map[[2]string]bool{}
		}
		l.told[key] = true
	}
	l.mu.Unlock()
	level := slog.LevelDebug
	if first {
		level = slog.LevelWarn
	}
	if !l.log.Enabled(ctx, level) {
		return
	}
	l.log.LogAttrs(ctx, level, "fault injected", slog.String("error_code", "fault_injected"), slog.String("point", h.Point), slog.String("source", h.Source),
		slog.String("rule", h.Rule), slog.String("effect", h.Effect), slog.Any("attributes", h.Attributes))
}

func (l *faultLog) Changed(c fault.Change) {
	l.mu.Lock()
	delete(l.told, [2]string{c.Source, c.Rule})
	l.mu.Unlock()
	switch {
	case c.Rule != "" && c.State == fault.Active:
		l.log.Warn("fault rule active", "error_code", "fault_active", "source", c.Source, "rule", c.Rule)
	case c.Rule != "":
		l.log.Info("fault rule "+string(c.State), "source", c.Source, "rule", c.Rule)
	case c.State == fault.Killed:
		l.log.Warn("fault kill switch thrown", "error_code", "fault_kill_switch", "source", c.Source)
	default:
		l.log.Warn("fault kill switch released", "error_code", "fault_kill_switch", "source", c.Source)
	}
}

// faultsStatus is what /statusz shows of faults: little, and nothing while there are none.
type faultsStatus struct {
	Killed []string          `json:"killed_by,omitempty"`
	Rules  []faultRuleStatus `json:"rules,omitempty"`
	Held   fault.HeldStatus  `json:"held"`
}

type faultRuleStatus struct {
	ID      string      `json:"id"`
	Source  string      `json:"source"`
	Point   string      `json:"point"`
	Effect  string      `json:"effect"`
	State   fault.State `json:"state"`
	Hits    int64       `json:"hits"`
	Expires time.Time   `json:"expires"`
}

func (a *App) faultsStatus() *faultsStatus {
	status := a.faults.Status()
	if len(status.Rules) == 0 && len(status.Killed) == 0 {
		return nil
	}
	doc := &faultsStatus{Killed: status.Killed, Held: status.Held}
	for _, r := range status.Rules {
		doc.Rules = append(doc.Rules, faultRuleStatus{r.ID, r.Source, r.Rule.Point, r.Rule.Effect(), r.State, r.Hits, r.Rule.Expires})
	}
	return doc
}
