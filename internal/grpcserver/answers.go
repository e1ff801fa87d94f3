package grpcserver

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc/mem"
)

// answers knows the messages that gRPC has been given and has not yet written. It is sharded as inflight is.
type answers struct{ shards [16]answerShard }

type answerShard struct {
	mu   sync.Mutex
	head *answer
	_    [48]byte // to a cache line
}

// answer is one of them. It is the pool of an empty buffer at the end of the message: gRPC gives the buffer back once
// it needs the message no longer, and how it does so is not ours to see otherwise.
type answer struct {
	at     time.Time
	remote netip.AddrPort
	empty  []byte

	shard      *answerShard // nil: taken by takeOld
	prev, next *answer
	of         *answerShard
}

// nothing is of a size that gRPC gives back; smaller ones it leaves to the garbage collector.
var nothing [2 << 10]byte

// mark appends to the message what tells when it was written.
func (all *answers) mark(data mem.BufferSlice, remote netip.AddrPort) mem.BufferSlice {
	s := &all.shards[rand.Uint32()%uint32(len(all.shards))]
	a := &answer{at: time.Now(), remote: remote, empty: nothing[:0], shard: s, of: s}
	s.mu.Lock()
	if a.next = s.head; a.next != nil {
		a.next.prev = a
	}
	s.head = a
	s.mu.Unlock()
	return append(data[:len(data):len(data)], mem.NewBuffer(&a.empty, a))
}

// Get implements mem.BufferPool; nobody calls it.
func (a *answer) Get(n int) *[]byte { b := make([]byte, n); return &b }

// Put is called when gRPC needs the message no longer.
func (a *answer) Put(*[]byte) {
	a.of.mu.Lock()
	a.remove()
	a.of.mu.Unlock()
}

// remove is called with the shard's lock held.
func (a *answer) remove() {
	s := a.shard
	if s == nil {
		return
	}
	if a.prev != nil {
		a.prev.next = a.next
	} else {
		s.head = a.next
	}
	if a.next != nil {
		a.next.prev = a.prev
	}
	a.shard, a.prev, a.next = nil, nil, nil
}

// takeOld returns the answers that wait for longer than bound, and knows them no longer.
func (all *answers) takeOld(bound time.Duration) (old []*answer) {
	for i := range all.shards {
		s := &all.shards[i]
		s.mu.Lock()
		for a := s.head; a != nil; {
			next := a.next
			if time.Since(a.at) > bound {
				a.remove()
				old = append(old, a)
			}
			a = next
		}
		s.mu.Unlock()
	}
	return old
}
