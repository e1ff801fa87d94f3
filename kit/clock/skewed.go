package clock

import (
	"sync"
	"sync/atomic"
	"time"
)

// Skewed returns a clock that is ahead of base by what a function says at each reading, or behind it if that is
// negative: the Skew of a fault.Point, for example. by is called concurrently, and with no lock of this package held: who
// reads the clock holds none either, where by is such a point.
//
// It does not go back: when it is ahead of what it should show, because a skew has ended or a negative one has
// begun, it goes half as fast as base until they meet: that takes twice as long as it was ahead, which is all that a
// rule leaves behind when it ends. One that is behind is right again at once. While nothing is skewed a reading costs some nanoseconds more
// than one of base, which a coarse clock cannot hide: give it to who is to be misled.
func Skewed(base *Clock, by func() time.Duration) *Clock {
	s := &skewed{base: base, by: by}
	c := &Clock{read: s.read}
	c.now.Store(unknown)
	return c
}

type skewed struct {
	base *Clock
	by   func() time.Duration
	off  atomic.Bool // it may show another time than base

	mu    sync.Mutex // guards what follows
	shown time.Duration
	at    time.Duration // of base, when it was shown
}

func (s *skewed) read() time.Duration {
	by := s.by()
	if by == 0 {
		now := s.base.Now()
		if !s.off.Load() { // asked after base, so that nobody was shown less than now since
			return now
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	begins := !s.off.Load()
	s.off.Store(true) // before base is asked: see above
	now := s.base.Now()
	if begins {
		s.shown, s.at = now, now
	}
	s.shown, s.at = max(now+by, s.shown+(now-s.at)/2), now
	if by == 0 && s.shown == now {
		s.off.Store(false)
	}
	return s.shown
}
