package grpcserver

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/dougong-io/dougong/internal/auth"
	"github.com/dougong-io/dougong/internal/httpserver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// call is one call, from its header to its status. It is the context beneath the one that the handler sees, so that
// who calls costs no context of its own. It is not pooled: a context may outlive its call.
type call struct {
	context.Context // with the trace, and the deadline
	srv             *Server
	method          *method
	trace           httpserver.Trace
	who             *auth.Identity
	userAgent       string
	start           time.Time
	refused         error                   // why the handler does not get it
	expire          context.CancelFunc      // of the deadline; nil: there is none
	cancel          context.CancelCauseFunc // of streams

	in  incoming
	out outgoing

	shard      *inflightShard
	prev, next *call
}

type callKey struct{}

func (c *call) Value(key any) any {
	switch key.(type) {
	case callKey:
		return c
	case auth.Key:
		if c.who != nil {
			return c.who
		}
	}
	return c.Context.Value(key)
}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// serveUnary is the path of every unary call:
//
//	tap → serveUnary → begin → strike → handler → decode → rules → handler → end
func serveUnary(md grpc.MethodDesc) grpc.StreamHandler {
	return func(impl any, ss grpc.ServerStream) (err error) {
		ctx := ss.Context()
		c := callOf(ctx)
		c.begin()
		defer func() { err = c.end(ss, recover(), err) }()
		if err := c.admit(ctx); err != nil {
			return err
		}
		reply, err := md.Handler(impl, ctx, func(message any) error { return c.receive(ss, &c.in, message) }, nil)
		if err != nil {
			return err
		}
		c.out.message = reply
		return ss.SendMsg(&c.out)
	}
}

func serveStream(sd grpc.StreamDesc) grpc.StreamHandler {
	return func(impl any, ss grpc.ServerStream) (err error) {
		ctx := ss.Context()
		c := callOf(ctx)
		c.begin()
		defer func() { err = c.end(ss, recover(), err) }()
		defer c.cancel(nil)
		// It would outlive every stop, so it is told when one begins.
		defer context.AfterFunc(c.srv.stopping, func() { c.cancel(errStopping) })()
		if err := c.admit(ctx); err != nil {
			return err
		}
		return sd.Handler(impl, &stream{ServerStream: ss, c: c})
	}
}

// serveOther answers calls of what there is not.
func serveOther(_ any, ss grpc.ServerStream) (err error) {
	c := callOf(ss.Context())
	c.begin()
	defer func() { err = c.end(ss, recover(), err) }()
	name, _ := grpc.MethodFromServerStream(ss)
	return status.Errorf(codes.Unimplemented, "there is no method %s here", shorten(name))
}

func (c *call) begin() {
	c.method.observer.Begin()
	c.srv.inflight.add(c)
}

// admit returns why the handler does not get the call.
func (c *call) admit(ctx context.Context) error {
	if c.refused != nil {
		return c.refused
	}
	if c.method.Quiet || !c.srv.fault.On() {
		return nil
	}
	return c.strike(ctx)
}

// receive reads a message and holds it against its rules.
func (c *call) receive(ss grpc.ServerStream, in *incoming, message any) error {
	in.message = message
	if err := ss.RecvMsg(in); err != nil {
		return err
	}
	if in.err != nil {
		if _, ok := status.FromError(in.err); ok {
			return in.err
		}
		return status.Errorf(codes.InvalidArgument, "the message cannot be read: %v", in.err)
	}
	return c.srv.rules.check(message)
}

// stream is what the handler of a stream sees. Like the one beneath it takes one reader and one writer at a time.
type stream struct {
	grpc.ServerStream
	c *call
}

func (s *stream) RecvMsg(m any) error { return s.c.receive(s.ServerStream, &s.c.in, m) }

func (s *stream) SendMsg(m any) error {
	s.c.out.message = m
	return s.ServerStream.SendMsg(&s.c.out)
}

// end runs whatever happened: it makes the call's status of a panic or an error, and accounts for the call.
func (c *call) end(ss grpc.ServerStream, panicked any, err error) error {
	if panicked != nil {
		c.method.observer.Panic()
		c.log("handler panicked", "panic", slog.Any("panic", panicked), slog.String("stack", string(debug.Stack())))
		err = status.Error(codes.Internal, "the handler failed; the request id finds it in the log")
	}
	if err != nil {
		err = c.statusOf(err)
		ss.SetTrailer(metadata.Pairs("x-request-id", c.trace.ID()))
	}
	c.account(status.Code(err))
	return err
}

// statusOf keeps what has a status, and tells nobody the text of what has none.
func (c *call) statusOf(err error) error {
	st, ok := status.FromError(err)
	if (!ok || st.Code() == codes.Canceled) && c.Err() != nil && errors.Is(context.Cause(c), errStopping) {
		return status.Error(codes.Unavailable, "the server is stopping")
	}
	if ok {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return status.FromContextError(err).Err()
	}
	c.log("call failed", "internal", slog.Any("error", err))
	return status.Error(codes.Internal, "the call failed; the request id finds it in the log")
}

func (c *call) log(text, code string, attrs ...slog.Attr) {
	c.srv.deps.Logger.LogAttrs(context.WithoutCancel(c), slog.LevelError, text, append(attrs,
		slog.String("service", c.method.service), slog.String("error_code", code), slog.String("method", c.method.name), slog.String("trace_id", c.trace.ID()))...)
}

// account reports the finished call to metrics, access log and audit log.
func (c *call) account(code codes.Code) {
	s, m := c.srv, c.method
	if c.expire != nil {
		c.expire()
	}
	d := time.Since(c.start)
	s.inflight.remove(c)
	m.observer.End(Outcome{Code: code, Duration: d, BytesIn: c.in.bytes.Load(), BytesOut: c.out.bytes.Load()})
	if s.access != nil && !m.Quiet {
		s.access.write(c, code, d)
	}
	if m.Audit {
		e := AuditEvent{Time: c.start.Add(d), Service: m.service, Method: m.name, Code: code, Remote: c.remote().String(), TraceID: hex.EncodeToString(c.trace.TraceID[:])}
		if c.who != nil {
			e.Name, e.Tenant = c.who.Name, c.who.Tenant
		}
		s.audit(e)
	}
}

// remote returns the client's address.
func (c *call) remote() netip.AddrPort {
	p, ok := peer.FromContext(c.Context)
	if !ok {
		return netip.AddrPort{}
	}
	tcp, ok := p.Addr.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	addr := tcp.AddrPort()
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// bearer returns the token of the one authorization entry there may be.
func bearer(values []string) (string, bool) {
	const scheme = "Bearer "
	if len(values) != 1 || len(values[0]) <= len(scheme) || !strings.EqualFold(values[0][:len(scheme)], scheme) {
		return "", false
	}
	return values[0][len(scheme):], true
}
