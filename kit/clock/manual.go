package clock

import "time"

// Manual is a clock that moves only when it is told to. This type is concurrency safe.
type Manual struct{ clock Clock }

// NewManual returns a clock that stands at its origin.
func NewManual() *Manual { return &Manual{} }

// Clock is what the code under test is given.
func (m *Manual) Clock() *Clock { return &m.clock }

// Advance moves the clock forward. It panics if d is negative: no clock of this package goes back.
func (m *Manual) Advance(d time.Duration) {
	if d < 0 {
		panic("clock: advance by a negative duration")
	}
	m.clock.now.Add(int64(d))
}
