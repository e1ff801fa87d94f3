package supervisor

import (
	"context"
	"sync"
	"time"
)

// call is some rows on their way to a worker and back.
type call struct {
	rows, answers []float64
	count         int // of rows
	deadline      time.Time
	probe         bool // before all others, and by itself
	trace         [16]byte
	span          [8]byte
	flags         byte

	wake chan wake // one at a time

	// Guarded by the pool's lock.
	queued bool // it waits for a lane
	single bool // it is not sent with others
	blame  int  // for workers that died while they had it and others
	lone   bool // it is sent to a worker that does nothing else

	careful time.Time // until then not to the only worker that is left

	// The caller may leave at any time, and takes rows and answers with it.
	mu   sync.Mutex
	left bool
	err  error // set before it is told that it is done

	from, to int // its rows in the frame of the lane that carries it
}

// wake tells the goroutine of a call what comes next: it has a lane, and is to carry itself and those that go with it; or,
// without one, it is done.
type wake struct{ lane *lane }

// gone tells whether its caller has left.
func (c *call) gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left
}

// leave ends the caller's interest in it.
func (c *call) leave() {
	c.mu.Lock()
	c.left = true
	c.mu.Unlock()
}

// finish tells the caller how it ended.
func (c *call) finish(err error) {
	c.mu.Lock()
	left := c.left
	c.err = err
	c.mu.Unlock()
	if !left {
		c.wake <- wake{} // with no lock held: the caller may use the call for another at once
	}
}

// await waits until the call has a lane or is done. The error is ctx's; the call may have a lane all the same.
func (c *call) await(ctx context.Context) (wake, error) {
	select {
	case w := <-c.wake:
		return w, nil
	default:
	}
	select {
	case w := <-c.wake:
		return w, nil
	case <-ctx.Done():
		return wake{}, ctx.Err()
	}
}
