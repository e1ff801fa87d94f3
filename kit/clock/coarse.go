package clock

import (
	"sync"
	"time"
)

// Resolution suits measurements of half a second and more.
const Resolution = 5 * time.Millisecond

const (
	// A clock that is read less often than this is exact: its readings cost less than the ticks would.
	sample     = 64
	sampleTime = sample * time.Millisecond

	ticksAwake = 8
)

// Coarse is a clock that trades precision for speed. This type is concurrency safe.
type Coarse struct {
	clock      Clock
	resolution time.Duration
	origin     time.Time

	mu        sync.Mutex // guards what follows
	timer     *time.Timer
	ticks     int           // left before the clock goes to sleep
	reads     int           // of the exact time, since the last sample
	sampledAt time.Duration // when the last sample was full
	shown     time.Duration
	lag       time.Duration
}

// NewCoarse returns a clock whose readings are behind by at most resolution, plus the time by which the runtime
// is late to run a timer: under a millisecond while a processor is free, as long as the pause itself where the
// process is paused, by a CPU quota for example. Lag tells what was seen. While it is read less than about a
// thousand times a second it is exact, and nothing runs.
//
// It needs no end: no goroutine waits, and its timer stops by itself. resolution is at least a millisecond. In
// a synctest bubble make it inside: a timer ends with its bubble.
func NewCoarse(resolution time.Duration) *Coarse {
	k := &Coarse{resolution: max(resolution, time.Millisecond), origin: time.Now(), sampledAt: -sampleTime}
	k.clock.read = k.readExact
	k.clock.now.Store(unknown)
	return k
}

// Clock is what those who read the time are given.
func (k *Coarse) Clock() *Clock { return &k.clock }

// Lag is the most by which a reading can have been behind until now.
func (k *Coarse) Lag() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ticks > 0 {
		return max(k.lag, time.Since(k.origin)-k.shown)
	}
	return k.lag
}

// readExact asks the system under the lock, so that no reading is later than a tick that is shown after it.
func (k *Coarse) readExact() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ticks > 0 { // since the caller looked
		return k.shown
	}
	now := time.Since(k.origin)
	if k.reads++; k.reads < sample {
		return now
	}
	busy := now-k.sampledAt < sampleTime
	k.reads, k.sampledAt = 0, now
	if busy {
		k.wake(now)
	}
	return now
}

// wake begins to tick. The lock is held.
func (k *Coarse) wake(now time.Duration) {
	k.ticks = ticksAwake
	k.show(now)
	if k.timer == nil {
		k.timer = time.AfterFunc(k.resolution, k.tick)
	} else {
		k.timer.Reset(k.resolution)
	}
}

func (k *Coarse) tick() {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Since(k.origin)
	k.lag = max(k.lag, now-k.shown)
	if k.ticks--; k.ticks > 0 {
		k.show(now)
		k.timer.Reset(k.resolution)
		return
	}
	k.clock.now.Store(unknown)
	k.reads, k.sampledAt = 0, now // those who read now begin a sample
}

func (k *Coarse) show(now time.Duration) {
	k.shown = now
	k.clock.now.Store(int64(now))
}
