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
	// 0 for 64 KiB, below 0 for none. What is longer is read by the handler, which has its slot then, as is a body
	// whose length was not announced (chunked): its sender may wait for an answer before it goes on. Each request that
	// arrives, waits or runs may have so much in memory, for a moment twice that: limit.Config's Arriving, Queue and
	// Slots together bound it. The time is bounded by the read time-out of the server.
	ReadAhead int64
}

const defaultReadAhead = 64 << 10

// Limit answers requests beyond l with 503, or 429 if their tenant has too many, and with Retry-After. A request has
// its slot until the handler returns, panics included; a handler that hijacks its connection gives the slot back by
// returning, whatever goes on upon the connection.
//
// An adaptive limit learns from requests that the handler answered, and from those whose deadline passed, whatever was
// answered then: the context's, or one of the handler's own if it answers 504. Not from those that panicked, answered
// 429 or another 5xx, took over their connection, or whose client has left.
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
			outcome = loadOf(a, r.Context())
		})
	}
}

// loadOf says what the time that a handler took tells a limit.
func loadOf(a *answer, ctx context.Context) limit.Outcome {
	switch {
	case a.refused, a.taken, a.status == http.StatusSwitchingProtocols, gone(ctx):
		return limit.Ignored
	case ctx.Err() != nil, a.status == http.StatusGatewayTimeout: // a deadline passed: it took at least so long
		return limit.Finished
	case a.status >= http.StatusInternalServerError, a.status == http.StatusTooManyRequests:
		return limit.Ignored
	}
	return limit.Finished
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
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength <= 0 || o.ReadAhead < 0 {
		return l.AcquireFor(ctx, asked)
	}
	if deadline, ok := ctx.Deadline(); ok && (asked.Deadline.IsZero() || deadline.Before(asked.Deadline)) {
		asked.Deadline = deadline
	}
	asked.Ctx = ctx
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
