//go:build linux

package worker

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestSpinRestsWhereItIsHopeless: a read that waits for long does not look for the next, and one that looked in vain
// again and again rests.
func TestSpinRestsWhereItIsHopeless(t *testing.T) {
	ours, fd := pair(t)
	theirs := socket(fd)
	b := make([]byte, 1)
	var active atomic.Int32
	s := spin{most: time.Hour, active: &active} // looks until something is there
	s.soon = true
	time.AfterFunc(time.Millisecond, func() { _, _ = ours.Write([]byte{1}) })
	if n, err := s.read(theirs, b); n != 1 || err != nil || !s.soon {
		t.Errorf("%d %v %+v", n, err, s)
	}
	late := spin{most: time.Hour, active: &active} // the call before came late
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
	active.Store(1) // another lane is in a call: this one would take its processor
	s = spin{most: time.Hour, active: &active, soon: true}
	time.AfterFunc(time.Millisecond, func() { _, _ = ours.Write([]byte{1}) })
	if n, err := s.read(theirs, b); n != 1 || err != nil || active.Load() != 1 {
		t.Errorf("beside another: %d %v, %d are active", n, err, active.Load())
	}
	if s := newSpin(-1, &active); s.most != 0 {
		t.Error("spins although it must not")
	}
	_ = theirs.own()
}
