package inference

import (
	"context"
	"errors"
	"strings"
	"time"
	"unsafe"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/services/inference/repository"
	"github.com/dougong-io/dougong/services/inference/supervisor"
)

// score parses a body and scores its rows into sc.outputs.
func (x *exchange) score(m message, body []byte, sc *scratch) (*served, error) {
	s := x.service
	if s.points.decode.On() {
		if err := x.strike(s.points.decode, malformed("the body could not be parsed")); err != nil {
			return nil, err
		}
	}
	if len(body) == 0 && x.kind != overGRPC { // where a message without fields is empty
		return nil, malformed("the body is empty")
	}
	if err := m.parse(body, s.cfg.MaxRows); err != nil {
		if wants := m.wanted(); x.asked == nil && wants.hasModel {
			_ = x.find(wants) // so that the fault counts where it belongs, if that could be read
		}
		return nil, err
	}
	if x.asked == nil {
		if err := x.find(m.wanted()); err != nil {
			return nil, err
		}
	}
	v := x.asked
	if err := m.bind(v, body); err != nil {
		return nil, err
	}
	x.parsed = time.Since(x.start) - x.began
	return v, x.answerRows(v, m, sc)
}

// scoreBy has a version score rows into sc.outputs, if its circuit lets it be called.
func (x *exchange) scoreBy(v *served, values []float64, rows int, sc *scratch) error {
	s := x.service
	if s.points.permit.On() {
		if err := x.strike(s.points.permit, &breaker.RejectedError{}, named(v.Version)...); err != nil {
			return err
		}
	}
	turn, err := v.turn(x)
	if err != nil {
		return err
	}
	permit, err := v.circuit.AllowCall(breaker.Call{Ctx: x.ctx, Marked: x.marked, Hash: x.hash})
	if err != nil {
		return err
	}
	began, yielded := time.Since(x.start), x.yielded
	outcome := breaker.Failure // if it panics
	defer func() {
		permit.Done(outcome)
		if outcome != breaker.Ignored || errors.Is(err, supervisor.ErrUnavailable) {
			turn.Done(outcome == breaker.Success)
		}
	}()
	if s.points.score.On() {
		err = x.strike(s.points.score, nil, named(v.Version)...)
	}
	switch {
	case err != nil:
	case v.pool != nil:
		sc.outputs, err = x.predictByWorkers(v, values, rows, sc.outputs)
	default:
		sc.outputs, err = x.predictRows(v.Version, values, rows, sc.outputs)
	}
	x.scored += time.Since(x.start) - began - (x.yielded - yielded)
	outcome = outcomeOf(err)
	return err
}

// find looks for the version that a request asks for, whose observer is told of it from then on.
func (x *exchange) find(w wanted) error {
	if x.service.points.model.On() {
		if err := x.strike(x.service.points.model, repository.ErrUnknownModel, asked(w, x.loaded)...); err != nil {
			return err
		}
	}
	v, err := x.loaded.find(w)
	if err != nil {
		return err
	}
	x.asked, x.observer = v, v.observer
	x.observer.Begin()
	return nil
}

// outcomeOf says what the end of a prediction tells of the version. A deadline that passed, also while others went first
// between two blocks, tells of the caller's patience: callers with little of it must not close a version to the others.
// Nor does an input that is wrong, and of workers that are away their pool knows.
func outcomeOf(err error) breaker.Outcome {
	switch {
	case err == nil:
		return breaker.Success
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, limit.ErrRejected), errors.Is(err, errNoMemory),
		errors.Is(err, supervisor.ErrInput), errors.Is(err, supervisor.ErrQuarantined), errors.Is(err, supervisor.ErrUnavailable):
		return breaker.Ignored
	}
	return breaker.Failure
}

func (m *loadedModels) find(w wanted) (*served, error) {
	if !w.hasModel {
		if w.model = m.defaultModel; w.model == "" {
			return nil, malformed("field model is needed: there are %s, and inference.default_model names none of them", strings.Join(m.Names(), ", "))
		}
	}
	if w.hasVersion && w.version == "" {
		return nil, malformed("version is empty; leave it out for the serving one")
	}
	v, err := m.Find(w.model, w.version)
	if err != nil {
		return nil, err
	}
	return m.served[v], nil
}

// text views bytes as a string for a look-up; the bytes outlive it.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
