package grpcserver

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
)

// maxLate bounds the calls that wait to be accounted for.
const maxLate = 1024

// late are calls whose time was up when their header came. gRPC answers them itself, from the goroutine that reads the
// connection and with the connection's lock held, where no observer and no audit sink may be waited for.
type late struct {
	calls chan *call
	lost  atomic.Int64 // of more than maxLate
}

// add takes a call without waiting. What the call holds of its header is let go.
func (l *late) add(c *call) {
	if c.expire != nil {
		c.expire()
	}
	if c.cancel != nil {
		c.cancel(nil)
	}
	client, _ := peer.FromContext(c.Context)
	c.Context = peer.NewContext(context.Background(), client)
	c.userAgent = strings.Clone(c.userAgent[:min(len(c.userAgent), maxLoggedUserAgent)])
	select {
	case l.calls <- c:
	default:
		l.lost.Add(1)
	}
}

// accountLate accounts for calls that come late until stop, and then for those that wait.
func (s *Server) accountLate(stop <-chan struct{}) {
	for {
		select {
		case c := <-s.late.calls:
			s.accountOne(c)
			continue
		case <-stop:
		}
		for {
			select {
			case c := <-s.late.calls:
				s.accountOne(c)
				continue
			default:
			}
			return
		}
	}
}

func (s *Server) accountOne(c *call) {
	c.method.observer.Begin()
	c.account(codes.DeadlineExceeded)
	if n := s.late.lost.Swap(0); n > 0 {
		s.log.Warn("calls whose time was up when they came were not accounted for", slog.Int64("calls", n), slog.String("error_code", "late_calls_lost"))
	}
}
