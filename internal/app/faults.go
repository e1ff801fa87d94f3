package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

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
	return nil
}

func newFaults(c FaultsConfig, log *slog.Logger) (*fault.Set, error) {
	if !c.Enabled {
		return nil, nil
	}
	config := fault.DefaultConfig()
	config.Ceiling = c.Ceiling
	return fault.New(config, fault.WithObserver(&faultLog{log: log}))
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

// faultFile is a source of rules.
type faultFile struct {
	path string
	set  *fault.Set
	log  *slog.Logger
	last []byte // nil: no file
	said error  // what was reported last
}

const faultFileInterval = time.Second

// newFaultFile reads the file for the first time. A bad one is refused now, when somebody looks.
func newFaultFile(path string, set *fault.Set, log *slog.Logger) (*faultFile, error) {
	f := &faultFile{path: path, set: set, log: log}
	return f, f.read()
}

func (f *faultFile) run(ctx context.Context) error {
	tick := time.NewTicker(faultFileInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := f.read()
		if err != nil && (f.said == nil || f.said.Error() != err.Error()) {
			f.log.Error("fault rules refused: those in force stay", "error_code", "fault_file_refused", "file", f.path, "error", err)
		}
		f.said = err
	}
}

// read applies the file if it is another than last time. One that is not there has no rules; one that cannot be read
// or is wrong changes nothing.
func (f *faultFile) read() error {
	data, err := readBounded(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		data = nil
	} else if err != nil {
		return err
	}
	if bytes.Equal(data, f.last) && (data == nil) == (f.last == nil) {
		return nil
	}
	document := fault.Document{Version: fault.Version}
	if data != nil {
		if document, err = fault.ParseKept(data); err != nil {
			return err
		}
	}
	if err := f.set.Apply(fault.File, document); err != nil {
		return err
	}
	f.last = data
	return nil
}

const maxFaultFile = 1 << 20

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFaultFile+1))
	if err == nil && len(data) > maxFaultFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFaultFile)
	}
	if data == nil && err == nil {
		data = []byte{}
	}
	return data, err
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
	if c.Rule == "" {
		l.log.Warn("fault kill switch "+string(c.State), "error_code", "fault_kill_switch", "source", c.Source)
		return
	}
	level, code := slog.LevelInfo, ""
	if c.State == fault.Active {
		level, code = slog.LevelWarn, "fault_active"
	}
	l.log.Log(context.Background(), level, "fault rule "+string(c.State), "error_code", code, "source", c.Source, "rule", c.Rule)
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
