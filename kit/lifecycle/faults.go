package lifecycle

import (
	"context"
	"errors"

	"github.com/dougong-io/dougong/kit/fault"
)

var (
	pointStart = fault.Def{Name: "lifecycle.start", Doc: "A member of a group starts. An error is one of its Run.", Attrs: []string{"group", "member"}, Effects: fault.Call}
	pointStop  = fault.Def{Name: "lifecycle.stop", Doc: "A member of a group has stopped, and the group learns of it. An error is one of its Run.", Attrs: []string{"group", "member"}, Effects: fault.Call}
)

type points struct{ start, stop *fault.Point }

// WithFaults has the points lifecycle.start and lifecycle.stop of a set strike the members of a [Group]. A member
// that hangs as it starts is not ready in time; one that hangs as it stops is named when the bound is reached, and
// is let go then. A [Machine] alone has no points.
func WithFaults(set *fault.Set) Option {
	return func(opts *options) {
		opts.points = points{start: set.Point(pointStart), stop: set.Point(pointStop)}
	}
}

// passed runs a member between its points. bound ends with the group.
func (r *running) passed(g *Group, bound context.Context, ready func()) error {
	p, attrs := &g.machine.opts.points, func() []fault.Attr {
		return []fault.Attr{{Key: "group", Value: g.machine.name}, {Key: "member", Value: r.Name}}
	}
	if p.start.On() {
		if err := p.start.Hit(r.ctx, attrs()...); err != nil {
			return err
		}
	}
	err := r.Run(r.ctx, ready)
	if p.stop.On() && r.ctx.Err() != nil {
		if injected, ok := errors.AsType[*fault.Error](p.stop.Hit(bound, attrs()...)); ok {
			return errors.Join(err, injected)
		}
	}
	return err
}
