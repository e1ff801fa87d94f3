package inference

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/pool"
	"github.com/dougong-io/dougong/kit/problem"
	"github.com/dougong-io/dougong/kit/ramp"
	"github.com/dougong-io/dougong/services/inference/repository"
)

// Codes of the problem documents that the service answers with. They are stable.
const (
	CodeInvalidRequest  = "invalid_request"
	CodeTooManyRows     = "too_many_rows"
	CodeBodyTooLarge    = "body_too_large"
	CodeBodyTimeout     = "body_timeout"
	CodeModelNotFound   = "model_not_found"
	CodeVersionNotFound = "version_not_found"
	CodeNotReady        = "not_ready"
	CodeOverloaded      = "overloaded"
	CodeModelFailing    = "model_failing"
	CodeDeadline        = "deadline_exceeded"
	CodeInternal        = "internal"
)

// blockRows is how many rows are scored between two looks at the deadline.
const blockRows = 256

// outcome is what the observer is told when a request has ended.
type outcome struct {
	start    time.Time
	took     time.Duration // 0: until now
	observer VersionObserver
	result   Result
	rows     int
}

func (o *outcome) report() {
	if o.took == 0 {
		o.took = time.Since(o.start)
	}
	o.observer.Predicted(o.result, o.rows, o.took)
}

// predict is POST /v1/predict.
func (s *Service) predict(w http.ResponseWriter, r *http.Request) {
	o := outcome{start: time.Now(), observer: s.unnamed, result: Failed} // told also when a panic passes through
	defer o.report()
	if err := s.answer(w, r, &o); err != nil {
		if errors.Is(err, limit.ErrRejected) && expired(r.Context()) {
			err = context.DeadlineExceeded // nobody waits any more: to try again later is no advice
		}
		o.result, o.rows = s.answerProblem(w, err), 0
	}
}

// answer goes: admit, read the body, wait for a slot, parse, score, encode, write. Admission comes before
// the body so that a refusal costs next to nothing; the slot comes after it so that a slow sender holds none.
func (s *Service) answer(w http.ResponseWriter, r *http.Request, o *outcome) error {
	loaded := s.models.Load()
	if loaded == nil || !s.state.State().Serving() {
		return notReady(s.state)
	}
	if s.points.admit.On() {
		if err := s.strike(s.points.admit, r, &limit.RejectedError{Reason: limit.QueueFull}); err != nil {
			return err
		}
	}
	permit, err := s.limiter.AdmitFor(s.admission(r))
	if err != nil {
		return err
	}
	defer permit.Done()

	answer := s.buffers.Get(0)
	defer answer.Release()
	if err := s.compute(r, permit, loaded, answer, o); err != nil {
		if !errors.Is(err, context.DeadlineExceeded) {
			permit.DoneWith(limit.Ignored) // a refusal is quick, and says nothing of how long work takes
		}
		return err
	}
	permit.Done() // the answer goes out without a slot and a place: what a slow reader holds is its answer
	held := share{of: &s.memory}
	defer held.give()
	if !held.take(cap(answer.Bytes())) {
		return errNoMemory
	}
	if s.points.write.On() {
		return s.writeStruck(w, r, answer.Bytes(), o)
	}
	o.result, o.took = OK, time.Since(o.start)
	writeAnswer(w, answer.Bytes(), len(answer.Bytes()) > shortAnswer)
	return nil
}

// shortAnswer is what net/http buffers whole, and so finds the length of by itself; longer answers would go
// out in chunks without one.
const shortAnswer = 2048

var jsonContentType = []string{"application/json"}

func writeAnswer(w http.ResponseWriter, answer []byte, withLength bool) {
	header := w.Header()
	header["Content-Type"] = jsonContentType
	if withLength {
		header["Content-Length"] = []string{strconv.Itoa(len(answer))}
	}
	w.Write(answer) // an error here is the caller's connection, which the server notices itself
}

// admission is what the limit may know of a request.
func (s *Service) admission(r *http.Request) limit.Request {
	request := limit.Request{Ctx: r.Context()}
	request.Deadline, _ = r.Context().Deadline()
	if s.deps.Tenant != nil {
		request.Tenant = s.deps.Tenant(r)
	}
	if s.cfg.PriorityHeader != "" {
		request.Priority = priorityOf(r.Header.Get(s.cfg.PriorityHeader))
	}
	return request
}

