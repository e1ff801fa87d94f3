package etcd

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
)

// fakeEtcd has one key, and a stream of changes that says nothing after it was opened unless progress is set: what a
// real etcd does only in rare faults.
type fakeEtcd struct {
	pb.UnimplementedKVServer
	pb.UnimplementedWatchServer
	progress bool

	mu      sync.Mutex
	at      Place
	value   string
	streams int
	changed int64 // revision of the last put of the value
	others  map[string]*mvccpb.KeyValue
	open    map[grpc.BidiStreamingServer[pb.WatchRequest, pb.WatchResponse]][]*pb.WatchCreateRequest
}

func (f *fakeEtcd) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	response := &pb.RangeResponse{Header: &pb.ResponseHeader{ClusterId: f.at.Cluster, Revision: f.at.Revision}, Count: 1}
	if !r.CountOnly && f.value != "" && within("/dougong/a", r.Key, r.RangeEnd) {
		response.Kvs = []*mvccpb.KeyValue{{Key: []byte("/dougong/a"), Value: []byte(f.value), ModRevision: f.at.Revision}}
	}
	for key, kv := range f.others {
		if !r.CountOnly && within(key, r.Key, r.RangeEnd) {
			response.Kvs = append(response.Kvs, kv)
		}
	}
	return response, nil
}

// within reports whether etcd counts a key to a range.
func within(key string, from, end []byte) bool {
	if len(end) == 0 {
		return key == string(from)
	}
	return key >= string(from) && key < string(end)
}

func (f *fakeEtcd) Watch(stream grpc.BidiStreamingServer[pb.WatchRequest, pb.WatchResponse]) error {
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.open, stream)
	}()
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		f.mu.Lock()
		header := &pb.ResponseHeader{ClusterId: f.at.Cluster, Revision: f.at.Revision}
		if create := request.GetCreateRequest(); create != nil {
			f.streams++
			if f.open == nil {
				f.open = make(map[grpc.BidiStreamingServer[pb.WatchRequest, pb.WatchResponse]][]*pb.WatchCreateRequest)
			}
			create.WatchId = int64(f.streams)
			f.open[stream] = append(f.open[stream], create)
			err = stream.Send(&pb.WatchResponse{Header: header, Created: true, WatchId: create.WatchId})
			if f.changed > create.StartRevision { // since the source read it
				f.tell(f.event())
			}
		} else if f.progress && request.GetProgressRequest() != nil {
			err = stream.Send(&pb.WatchResponse{Header: header, WatchId: -1})
		}
		f.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

func (f *fakeEtcd) become(at Place, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.value = at, value
}

// put changes a key, and tells the streams.
func (f *fakeEtcd) put(key, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at.Revision++
	if key == "a" {
		f.value, f.changed = value, f.at.Revision
		f.tell(f.event())
		return
	}
	if f.others == nil {
		f.others = make(map[string]*mvccpb.KeyValue)
	}
	kv := kvOf("/dougong/"+key, value, f.at.Revision)
	f.others["/dougong/"+key] = kv
	f.tell(&mvccpb.Event{Kv: kv})
}

// event is the last put of the value.
func (f *fakeEtcd) event() *mvccpb.Event {
	return &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte("/dougong/a"), Value: []byte(f.value), ModRevision: f.changed}}
}

// remove tells the streams of a deletion.
func (f *fakeEtcd) remove(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at.Revision++
	delete(f.others, "/dougong/"+key)
	f.tell(&mvccpb.Event{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte("/dougong/" + key), ModRevision: f.at.Revision}})
}

func (f *fakeEtcd) tell(e *mvccpb.Event) {
	for stream, watches := range f.open { // one that is ending hears nothing
		for _, w := range watches {
			if within(string(e.Kv.Key), w.Key, w.RangeEnd) {
				header := &pb.ResponseHeader{ClusterId: f.at.Cluster, Revision: f.at.Revision}
				_ = stream.Send(&pb.WatchResponse{Header: header, WatchId: w.WatchId, Events: []*mvccpb.Event{e}})
			}
		}
	}
}

// waitOpen waits until a stream is open.
func (f *fakeEtcd) waitOpen(t *testing.T) {
	t.Helper()
	eventually(t, "a stream is open", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.open) > 0
	})
}

// waitWatches waits until there are so many watches.
func (f *fakeEtcd) waitWatches(t *testing.T, n int) {
	t.Helper()
	eventually(t, "enough is watched", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		watches := 0
		for _, w := range f.open {
			watches += len(w)
		}
		return watches >= n
	})
}

