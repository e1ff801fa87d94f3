package httpserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/internal/auth"
	"github.com/dougong-io/dougong/internal/linelog"
	"github.com/dougong-io/dougong/internal/reload"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/limit"
)

// Deps are what a server is given.
type Deps struct {
	Service   string       // names the process in log lines; "": dougong
	Logger    *slog.Logger // nil: discards
	AccessLog io.Writer    // where access lines go; nil: os.Stderr
	Observer  Observer     // nil: none

	ConnObserver limit.ConnObserver // of connections, if clients are bounded; nil: none

	Faults *fault.Set // nil: no fault points

	// Live returns why the process cannot heal itself, nil while it can.
	// Ready returns the state for people and whether requests are served. Both
	// must answer without waiting; nil means live, and ready.
	Live  func() error
	Ready func() (state string, ok bool)

	// Started waits until the process has left its start behind, whatever came
	// of it, or until ctx ends; nil: /readyz never waits.
	Started func(ctx context.Context)

	// Audit receives each change made through a route with Route.Audit; nil
	// writes it to Logger, whatever level that has. It is called when the
	// handler has returned, in the request's goroutine: often before the client
	// has the answer, but not if the handler flushed it. No event is left out.
	Audit func(AuditEvent)
}

// Server is one listener. Register routes before Run.
type Server struct {
	cfg      Config
	deps     Deps
	log      *slog.Logger // with the service; lines of a route take deps.Logger and the route's
	observer Observer
	audit    func(AuditEvent)
	mux      *http.ServeMux
	paths    paths // most routes of mux
	other    *route
	open     bool // roles are not asked for
	guard    func(http.Handler) http.Handler
	tokens   atomic.Pointer[auth.Tokens]
	tls      *reload.Certificates // nil: no TLS
	access   *linelog.Log         // nil: none
	fault    *fault.Point         // before handlers
	files    reload.Files
	inflight inflight
	draining atomic.Bool

	stopping context.Context // ends with errStopping when Run begins to stop
	stop     context.CancelCauseFunc

	mu       sync.Mutex
	socket   net.Listener    // what is below listener and clients
	listener *listener       // nil before Run has bound it
	clients  *limit.Listener // beneath it, nil if clients are not bounded
	started  bool
}

// New checks the configuration and reads the files that it names. It starts
// nothing and opens no socket.
func New(cfg Config, deps Deps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg:      cfg,
		deps:     deps,
		observer: deps.Observer,
		audit:    deps.Audit,
		mux:      http.NewServeMux(),
		paths:    newPaths(),
		open:     cfg.onLoopback() && cfg.TokensFile == "",
		fault:    deps.Faults.Point(pointRequest),
	}
	s.stopping, s.stop = context.WithCancelCause(context.Background())
	if s.deps.Service == "" {
		s.deps.Service = "dougong"
	}
	if s.deps.Logger == nil {
		s.deps.Logger = slog.New(slog.DiscardHandler)
	}
	s.log = s.deps.Logger.With(slog.String("service", s.deps.Service))
	s.files.Log = s.log
	if s.observer == nil {
		s.observer = discardObserver{}
	}
	if s.audit == nil {
		s.audit = func(e AuditEvent) {
			if err := e.log(s.deps.Logger); err != nil {
				s.log.Error("audit line not written", slog.Any("error", err), slog.String("error_code", "audit_failed"))
			}
		}
	}
	if cfg.TokensFile != "" {
		if err := s.files.Load("tokens_file", s.loadTokens, cfg.TokensFile); err != nil {
			return nil, fmt.Errorf("tokens_file: %w", err)
		}
	}
	if cfg.TLS.CertFile != "" {
		s.tls = cfg.TLS.Certificates("h2", "http/1.1")
		if err := s.files.Load("tls", s.tls.Load, cfg.TLS.CertFile, cfg.TLS.KeyFile, cfg.TLS.ClientCAFile); err != nil {
			return nil, fmt.Errorf("tls.%w", err)
		}
	}
	if cfg.AccessLog {
		sink := deps.AccessLog
		if sink == nil {
			sink = os.Stderr
		}
		s.access = linelog.New(sink, s.observer.LogLinesDropped)
	}
	s.other = s.resolve(Route{Pattern: otherRoute})
	s.HandleRoute(Route{Pattern: "GET /healthz", Handler: http.HandlerFunc(s.serveLive), Quiet: true})
	s.HandleRoute(Route{Pattern: "GET /readyz", Handler: http.HandlerFunc(s.serveReady), Quiet: true})
	return s, nil
}

