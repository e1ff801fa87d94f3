package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/dougong-io/dougong/adapters/etcd"
	"github.com/dougong-io/dougong/adapters/prom"
	"github.com/dougong-io/dougong/internal/auth"
	"github.com/dougong-io/dougong/internal/grpcserver"
	"github.com/dougong-io/dougong/internal/hardening"
	"github.com/dougong-io/dougong/internal/httpserver"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/lifecycle"
	"google.golang.org/grpc"
)

// processName names the process among the states and log lines of its services.
const processName = "dougong"

// App is a process with its services and servers.
type App struct {
	cfg          Config
	log          *slog.Logger
	metrics      *prom.Registry
	limits       *prom.Limits
	breakers     *prom.Breakers
	coordination *etcd.Source // nil: none
	faults       *fault.Set   // nil: none
	faultFile    *faultFile   // nil: none
	states       lifecycle.Observer
	names        []string
	running      []built // beside names
	public       *httpserver.Server
	grpc         *grpcserver.Server
	admin        *httpserver.Server
	sink         *logSink
	group        *lifecycle.Group
	started      time.Time
}

// New puts the services together. It reads the files that the configuration names for the servers. All that
// it starts is what carries the log; Run, or Close without a Run, ends that. Writes to logs may be concurrent.
func New(cfg Config, services []string, logs io.Writer) (_ *App, err error) {
	a := &App{cfg: cfg, metrics: prom.New(), started: time.Now()}
	httpMetrics := newHTTPMetrics(a.metrics)
	a.sink = newLogSink(logs, httpMetrics.LogLinesDropped)
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	a.log = newLogger(a.sink, cfg.Log)
	if err := hardening.Start(cfg.Hardening, a.log); err != nil {
		return nil, err
	}
	a.limits = prom.NewLimits(a.metrics)
	a.breakers = prom.NewBreakers(a.metrics)
	stateMetrics := prom.NewLifecycle(a.metrics)
	a.states = lifecycleObservers{stateMetrics, stateLog{a.log}}
	for _, name := range append([]string{processName}, services...) {
		stateMetrics.Begin(name)
	}
	if a.faults, err = newFaults(cfg.Faults, a.log, a.metrics); err != nil {
		return nil, fmt.Errorf("faults: %w", err)
	}
	if a.faults != nil && cfg.Faults.File != "" {
		if a.faultFile, err = newFaultFile(cfg.Faults.File, a.faults, a.log); err != nil {
			return nil, fmt.Errorf("faults.file: %w", err)
		}
	}
	if err := a.buildServers(httpMetrics, logs); err != nil {
		return nil, err
	}
	if a.coordination, err = newCoordination(cfg.Coordination, a.log, a.metrics, a.faults); err != nil {
		return nil, fmt.Errorf("coordination.%w", err)
	}
	var members []lifecycle.Member
	if a.faults != nil {
		members = append(members, lifecycle.Member{Name: "faults", Run: a.runFaults})
	}
	members = append(members,
		lifecycle.Member{Name: "memory guard", Run: newMemoryGuard(cfg.Memory, a.log).Run},
		lifecycle.Member{Name: "admin server", Run: listening("admin", a.admin.Run)},
	)
	if a.coordination != nil {
		members = append(members, lifecycle.Member{Name: "coordination", Run: a.runCoordination})
	}
	for _, b := range builders {
		if !slices.Contains(services, b.name) {
			continue
		}
		s, err := b.build(a)
		if err != nil {
			return nil, err
		}
		s.Register(func(pattern, role string, handler http.Handler) {
			a.public.HandleRoute(httpserver.Route{Pattern: pattern, Role: auth.Role(role), Handler: handler, Service: b.name})
		})
		if s.registerGRPC != nil {
			s.registerGRPC(func(desc *grpc.ServiceDesc, impl any, roles map[string]string) {
				a.handleGRPC(b.name, desc, impl, roles)
			})
		}
		a.names, a.running = append(a.names, b.name), append(a.running, s)
		members = append(members, lifecycle.Member{Name: "service " + b.name, Run: untilReady(s)})
	}
	if err := a.watchPolicies(); err != nil {
		return nil, err
	}
	// Opened last, so closed first: nothing that it calls is gone while requests are in flight.
	servers := publicServers{{listening("http", a.public.Run), a.public.Drain}, {listening("grpc", a.grpc.Run), a.grpc.Drain}}
	members = append(members, lifecycle.Member{Name: "public servers", Run: afterStart(cfg.Memory.RestAfter, servers.Run), Drain: servers.Drain})
	group, err := lifecycle.NewGroup(processName, cfg.Lifecycle, members, lifecycle.WithObserver(a.states), lifecycle.WithFaults(a.faults))
	if err != nil {
		return nil, err
	}
	a.group = group
	return a, nil
}

