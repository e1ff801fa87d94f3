package grpcserver

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
)

// maxUnserved bounds the calls that wait to be accounted for.
const maxUnserved = 1024

// unserved are calls that gRPC answers itself, so that no handler sees them: their time was up when their header came,
// their path names no method, or their encoding is one that we do not know. The goroutines that find them wait for
// nobody, no observer and no audit sink: a third one accounts for them.
type unserved struct {
	calls chan unservedCall
	lost  atomic.Int64 // of more than maxUnserved
}

type unservedCall struct {
	*call
	code codes.Code // that gRPC tells the client
}

// add takes a call without waiting. What the call holds of its header is let go.
func (u *unserved) add(c *call, code codes.Code) {
	if c.expire != nil {
		c.expire()
	}
	if c.cancel != nil {
		c.cancel(nil)
	}
	from := context.Background()
	if client, ok := peer.FromContext(c.Context); ok {
		from = peer.NewContext(from, client)
	}
	bare := &call{ // gRPC may still hold c as a context
		Context: from, srv: c.srv, method: c.method, trace: c.trace, who: c.who, start: c.start,
		userAgent: strings.Clone(c.userAgent[:min(len(c.userAgent), maxLoggedUserAgent)]),
	}
	select {
	case u.calls <- unservedCall{bare, code}:
	default:
		u.lost.Add(1)
	}
}

// unservedAfter is how long a call may have ended without having begun until it is taken for one that never will.
const unservedAfter = 200 * time.Millisecond

// collectUnserved finds calls that the tap let pass and that gRPC ended before their handler began: it tells nobody but
// the client that it found wrong what the tap is not shown (the encoding) or does not judge (the path).
func (s *Server) collectUnserved(after time.Duration) {
	for _, c := range s.inflight.unbegun(after, cap(s.unserved.calls)-len(s.unserved.calls)) {
		code := codes.Unimplemented
		if c.Context.Err() == context.DeadlineExceeded { // just after the tap
			code = codes.DeadlineExceeded
		}
		s.unserved.add(c, code)
	}
}

// accountUnserved accounts for such calls until stop, and then for those that wait.
func (s *Server) accountUnserved(stop <-chan struct{}) {
	for {
		select {
		case c := <-s.unserved.calls:
			s.accountOne(c)
			continue
		case <-stop:
		}
		for {
			select {
			case c := <-s.unserved.calls:
				s.accountOne(c)
				continue
			default:
			}
			return
		}
	}
}

func (s *Server) accountOne(c unservedCall) {
	c.method.observer.Begin()
	c.account(c.code, 0)
	if n := s.unserved.lost.Swap(0); n > 0 {
		s.log.Warn("calls that were answered before they began were not accounted for", slog.Int64("calls", n), slog.String("error_code", "unserved_calls_lost"))
	}
}
