package supervisor

import (
	"os"
	"runtime"
	"time"
)

// looker looks for an answer a while before it sleeps for it. To wake up a goroutine that sleeps for a socket takes longer than
// a small model takes to answer. It looks only where the last answer came soon, and after hopeless failures in a row it rests.
type looker struct {
	looks  bool
	soon   bool // the last answer did
	failed int  // in a row; counts on while it rests
	peek   func(p []byte) int
}

const (
	lookFor  = 50 * time.Microsecond // longer than it takes to wake up the worker
	hopeless = 4
	rest     = 64 // answers
)

// newLooker looks where another processor can answer meanwhile.
func newLooker(f *os.File) looker {
	return looker{looks: runtime.GOMAXPROCS(0) > 1, peek: peeker(f)}
}

// look reads what comes within lookFor, if that is likely; 0 if nothing did.
func (l *looker) look(p []byte) int {
	switch {
	case !l.looks:
		return 0
	case l.failed >= hopeless+rest:
		l.failed = 0
	case l.failed >= hopeless:
		l.failed++
		return 0
	case !l.soon:
		return 0
	}
	for began := time.Now(); ; {
		if n := l.peek(p); n > 0 {
			l.failed = 0
			return n
		}
		if time.Since(began) > lookFor {
			l.failed++
			return 0
		}
	}
}

// took tells how long the answer was awaited.
func (l *looker) took(d time.Duration) { l.soon = d < 2*lookFor }
