package grpcserver

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/internal/auth"
	"github.com/dougong-io/dougong/internal/httpserver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
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
	refused         error                   // why the handler does not get it; its text is ours
	expire          context.CancelFunc      // of the deadline; nil: there is none
	cancel          context.CancelCauseFunc // of streams

	in  incoming
	out outgoing

	state   atomic.Int32 // waiting, begun, given
	reading atomic.Int64 // since when a unary call waits for its message, after start; 0: it does not; tooSlow: in vain

	shard      *inflightShard
	prev, next *call
}

const (
	waiting int32 = iota // for its handler to begin
	begun
	given // to unserved: it must not begin
)

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

// Err is that of the context beneath. gRPC asks it why a message cannot be read: one that does not come is told as a
// deadline, not as a client that went away.
func (c *call) Err() error {
	err := c.Context.Err()
	if err != nil && c.reading.Load() == tooSlow {
		return context.DeadlineExceeded
	}
	return err
}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// serveUnary is the path of every unary call:
//
//	tap → serveUnary → begin → strike → handler → decode → rules → handler → end
func serveUnary(md grpc.MethodDesc) grpc.StreamHandler {
	return func(impl any, ss grpc.ServerStream) (err error) {
		ctx := ss.Context()
		c := callOf(ctx)
		if !c.begin(ss) {
			return errGiven
		}
		defer func() { err = c.end(recover(), err) }()
		if err := c.admit(ctx); err != nil {
			return err
		}
		reply, err := md.Handler(impl, ctx, func(message any) error { return c.receiveWhole(ss, message) }, nil)
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
		if !c.begin(ss) {
			return errGiven
		}
		defer func() { err = c.end(recover(), err) }()
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
	if !c.begin(ss) {
		return errGiven
	}
	defer func() { err = c.end(recover(), err) }()
	name, _ := grpc.MethodFromServerStream(ss)
	return status.Errorf(codes.Unimplemented, "there is no method %s here", shorten(name))
}

// begin reports whether the call is still there, and names it to its client first of all: gRPC ends a call itself whose
// message it cannot read.
func (c *call) begin(ss grpc.ServerStream) bool {
	if !c.state.CompareAndSwap(waiting, begun) {
		return false
	}
	c.out.c = c
	sendPlain(ss.Context())
	ss.SetTrailer(metadata.MD{"x-request-id": {c.trace.ID()}})
	c.method.observer.Begin()
	return true
}

// errGiven ends a call that ended so long before its handler began that it was taken for unserved.
var errGiven = status.Error(codes.Canceled, "the call ended before it began")

// sendPlain has answers go out as they are, where gRPC would answer in the encoding of the request: of what it
// compresses nobody is told when it was written, so that it would escape Config.WriteTimeout.
func sendPlain(ctx context.Context) {
	if s, ok := grpc.ServerTransportStreamFromContext(ctx).(interface{ SendCompress() string }); ok && s.SendCompress() == "" {
		return // to set it costs each call a header
	}
	_ = grpc.SetSendCompressor(ctx, encoding.Identity) // fails only once a header was sent
}

// admit returns why the handler does not get the call.
func (c *call) admit(ctx context.Context) error {
	if c.refused != nil {
		return c.refused
	}
	if c.method.Quiet || !c.srv.fault.On() {
		return nil
	}
	c.refused = c.strike(ctx)
	return c.refused
}

// receive reads a message and holds it against its rules.
func (c *call) receive(ss grpc.ServerStream, in *incoming, message any) error {
	in.message = message
	if err := ss.RecvMsg(in); err != nil {
		return unread(err)
	}
	if in.err != nil {
		if _, ok := ownStatus(in.err); ok {
			return in.err
		}
		return status.Errorf(codes.InvalidArgument, "the message cannot be read: %v", in.err)
	}
	return c.srv.rules.check(message)
}

// unread is why gRPC could not read a message. It says INTERNAL, and has told the client so, of what the client sent
// wrongly: a message that is cut, missing, one too many, or not compressed as it claims. Our codec never fails, and so
// INTERNAL is never our failure; it must not be counted as one.
func unread(err error) error {
	switch status.Code(err) {
	case codes.Internal, codes.Unknown:
		if err != io.EOF {
			return status.Errorf(codes.InvalidArgument, "the message cannot be read: %s", status.Convert(err).Message())
		}
	}
	return err
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
func (c *call) end(panicked any, err error) error {
	switch {
	case panicked != nil:
		c.method.observer.Panic()
		c.log("handler panicked", "panic", slog.Any("panic", panicked), slog.String("stack", string(debug.Stack())))
		err = status.Error(codes.Internal, "the handler failed; the request id finds it in the log")
	case err != nil:
		err = c.statusOf(err)
	}
	c.account(status.Code(err), time.Since(c.start))
	return err
}

// callFailed is what a client is told of a failure of ours.
const callFailed = "the call failed; the request id finds it in the log"

// statusOf keeps the status that err is. It tells nobody the text of one that only has a status somewhere within, which
// may be that of a call of the handler's own, nor of INTERNAL and UNKNOWN: both are logged.
func (c *call) statusOf(err error) error {
	if err == c.refused {
		if _, ok := ownStatus(err); ok {
			return err
		}
	}
	st, ok := ownStatus(err)
	within := status.Code(err) // of what err wraps, too
	if (!ok || st.Code() == codes.Canceled) && c.Err() != nil && errors.Is(context.Cause(c), errStopping) {
		return status.Error(codes.Unavailable, "the server is stopping")
	}
	switch {
	case ok && st.Code() != codes.Internal && st.Code() != codes.Unknown:
		return err
	case !ok && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)):
		return status.FromContextError(err).Err()
	case !ok && (within == codes.DeadlineExceeded || within == codes.Canceled) && c.Err() != nil:
		return status.FromContextError(c.Err()).Err()
	}
	c.log("call failed", "internal", slog.Any("error", err))
	if !ok {
		return status.Error(codes.Internal, callFailed)
	}
	told := st.Proto() // with the details, which were made for the client
	told.Message = callFailed
	return status.ErrorProto(told)
}

// ownStatus returns the status that err itself is; not that of an error which it wraps.
func ownStatus(err error) (*status.Status, bool) {
	own, ok := err.(interface{ GRPCStatus() *status.Status })
	if !ok || own.GRPCStatus() == nil {
		return nil, false
	}
	return own.GRPCStatus(), true
}

func (c *call) log(text, code string, attrs ...slog.Attr) {
	c.srv.deps.Logger.LogAttrs(context.WithoutCancel(c), slog.LevelError, text, append(attrs,
		slog.String("service", c.method.service), slog.String("error_code", code), slog.String("method", c.method.name), slog.String("trace_id", c.trace.ID()))...)
}

// account reports the finished call to metrics, access log and audit log.
func (c *call) account(code codes.Code, d time.Duration) {
	s, m := c.srv, c.method
	if c.expire != nil {
		c.expire()
	}
	s.inflight.remove(c)
	m.observer.End(Outcome{Code: code, Duration: d, BytesIn: c.in.bytes.Load(), BytesOut: c.out.bytes.Load()})
	if s.access != nil && !m.Quiet {
		room := s.access.Room()
		s.access.Write(room, appendLine((*room)[:0], c, code, d))
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
	return addrPortOf(p.Addr)
}

// bearer returns the token of the one authorization entry there may be.
func bearer(values []string) (string, bool) {
	const scheme = "Bearer "
	if len(values) != 1 || len(values[0]) <= len(scheme) || !strings.EqualFold(values[0][:len(scheme)], scheme) {
		return "", false
	}
	return values[0][len(scheme):], true
}
