package etcd

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// The line is how the keys of fault injection come while rules may strike the way of all others: they are read by
// questions, and followed by streams, that pass no point. So no rule keeps away what ends it.

// wantsLine reports whether rules may be in the way of what ends them.
func (s *session) wantsLine() bool {
	return s.points.watch != nil && len(s.lineKeys()) > 0
}

func (s *session) lineKeys() (keys []string) {
	for _, b := range s.book.bindings {
		if b.ofFaults {
			keys = append(keys, b.at)
		}
	}
	return keys
}

// openLine reads the keys of fault injection, and follows them from the last change that was looked at, until ctx ends.
func (s *session) openLine(ctx context.Context) error {
	if !s.wantsLine() {
		return nil
	}
	line := make(chan clientv3.WatchResponse)
	for _, key := range s.lineKeys() {
		response, err := s.ask(ctx, key)
		if err != nil {
			return err
		}
		var pairs []pair
		for _, kv := range response.Kvs {
			if p, bound := s.book.pairOf(kv); bound {
				pairs = append(pairs, p)
			}
		}
		at := place(response)
		if s.book.contradicts(at, pairs) {
			s.report.Failed(s.book.turn(at))
		}
		if err := s.book.hear(at); err != nil {
			return err
		}
		for _, p := range pairs {
			s.book.put(p)
		}
		from := s.book.handled
		if from == 0 {
			from = at.Revision + 1
		}
		stream, err := s.openStream(ctx, key, clientv3.WithRev(from))
		if err != nil {
			return err
		}
		s.lines.Go(func() { hand(ctx, stream, line) })
	}
	s.line = line
	return nil
}

// hand passes on what a stream brings until ctx ends, which ends the stream.
func hand(ctx context.Context, from clientv3.WatchChan, to chan<- clientv3.WatchResponse) {
	for response := range from {
		select {
		case to <- response:
		case <-ctx.Done():
			return
		}
	}
}

// attend runs what a rule may hold, and listens to the line meanwhile. f must end with its context.
func (s *session) attend(ctx context.Context, f func(context.Context) error) error {
	if s.line == nil {
		return f(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	for {
		var err error
		select {
		case err := <-done:
			return err
		case response := <-s.line:
			err = s.look(response)
		case <-s.broken:
			err = errBroken
		}
		if err != nil {
			cancel()
			<-done
			return err
		}
	}
}

// pause waits before the next try. While rules are in the way it listens to the line, and ends as soon as that says
// something: they may be gone.
func (s *session) pause(ctx context.Context, wait time.Duration) {
	line, broken := s.line, s.broken
	if p := s.points; !p.dial.On() && !p.get.On() && !p.watch.On() {
		s.close()
		line, broken = nil, nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		case <-broken: // what comes after it may be of another history
			line, broken = nil, nil
		case response := <-line:
			err := s.look(response)
			s.save()
			if err == nil && len(response.Events) > 0 {
				return
			}
			if err != nil {
				s.report.Failed(fmt.Errorf("etcd: the line of fault rules: %w", err))
				line = nil
			}
		}
	}
}
