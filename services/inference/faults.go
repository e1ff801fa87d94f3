package inference

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

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
		Name: "inference.body", Doc: "The body of a request is read. What is dropped is an empty body.",
		Attrs: []string{"tenant"}, Effects: fault.Bytes,
	}
	pointDecode = fault.Def{
		Name: "inference.decode", Doc: "The JSON of a request is parsed.",
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
		Name: "inference.write", Doc: "The answer is written. An error without an HTTP status, and a drop, cut the connection.",
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

// strike has the rules of a point that is on strike a request. What they order is answered as failure is, which is
// what the boundary itself fails with.
func (s *Service) strike(p *fault.Point, r *http.Request, failure error, about ...fault.Attr) error {
	return ordered(r.Context(), p.Hit(r.Context(), append(about, s.tenantAttr(r))...), failure)
}

// strikeBody is strike for the bytes of a body that are about to be read.
func (s *Service) strikeBody(r *http.Request) (fault.Damage, error) {
	damage, err := s.points.body.Damage(r.Context(), s.tenantAttr(r))
	if err != nil {
		err = ordered(r.Context(), err, bodyError(r.Context(), err))
	}
	return damage, err
}

func (s *Service) tenantAttr(r *http.Request) fault.Attr {
	tenant := fault.Attr{Key: "tenant"}
	if s.deps.Tenant != nil {
		tenant.Value = s.deps.Tenant(r)
	}
	return tenant
}

// asked is what a request says of the model that it wants. The request's bytes do not outlive it, so this is a copy.
func asked(req *predictRequest, loaded *loadedModels) []fault.Attr {
	model := loaded.defaultModel
	if req.hasModel {
		model = string(req.model)
	}
	return []fault.Attr{{Key: "model", Value: model}, {Key: "version", Value: string(req.version)}}
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

// writeStruck is writeAnswer where rules may strike.
func (s *Service) writeStruck(w http.ResponseWriter, r *http.Request, answer []byte, o *outcome) error {
	damage, err := s.points.write.Damage(r.Context(), s.tenantAttr(r))
	err = ordered(r.Context(), err, nil)
	rule, injected := errors.AsType[*fault.Error](err)
	switch {
	case injected && rule.HTTPStatus == 0, damage.Drop:
		panic(http.ErrAbortHandler) // what a caller sees of an answer that could not be written
	case err != nil:
		return err
	}
	o.result, o.took = OK, time.Since(o.start)
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(answer))} // of what was to come: of one cut short the caller shall know
	writeAnswer(w, damage.Apply(answer, 0), false)
	return nil
}
