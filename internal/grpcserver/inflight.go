package grpcserver

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// inflight knows the calls that the tap let pass and that have not ended. It is sharded, so that cores do not wait for
// each other.
type inflight struct{ shards [16]inflightShard }

type inflightShard struct {
	mu   sync.Mutex
	head *call
	_    [48]byte // to a cache line
}

func (f *inflight) add(c *call) {
	s := &f.shards[rand.Uint32()%uint32(len(f.shards))]
	c.shard = s
	s.mu.Lock()
	if c.next = s.head; c.next != nil {
		c.next.prev = c
	}
	s.head = c
	s.mu.Unlock()
}

func (f *inflight) remove(c *call) {
	s := c.shard
	if s == nil {
		return
	}
	s.mu.Lock()
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	s.mu.Unlock()
}

// unbegun takes out calls that ended without having begun and are older than after, at most so many.
func (f *inflight) unbegun(after time.Duration, most int) (all []*call) {
	for i := range f.shards {
		s := &f.shards[i]
		s.mu.Lock()
		for c := s.head; c != nil && len(all) < most; c = c.next {
			if c.state.Load() == waiting && time.Since(c.start) >= after && c.Context.Err() != nil && c.state.CompareAndSwap(waiting, given) {
				all = append(all, c)
			}
		}
		s.mu.Unlock()
	}
	for _, c := range all {
		f.remove(c)
	}
	return all
}

// A Call is one that is in flight.
type Call struct {
	Method  string        `json:"method"` // full; "other" for one that there is not
	TraceID string        `json:"trace_id"`
	Age     time.Duration `json:"age"`
}

func (c Call) String() string {
	return fmt.Sprintf("%s (trace %s) since %v", c.Method, c.TraceID, c.Age.Round(time.Millisecond))
}

// list returns the calls in flight, oldest first.
func (f *inflight) list() (all []Call) {
	for i := range f.shards {
		s := &f.shards[i]
		s.mu.Lock()
		for c := s.head; c != nil; c = c.next {
			if c.state.Load() != begun {
				continue
			}
			all = append(all, Call{Method: c.method.name, TraceID: c.trace.ID(), Age: time.Since(c.start)})
		}
		s.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b Call) int { return cmp.Compare(b.Age, a.Age) })
	return all
}