// Handle serves pattern with h to callers that hold the role; "" is everyone.
// Like http.ServeMux it panics on a pattern that is malformed or taken.
func (s *Server) Handle(pattern string, role auth.Role, h http.Handler) {
	s.HandleRoute(Route{Pattern: pattern, Role: role, Handler: h})
}

// HandleRoute is Handle with all there is to say about a route.
func (s *Server) HandleRoute(r Route) {
	if r.Role != "" {
		if _, err := auth.ParseRole(string(r.Role)); err != nil {
			panic(fmt.Sprintf("httpserver: %s: %v", r.Pattern, err))
		}
	}
	if r.Role == auth.Fault || r.Role == auth.Release {
		r.Audit = true
	}
	if s.guard != nil {
		r.Handler, r.Audit = s.guard(r.Handler), true
	}
	if _, path := splitPattern(r.Pattern); !strings.HasPrefix(path, "/") {
		panic("httpserver: " + r.Pattern + ": patterns with a host are not supported")
	}
	rt := s.resolve(r)
	s.mux.Handle(r.Pattern, rt)
	s.paths.add(rt)
}

func (s *Server) resolve(r Route) *route {
	rt := &route{Route: r, srv: s, observer: s.observer.Route(r.Pattern), timeout: s.cfg.RequestTimeout, maxBody: s.cfg.MaxBodyBytes}
	if rt.Service == "" {
		rt.Service = s.deps.Service
	}
	switch {
	case r.Stream:
		rt.timeout = r.Timeout
	case r.Timeout > 0:
		rt.timeout = min(r.Timeout, s.cfg.RequestTimeout)
	}
	if r.MaxBodyBytes != 0 {
		rt.maxBody = max(r.MaxBodyBytes, 0)
	}
	return rt
}

// Addr is where the server listens, nil before Run has called ready.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// InFlight lists the requests that have not ended, oldest first.
func (s *Server) InFlight() []Request { return s.inflight.list() }

// Connections returns how many there are, without upgraded ones.
func (s *Server) Connections() int {
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	if l == nil {
		return 0
	}
	return l.len()
}

// Clients says what the bounds on clients have done; nothing if there are none.
func (s *Server) Clients() limit.ListenerStats {
	s.mu.Lock()
	l := s.clients
	s.mu.Unlock()
	if l == nil {
		return limit.ListenerStats{}
	}
	return l.Stats()
}

// DrainError names the requests that had not ended when the drain's time was up.
type DrainError struct {
	After    time.Duration
	Requests []Request
}

func (e *DrainError) Error() string {
	names := make([]string, 0, len(e.Requests))
	for i, r := range e.Requests {
		if i == 10 {
			names = append(names, fmt.Sprintf("and %d more", len(e.Requests)-i))
			break
		}
		names = append(names, r.String())
	}
	return fmt.Sprintf("http server: %d requests had not ended %v after the stop and were cut: %s",
		len(e.Requests), e.After, strings.Join(names, "; "))
}

// cutWait is how long a handler may take to notice that its request was cut.
const cutWait = time.Second

// errStopping is why the context of a stream ends at a stop.
var errStopping = errors.New("the server is stopping")

// Drain begins to send the clients elsewhere while everything is still served:
// /readyz answers 503, and each answer carries `Connection: close`, so that no
// client that gets one has a request on its way when Run closes what is idle.
// On HTTP/2 each connection's next answer brings a graceful GOAWAY, after which
// a client knows what to send again; those that ask nothing get it when Run
// stops, which is as soon as net/http lets one. Drain returns at once and has
// the shape of lifecycle.Member.Drain.
func (s *Server) Drain(context.Context) { s.draining.Store(true) }

