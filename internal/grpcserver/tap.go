package grpcserver

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/dougong-io/dougong/internal/httpserver"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

// tap makes the call of a header. The transport asks it first of all, and reads messages under the context that it
// returns: only so does our deadline bound a client that sends half a message and waits. The goroutine that reads the
// connection waits for it, with a lock held: it does nothing that takes time.
//
// What it refuses it lets pass, marked: gRPC leaves the context of a call that is refused here uncancelled until the
// connection ends, which would let a client without a token fill the memory.
func (s *Server) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	c := &call{srv: s, start: time.Now(), trace: traceOf(info.Header)}
	c.method = s.methods[info.FullMethodName]
	if c.method == nil {
		c.method = s.other
	}
	if agent := info.Header["user-agent"]; len(agent) > 0 {
		c.userAgent = agent[0]
	}
	c.refused = s.identify(c, info.Header["authorization"])

	parent := httpserver.WithTrace(ctx, c.trace)
	deadline, timed := ctx.Deadline()
	if timed {
		deadline = deadline.Add(-s.cfg.DeadlineMargin)
		if c.refused == nil && !deadline.After(c.start) {
			c.refused = status.Errorf(codes.DeadlineExceeded,
				"the caller's deadline, %v, is not longer than grpc.deadline_margin, %v, which is kept to answer in: work did not begin", deadline.Add(s.cfg.DeadlineMargin).Sub(c.start).Round(time.Microsecond), s.cfg.DeadlineMargin)
		}
	}
	if own := c.start.Add(c.method.timeout); c.method.timeout > 0 && (!timed || own.Before(deadline)) {
		deadline, timed = own, true
	}
	if c.method.stream {
		parent, c.cancel = context.WithCancelCause(parent)
	}
	if timed && c.refused == nil {
		parent, c.expire = context.WithDeadline(parent, deadline)
	}
	c.Context = parent
	if ctx.Err() != nil { // gRPC answers this itself, and nobody else sees the call
		s.unserved.add(c, codes.DeadlineExceeded)
		return ctx, nil
	}
	s.inflight.add(c)
	return c, nil
}

// identify finds out who calls, and returns why they may not.
func (s *Server) identify(c *call, authorization []string) error {
	role := c.method.Role
	if role == "" && len(authorization) == 0 {
		return nil
	}
	tokens := s.tokens.Load()
	if tokens != nil {
		if token, ok := bearer(authorization); ok {
			c.who, _ = tokens.Lookup(token)
		}
	}
	switch {
	case role == "" || c.who.Has(role) || s.open:
		return nil
	case tokens == nil:
		return status.Error(codes.PermissionDenied, "this method needs the role "+string(role)+", and the server listens beyond loopback without a tokens_file: create a token (dougong token create) and name the file in the configuration")
	case c.who == nil:
		return status.Error(codes.Unauthenticated, "this method needs a bearer token with the role "+string(role))
	}
	return status.Error(codes.PermissionDenied, "the token does not hold the role "+string(role))
}

// traceOf continues the caller's trace or begins one. Ids need to be distinct, not secret.
func traceOf(md metadata.MD) (t httpserver.Trace) {
	if v := md["traceparent"]; len(v) == 1 {
		t, _ = httpserver.ParseTraceparent(v[0])
	}
	if t.IsZero() {
		binary.LittleEndian.PutUint64(t.TraceID[:8], rand.Uint64())
		binary.LittleEndian.PutUint64(t.TraceID[8:], rand.Uint64()|1) // never zero
	}
	binary.LittleEndian.PutUint64(t.SpanID[:], rand.Uint64()|1)
	return t
}
