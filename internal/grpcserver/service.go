package grpcserver

import (
	"fmt"
	"reflect"
	"time"

	"github.com/dougong-io/dougong/internal/auth"
	"google.golang.org/grpc"
)

// A Service is what [Server.Register] takes.
type Service struct {
	Desc *grpc.ServiceDesc
	Impl any

	Name   string                     // in log lines; "": Deps.Service
	Method func(method string) Method // how the calls of a method are treated, by its short name; nil: open to anyone
	Ready  func() bool                // what health says of this service; it must answer without waiting; nil: as Deps.Ready
}

// A Method says how the server treats the calls of one.
type Method struct {
	Role    auth.Role     // that the caller's token must hold; "": open to anyone
	Timeout time.Duration // default and upper bound of the deadline; 0: Config.RequestTimeout, on streams none; at most that, unless it is a stream
	Quiet   bool          // not in the access log, and spared by fault points
	Audit   bool          // an audit line for each call; always on for the roles fault and release
}

// method is a Method with everything resolved that does not depend on the call.
type method struct {
	Method
	name     string // full, as ":path" has it; otherMethod for all that there are not
	service  string
	stream   bool
	timeout  time.Duration // 0: none
	observer MethodObserver
}

// registered is a service as gRPC is told of it.
type registered struct {
	desc *grpc.ServiceDesc
	impl any
}

// Register serves a service. Every method becomes a stream handler, as gRPC itself runs it, so that one path holds all
// calls and nothing is read before the handler asks. It is called before Run, and panics on a service that is there
// already or that Impl does not implement, on an unknown role, and on rules that do not compile.
func (s *Server) Register(svc Service) {
	if _, ok := s.health.services[svc.Desc.ServiceName]; ok {
		panic(fmt.Sprintf("grpcserver: %s is registered already", svc.Desc.ServiceName))
	}
	if kind := reflect.TypeOf(svc.Desc.HandlerType).Elem(); !reflect.TypeOf(svc.Impl).Implements(kind) {
		panic(fmt.Sprintf("grpcserver: %s: a %T is no %v", svc.Desc.ServiceName, svc.Impl, kind))
	}
	if err := s.rules.compile(svc.Desc.ServiceName); err != nil {
		panic(fmt.Sprintf("grpcserver: %v", err))
	}
	own := *svc.Desc
	own.Methods, own.Streams = nil, nil
	for _, md := range svc.Desc.Methods {
		s.resolve(svc, md.MethodName, false)
		own.Streams = append(own.Streams, grpc.StreamDesc{StreamName: md.MethodName, Handler: serveUnary(md)})
	}
	for _, sd := range svc.Desc.Streams {
		s.resolve(svc, sd.StreamName, true)
		sd.Handler = serveStream(sd)
		own.Streams = append(own.Streams, sd)
	}
	s.services = append(s.services, registered{&own, svc.Impl})
	ready := svc.Ready
	if ready == nil {
		ready = s.ready
	}
	s.health.services[svc.Desc.ServiceName] = ready
}

func (s *Server) resolve(svc Service, short string, stream bool) {
	m := &method{name: "/" + svc.Desc.ServiceName + "/" + short, service: svc.Name, stream: stream}
	if svc.Method != nil {
		m.Method = svc.Method(short)
	}
	if m.Role != "" {
		if _, err := auth.ParseRole(string(m.Role)); err != nil {
			panic(fmt.Sprintf("grpcserver: %s: %v", m.name, err))
		}
	}
	if m.Role == auth.Fault || m.Role == auth.Release {
		m.Audit = true
	}
	if m.service == "" {
		m.service = s.deps.Service
	}
	m.timeout = m.Timeout
	if !stream && (m.timeout <= 0 || m.timeout > s.cfg.RequestTimeout) {
		m.timeout = s.cfg.RequestTimeout
	}
	m.observer = s.observer.Method(m.name)
	s.methods[m.name] = m
}