// Run binds the listener, calls ready (if not nil), and serves until ctx ends.
// Then it accepts no more, ends the contexts of streams, does what [Server.Drain]
// does, and returns when the requests in flight have ended or
// Config.DrainTimeout has passed; the error is then a *DrainError. Connections
// that are idle get onItsWay (250 ms) for a last request. Everything that Run started has ended when it returns,
// except handlers that the DrainError names and that ignore their context, and
// a log sink that never returns. Run is called once.
func (s *Server) Run(ctx context.Context, ready func()) error {
	if err := s.bind(); err != nil {
		return err
	}
	l := s.listener

	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.cfg.ReadHeaderTimeout,
		ReadTimeout:       s.cfg.ReadTimeout,
		WriteTimeout:      s.cfg.WriteTimeout,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    int(s.cfg.MaxHeaderBytes),
		BaseContext:       func(net.Listener) context.Context { return requests },
		ConnState:         connState,
		ErrorLog:          slog.NewLogLogger(quietTLSErrors{s.log.Handler()}, slog.LevelWarn),
	}

	var own sync.WaitGroup
	stop := make(chan struct{})
	own.Go(func() { l.sweep(stop) })
	own.Go(func() { s.files.Run(stop) })
	if s.access != nil {
		go s.access.Run() // ended by Close
	}

	served := make(chan error, 1)
	go func() {
		if s.tls != nil {
			srv.TLSConfig = s.tls.ServerConfig()
			served <- srv.ServeTLS(l, "", "")
		} else {
			served <- srv.Serve(l)
		}
	}()
	if ready != nil {
		ready()
	}

	var errs []error
	select {
	case <-ctx.Done():
		s.draining.Store(true)
		s.stop(errStopping)
		// Not by Shutdown: it would drop requests that come on open connections.
		l.end(s.socket)
		<-served // which has closed it
		errs = append(errs, s.drain(srv, cut))
	case err := <-served:
		errs = append(errs, fmt.Errorf("http server on %v: %w", l.Addr(), err))
		s.stop(errStopping)
		cut()
		srv.Close()
		s.awaitEmpty(cutWait)
	}
	close(stop)
	own.Wait()
	if s.access != nil && !s.access.Close() {
		errs = append(errs, fmt.Errorf("access log: the sink took nothing for %v; lines were lost", linelog.CloseWait))
	}
	return errors.Join(errs...)
}

func (s *Server) bind() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return errors.New("http server: Run was called twice")
	}
	s.started = true
	l, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("%w; choose another address, which the key listen sets", err)
	}
	s.socket = l
	if s.cfg.MaxPerClient > 0 || s.cfg.MinRate > 0 {
		var opts []limit.ConnOption
		if s.deps.ConnObserver != nil {
			opts = append(opts, limit.WithConnObserver(s.deps.ConnObserver))
		}
		if s.deps.Faults != nil {
			opts = append(opts, limit.WithConnFaults(s.deps.Faults))
		}
		bounded, err := limit.NewListener(l, s.cfg.clients(), opts...)
		if err != nil {
			l.Close()
			return err
		}
		l, s.clients = bounded, bounded
	}
	s.listener = newListener(l, s.cfg.MaxConnections, s.observer.ConnectionRefused)
	return nil
}

func (s *Server) drain(srv *http.Server, cut context.CancelFunc) error {
	bound, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	for end := time.Now().Add(min(onItsWay, s.cfg.DrainTimeout)); s.listener.len() > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	s.listener.endIdle(s.tls != nil)
	for end := time.Now().Add(onItsWay); s.listener.waiting() > 0 && time.Now().Before(end) && bound.Err() == nil; {
		time.Sleep(time.Millisecond)
	}
	s.listener.closeUnused(s.tls != nil)
	// From Shutdown on, net/http drops a request that it has read and not yet begun. Over plain connections there is no need
	// for it, but for those that never end a request: each answer closes its connection. HTTP/2 needs its GOAWAY soon.
	for end := time.Now().Add(2 * onItsWay); s.tls == nil && s.listener.len() > 0 && bound.Err() == nil && (s.inflight.len() > 0 || time.Now().Before(end)); {
		time.Sleep(5 * time.Millisecond)
	}
	err := srv.Shutdown(bound)
	// Upgraded connections are no longer the server's, their handlers are.
	for err == nil && s.inflight.len() > 0 {
		select {
		case <-bound.Done():
			err = bound.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err == nil {
		return nil
	}
	late := s.inflight.list()
	cut()
	srv.Close()
	s.awaitEmpty(cutWait)
	if len(late) == 0 {
		return nil // only idle or half-sent connections were left
	}
	return &DrainError{After: s.cfg.DrainTimeout, Requests: late}
}

// awaitEmpty waits for handlers whose connection was cut.
func (s *Server) awaitEmpty(bound time.Duration) {
	for end := time.Now().Add(bound); s.inflight.len() > 0 && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
}

// quietTLSErrors keeps scanners from filling the log.
type quietTLSErrors struct{ slog.Handler }

func (q quietTLSErrors) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "TLS handshake error") {
		r.Level = slog.LevelDebug
		if !q.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return q.Handler.Handle(ctx, r)
}