// priorityOf is what a caller says that its request is; what is no priority is a normal one.
func priorityOf(text string) limit.Priority {
	for _, p := range [...]limit.Priority{limit.Critical, limit.Batch} {
		if text == p.String() {
			return p
		}
	}
	return limit.Normal
}

// compute reads the body, waits for a slot, and leaves the encoded answer in answer. When it returns, nothing
// else of the request is in memory.
func (s *Service) compute(r *http.Request, permit limit.Permit, loaded *loadedModels, answer pool.Buffer, o *outcome) error {
	body := s.buffers.Get(roomFor(r.ContentLength, 0))
	defer body.Release()
	held := share{of: &s.memory}
	defer held.give()
	if err := s.readBody(body, &held, r); err != nil {
		return err
	}
	if err := permit.Start(r.Context()); err != nil {
		return err
	}
	lease := s.scratch.Get() // not before: there are more requests that arrive than slots
	defer lease.Release()
	sc := lease.Value()
	version, err := s.score(r, loaded, body.Bytes(), sc, o)
	if err != nil {
		return err
	}
	if s.points.encode.On() {
		if err := s.strike(s.points.encode, r, nil, named(version)...); err != nil {
			return err
		}
	}
	answer.Grow(answerBytes(version, sc.request.rows))
	answer.SetBytes(appendAnswer(answer.Bytes(), version, sc.request.form, sc.outputs))
	o.rows = sc.request.rows
	return nil
}

// expired tells whether nobody waits for the answer any more.
func expired(ctx context.Context) bool { return late(ctx) || ctx.Err() != nil }

// late tells whether the deadline has passed.
func late(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

// score parses a body and scores its rows into sc.outputs. From when the version is known, its observer is
// the one that o tells.
func (s *Service) score(r *http.Request, loaded *loadedModels, body []byte, sc *scratch, o *outcome) (*repository.Version, error) {
	req := &sc.request
	if s.points.decode.On() {
		if err := s.strike(s.points.decode, r, malformed("the body could not be parsed")); err != nil {
			return nil, err
		}
	}
	if err := req.parse(body, s.cfg.MaxRows); err != nil {
		return nil, err
	}
	if s.points.model.On() {
		if err := s.strike(s.points.model, r, repository.ErrUnknownModel, asked(req, loaded)...); err != nil {
			return nil, err
		}
	}
	version, err := loaded.find(req)
	if err != nil {
		return nil, err
	}
	served := loaded.served[version]
	o.observer = served.observer
	o.observer.Begin()
	if err := req.bind(version, body); err != nil {
		return nil, err
	}
	if s.points.permit.On() {
		if err := s.strike(s.points.permit, r, &breaker.RejectedError{}, named(version)...); err != nil {
			return nil, err
		}
	}
	permit, err := served.circuit.AllowCall(s.callOf(r))
	if err != nil {
		return nil, err
	}
	outcome := breaker.Failure // if it panics
	defer func() { permit.Done(outcome) }()
	if s.points.score.On() {
		err = s.strike(s.points.score, r, nil, named(version)...)
	}
	if err == nil {
		sc.outputs, err = predictRows(r.Context(), version, req, sc.outputs)
	}
	outcome = outcomeOf(err)
	return version, err
}

// callOf is what a breaker may know of a request.
func (s *Service) callOf(r *http.Request) breaker.Call {
	call, h := breaker.Call{Ctx: r.Context()}, r.Header
	if s.cfg.TestHeader != "" {
		call.Marked = h.Get(s.cfg.TestHeader) == "true"
	}
	if id := h.Get("X-Request-Id"); id != "" {
		call.Hash = ramp.HashString(id)
	}
	return call
}

// outcomeOf says what the end of a prediction tells of the version. A deadline that passed tells of the caller's
// patience: callers with little of it must not close a version to the others.
func outcomeOf(err error) breaker.Outcome {
	switch {
	case err == nil:
		return breaker.Success
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return breaker.Ignored
	}
	return breaker.Failure
}

func (m *loadedModels) find(req *predictRequest) (*repository.Version, error) {
	name := text(req.model)
	if !req.hasModel {
		if name = m.defaultModel; name == "" {
			return nil, malformed("field model is needed: there are %s, and inference.default_model names none of them", strings.Join(m.Names(), ", "))
		}
	}
	if req.hasVersion && len(req.version) == 0 {
		return nil, malformed("version is empty; leave it out for the serving one")
	}
	return m.Find(name, text(req.version))
}

// predictRows scores the rows of a bound request into outputs, which it grows as needed.
func predictRows(ctx context.Context, version *repository.Version, req *predictRequest, outputs []float64) ([]float64, error) {
	perRow := version.Outputs()
	if n := req.rows * perRow; cap(outputs) < n {
		outputs = make([]float64, n)
	} else {
		outputs = outputs[:n]
	}
	for first := 0; first < req.rows; first += blockRows {
		if first > 0 && expired(ctx) {
			return outputs, context.DeadlineExceeded
		}
		last := min(first+blockRows, req.rows)
		if err := version.Predict(outputs[first*perRow:last*perRow], req.values[first*req.width:last*req.width]); err != nil {
			return outputs, err
		}
	}
	for _, x := range outputs {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return outputs, fmt.Errorf("model %s version %s answered %v, which JSON cannot hold", version.Model, version.Name, x)
		}
	}
	return outputs, nil
}

