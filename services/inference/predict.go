package inference

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"time"
	"unsafe"

	"github.com/dougong-io/dougong/kit/lifecycle"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/problem"
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
	CodeDeadline        = "deadline_exceeded"
	CodeInternal        = "internal"
)

// blockRows is how many rows are scored between two looks at the deadline.
const blockRows = 256

// scratch is what one request needs, kept for the next one.
type scratch struct {
	body    []byte
	request predictRequest
	outputs []float64
	answer  []byte
}

// keepBytes is the largest buffer that is kept for the next request.
const keepBytes = 1 << 20

func (s *Service) getScratch() *scratch { return s.scratch.Get().(*scratch) }

func (s *Service) putScratch(sc *scratch) {
	if cap(sc.body) > keepBytes || cap(sc.request.values) > keepBytes/8 || cap(sc.outputs) > keepBytes/8 || cap(sc.answer) > keepBytes {
		return
	}
	s.scratch.Put(sc)
}

// outcome is what the observer is told when a request has ended.
type outcome struct {
	observer VersionObserver
	result   Result
	rows     int
}

// predict is POST /v1/predict.
func (s *Service) predict(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	o := outcome{observer: s.nobody, result: Failed} // told also when a panic passes through
	defer func() { o.observer.Predicted(o.result, o.rows, time.Since(start)) }()
	if err := s.answer(w, r, &o); err != nil {
		o.result = s.answerProblem(w, err)
	}
}

// answer goes: admit, read the body, wait for a slot, parse, score, encode, write. Admission comes before
// the body so that a refusal costs next to nothing; the slot comes after it so that a slow sender holds none.
func (s *Service) answer(w http.ResponseWriter, r *http.Request, o *outcome) error {
	loaded := s.models.Load()
	if loaded == nil || !s.state.State().Serving() {
		return notReady(s.state)
	}
	deadline, _ := r.Context().Deadline()
	permit, err := s.limiter.Admit(deadline)
	if err != nil {
		return err
	}
	defer permit.Done()

	sc := s.getScratch()
	defer s.putScratch(sc)
	reserved, err := s.readBody(sc, r)
	defer s.memory.give(reserved)
	if err != nil {
		return err
	}
	if err := permit.Start(r.Context()); err != nil {
		return err
	}
	if err := s.score(r.Context(), loaded, sc, o); err != nil {
		return err
	}
	permit.Done() // the answer goes out without a slot: a slow reader holds none
	header := w.Header()
	header["Content-Type"] = jsonContentType
	header["Content-Length"] = []string{strconv.Itoa(len(sc.answer))} // else a long answer goes out in chunks
	w.Write(sc.answer)                                                // an error here is the caller's connection, which the server notices itself
	o.result, o.rows = OK, sc.request.rows
	return nil
}

var jsonContentType = []string{"application/json"}

// readBody reads the body into sc.body. The bytes it reserved are the caller's to give back, also on error.
func (s *Service) readBody(sc *scratch, r *http.Request) (reserved int64, err error) {
	sc.body = sc.body[:0]
	need := r.ContentLength
	if need < 0 {
		need = 64 << 10 // not known: reserved as it arrives
	}
	if !s.memory.take(need) {
		return 0, errNoMemory
	}
	reserved = need
	for {
		if len(sc.body) == cap(sc.body) {
			// Grow with what arrived, not with what was announced.
			sc.body = append(sc.body, make([]byte, max(512, min(len(sc.body), keepBytes)))...)[:len(sc.body)]
		}
		n, err := r.Body.Read(sc.body[len(sc.body):cap(sc.body)])
		sc.body = sc.body[:len(sc.body)+n]
		if more := int64(len(sc.body)) - reserved; more > 0 {
			if !s.memory.take(more) {
				return reserved, errNoMemory
			}
			reserved += more
		}
		if errors.Is(err, io.EOF) {
			return reserved, nil
		}
		if err != nil {
			return reserved, bodyError(err)
		}
	}
}

