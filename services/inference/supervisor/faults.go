package supervisor

import (
	"context"
	"fmt"

	"github.com/dougong-io/dougong/kit/fault"
)

// The points of workers.
var (
	pointStart = fault.Def{
		Name: "inference.worker.start", Doc: "A worker process is started. What fails here is tried again after backoff.",
		Attrs: []string{"model", "version"}, Effects: fault.Call,
	}
	pointCall = fault.Def{
		Name: "inference.worker.call", Doc: "Rows are about to go to a worker. What fails here is taken for the worker's failure.",
		Attrs: []string{"model", "version"}, Effects: fault.Call,
	}
)

type points struct{ start, call *fault.Point }

func newPoints(s *fault.Set) points {
	return points{start: s.Point(pointStart), call: s.Point(pointCall)}
}

// strike has the rules of a point that is on strike.
func (p *Pool) strike(ctx context.Context, point *fault.Point) error {
	return point.Hit(ctx, fault.Attr{Key: "model", Value: p.model.Name}, fault.Attr{Key: "version", Value: p.model.Version})
}

// strikeStart is the same where nobody is above who would take a panic for a request's.
func (p *Pool) strikeStart(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return p.strike(ctx, p.points.start)
}
