package httpserver

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// inflight knows the requests that have a route and have not ended. It is
// sharded, so that cores do not wait for each other.
type inflight struct {
	shards [16]inflightShard
}

type inflightShard struct {
	mu   sync.Mutex
	head *exchange
	n    int
	_    [40]byte // to a cache line
}

func (f *inflight) add(x *exchange) {
	s := &f.shards[rand.Uint32()%uint32(len(f.shards))]
	x.shard = s
	s.mu.Lock()
	if x.next = s.head; x.next != nil {
		x.next.prev = x
	}
	s.head = x
	s.n++
	s.mu.Unlock()
}

func (f *inflight) remove(x *exchange) {
	s := x.shard
	if s == nil {
		return
	}
	s.mu.Lock()
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		s.head = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	x.prev, x.next = nil, nil
	s.n--
	s.mu.Unlock()
}

func (f *inflight) len() (n int) {
	for i := range f.shards {
		s := &f.shards[i]
		s.mu.Lock()
		n += s.n
		s.mu.Unlock()
	}
	return n
}

// A Request is one that is in flight.
type Request struct {
	Method  string        `json:"method"`
	Route   string        `json:"route"`
	TraceID string        `json:"trace_id"`
	Age     time.Duration `json:"age"`
}

func (r Request) String() string {
	return fmt.Sprintf("%s (route %q, trace %s) since %v", r.Method, r.Route, r.TraceID, r.Age.Round(time.Millisecond))
}

// list returns the requests in flight, oldest first.
func (f *inflight) list() (all []Request) {
	for i := range f.shards {
		s := &f.shards[i]
		s.mu.Lock()
		for x := s.head; x != nil; x = x.next {
			all = append(all, Request{
				Method: x.method, Route: x.route.Pattern, TraceID: x.ctx.trace.ID(), Age: time.Since(x.start),
			})
		}
		s.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b Request) int { return cmp.Compare(b.Age, a.Age) })
	return all
}
