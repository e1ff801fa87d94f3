package fault

import (
	"context"
	"time"
)

// wait holds a call for d (for ever, if negative), until its context ends or the rule lets go.
func (s *Set) wait(ctx context.Context, t *tally, d time.Duration) error {
	until := t.held()
	if until == nil || d == 0 {
		return nil
	}
	if !take(&s.room.held, 1, int64(s.config.Ceiling.Held)) {
		t.capped.Add(1)
		return nil
	}
	defer s.room.held.Add(-1)
	var fires <-chan time.Time
	began, ask := time.Now(), d
	if d > 0 {
		ask = s.late.ask(d)
		timer := time.NewTimer(ask)
		defer timer.Stop()
		fires = timer.C
	}
	select {
	case <-fires:
		s.late.learn(ask, time.Since(began))
	case <-until:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// burn keeps this goroutine's processor busy. It looks at the time so often that it ends soon after its context or its rule.
func (s *Set) burn(ctx context.Context, t *tally, d time.Duration) {
	until := t.held()
	if until == nil {
		return
	}
	if !take(&s.room.burning, 1, int64(s.config.Ceiling.Burning)) {
		t.capped.Add(1)
		return
	}
	defer s.room.burning.Add(-1)
	x := uint64(1)
	for began := time.Now(); time.Since(began) < d; {
		for range 20_000 { // some tens of microseconds
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
		select {
		case <-until:
			return
		case <-ctx.Done():
			return
		default:
		}
	}
	s.burnt.Store(x) // so that the loop is of use to somebody
}

const page = 4096

// hold keeps memory until the rule lets go.
func (s *Set) hold(t *tally, m *Memory) {
	if !m.Leak && t.loaded.Swap(true) {
		return
	}
	if !take(&s.room.memory, m.Bytes, s.config.Ceiling.Memory) {
		t.capped.Add(1)
		t.loaded.Store(false)
		return
	}
	// With no lock held: this takes a while, and a kill switch must not wait for it.
	b := make([]byte, m.Bytes)
	for i := 0; i < len(b); i += page {
		b[i] = 1 // resident, not only reserved
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.until == nil {
		s.room.memory.Add(-m.Bytes)
		t.loaded.Store(false)
		return
	}
	t.ballast, t.room = append(t.ballast, b), &s.room
}

// park starts goroutines that wait until the rule lets go.
func (s *Set) park(t *tally, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.until == nil {
		return
	}
	if !take(&s.room.goroutines, int64(n), int64(s.config.Ceiling.Goroutines)) {
		t.capped.Add(1)
		return
	}
	for until := t.until; n > 0; n-- {
		s.end.Go(func() {
			<-until
			s.room.goroutines.Add(-1)
		})
	}
}
