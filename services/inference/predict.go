package inference

import (
	"net/http"
	"strconv"
	"time"
	"unsafe"
)

// predict is POST /v1/predict.
func (s *Service) predict(w http.ResponseWriter, r *http.Request) {
	x := s.begin(s.callerOf(r), protocol{})
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
	defer func() { x.permit.Done() }() // it may be another one by then
	x.answer = x.service.buffers.Get(0)
	defer func() { x.answer.Release() }() // it may be another one by then
	var err error
	if x.kind == overREST {
		err = x.find(x.target) // what nobody serves need not be read
	}
	if err == nil {
		err = x.receive(r)
	}
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
	if x.by != nil {
		header[servedByHeader] = x.by.named
	}
	if x.coding != "" {
		header["Content-Encoding"] = gzipCoding
	}
	f := new(fields)
	f.set(header, "Server-Timing", x.appendTiming(f.room()))
	if x.length >= 0 {
		header["Content-Type"] = binaryContentType
		f.set(header, headerLength, strconv.AppendInt(f.room(), int64(x.length), 10))
	}
	if withLength {
		f.set(header, "Content-Length", strconv.AppendInt(f.room(), int64(whole), 10))
	}
	w.Write(answer) // an error here is the caller's connection, which the server notices itself
	return nil
}

// fields are the values of header fields that differ from answer to answer, in one piece of memory. It is not used again:
// the header is written after the handler has returned.
type fields struct {
	values [3]string
	bytes  [144]byte
	n      int // values
	used   int // bytes
}

// room is where the text of the next value goes.
func (f *fields) room() []byte { return f.bytes[f.used:f.used] }

// set takes a text that was appended to room.
func (f *fields) set(header http.Header, name string, text []byte) {
	f.values[f.n] = unsafe.String(unsafe.SliceData(text), len(text))
	header[name] = f.values[f.n : f.n+1 : f.n+1]
	f.n++
	f.used += len(text)
}

// appendTiming tells the caller how long the request waited for a slot and was computed, in milliseconds (W3C Server Timing).
func (o *outcome) appendTiming(b []byte) []byte {
	b = append(b, "queue;dur="...)
	b = appendMillis(b, o.queued)
	b = append(b, ", compute;dur="...)
	return appendMillis(b, o.computed)
}

// appendMillis appends milliseconds with three decimals.
func appendMillis(b []byte, d time.Duration) []byte {
	us := max(d.Microseconds(), 0)
	b = strconv.AppendInt(b, us/1000, 10)
	frac := us % 1000
	return append(b, '.', byte('0'+frac/100), byte('0'+frac/10%10), byte('0'+frac%10))
}

// shortAnswer is what net/http buffers whole, and so finds the length of by itself; longer answers would go
// out in chunks without one.
const shortAnswer = 2048

var (
	jsonContentType   = []string{"application/json"}
	binaryContentType = []string{"application/octet-stream"}
	gzipCoding        = []string{codingGzip}
)
