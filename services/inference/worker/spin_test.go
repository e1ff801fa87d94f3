//go:build linux

package worker

import (
	"testing"
	"time"
)

// TestSpinRestsWhereItIsHopeless: a read that waits for long does not look for the next, and one that looked in vain
// again and again rests.
func TestSpinRestsWhereItIsHopeless(t *testing.T) {
	ours, fd := pair(t)
	theirs := socket(fd)
	b := make([]byte, 1)
	s := spin{most: time.Hour} // looks until something is there
	s.soon = true
	time.AfterFunc(time.Millisecond, func() { _, _ = ours.Write([]byte{1}) })
	if n, err := s.read(theirs, b); n != 1 || err != nil || !s.soon {
		t.Errorf("%d %v %+v", n, err, s)
	}
	late := spin{most: time.Hour} // the call before came late
	time.AfterFunc(time.Millisecond, func() { _, _ = ours.Write([]byte{1}) })
	if n, err := late.read(theirs, b); n != 1 || err != nil || !late.soon {
		t.Errorf("it looked, after a call that came late: %d %v %+v", n, err, late)
	}
	s.most = time.Nanosecond
	for i := range hopeless + 2 {
		s.soon = true
		time.AfterFunc(time.Millisecond, func() { _, _ = ours.Write([]byte{1}) })
		if n, err := s.read(theirs, b); n != 1 || err != nil || s.soon || s.failed != i+1 {
			t.Errorf("%d: %d %v %+v", i, n, err, s)
		}
	}
	if s := newSpin(-1); s.most != 0 {
		t.Error("spins although it must not")
	}
	_ = theirs.own()
}
