package etcd

import (
	"context"
	"errors"
	"fmt"

	"github.com/dougong-io/dougong/kit/fault"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// The points between a source and etcd. They are guarded, since policies come this way; what ends faults has a line of its own.
var (
	pointDial = fault.Def{
		Name: "etcd.dial", Doc: "A source has connected to etcd, and is about to ask for its keys; an error is one of connecting.",
		Attrs: []string{"prefix"}, Effects: fault.Fail,
		Guarded: true,
	}
	pointGet = fault.Def{
		Name: "etcd.get", Doc: "A source asks etcd for its keys, or whether it is still there.",
		Attrs: []string{"prefix"}, Effects: fault.Fail,
		Guarded: true,
	}
	pointWatch = fault.Def{
		Name: "etcd.watch", Doc: "A change of a key comes from etcd; an error cuts the stream of changes. Those of faults/kill and faults/rules pass.",
		Attrs: []string{"prefix", "key", "type"}, Effects: fault.Fail | fault.Lose,
		Guarded: true,
	}
)

// The points between a source and the file of its cache.
var (
	pointCacheRead = fault.Def{
		Name: "etcd.cache.read", Doc: "A source reads the cache of what was in force.",
		Attrs: []string{"path"}, Effects: fault.Fail | fault.Mangle,
	}
	pointCacheWrite = fault.Def{
		Name: "etcd.cache.write", Doc: "A source writes the cache of what is in force; lost, it stays the old one.",
		Attrs: []string{"path"}, Effects: fault.Fail | fault.Lose | fault.Mangle,
	}
	pointCacheSync = fault.Def{
		Name: "etcd.cache.sync", Doc: "What was written of the cache is synced to the disk.",
		Attrs: []string{"path"}, Effects: fault.Fail,
	}
)

// WithFaults gives the source the fault points etcd.….
func WithFaults(f *fault.Set) Option {
	return func(s *Source) {
		s.points = points{
			dial: f.Point(pointDial), get: f.Point(pointGet), watch: f.Point(pointWatch),
			cacheRead: f.Point(pointCacheRead), cacheWrite: f.Point(pointCacheWrite), cacheSync: f.Point(pointCacheSync),
		}
	}
}

type points struct {
	dial, get, watch, cacheRead, cacheWrite, cacheSync *fault.Point
}

// strikeDial is bounded as connecting is.
func (s *session) strikeDial(ctx context.Context) error {
	if !s.points.dial.On() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.DialTimeout)
	defer cancel()
	err := s.attend(ctx, func(ctx context.Context) error {
		_, err := strike(ctx, s.points.dial, s.prefixAttr())
		return err
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("etcd: connect: %w", err)
	}
	return nil
}

// strike is what the rules of a point do to a call, with nothing said of calls that ended while a rule held them:
// what was to be done then says so itself. An injected panic is an error here: nobody is above these goroutines who
// could recover, and a rule that etcd gives to all processes must not end them all.
func strike(ctx context.Context, p *fault.Point, attrs ...fault.Attr) (d fault.Damage, err error) {
	defer fault.Contain(&err)
	d, err = p.Damage(ctx, attrs...)
	if err != nil && !errors.Is(err, fault.ErrInjected) {
		return fault.Damage{}, nil
	}
	return d, err
}

// news is what the stream of changes brings.
type news struct {
	clientv3.WatchResponse
	err error // the stream is cut
}

// pass hands on what comes from etcd until ctx ends, with what rules do to it. It is a goroutine of its own, so that a
// rule which holds a change is to the session what an etcd is that says nothing more.
func (s *session) pass(ctx context.Context, from clientv3.WatchChan, to chan<- news) {
	defer close(to)
	for response := range from {
		n := news{WatchResponse: response}
		if s.points.watch.On() && len(response.Events) > 0 {
			n.Events, n.err = s.strikeEvents(ctx, response.Events)
			if n.err == nil && len(n.Events) == 0 {
				continue
			}
		}
		select {
		case to <- n:
		case <-ctx.Done():
			return
		}
	}
}

// strikeEvents returns the changes that rules leave.
func (s *session) strikeEvents(ctx context.Context, events []*clientv3.Event) ([]*clientv3.Event, error) {
	left := make([]*clientv3.Event, 0, len(events))
	for _, e := range events {
		if bound, _ := s.book.find(string(e.Kv.Key)); bound != nil && bound.ofFaults {
			left = append(left, e) // what takes faults away must come
			continue
		}
		kind := "put"
		if e.Type == mvccpb.Event_DELETE {
			kind = "delete"
		}
		d, err := strike(ctx, s.points.watch, s.prefixAttr(), fault.Attr{Key: "key", Value: string(e.Kv.Key)}, fault.Attr{Key: "type", Value: kind})
		if err != nil {
			return nil, err
		}
		if d.Drop {
			s.lost.Store(&d)
		} else {
			left = append(left, e)
		}
	}
	return left, nil
}

func (s *session) prefixAttr() fault.Attr {
	return fault.Attr{Key: "prefix", Value: s.config.Prefix}
}
