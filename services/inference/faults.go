package inference

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/services/inference/repository"
)

// The points of a request, in the order in which it passes them.
var (
	pointAdmit = fault.Def{
		Name: "inference.admit", Doc: "A request asks for a place.",
		Attrs: []string{"tenant"}, Effects: fault.Call,
	}
	pointBody = fault.Def{
		Name: "inference.body", Doc: "The body of a request is read; over gRPC, a message that is whole is looked at. What is dropped is an empty body.",
		Attrs: []string{"tenant"}, Effects: fault.Bytes,
	}
	pointDecode = fault.Def{
		Name: "inference.decode", Doc: "A request is parsed, whatever its protocol.",
		Attrs: []string{"tenant"}, Effects: fault.Call,
	}
	pointModel = fault.Def{
		Name: "inference.model", Doc: "The model that a request names is looked up. An attribute is what the request says; version is empty if it says nothing.",
		Attrs: []string{"model", "version", "tenant"}, Effects: fault.Call,
	}
	pointPermit = fault.Def{
		Name: "inference.permit", Doc: "The circuit breaker of a version is asked whether it may be called.",
		Attrs: []string{"model", "version", "tenant"}, Effects: fault.Call,
	}
	pointScore = fault.Def{
		Name: "inference.score", Doc: "A version of a model scores the rows of a request. The circuit breaker counts what happens here.",
		Attrs: []string{"model", "version", "tenant"}, Effects: fault.Call,
	}
	pointEncode = fault.Def{
		Name: "inference.encode", Doc: "The answer is encoded.",
		Attrs: []string{"model", "version", "tenant"}, Effects: fault.Call,
	}
	pointWrite = fault.Def{
		Name: "inference.write", Doc: "The answer is written. An error without an HTTP status, and a drop, cut the connection; over gRPC they fail the call.",
		Attrs: []string{"tenant"}, Effects: fault.Bytes,
	}
)

// pointClock is no point of a request: whoever asks the time passes it.
var pointClock = fault.Def{
	Name: "inference.clock", Doc: "The circuit breakers of the versions ask what time it is.",
	Effects: fault.Skew,
}

type points struct{ admit, body, decode, model, permit, score, encode, write *fault.Point }

func newPoints(s *fault.Set) points {
	return points{
		admit: s.Point(pointAdmit), body: s.Point(pointBody), decode: s.Point(pointDecode), model: s.Point(pointModel),
		permit: s.Point(pointPermit), score: s.Point(pointScore), encode: s.Point(pointEncode), write: s.Point(pointWrite),
	}
}

// strikeBody has them strike the bytes of a body that are about to be read.
func (x *exchange) strikeBody() (fault.Damage, error) {
	damage, err := x.service.points.body.Damage(x.ctx, x.attr())
	if err != nil {
		err = ordered(x.ctx, err, bodyError(x.ctx, err))
	}
	return damage, err
}

// strikeAnswer has them strike an answer that is about to be written over HTTP, and returns what is left of it.
func (x *exchange) strikeAnswer(answer []byte) ([]byte, error) {
	damage, err := x.service.points.write.Damage(x.ctx, x.attr())
	err = ordered(x.ctx, err, nil)
	rule, injected := errors.AsType[*fault.Error](err)
	switch {
	case injected && rule.HTTPStatus == 0, damage.Drop:
		panic(http.ErrAbortHandler) // what a caller sees of an answer that could not be written
	case err != nil:
		return nil, err
	}
	return damage.Apply(answer, 0), nil
}

// asked is what a request says of the model that it wants. The request's bytes do not outlive it, so this is a copy.
func asked(w wanted, loaded *loadedModels) []fault.Attr {
	model := loaded.defaultModel
	if w.hasModel {
		model = strings.Clone(w.model)
	}
	return []fault.Attr{{Key: "model", Value: model}, {Key: "version", Value: strings.Clone(w.version)}}
}

func named(v *repository.Version) []fault.Attr {
	return []fault.Attr{{Key: "model", Value: v.Model}, {Key: "version", Value: v.Name}}
}

// orderedError is an error that a rule ordered, in the place of one of the boundary's own.
type orderedError struct{ rule, failure error }

func (e *orderedError) Error() string { return e.rule.Error() }

func (e *orderedError) Unwrap() []error { return []error{e.failure, e.rule} }

// ordered makes what a point returned what the boundary returns.
func ordered(ctx context.Context, err, failure error) error {
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, fault.ErrInjected): // the request ended while it was held
		return ctx.Err()
	case failure == nil:
		return err
	}
	return &orderedError{err, failure}
}
