package worker

import (
	"runtime"
	"time"
)

// spin looks for the next call a while before it sleeps for it. A sleeping thread takes longer to wake up than a small
// model takes to answer; where calls follow each other closely, looking costs less than that. It looks only if the last
// call came soon, and after hopeless failures in a row it rests: so a worker without work, or with calls that are far
// between, sleeps.
type spin struct {
	most   time.Duration // 0: never
	soon   bool          // the last read waited for less than twice most
	failed int           // in a row; counts on while it rests
}

const (
	spinFor  = 50 * time.Microsecond // longer than it takes to wake up the other side, or two that sleep never meet
	hopeless = 4
	rest     = 32 // reads
)

// newSpin spins where another processor can send meanwhile.
func newSpin(most time.Duration) spin {
	if most == 0 {
		most = spinFor
	}
	if most < 0 || runtime.GOMAXPROCS(0) == 1 {
		most = 0
	}
	return spin{most: most}
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
		for {
			if n := from.look(p); n > 0 {
				s.failed = 0
				return n, nil
			}
			if time.Since(began) > s.most {
				break
			}
		}
		s.failed++
	case s.failed >= hopeless:
		s.failed++
	}
	n, err := from.Read(p)
	s.soon = time.Since(began) < 2*s.most
	return n, err
}
