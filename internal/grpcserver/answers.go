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
	at      time.Time
	remote  netip.AddrPort
	message any
	empty   []byte

	cut, orphaned bool // under the lock of of, as is what follows

	shard      *answerShard // nil: not in it any more
	prev, next *answer
	of         *answerShard
}

// abandoner is a message that is told when its connection ended before gRPC gave back what MarshalBuffers gave: it never
// will then, and nothing of it is sent any more. gRPC may still look at the bytes.
type abandoner interface{ Abandon() }

// nothing is of a size that gRPC gives back; smaller ones it leaves to the garbage collector.
var nothing [2 << 10]byte

// mark appends to the message what tells when it was written.
func (all *answers) mark(data mem.BufferSlice, remote netip.AddrPort, message any) mem.BufferSlice {
	s := &all.shards[rand.Uint32()%uint32(len(all.shards))]
	a := &answer{at: time.Now(), remote: remote, message: message, empty: nothing[:0], shard: s, of: s}
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

// old returns the answers that have waited for longer than bound, each once.
func (all *answers) old(bound time.Duration) (old []*answer) {
	for i := range all.shards {
		s := &all.shards[i]
		s.mu.Lock()
		for a := s.head; a != nil; a = a.next {
			if !a.cut && time.Since(a.at) > bound {
				a.cut = true
				old = append(old, a)
			}
		}
		s.mu.Unlock()
	}
	return old
}

// abandon tells the answers whose connection has ended, and knows them no longer. living has since when there are those
// that have not. Who is an orphan for the first time may be just about to be given back.
func (all *answers) abandon(living map[netip.AddrPort]time.Time) {
	var lost []*answer
	for i := range all.shards {
		s := &all.shards[i]
		s.mu.Lock()
		for a := s.head; a != nil; {
			next := a.next
			since, lives := living[a.remote]
			switch {
			case lives && !since.After(a.at):
			case !a.orphaned:
				a.orphaned = true
			default:
				a.remove()
				lost = append(lost, a)
			}
			a = next
		}
		s.mu.Unlock()
	}
	for _, a := range lost {
		if m, ok := a.message.(abandoner); ok {
			m.Abandon()
		}
	}
}
