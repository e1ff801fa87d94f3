package limit

import (
	"math"
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
	serial uint64
	phase  phase
	due    time.Duration
	since  time.Duration // when the phase queued or running began
	waited time.Duration // in the queue
	err    error         // why it was turned away
	class  uint8
	tenant string
	owner  *tenant // of that name; nil while nothing is counted for it

	charge, mostCharge time.Duration // what its flow has paid for its slot, and the most that it will

	wake       chan struct{} // gets one token when another goroutine ends the phase queued; made at the first wait
	prev, next *seat         // in the queue; next also in the free list
}

// fifo is a queue from which any element can be removed.
type fifo struct {
	first, last *seat
	length      int
}

func (q *fifo) push(s *seat) {
	s.prev, s.next = q.last, nil
	if q.last == nil {
		q.first = s
	} else {
		q.last.next = s
	}
	q.last = s
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