func (a *App) buildServers(httpMetrics *httpMetrics, logs io.Writer) error {
	var err error
	deps := httpserver.Deps{
		Service:   processName,
		Logger:    a.log,
		AccessLog: logs, // it has a bounded buffer of its own, and must not push other lines out of the sink
		Observer:  httpMetrics,
		Live:      a.live,
		Ready:     a.ready,
	}
	conns := prom.NewConns(a.metrics)
	deps.Faults, deps.ConnObserver = a.faults, conns.Observer("http")
	if a.public, err = httpserver.New(a.cfg.HTTP, deps); err != nil {
		return fmt.Errorf("http.%w", err)
	}
	httpMetrics.watch(a.public)
	conns.Watch("http", a.public.Clients)
	a.grpc, err = grpcserver.New(a.cfg.GRPC, grpcserver.Deps{
		Service: processName, Logger: a.log, AccessLog: logs, Observer: newGRPCMetrics(a.metrics), ConnObserver: conns.Observer("grpc"), Faults: a.faults, Ready: a.ready,
	})
	if err != nil {
		return fmt.Errorf("grpc.%w", err)
	}
	conns.Watch("grpc", a.grpc.Clients)
	// The admin port has no fault points: it is how faults are ended.
	deps.Faults, deps.Observer, deps.ConnObserver = nil, adminMetrics{httpMetrics}, conns.Observer("admin")
	deps.Started = a.awaitStart
	a.admin, err = httpserver.NewAdmin(a.cfg.Admin, httpserver.AdminDeps{
		Deps:       deps,
		Metrics:    a.metrics.Handler(prom.WithFaults(a.faults)),
		Status:     func(context.Context) any { return a.status() },
		Invariants: func(context.Context) any { return a.invariants() },
	})
	if err != nil {
		return fmt.Errorf("admin.%w", err)
	}
	a.serveFaults()
	return nil
}

// handleGRPC serves a gRPC service of ours; methods without a role are open to anyone.
func (a *App) handleGRPC(name string, desc *grpc.ServiceDesc, impl any, roles map[string]string) {
	a.grpc.Register(grpcserver.Service{
		Desc: desc, Impl: impl, Name: name,
		Method: func(method string) grpcserver.Method { return grpcserver.Method{Role: auth.Role(roles[method])} },
	})
}

// untilReady is a service's Run for the group: it tells when the service takes requests, which for most is when their
// state says that they serve. One whose core model is away takes them all the same: the process starts, and says that it
// is not ready.
func untilReady(s built) func(ctx context.Context, ready func()) error {
	return func(ctx context.Context, ready func()) error {
		waiting, stop := context.WithCancel(ctx)
		told := make(chan struct{})
		go func() {
			defer close(told)
			if s.opened != nil {
				select {
				case <-s.opened:
					ready()
				case <-waiting.Done():
				}
				return
			}
			if _, err := s.Lifecycle().Wait(waiting, lifecycle.State.Serving); err == nil {
				ready()
			}
		}()
		defer func() { stop(); <-told }()
		return s.Run(ctx)
	}
}

// Run starts everything, calls up when requests are served, and returns when ctx has ended and
// everything has stopped. An error names what failed, or what did not stop in time.
func (a *App) Run(ctx context.Context, up func()) error {
	// A handler that computes must not be alone with the processor: health and metrics need one too.
	if runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2)
	}
	waiting, stop := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		if state, err := a.group.Wait(waiting, func(s lifecycle.State) bool { return s != lifecycle.Initializing }); err == nil && state.Serving() {
			a.warnOpen()
			a.log.Info("serving", "http", a.public.Addr().String(), "grpc", a.grpc.Addr().String(), "admin", a.admin.Addr().String(), "took_ms", time.Since(a.started).Milliseconds())
			up()
		}
	}()
	defer a.Close()
	err := a.group.Run(ctx)
	stop()
	<-told
	if err != nil {
		a.log.Error("stopped", "error_code", "stopped_with_error", "error", err)
		return err
	}
	a.log.Info("stopped")
	return nil
}

