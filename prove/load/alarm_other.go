//go:build !linux

package load

import "time"

// alarm wakes the dispatcher, as exactly as the runtime's timers are.
type alarm struct {
	clock *clock
	timer *time.Timer
	quit  chan struct{}
}

func newAlarm(c *clock) (*alarm, error) {
	return &alarm{clock: c, timer: time.NewTimer(time.Hour), quit: make(chan struct{})}, nil
}

// set makes the alarm go off at a time of the run, instead of the one set before.
func (a *alarm) set(at int64) { a.timer.Reset(time.Duration(max(at-a.clock.now(), 0))) }

// run calls ring each time the alarm goes off, until it is closed.
func (a *alarm) run(ring func()) {
	for {
		select {
		case <-a.timer.C:
			ring()
		case <-a.quit:
			return
		}
	}
}

func (a *alarm) close() { close(a.quit) }