// serve returns the endpoint.
func serve(t *testing.T, f *fakeEtcd) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterKVServer(server, f)
	pb.RegisterWatchServer(server, f)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	return "http://" + l.Addr().String()
}

// heard passes on what an observer is told, and what is applied.
type heard struct {
	nobody
	failed  chan error
	applied chan string
	gone    chan Absence
}

func (h *heard) Failed(err error)         { h.failed <- err }
func (h *heard) Gone(_ string, a Absence) { h.gone <- a }

func run(t *testing.T, f *fakeEtcd) *heard {
	t.Helper()
	return runAt(t, serve(t, f), func(*Config) {})
}

func runAt(t *testing.T, endpoint string, change func(*Config), opts ...Option) *heard {
	t.Helper()
	return runBound(t, endpoint, change, func(*Source) error { return nil }, opts...)
}

// runBound has more bound than the key a.
func runBound(t *testing.T, endpoint string, change func(*Config), bind func(*Source) error, opts ...Option) *heard {
	t.Helper()
	c := DefaultConfig()
	c.Endpoints = []string{endpoint}
	c.RequestTimeout, c.CheckInterval = 200*time.Millisecond, 20*time.Millisecond
	c.RetryMin, c.RetryMax = time.Millisecond, 10*time.Millisecond
	change(&c)
	h := &heard{failed: make(chan error, 1000), applied: make(chan string, 1000), gone: make(chan Absence, 1000)}
	s, err := New(c, append(opts, WithObserver(h))...)
	if err != nil {
		t.Fatal(err)
	}
	if err := bind(s); err != nil {
		t.Fatal(err)
	}
	err = Watch(s, "a", text, func(v string) error { h.applied <- v; return nil })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := s.Run(t.Context()); !errors.Is(err, ErrAlreadyRun) {
			t.Errorf("a second Run: %v", err)
		}
	})
	return h
}

func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("nothing happened")
		panic("unreachable")
	}
}

func TestSilentStreamIsReplaced(t *testing.T) {
	f := &fakeEtcd{at: Place{1, 5}, value: "one"}
	h := run(t, f)
	if got := next(t, h.applied); got != "one" {
		t.Errorf("applied %q", got)
	}
	f.become(Place{1, 6}, "two") // of which the stream says nothing
	if got := next(t, h.applied); got != "two" {
		t.Errorf("applied %q", got)
	}
	if err := next(t, h.failed); err != errSilent {
		t.Errorf("told of %v", err)
	}
}

// TestHistoryThatGoesBackIsToldOnce, with the stream alive all the while.
func TestHistoryThatGoesBackIsToldOnce(t *testing.T) {
	for name, c := range map[string]struct {
		at    Place
		value string
	}{
		"lower revision":              {Place{1, 4}, "two"},
		"another cluster":             {Place{2, 5}, "two"},
		"another cluster, further on": {Place{2, 500}, "two"},
		"lower revision, and no key":  {Place{1, 1}, ""},
		"another cluster, and no key": {Place{2, 500}, ""},
		"lower revision, same value":  {Place{1, 2}, "one"},
		"another cluster, same value": {Place{2, 5}, "one"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeEtcd{at: Place{1, 5}, value: "one", progress: true}
			h := run(t, f)
			next(t, h.applied)
			f.become(c.at, c.value)
			if err := next(t, h.failed); err != errTurned {
				t.Errorf("told of %v first", err)
			}
			told, ok := errors.AsType[*HistoryError](next(t, h.failed))
			if want := (HistoryError{Before: Place{1, 5}, Now: c.at}); !ok || *told != want || !errors.Is(told, ErrHistory) {
				t.Errorf("told of %v, want %v", told, &want)
			}
			switch c.value {
			case "":
				if got := next(t, h.gone); got != Missing {
					t.Errorf("gone: %v", got)
				}
			case "two":
				if got := next(t, h.applied); got != "two" {
					t.Errorf("applied %q", got)
				}
			}
			if len(h.failed) != 0 || len(h.applied) != 0 {
				t.Errorf("told of %d more failures, %d values", len(h.failed), len(h.applied))
			}
		})
	}
}

func TestNewReportsTheFaultsOfItsConfig(t *testing.T) {
	if _, err := New(Config{}); err == nil || !strings.HasPrefix(err.Error(), "etcd: endpoints: ") {
		t.Errorf("got %v", err)
	}
}

func kvOf(key, value string, revision int64) *mvccpb.KeyValue {
	return &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), ModRevision: revision}
}
