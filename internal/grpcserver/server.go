package grpcserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
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
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // messages may be compressed
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
)

// Deps are what a server is given.
type Deps struct {
	Service   string       // names the process in log lines; "": dougong
	Logger    *slog.Logger // nil: discards
	AccessLog io.Writer    // where access lines go; nil: os.Stderr
	Observer  Observer     // nil: none

	ConnObserver limit.ConnObserver // of connections; nil: none

	Faults *fault.Set // nil: no fault points

	// Ready returns the state for people and whether calls are served. It must answer without waiting; nil means ready.
	Ready func() (state string, ok bool)

	// Audit receives each call of a method with Method.Audit; nil writes it to Logger, whatever level that has. It is
	// called in the call's goroutine, before the client has the status. No event is left out, unless calls that gRPC
	// answers itself are so many that it falls behind by 1024 of these; their number is logged.
	Audit func(AuditEvent)
}

// Server is one listener. Register services before Run.
type Server struct {
	cfg      Config
	deps     Deps
	log      *slog.Logger // with the service; lines of a method take deps.Logger and the method's
	observer Observer
	audit    func(AuditEvent)
	grpc     *grpc.Server // Run makes it, which starts its workers
	services []registered
	methods  map[string]*method // by full name; not changed once calls come
	other    *method
	open     bool // roles are not asked for
	rules    rules
	health   *health
	tokens   atomic.Pointer[auth.Tokens]
	tls      *reload.Certificates // nil: no TLS
	access   *linelog.Log         // nil: none
	fault    *fault.Point         // before handlers
	files    reload.Files
	inflight inflight
	answers  answers
	unserved unserved
	draining atomic.Bool

	stopping context.Context // ends with errStopping when Run begins to stop
	stop     context.CancelCauseFunc

	mu       sync.Mutex
	listener *listener       // nil before Run has bound it
	clients  *limit.Listener // beneath it
	started  bool
}

// New checks the configuration and reads the files that it names. It starts nothing and opens no socket.
func New(cfg Config, deps Deps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg:      cfg,
		deps:     deps,
		observer: deps.Observer,
		audit:    deps.Audit,
		methods:  make(map[string]*method),
		open:     cfg.onLoopback() && cfg.TokensFile == "",
		fault:    deps.Faults.Point(pointRequest),
		unserved: unserved{calls: make(chan unservedCall, maxUnserved)},
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
		s.tls = cfg.TLS.Certificates("h2")
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
	var err error
	if s.rules, err = newRules(); err != nil {
		return nil, fmt.Errorf("rules of messages: %w", err)
	}
	s.other = &method{name: otherMethod, service: s.deps.Service, observer: s.observer.Method(otherMethod)}
	s.registerOwn()
	return s, nil
}

// streamWindow is what a call may send before it is asked for its message; gRPC takes no less.
const streamWindow = 64 << 10

// streamWorkers are goroutines that serve one call after another: a new one has to grow its stack for each call. Calls that
// find all of them busy get one of their own.
const streamWorkers = 32

func (s *Server) options() []grpc.ServerOption {
	cfg := s.cfg
	options := []grpc.ServerOption{
		grpc.InTapHandle(s.tap),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.UnknownServiceHandler(serveOther),
		grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(proto.Name)}),
		grpc.MaxRecvMsgSize(int(cfg.MaxMessageBytes)),
		//lint:ignore SA1019 the way that is not deprecated is a registry of the whole process, which others read unlocked
		grpc.RPCDecompressor(&inflate{most: cfg.MaxMessageBytes}),
		// Windows that adapt grow to 16 MiB a call, also of calls that wait for room and whose message nobody has asked
		// for. A message that was asked for gets a window of its size. That of a connection bounds nothing, it only paces.
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(16 << 20),
		grpc.MaxHeaderListSize(uint32(cfg.MaxHeaderBytes)),
		grpc.MaxConcurrentStreams(uint32(cfg.MaxStreams)),
		grpc.ConnectionTimeout(cfg.HandshakeTimeout),
		grpc.ReadBufferSize(16 << 10), // a frame, half of what gRPC takes for each connection
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: cfg.MinPingInterval, PermitWithoutStream: cfg.PingIdle}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: cfg.MaxConnIdle, MaxConnectionAge: cfg.MaxConnAge, MaxConnectionAgeGrace: cfg.MaxConnAgeGrace,
			Time: cfg.PingAfter, Timeout: cfg.PingTimeout,
		}),
	}
	if s.tls != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(s.tls.ServerConfig())))
	}
	return options
}

// registerOwn serves health, and reflection of everything.
func (s *Server) registerOwn() {
	quiet := func(string) Method { return Method{Quiet: true} }
	s.health = &health{draining: s.draining.Load, services: map[string]func() bool{"": s.ready}}
	s.Register(Service{Desc: &grpc_health_v1.Health_ServiceDesc, Impl: s.health, Method: quiet})
	if s.cfg.Reflection {
		of := reflection.ServerOptions{Services: everything{s}}
		s.Register(Service{Desc: &grpc_reflection_v1.ServerReflection_ServiceDesc, Impl: reflection.NewServerV1(of), Method: quiet})
		s.Register(Service{Desc: &grpc_reflection_v1alpha.ServerReflection_ServiceDesc, Impl: reflection.NewServer(of), Method: quiet})
	}
}

// everything is what reflection tells of.
type everything struct{ *Server }

func (e everything) GetServiceInfo() map[string]grpc.ServiceInfo { return e.grpc.GetServiceInfo() }

