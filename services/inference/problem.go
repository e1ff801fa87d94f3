package inference

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/problem"
	"github.com/dougong-io/dougong/services/inference/repository"
	"github.com/dougong-io/dougong/services/inference/supervisor"
)

// Codes of the problem documents that the service answers with. They are stable.
const (
	CodeInvalidRequest  = "invalid_request"
	CodeTooManyRows     = "too_many_rows"
	CodeBodyTooLarge    = "body_too_large"
	CodeBodyTimeout     = "body_timeout"
	CodeUnknownEncoding = "unknown_encoding"
	CodeNotImplemented  = "not_implemented"
	CodeModelNotFound   = "model_not_found"
	CodeVersionNotFound = "version_not_found"
	CodeNotReady        = "not_ready"
	CodeOverloaded      = "overloaded"
	CodeModelFailing    = "model_failing"
	CodeUnavailable     = "model_unavailable"
	CodeQuarantined     = "input_quarantined"
	CodeNotQuarantined  = "not_in_quarantine"
	CodeDeadline        = "deadline_exceeded"
	CodeInternal        = "internal"
)

// memberReference is the member of a problem document that names an input in quarantine.
const memberReference = "reference"

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

// brokenness are the details of what a breaker refuses, for callers.
var brokenness = map[breaker.Reason]string{
	breaker.ReasonOpen:    "too many predictions of this version of the model failed; it is tried again later",
	breaker.ReasonProbing: "too many predictions of this version of the model failed; a few calls find out whether it works again",
	breaker.ReasonRising:  "this version of the model failed and is coming back: a growing share of the calls is served, and this one is not among it",
	breaker.ReasonShed:    "a part of the predictions of this version of the model fails, and a part of the calls is refused",
}

// notReadyError says in which state the service refuses.
type notReadyError lifecycle.State

func notReady(m *lifecycle.Machine) error { return notReadyError(m.State()) }

func (e notReadyError) Error() string {
	return "the service is " + lifecycle.State(e).String() + " and does not take requests"
}

// answerProblem answers with the problem document for err.
func (s *Service) answerProblem(w http.ResponseWriter, err error) Result {
	p, result := s.problem(err)
	problem.Write(w, &p)
	return result
}

// problem is how err is answered, whatever the protocol. It logs what is our fault.
func (s *Service) problem(err error) (problem.Problem, Result) {
	p, result := problemOf(err)
	if rule, ok := errors.AsType[*fault.Error](err); ok {
		p.Detail = rule.Error() // so that nobody hunts for a failure that was ordered
		p.Status = cmp.Or(rule.HTTPStatus, p.Status)
		p.RetryAfter = cmp.Or(rule.RetryAfter, p.RetryAfter)
	}
	if result == Failed {
		s.deps.Log.Error("prediction failed", "error_code", p.Code, "error", err)
	}
	return p, result
}

func problemOf(err error) (problem.Problem, Result) {
	var bad *badRequest
	var rejected *limit.RejectedError
	var broken *breaker.RejectedError
	var state notReadyError
	var unavailable *supervisor.UnavailableError
	var quarantined *supervisor.QuarantinedError
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
		return problem.Problem{Status: http.StatusServiceUnavailable, Code: CodeModelFailing, Detail: brokenness[broken.Reason],
			RetryAfter: max(broken.RetryAfter(), retryAfter)}, Rejected
	case errors.As(err, &quarantined):
		return problem.Problem{Status: http.StatusUnprocessableEntity, Code: CodeQuarantined, Detail: quarantined.Error(),
			Extensions: map[string]any{memberReference: quarantined.Reference}}, Invalid
	case errors.Is(err, supervisor.ErrInput):
		return problem.Problem{Status: http.StatusBadRequest, Code: CodeInvalidRequest, Detail: err.Error()}, Invalid
	case errors.As(err, &unavailable):
		return problem.Problem{Status: http.StatusServiceUnavailable, Code: CodeUnavailable, Detail: "no worker serves this version of the model at the moment",
			RetryAfter: max(unavailable.RetryAfter, retryAfter)}, Rejected
	case errors.Is(err, supervisor.ErrDied):
		return problem.Problem{Status: http.StatusServiceUnavailable, Code: CodeUnavailable, Detail: "the worker that had this request has ended, and there was no other or no time for one",
			RetryAfter: retryAfter}, Failed
	case errors.Is(err, errTooSlow):
		return problem.Problem{Status: http.StatusGatewayTimeout, Code: CodeDeadline, Detail: err.Error()}, Failed
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