func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &badRequest{code: CodeBodyTooLarge, status: http.StatusRequestEntityTooLarge,
			msg: fmt.Sprintf("the body is larger than %d bytes; send fewer rows in a request", tooLarge.Limit)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &badRequest{code: CodeBodyTimeout, status: http.StatusRequestTimeout, msg: "the body did not arrive in time"}
	default:
		return malformed("the body could not be read: %v", err)
	}
}

// score parses sc.body, scores its rows and leaves the answer in sc.answer. From when the version is known,
// its observer is the one that o tells.
func (s *Service) score(ctx context.Context, loaded *loadedModels, sc *scratch, o *outcome) error {
	req := &sc.request
	if err := req.parse(sc.body, s.cfg.MaxRows); err != nil {
		return err
	}
	version, err := s.find(loaded, req)
	if err != nil {
		return err
	}
	o.observer = loaded.observers[version]
	o.observer.Begin()
	if err := req.bind(version, sc.body); err != nil {
		return err
	}
	if sc.outputs, err = predictRows(ctx, version, req, sc.outputs); err != nil {
		return err
	}
	sc.answer = appendAnswer(sc.answer[:0], version, req.form, sc.outputs)
	return nil
}

func (s *Service) find(loaded *loadedModels, req *predictRequest) (*repository.Version, error) {
	name := text(req.model)
	if !req.hasModel {
		if name = s.cfg.DefaultModel; name == "" {
			return nil, malformed("field model is needed: no default model is configured")
		}
	}
	if req.hasVersion && len(req.version) == 0 {
		return nil, malformed("version is empty; leave it out for the serving one")
	}
	return loaded.Find(name, text(req.version))
}

// predictRows scores the rows of a bound request into outputs, which it grows as needed.
func predictRows(ctx context.Context, version *repository.Version, req *predictRequest, outputs []float64) ([]float64, error) {
	perRow := version.Outputs()
	if n := req.rows * perRow; cap(outputs) < n {
		outputs = make([]float64, n)
	} else {
		outputs = outputs[:n]
	}
	deadline, bounded := ctx.Deadline()
	for first := 0; first < req.rows; first += blockRows {
		if first > 0 && (ctx.Err() != nil || bounded && !time.Now().Before(deadline)) {
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

var errNoMemory = errors.New("too many bytes of request bodies are in memory")

// notReadyError says in which state the service refuses.
type notReadyError lifecycle.State

func notReady(m *lifecycle.Machine) error { return notReadyError(m.State()) }

func (e notReadyError) Error() string {
	return "the service is " + lifecycle.State(e).String() + " and does not take requests"
}

// answerProblem answers with the problem document for err.
func (s *Service) answerProblem(w http.ResponseWriter, err error) Result {
	p, result := problemOf(err)
	if result == Failed {
		s.deps.Log.Error("prediction failed", "error_code", p.Code, "error", err)
	}
	problem.Write(w, &p)
	return result
}

func problemOf(err error) (problem.Problem, Result) {
	var bad *badRequest
	var rejected *limit.RejectedError
	var state notReadyError
	switch {
	case errors.As(err, &bad):
		return problem.Problem{Status: bad.status, Code: bad.code, Detail: bad.msg}, Invalid
	case errors.Is(err, repository.ErrUnknownModel):
		return problem.Problem{Status: http.StatusNotFound, Code: CodeModelNotFound, Detail: err.Error()}, Invalid
	case errors.Is(err, repository.ErrUnknownVersion):
		return problem.Problem{Status: http.StatusNotFound, Code: CodeVersionNotFound, Detail: err.Error()}, Invalid
	case errors.As(err, &rejected):
		return problem.Problem{Status: http.StatusServiceUnavailable, Code: CodeOverloaded, Detail: err.Error(),
			RetryAfter: max(rejected.RetryAfter, retryAfter)}, Rejected
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
