package httpmw

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/dougong-io/dougong/kit/limit"
)

// LimitOptions say what [Limit] may know of requests. The zero value treats all alike.
type LimitOptions struct {
	// Request gives the tenant and the priority of a request, and a deadline if there is one earlier than that of its
	// context. It must not read the body.
	Request func(*http.Request) limit.Request

	// ReadAhead is how many bytes of a body are read before the request takes a slot, so that a slow client holds none:
	// 0 for 64 KiB, below 0 for none. What is longer is read by the handler, which has its slot then. The memory for
	// it is bounded by limit.Config.Arriving, the time by the read time-out of the server.
	ReadAhead int64
}

const defaultReadAhead = 64 << 10

// Limit answers requests beyond l with 503, or 429 if their tenant has too many, and with Retry-After. A request has
// its slot until the handler returns, panics included; a handler that hijacks its connection gives the slot back by
// returning, whatever goes on upon the connection.
//
// An adaptive limit learns from requests that the handler answered; not from those that panicked, answered 429 or
// 5xx, or whose client has left.
func Limit(l *limit.Limit, o LimitOptions) func(http.Handler) http.Handler {
	if o.ReadAhead == 0 {
		o.ReadAhead = defaultReadAhead
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			permit, err := admit(l, &o, r)
			if err != nil {
				refuse(w, err)
				return
			}
			outcome := limit.Ignored // if the handler does not return
			defer func() { permit.DoneWith(outcome) }()
			a := watch(w)
			next.ServeHTTP(a, r)
			if !a.refused && a.status < 500 && a.status != http.StatusTooManyRequests && !gone(r.Context()) {
				outcome = limit.Finished
			}
		})
	}
}

// gone reports whether the one who asked has left.
func gone(ctx context.Context) bool {
	return errors.Is(ctx.Err(), context.Canceled) && !errors.Is(context.Cause(ctx), context.DeadlineExceeded)
}

// admit waits for a slot, with the beginning of the body read.
func admit(l *limit.Limit, o *LimitOptions, r *http.Request) (limit.Permit, error) {
	ctx := r.Context()
	var asked limit.Request
	if o.Request != nil {
		asked = o.Request(r)
	}
	if r.Body == nil || r.Body == http.NoBody || o.ReadAhead < 0 {
		return l.AcquireFor(ctx, asked)
	}
	if deadline, ok := ctx.Deadline(); ok && (asked.Deadline.IsZero() || deadline.Before(asked.Deadline)) {
		asked.Deadline = deadline
	}
	permit, err := l.AdmitFor(asked)
	if err != nil {
		return limit.Permit{}, err
	}
	started := false
	defer func() {
		if !started { // a body of the user may panic
			permit.Done()
		}
	}()
	r.Body = readAhead(r.Body, o.ReadAhead)
	if err := permit.Start(ctx); err != nil {
		return limit.Permit{}, err
	}
	started = true
	return permit, nil
}

// ahead is a body whose beginning has been read.
type ahead struct {
	io.Reader
	io.Closer
}

// readAhead reads up to most bytes. An error is kept for the one who reads on.
func readAhead(body io.ReadCloser, most int64) io.ReadCloser {
	var begun bytes.Buffer
	switch _, err := io.CopyN(&begun, body, most); {
	case err == nil:
		return ahead{io.MultiReader(&begun, body), body}
	case err == io.EOF:
		return ahead{&begun, body}
	default:
		return ahead{io.MultiReader(&begun, failing{err}), body}
	}
}

// failing is the end of a body that could not be read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
