package breaker

import (
	"context"
	"errors"
	"fmt"

	"github.com/dougong-io/dougong/kit/fault"
)

var (
	pointAllow = fault.Def{Name: "breaker.allow", Doc: "A call asks its circuit for leave. An error refuses it as if the circuit were open.", Attrs: []string{"circuit"}, Effects: fault.Call}
	pointDone  = fault.Def{Name: "breaker.done", Doc: "The result of a call is counted. An error makes it a failure; dropped, it is lost.", Attrs: []string{"circuit"}, Effects: fault.Call | fault.Lose}
)

// WithFaults has the points breaker.allow and breaker.done of a set strike the group's calls, with no lock held.
//
// Calls by [Circuit.Allow] pass neither: what it does takes a few nanoseconds, and a point that is off would be a
// tenth of that. All other ways of asking pass breaker.allow, and their results breaker.done if that was on when
// they were let in.
func WithFaults[K comparable](set *fault.Set) Option[K] {
	return func(g *Group[K]) { g.allowing, g.ending = set.Point(pointAllow), set.Point(pointDone) }
}

// faulty reports whether a rule may strike.
func (k *core) faulty() bool { return k.allowing.On() || k.ending.On() }

// allowStruck is AllowCall while a rule may strike.
func (c *Circuit) allowStruck(ctx context.Context, call Call) (p Permit, err error) {
	if c.core.allowing.On() {
		if err := c.core.allowing.Hit(ctx, fault.Attr{Key: "circuit", Value: c.name}); err != nil {
			c.rejected.Add(1)
			return Permit{}, c.struck(err)
		}
	}
	p, err = c.allow(call)
	if err == nil && p.circuit != nil && c.core.ending.On() {
		p.word |= struck
	}
	return
}

// struck is a rejection that was injected, or what ended the context of a call that was held.
func (c *Circuit) struck(err error) error {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return fmt.Errorf("breaker: %s: %w", c.name, err)
	}
	refused := &RejectedError{Circuit: c.name, Reason: ReasonOpen, clock: c.clock}
	if e.RetryAfter > 0 {
		refused.until = after(c.clock.Now(), e.RetryAfter)
	}
	return fmt.Errorf("%w: %w", refused, err)
}

// ends passes the point of a result, and returns what it is then, or that it is lost.
func (c *Circuit) ends(o Outcome) (now Outcome, lost bool) {
	damage, err := c.core.ending.Damage(context.Background(), fault.Attr{Key: "circuit", Value: c.name})
	if err != nil {
		return Failure, false
	}
	return o, damage.Drop
}
