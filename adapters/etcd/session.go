package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// session is one connection to etcd, from the first read to whatever ends it.
type session struct {
	*Source
	report reporter
	keeper *keeper // nil: no cache

	cancel context.CancelFunc // of the client and the line
	client *clientv3.Client
	broken chan struct{}                 // says when a connection ended
	line   <-chan clientv3.WatchResponse // nil: no rule can be in the way
	lines  sync.WaitGroup

	lost  atomic.Pointer[fault.Damage] // by which a rule took a change from the stream, the last one
	asked time.Time                    // when the stream was first asked for a sign of life, of which there has been none since
}

var (
	errBroken = errors.New("etcd: the connection broke")
	errSilent = errors.New("etcd: the stream of changes is silent")
	errEnded  = errors.New("etcd: the stream of changes ended")
	errLost   = errors.New("etcd: a fault rule that has ended took changes; following them anew")
)

// run reads all keys and follows them. It always returns an error. What it has opened stays open until close.
func (s *session) run(ctx context.Context) error {
	s.broken = make(chan struct{}, 1)
	lasting, cancel := context.WithCancel(ctx)
	s.cancel = cancel
	client, err := dial(lasting, s.config, func() {
		select {
		case s.broken <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return err
	}
	s.client = client
	ctx, cancel = context.WithCancel(lasting)
	defer cancel()
	defer s.save()
	if err := s.openLine(clientv3.WithRequireLeader(lasting)); err != nil {
		return err
	}
	if err := s.strikeDial(ctx); err != nil {
		return err
	}
	if err := s.read(ctx); err != nil {
		return err
	}
	s.save()
	s.report.Connected(true)
	s.settle()

	// With a leader required, a member that is cut off from the others ends the stream.
	streamCtx := clientv3.WithRequireLeader(ctx)
	stream, err := s.openStream(streamCtx, s.config.Prefix, clientv3.WithPrefix(), clientv3.WithRev(s.book.handled), clientv3.WithProgressNotify())
	if err != nil {
		return err
	}
	changes := make(chan news)
	var passing sync.WaitGroup
	passing.Go(func() { s.pass(streamCtx, stream, changes) })
	defer passing.Wait()
	defer cancel()
	check := time.NewTicker(s.config.CheckInterval)
	defer check.Stop()
	for {
		select {
		case n, ok := <-changes:
			if !ok {
				if err := ctx.Err(); err != nil {
					return err
				}
				return errEnded
			}
			if n.err != nil {
				return fmt.Errorf("etcd: the stream of changes ended: %w", n.err)
			}
			if err := s.follow(n.WatchResponse); err != nil {
				return err
			}
		case response := <-s.line:
			if err := s.look(response); err != nil {
				return err
			}
		case <-check.C:
			if err := s.check(streamCtx); err != nil {
				return err
			}
		case <-s.broken:
			return errBroken
		case <-ctx.Done():
			return ctx.Err()
		}
		s.save()
	}
}

// close ends what run has opened. It may be called again.
func (s *session) close() {
	s.cancel()
	s.lines.Wait()
	if s.client != nil {
		s.client.Close()
		s.client = nil
	}
}

// read looks at all keys below the prefix as they are at one revision.
func (s *session) read(ctx context.Context) error {
	var pairs []pair
	all, read := true, 0
	var at Place
	key, end := s.config.Prefix, clientv3.GetPrefixRangeEnd(s.config.Prefix)
	for more := true; more; {
		opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(keysInAnswer)}
		if at.Revision != 0 {
			opts = append(opts, clientv3.WithRev(at.Revision))
		}
		response, err := s.get(ctx, key, opts...)
		if err != nil {
			return err
		}
		if at.Revision == 0 {
			at = place(response)
		} else if response.Header.ClusterId != at.Cluster {
			return fmt.Errorf("etcd: read %s: two members are of different clusters, %x and %x", s.config.Prefix, at.Cluster, response.Header.ClusterId)
		}
		for _, kv := range response.Kvs {
			if p, bound := s.book.pairOf(kv); bound {
				pairs = append(pairs, p)
			}
		}
		read += len(response.Kvs)
		if more = response.More && len(response.Kvs) > 0; more {
			key = string(response.Kvs[len(response.Kvs)-1].Key) + "\x00"
		}
		if more && (len(pairs) > s.config.MaxKeys || read > mostKeys) {
			s.report.Failed(fmt.Errorf("etcd: read %s: %w", s.config.Prefix, errTooMany))
			more, all = false, false
			sure, err := s.readSure(ctx, key, at)
			if err != nil {
				return err
			}
			pairs = append(pairs, sure...)
		}
	}
	if s.book.contradicts(at, pairs) {
		s.report.Failed(s.book.turn(at))
	}
	s.book.settle(at, pairs, all)
	return nil
}

// readSure looks at the keys that nothing can refuse among those from a key on, which are not looked at.
func (s *session) readSure(ctx context.Context, from string, at Place) ([]pair, error) {
	var pairs []pair
	for _, b := range s.book.bindings {
		if !b.sure || b.at < from {
			continue
		}
		response, err := s.get(ctx, b.at, clientv3.WithRev(at.Revision))
		if err != nil {
			return nil, err
		}
		for _, kv := range response.Kvs {
			if p, bound := s.book.pairOf(kv); bound {
				pairs = append(pairs, p)
			}
		}
	}
	return pairs, nil
}

// openStream asks for changes from the last that was looked at, that one included: etcd gives no sign of life to a
// stream whose first revision is still to come.
func (s *session) openStream(ctx context.Context, key string, opts ...clientv3.OpOption) (clientv3.WatchChan, error) {
	ctx, cancel := context.WithCancel(ctx)                     // which ends with its parent
	tooLong := time.AfterFunc(s.config.RequestTimeout, cancel) // Watch waits for etcd
	stream := s.client.Watch(ctx, key, append(opts, clientv3.WithFragment())...)
	if !tooLong.Stop() {
		return nil, errSilent
	}
	return stream, nil
}

// look looks at what a stream brings.
func (s *session) look(response clientv3.WatchResponse) error {
	if response.CompactRevision != 0 {
		s.book.skip(response.CompactRevision) // the values are known; which of the missing were deleted before is not
		return fmt.Errorf("etcd: changes before revision %d are no longer there", response.CompactRevision)
	}
	if err := response.Err(); err != nil {
		return fmt.Errorf("etcd: the stream of changes ended: %w", err)
	}
	for _, event := range response.Events {
		if event.Type == mvccpb.Event_DELETE {
			s.book.remove(string(event.Kv.Key), event.Kv.ModRevision)
		} else {
			if p, bound := s.book.pairOf(event.Kv); bound {
				s.book.put(p)
			}
		}
	}
	return nil
}

// follow looks at what the stream of all keys brings, and how far it has come.
func (s *session) follow(response clientv3.WatchResponse) error {
	s.asked = time.Time{}
	if err := s.look(response); err != nil {
		return err
	}
	if s.lost.Load() != nil {
		return nil // the next stream begins before what this one lost
	}
	// The header may be ahead of events that are still to come.
	if n := len(response.Events); n > 0 {
		s.book.reached(response.Events[n-1].Kv.ModRevision)
	} else if response.IsProgressNotify() {
		s.book.reached(response.Header.Revision)
	}
	return nil
}

// check makes sure that etcd answers, is what it was, and has a living stream for us: a stream that brings nothing
// looks like one where nothing happens.
func (s *session) check(ctx context.Context) error {
	if s.keeper != nil && s.keeper.failed.Load() {
		s.keeper.saved-- // so that it is tried again
	}
	if lost := s.lost.Load(); lost != nil && (!s.points.watch.On() || !lost.Dropped()) {
		return errLost
	}
	// A young stream may pass over a question or two.
	if !s.asked.IsZero() && time.Since(s.asked) > s.config.CheckInterval+s.config.RequestTimeout {
		return errSilent
	}
	response, err := s.get(ctx, s.config.Prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	if err := s.book.hear(place(response)); err != nil {
		return err // the next session tells what is there
	}
	s.book.tellMissing()
	ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	defer cancel()
	if err := s.client.RequestProgress(ctx); err != nil {
		return fmt.Errorf("etcd: ask the stream of changes for a sign of life: %w", err)
	}
	if s.asked.IsZero() {
		s.asked = time.Now()
	}
	return nil
}

func (s *session) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	defer cancel()
	if s.points.get.On() {
		err := s.attend(ctx, func(ctx context.Context) error {
			_, err := strike(ctx, s.points.get, s.prefixAttr())
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("etcd: read %s: %w", s.config.Prefix, err)
		}
	}
	return s.ask(ctx, key, opts...)
}

// ask is get that passes no point.
func (s *session) ask(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	defer cancel()
	response, err := s.client.Get(ctx, key, opts...)
	if err != nil {
		return nil, fmt.Errorf("etcd: read %s: %w", s.config.Prefix, err)
	}
	return response, nil
}

// save has the cache written if something changed.
func (s *session) save() {
	if s.keeper != nil && s.keeper.saved != s.book.changes {
		s.keeper.saved = s.book.changes
		s.keeper.save(s.book.snapshot())
	}
}

func place(r *clientv3.GetResponse) Place {
	return Place{Cluster: r.Header.ClusterId, Revision: r.Header.Revision}
}
