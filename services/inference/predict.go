package inference

import (
	"net/http"
	"strconv"
	"time"
)

// predict is POST /v1/predict.
func (s *Service) predict(w http.ResponseWriter, r *http.Request) {
	x := exchange{service: s, outcome: s.begin(), caller: s.callerOf(r)}
	defer x.report()
	if err := x.serve(w, r); err != nil {
		x.result, x.rows = s.answerProblem(w, x.refusal(err)), 0
	}
}

// serve answers over HTTP, or returns why it did not.
func (x *exchange) serve(w http.ResponseWriter, r *http.Request) error {
	if err := x.admit(); err != nil {
		return err
	}
	defer x.permit.Done()
	x.answer = x.service.buffers.Get(0)
	defer x.answer.Release()
	err := x.receive(r)
	x.leave(err) // the answer goes out without a slot and a place: what a slow reader holds is its answer
	if err != nil {
		return err
	}
	held := share{of: &x.service.memory}
	defer held.give()
	if !held.take(cap(x.answer.Bytes())) {
		return errNoMemory
	}
	return x.write(w)
}

// write sends the answer. An error says why nothing of it was sent.
func (x *exchange) write(w http.ResponseWriter) error {
	answer := x.answer.Bytes()
	whole, withLength := len(answer), len(answer) > shortAnswer
	if x.service.points.write.On() {
		withLength = true // of an answer that a rule cuts short the caller shall know
		var err error
		if answer, err = x.strikeAnswer(answer); err != nil {
			return err
		}
	}
	x.result, x.took = OK, time.Since(x.start)
	header := w.Header()
	header["Content-Type"] = jsonContentType
	if withLength {
		header["Content-Length"] = []string{strconv.Itoa(whole)}
	}
	w.Write(answer) // an error here is the caller's connection, which the server notices itself
	return nil
}

// shortAnswer is what net/http buffers whole, and so finds the length of by itself; longer answers would go
// out in chunks without one.
const shortAnswer = 2048

var jsonContentType = []string{"application/json"}