func (s *Server) ready() bool {
	if s.deps.Ready == nil {
		return true
	}
	_, ok := s.deps.Ready()
	return ok
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

// InFlight lists the calls that have not ended, oldest first.
func (s *Server) InFlight() []Call { return s.inflight.list() }

// Clients says how many connections there are, and what the bounds on them have done.
func (s *Server) Clients() limit.ListenerStats {
	s.mu.Lock()
	l := s.clients
	s.mu.Unlock()
	if l == nil {
		return limit.ListenerStats{}
	}
	return l.Stats()
}

// DrainError names the calls that had not ended when the drain's time was up.
type DrainError struct {
	After time.Duration
	Calls []Call
}

func (e *DrainError) Error() string {
	names := make([]string, 0, len(e.Calls))
	for i, c := range e.Calls {
		if i == 10 {
			names = append(names, fmt.Sprintf("and %d more", len(e.Calls)-i))
			break
		}
		names = append(names, c.String())
	}
	return fmt.Sprintf("grpc server: %d calls had not ended %v after the stop and were cut: %s", len(e.Calls), e.After, strings.Join(names, "; "))
}

// cutWait is how long a handler may take to notice that its call was cut.
const cutWait = time.Second

// errStopping is why the context of a stream ends at a stop.
var errStopping = errors.New("the server is stopping")

// Drain has health answer NOT_SERVING, also to those who watch, while everything is still served: load balancers and
// clients that look at health go elsewhere. It returns at once and has the shape of lifecycle.Member.Drain.
func (s *Server) Drain(context.Context) { s.draining.Store(true) }

// Run binds the listener, calls ready (if not nil), and serves until ctx ends. Then it accepts no more, ends the
// contexts of streams, tells clients to send further calls elsewhere (GOAWAY: what a client has sent and the server did
// not begin, the client sends again), and returns when the calls in flight have ended or Config.DrainTimeout has
// passed; the error is then a *DrainError. Everything that Run started has ended when it returns, except handlers that
// the DrainError names and that ignore their context, and a log sink that never returns; gRPC's idle workers end a moment
// later. Run is called once.
func (s *Server) Run(ctx context.Context, ready func()) error {
	if err := s.bind(); err != nil {
		return err
	}
	l := s.listener
	s.grpc = grpc.NewServer(s.options()...)
	for _, svc := range s.services {
		s.grpc.RegisterService(svc.desc, svc.impl)
	}
	var own sync.WaitGroup
	stop := make(chan struct{})
	own.Go(func() { s.files.Run(stop) })
	own.Go(func() { s.sweep(stop) })
	own.Go(func() { s.health.poll(stop) })
	accounted := make(chan struct{})
	go func() { defer close(accounted); s.accountUnserved(stop) }()
	if s.access != nil {
		go s.access.Run() // ended by Close
	}
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(l) }()
	if ready != nil {
		ready()
	}

	var errs []error
	select {
	case <-ctx.Done():
		s.draining.Store(true)
		s.stop(errStopping)
		errs = append(errs, s.drain())
		<-served
	case err := <-served:
		errs = append(errs, fmt.Errorf("grpc server on %v: %w", l.Addr(), err))
		s.stop(errStopping)
		l.Close()
		l.cut(true)
		s.grpc.Stop()
		s.awaitEmpty(cutWait)
	}
	s.collectUnserved(0)
	close(stop)
	own.Wait()
	for range 2 { // no connection is left
		s.answers.abandon(nil)
	}
	if !endsIn(accounted, cutWait) {
		errs = append(errs, fmt.Errorf("audit: the sink took nothing for %v", cutWait))
	}
	if s.access != nil && !s.access.Close() {
		errs = append(errs, fmt.Errorf("access log: the sink took nothing for %v; lines were lost", linelog.CloseWait))
	}
	return errors.Join(errs...)
}

func (s *Server) bind() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return errors.New("grpc server: Run was called twice")
	}
	s.started = true
	l, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("%w; choose another address, which the key listen sets", err)
	}
	var opts []limit.ConnOption
	if s.deps.ConnObserver != nil {
		opts = append(opts, limit.WithConnObserver(s.deps.ConnObserver))
	}
	if s.deps.Faults != nil {
		opts = append(opts, limit.WithConnFaults(s.deps.Faults))
	}
	if s.clients, err = limit.NewListener(l, s.cfg.clients(), opts...); err != nil {
		l.Close()
		return err
	}
	s.listener = newListener(s.clients)
	return nil
}

// drain lets what is in flight end, and cuts what does not.
func (s *Server) drain() error {
	ended := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(ended)
	}()
	bound := time.NewTimer(s.cfg.DrainTimeout)
	defer bound.Stop()
	silent := time.NewTicker(10 * time.Millisecond)
	defer silent.Stop()
	for {
		select {
		case <-ended:
			return nil
		case <-silent.C:
			s.listener.cut(false) // who has asked nothing by now connects elsewhere
			continue
		case <-bound.C:
		}
		break
	}
	late := s.inflight.list()
	s.listener.cut(true)
	s.grpc.Stop()
	endsIn(ended, cutWait)
	if len(late) == 0 {
		return nil // only connections without a call were left
	}
	return &DrainError{After: s.cfg.DrainTimeout, Calls: late}
}

// endsIn reports whether done was closed in time.
func endsIn(done <-chan struct{}, bound time.Duration) bool {
	t := time.NewTimer(bound)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// awaitEmpty waits for handlers whose connection was cut.
func (s *Server) awaitEmpty(bound time.Duration) {
	for end := time.Now().Add(bound); len(s.inflight.list()) > 0 && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
}
