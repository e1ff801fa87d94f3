package grpcserver

import (
	"log/slog"
	"net/netip"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// tooSlow is call.reading of a message that did not come in time.
const tooSlow = -1

// sweepEvery is how often the bounds on slow clients are looked at: one goroutine looks at all calls, so that none
// has a timer for each bound.
func (c Config) sweepEvery() time.Duration {
	return min(max(min(c.ReadTimeout, c.WriteTimeout)/8, 5*time.Millisecond), 500*time.Millisecond)
}

// sweep ends calls whose message, and connections whose client, is too slow, until stop.
func (s *Server) sweep(stop <-chan struct{}) {
	t := time.NewTicker(s.cfg.sweepEvery())
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		for _, c := range s.inflight.slow(s.cfg.ReadTimeout) {
			c.expire() // what reads its message returns
		}
		s.cutUntaken()
		s.answers.abandon(s.listener.living())
		s.collectUnserved(unservedAfter)
	}
}

// cutUntaken closes the connections on which an answer was not taken in time. Its memory cannot be had back otherwise:
// gRPC keeps what is to be written for as long as its connection is there.
func (s *Server) cutUntaken() {
	old := s.answers.old(s.cfg.WriteTimeout)
	if len(old) == 0 {
		return
	}
	since := make(map[netip.AddrPort]time.Time, len(old))
	for _, a := range old {
		if a.at.After(since[a.remote]) {
			since[a.remote] = a.at
		}
	}
	for _, remote := range s.listener.cutThose(since) {
		s.log.Warn("connection closed: its client did not take an answer in time", slog.String("remote", remote.String()),
			slog.Duration("write_timeout", s.cfg.WriteTimeout), slog.String("error_code", "answer_not_taken"))
	}
}

// receiveWhole is receive of the one message of a unary call, which has Config.ReadTimeout to come. The time counts
// from when the handler asks: before, gRPC takes no more of it than a window's worth.
func (c *call) receiveWhole(ss grpc.ServerStream, message any) error {
	asked := int64(time.Since(c.start)) | 1 // 0: it does not read
	c.reading.Store(asked)
	err := c.receive(ss, &c.in, message)
	if !c.reading.CompareAndSwap(asked, 0) {
		return status.Error(codes.DeadlineExceeded, "the message did not arrive in time")
	}
	return err
}

// slow marks the calls whose message has not come within bound, and returns them.
func (f *inflight) slow(bound time.Duration) (all []*call) {
	for i := range f.shards {
		s := &f.shards[i]
		s.mu.Lock()
		for c := s.head; c != nil; c = c.next {
			asked := c.reading.Load()
			if asked > 0 && time.Since(c.start)-time.Duration(asked) > bound && c.reading.CompareAndSwap(asked, tooSlow) {
				all = append(all, c)
			}
		}
		s.mu.Unlock()
	}
	return all
}
