package load

import (
	"context"
	"time"
)

// An exchange makes the user's current request and waits for its whole answer. It sets user.sent. ctx ends at the
// request's deadline.
type exchange func(ctx context.Context, u *user) outcome

// caller is a link over a client library that blocks: a goroutine that takes requests.
type caller struct {
	u        *user
	exchange exchange
	open     func(ctx context.Context) error // sets up the connection that this user is the first to need; may be nil
	close    func()                          // may be nil

	wake   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{}
}

func newCaller(u *user, exchange exchange) *caller {
	c := &caller{u: u, exchange: exchange, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	go c.loop()
	return c
}

func (c *caller) connect(ctx context.Context) error {
	if c.open == nil {
		return nil
	}
	return c.open(ctx)
}

func (c *caller) start()  { c.wake <- struct{}{} }
func (c *caller) expire() {} // the context does

func (c *caller) stop() {
	c.cancel()
	<-c.ended
	if c.close != nil {
		c.close()
	}
}

func (c *caller) loop() {
	defer close(c.ended)
	for {
		select {
		case <-c.wake:
		case <-c.ctx.Done():
			select {
			case <-c.wake:
				c.u.unfinished()
			default:
			}
			return
		}
		for more := true; more; {
			more = c.call()
		}
	}
}

// call makes one request. It returns whether another is to be made at once.
func (c *caller) call() bool {
	u := c.u
	if now := u.run.clock.now(); u.dispatched {
		u.dispatched = false
		u.run.pace.late.tick(u.due, now) // the way from the dispatcher to here is ours too
	}
	left := time.Duration(u.deadline.Load() - u.run.clock.now())
	ctx, cancel := context.WithTimeout(c.ctx, max(left, time.Microsecond))
	o := c.exchange(ctx, u)
	cancel()
	if c.ctx.Err() != nil && o.class != "" {
		u.unfinished()
		return false
	}
	if o.end == 0 {
		o.end = u.run.clock.now()
	}
	if o.class != "" && u.expired(o.end) {
		o.class = ClassTimeout // whatever the library called it
	}
	return u.finish(o)
}
