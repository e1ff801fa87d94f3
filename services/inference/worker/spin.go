package worker

import (
	"runtime"
	"sync/atomic"
	"time"
)

// spin looks for the next call a while before it sleeps for it. A sleeping thread takes longer to wake up than a small
// model takes to answer; where calls follow each other closely, looking costs less than that. It looks only if the last
// call came soon, and after hopeless failures in a row it rests: so a worker without work, or with calls that are far
// between, sleeps.
type spin struct {
	most   time.Duration // 0: never
	active *atomic.Int32 // lanes that look or are in a call: who looks beside one takes its processor
	soon   bool          // the last read waited for less than twice most
	failed int           // in a row; counts on while it rests
}

const (
	spinFor  = 50 * time.Microsecond // longer than it takes to wake up the other side, or two that sleep never meet
	hopeless = 4
	rest     = 32 // reads
)

// newSpin spins where another processor can send meanwhile.
func newSpin(most time.Duration, active *atomic.Int32) spin {
	if most == 0 {
		most = spinFor
	}
	if most < 0 || runtime.GOMAXPROCS(0) == 1 {
		most = 0
	}
	return spin{most: most, active: active}
}

// read is from.Read after some looking.
func (s *spin) read(from socket, p []byte) (int, error) {
	if s.most == 0 {
		return from.Read(p)
	}
	began := time.Now()
	switch {
	case s.failed >= hopeless+rest:
		s.failed = 0
		fallthrough
	case s.soon && s.failed < hopeless:
		if n := s.look(from, p, began); n > 0 {
			return n, nil
		}
	case s.failed >= hopeless:
		s.failed++
	}
	n, err := from.Read(p)
	s.soon = time.Since(began) < 2*s.most
	return n, err
}

// look looks for as long as it may.
func (s *spin) look(from socket, p []byte, began time.Time) int {
	defer s.active.Add(-1)
	if s.active.Add(1) > 1 {
		return 0
	}
	for time.Since(began) <= s.most {
		if n := from.look(p); n > 0 {
			s.failed = 0
			return n
		}
	}
	s.failed++
	return 0
}
