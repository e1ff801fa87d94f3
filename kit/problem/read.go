package problem

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// ErrNotProblem matches every [NotProblemError].
var ErrNotProblem = errors.New("problem: not a problem document")

// NotProblemError is an answer that does not come from an API that speaks RFC 9457, such as the outage page
// of a proxy in between. Nothing is known about whether the request was carried out.
type NotProblemError struct {
	Status      int
	ContentType string
	RetryAfter  time.Duration // as in [Problem]
	Body        string        // how the body begins, at most 256 bytes
	Err         error         // why it is none
}

func (e *NotProblemError) Error() string {
	return fmt.Sprintf("problem: answer with status %d is not a problem document: %v: %.60q", e.Status, e.Err, e.Body)
}

// Is reports whether target is [ErrNotProblem].
func (e *NotProblemError) Is(target error) bool { return target == ErrNotProblem }

// Unwrap returns Err.
func (e *NotProblemError) Unwrap() error { return e.Err }

const excerpt = 256

// Read reads the problem document in an answer, and no more than limit bytes of it. Status is the one of the
// answer, whatever the document says, and RetryAfter is that of the header. Anything else than a
// problem document within the limit is a [NotProblemError]. The caller closes the body.
func Read(resp *http.Response, limit int64) (*Problem, error) {
	contentType := resp.Header.Get("Content-Type")
	retryAfter := parseRetryAfter(resp.Header.Get("Retry-After"))
	body, err := io.ReadAll(io.LimitReader(resp.Body, min(limit, math.MaxInt64-1)+1))
	var p *Problem
	switch media, _, _ := mime.ParseMediaType(contentType); {
	case media != mediaType:
		err = fmt.Errorf("content type is %q", contentType)
	case err != nil:
	case int64(len(body)) > limit:
		err = fmt.Errorf("longer than %d bytes", limit)
	default:
		p, err = Parse(body)
	}
	if err != nil {
		begin := string(body[:min(len(body), excerpt)])
		return nil, &NotProblemError{Status: resp.StatusCode, ContentType: contentType, RetryAfter: retryAfter, Body: begin, Err: err}
	}
	p.Status, p.RetryAfter = resp.StatusCode, retryAfter
	return p, nil
}

// Parse parses a problem document. As RFC 9457 section 3.1 demands, a member whose value has the wrong type
// is ignored; only what is not a JSON object is an error.
func Parse(document []byte) (*Problem, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(document, &members); err != nil {
		return nil, fmt.Errorf("problem: parse: %w", err)
	}
	if members == nil {
		return nil, errors.New("problem: parse: null is not an object")
	}
	p := &Problem{}
	for name, value := range members {
		p.set(name, value)
	}
	return p, nil
}

// set ignores a value of the wrong type: the member then keeps its zero value.
func (p *Problem) set(name string, value json.RawMessage) {
	switch {
	case name == "type":
		_ = json.Unmarshal(value, &p.Type)
	case name == "title":
		_ = json.Unmarshal(value, &p.Title)
	case name == "detail":
		_ = json.Unmarshal(value, &p.Detail)
	case name == "instance":
		_ = json.Unmarshal(value, &p.Instance)
	case name == "code":
		_ = json.Unmarshal(value, &p.Code)
	case name == "status":
		var status int
		if json.Unmarshal(value, &status) == nil && status >= 100 && status <= 599 {
			p.Status = status
		}
	case !bytes.Equal(value, []byte("null")):
		var extension any
		if json.Unmarshal(value, &extension) != nil {
			return
		}
		if p.Extensions == nil {
			p.Extensions = make(map[string]any)
		}
		p.Extensions[name] = extension
	}
}

// maxRetryAfter keeps seconds from overflowing a Duration. Nobody waits longer than that.
const maxRetryAfter = 365 * 24 * time.Hour

// parseRetryAfter reads both forms of RFC 9110 section 10.2.3. What is neither, or in the past, is 0.
func parseRetryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Duration(max(0, min(seconds, int64(maxRetryAfter/time.Second)))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, min(time.Until(at), maxRetryAfter))
	}
	return 0
}