// warnOpen says what a start beyond loopback without tokens means, before somebody wonders about 403.
func (a *App) warnOpen() {
	for _, l := range []struct {
		name, tokens string
		addr         net.Addr
	}{{"http", a.cfg.HTTP.TokensFile, a.public.Addr()}, {"grpc", a.cfg.GRPC.TokensFile, a.grpc.Addr()}, {"admin", a.cfg.Admin.TokensFile, a.admin.Addr()}} {
		if tcp, ok := l.addr.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() && l.tokens == "" {
			a.log.Warn("listens beyond loopback without tokens: every route that needs a role answers 403; make a token with dougong token create",
				"error_code", "no_tokens_file", "listener", l.name, "address", l.addr.String(), "key", l.name+".tokens_file")
		}
	}
}

// logPatience is how long the end of the process waits for its log to be taken.
const logPatience = time.Second

// Close writes out the log, as far as it is taken. Run does it by itself.
func (a *App) Close() { a.sink.close(logPatience) }

// live fails when the process cannot heal itself.
func (a *App) live() error {
	if status := a.group.Status(); status.State == lifecycle.Failed {
		return errors.Join(errors.New("failed"), status.Cause)
	}
	return nil
}

// awaitStart waits until the process has left its start behind, or ctx ends.
func (a *App) awaitStart(ctx context.Context) {
	_, _ = a.group.Wait(ctx, func(s lifecycle.State) bool { return s != lifecycle.Initializing }) // whoever asks reads the state
}

// ready tells the state that matters most to a caller: that of the process, else the least good one of
// its services.
func (a *App) ready() (state string, ok bool) {
	worst := a.group.State()
	if worst == lifecycle.Ready {
		for _, s := range a.running {
			if state := s.Lifecycle().State(); state != lifecycle.Ready && (worst == lifecycle.Ready || !state.Serving()) {
				worst = state
			}
		}
	}
	return worst.String(), worst.Serving()
}

// Welcome says in a few lines what runs where and what to try next. It is for people, once Run has said
// that requests are served.
func (a *App) Welcome() string {
	var b strings.Builder
	url, admin := baseURL("http", a.public.Addr(), a.cfg.HTTP.TLS), baseURL("http", a.admin.Addr(), a.cfg.Admin.TLS)
	fmt.Fprintf(&b, "Dougong is up after %v.\n\n", time.Since(a.started).Round(time.Millisecond))
	var try []string
	for i, s := range a.running {
		w := s.welcome(url)
		for _, line := range w.serves {
			fmt.Fprintf(&b, "  %-10s %s\n", a.names[i], line)
		}
		try = append(try, w.try...)
	}
	fmt.Fprintf(&b, "  %-10s %s\n", "grpc", grpcLine(a.grpc.Addr(), a.cfg.GRPC))
	fmt.Fprintf(&b, "  %-10s %s/statusz  and /metrics, /healthz, /readyz, /faults, /debug/pprof/, /debug/invariants\n\nTry:\n", "admin", admin)
	for _, command := range try {
		fmt.Fprintf(&b, "  %s\n", curlFor(command, a.cfg.HTTP))
	}
	fmt.Fprintf(&b, "  %s\n", curlFor("curl "+admin+"/statusz", a.cfg.Admin))
	fmt.Fprintf(&b, "\nCtrl-C drains for %v and stops; a second one stops at once.\n", a.cfg.Lifecycle.DrainDelay)
	return b.String()
}

// curlFor adds to a curl command what the listener asks for.
func curlFor(command string, cfg httpserver.Config) string {
	if cfg.TLS.CertFile != "" {
		command += " --cacert CA.pem"
	}
	if cfg.TLS.ClientCAFile != "" {
		command += " --cert CLIENT.pem"
	}
	if cfg.TokensFile != "" {
		command += ` -H "Authorization: Bearer $TOKEN"`
	}
	return command
}

// grpcLine says where gRPC is, in the form that dougong load and the Go client take, and what is there.
func grpcLine(addr net.Addr, cfg grpcserver.Config) string {
	with := "health"
	if cfg.Reflection {
		with += " and reflection"
	}
	return baseURL("grpc", addr, cfg.TLS) + "  the same over gRPC, with " + with
}

// baseURL is the address of a listener as one types it; with TLS the scheme ends in an s.
func baseURL(scheme string, addr net.Addr, tls httpserver.TLSConfig) string {
	if tls.CertFile != "" {
		scheme += "s"
	}
	host := addr.String()
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		host = fmt.Sprintf("127.0.0.1:%d", tcp.Port) // every address is none to type
	}
	return scheme + "://" + host
}
