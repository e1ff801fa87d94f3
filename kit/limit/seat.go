package limit

import (
	"math"
	"sync/atomic"
	"time"
)

// never is when work without a deadline is due.
const never = time.Duration(math.MaxInt64)

// phase is where the request on a seat is.
type phase uint8

const (
	vacant     phase = iota // in the free list
	arriving                // admitted, Start not called
	queued                  // waits in the queue
	granted                 // has been given a slot and does not know it yet
	running                 // has a slot
	turnedAway              // left the queue without a slot and has not read err yet
)

// seat is a place in the limit. Seats are used again, which is why a permit remembers the serial.
type seat struct {
	serial  uint64
	phase   phase
	class   uint8
	between bool // has begun, and waits for a slot again
	ahead   bool // waits before those of its flow that are not
	long    bool // gives its slot to those who are not, and to those of its flow who began before it, only
	paid    bool // waited for the slot of its last block, too, so that its flow has been here all the time
	due     time.Duration
	since   time.Duration // when the phase queued or running began
	begun   int64         // of two that have had a slot, who had one first has the lower one; 0: has not
	worked  time.Duration // slots held before since, those beside its own included
	err     error         // why it was turned away
	blocks  atomic.Uint64 // serial + 1 of who holds a slot and says when a block has ended

	tenant     string
	owner      *tenant // of that name; nil while nothing is counted for it
	extras     fifo    // slots beside its own
	prev, next *seat   // in the queue, or among extras; next also in the free list

	// What is below is not for those who find a slot free, and work in one piece.

	charge, mostCharge time.Duration // what its flow has paid for its slot, and the most that it will

	waited time.Duration // in the queue
	ticket int64         // of two that wait, who came earlier has the lower one
	wake   chan struct{} // gets one token when another goroutine ends the phase queued; made at the first wait
	parent *seat         // whose extra slot it is
}

// expire makes the permit of the seat worthless.
func (s *seat) expire() {
	s.serial++
	if s.blocks.Load() != 0 { // writing it costs more
		s.blocks.Store(0)
	}
}

// fifo is a list in order of arrival from which any element can be removed.
type fifo struct {
	first, last *seat
	length      int
}

func (q *fifo) push(s *seat) { q.insert(s, q.last) }

// insert puts s behind another, or first if there is none.
func (q *fifo) insert(s, before *seat) {
	next := q.first
	if before != nil {
		next = before.next
		before.next = s
	} else {
		q.first = s
	}
	if next != nil {
		next.prev = s
	} else {
		q.last = s
	}
	s.prev, s.next = before, next
	q.length++
}

func (q *fifo) remove(s *seat) {
	if s.prev == nil {
		q.first = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		q.last = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.prev, s.next = nil, nil
	q.length--
}