// text views bytes as a string for a look-up; the bytes outlive it.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

var errNoMemory = errors.New("too many bytes of request bodies and answers are in memory")

// rejections are the details of refusals, for callers.
var rejections = map[limit.Reason]string{
	limit.ArrivingFull: "too many requests are still sending their bodies",
	limit.QueueFull:    "too many requests are waiting",
	limit.Displaced:    "too many requests are waiting, and more urgent ones, or those of others, went first",
	limit.TenantFull:   "too many of your requests are here already",
	limit.Deadline:     "so many requests are waiting that this one could not be answered within its deadline",
	limit.Closed:       "the service is stopping",
}

// notReadyError says in which state the service refuses.
type notReadyError lifecycle.State

func notReady(m *lifecycle.Machine) error { return notReadyError(m.State()) }

func (e notReadyError) Error() string {
	return "the service is " + lifecycle.State(e).String() + " and does not take requests"
}

// answerProblem answers with the problem document for err.
func (s *Service) answerProblem(w http.ResponseWriter, err error) Result {
	p, result := problemOf(err)
	if rule, ok := errors.AsType[*fault.Error](err); ok {
		p.Detail = rule.Error() // so that nobody hunts for a failure that was ordered
		p.Status = cmp.Or(rule.HTTPStatus, p.Status)
		p.RetryAfter = cmp.Or(rule.RetryAfter, p.RetryAfter)
	}
	if result == Failed {
		s.deps.Log.Error("prediction failed", "error_code", p.Code, "error", err)
	}
	problem.Write(w, &p)
	return result
}

func problemOf(err error) (problem.Problem, Result) {
	var bad *badRequest
	var rejected *limit.RejectedError
	var broken *breaker.RejectedError
	var state notReadyError
	switch {
	case errors.As(err, &bad):
		return problem.Problem{Status: bad.status, Code: bad.code, Detail: bad.msg}, Invalid
	case errors.Is(err, repository.ErrUnknownModel):
		return problem.Problem{Status: http.StatusNotFound, Code: CodeModelNotFound, Detail: err.Error()}, Invalid
	case errors.Is(err, repository.ErrUnknownVersion):
		return problem.Problem{Status: http.StatusNotFound, Code: CodeVersionNotFound, Detail: err.Error()}, Invalid
	case errors.As(err, &rejected):
		return problem.Problem{Status: http.StatusServiceUnavailable, Code: CodeOverloaded, Detail: rejections[rejected.Reason],
			RetryAfter: max(rejected.RetryAfter, retryAfter)}, Rejected
	case errors.As(err, &broken):
		return problem.Problem{Status: http.StatusServiceUnavailable, Code: CodeModelFailing, Detail: "too many predictions of this version of the model failed; it is tried again later",
			RetryAfter: max(broken.RetryAfter(), retryAfter)}, Rejected
	case errors.Is(err, errNoMemory):
		return problem.Problem{Status: http.StatusServiceUnavailable, Code: CodeOverloaded, Detail: err.Error(), RetryAfter: retryAfter}, Rejected
	case errors.As(err, &state):
		return problem.Problem{Status: http.StatusServiceUnavailable, Code: CodeNotReady, Detail: err.Error(), RetryAfter: retryAfter}, Rejected
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return problem.Problem{Status: http.StatusGatewayTimeout, Code: CodeDeadline, Detail: "the request's deadline passed before its answer was ready"}, Expired
	default:
		return problem.Problem{Status: http.StatusInternalServerError, Code: CodeInternal, Detail: "the prediction failed; the log has the reason"}, Failed
	}
}
