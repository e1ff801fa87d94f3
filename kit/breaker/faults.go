package breaker

import (
	"context"
	"errors"
	"fmt"

	"github.com/dougong-io/dougong/kit/fault"
)

var (
	pointAllow = fault.Def{Name: "breaker.allow", Doc: "A call asks its circuit for leave. An error refuses it as if the circuit were open.", Attrs: []string{"circuit"}, Effects: fault.Call}
	pointDone  = fault.Def{Name: "breaker.done", Doc: "The result of a call is counted. An error or a panic makes it a failure; dropped, it is lost.", Attrs: []string{"circuit"}, Effects: fault.Call | fault.Lose}
)

// WithFaults has the points breaker.allow and breaker.done of a set strike the group's calls, with no lock held.
//
// Calls by [Circuit.Allow] pass neither: what it does takes a few nanoseconds, and a point that is off would be a
// tenth of that. All other ways of asking pass breaker.allow, and their results breaker.done if that was on when
// they were let in. A panic at breaker.done counts as a failure, and goes no further: results are given where nobody
// recovers, and where more is to be given back.
func WithFaults[K comparable](set *fault.Set) Option[K] {
	return func(g *Group[K]) { g.allowing, g.ending = set.Point(pointAllow), set.Point(pointDone) }
}

// faulty reports whether a rule may strike.
func (k *core) faulty() bool { return k.allowing.On() || k.ending.On() }

// allowStruck is AllowCall while a rule may strike.
func (c *Circuit) allowStruck(call Call) (p Permit, err error) {
	if c.core.allowing.On() {
		if err := c.core.allowing.Hit(call.Ctx, fault.Attr{Key: "circuit", Value: c.name}); err != nil {
			return Permit{}, c.struck(err)
		}
	}
	p, err = c.allow(call)
	if err == nil && p.circuit != nil && c.core.ending.On() {
		p.word |= struck
	}
	return
}

// struck counts a call that a fault ended, or its context while a fault held it, and says why.
func (c *Circuit) struck(err error) error {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		c.ignored.Add(1)
		return fmt.Errorf("breaker: %s: %w", c.name, err)
	}
	c.rejected.Add(1)
	refused := &RejectedError{Circuit: c.name, Reason: ReasonOpen, clock: c.clock}
	if e.RetryAfter > 0 {
		refused.until = after(c.clock.Now(), e.RetryAfter)
	}
	return fmt.Errorf("%w: %w", refused, err)
}

// ends passes the point of a result, and returns what it is then, or that it is lost.
func (c *Circuit) ends(ctx context.Context, o Outcome) (now Outcome, lost bool) {
	damage, err := c.core.end(ctx, c.name)
	switch {
	case err == nil:
		return o, damage.Drop
	case errors.Is(err, fault.ErrInjected):
		return Failure, false
	}
	return o, false // the call ended meanwhile, which changes nothing about its result
}

func (k *core) end(ctx context.Context, circuit string) (_ fault.Damage, err error) {
	defer fault.Contain(&err)
	return k.ending.Damage(ctx, fault.Attr{Key: "circuit", Value: circuit})
}
