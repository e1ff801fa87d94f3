package inferenceclient

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// What an [Error] can be, over both protocols alike. A caller that left is none of these but context.Canceled.
var (
	ErrInvalid     = errors.New("invalid")              // the request is at fault: 400 and other 4xx, INVALID_ARGUMENT, or it was not sent at all
	ErrDenied      = errors.New("denied")               // 401, 403, UNAUTHENTICATED, PERMISSION_DENIED, or there is no token
	ErrNotFound    = errors.New("not found")            // 404, NOT_FOUND
	ErrTooLarge    = errors.New("too large")            // the request: 413, RESOURCE_EXHAUSTED for its size; or the answer, beyond Config.MaxResponseBytes
	ErrOverloaded  = errors.New("overloaded")           // the server said not now: 429, 503, UNAVAILABLE, RESOURCE_EXHAUSTED
	ErrUnavailable = errors.New("unavailable")          // no answer came: no connection, one that broke, 502, or every circuit is open
	ErrDeadline    = errors.New("deadline exceeded")    // of the call, of an attempt, or 408, 504, DEADLINE_EXCEEDED
	ErrUnsupported = errors.New("unsupported")          // 501, UNIMPLEMENTED
	ErrInternal    = errors.New("internal error")       // other 5xx, INTERNAL, UNKNOWN
	ErrProtocol    = errors.New("malformed answer")     // what came is no answer to what was asked
	ErrClosed      = errors.New("the client is closed") // Close was called
)

// Error is what became of a call that has no answer. It matches its Kind by errors.Is; one of ErrDeadline matches
// context.DeadlineExceeded as well.
type Error struct {
	Call       string        // what was asked, such as "infer loan-default"
	Endpoint   string        // URL of the last attempt; "": none was made
	Kind       error         // one of the sentinels, or context.Canceled
	Status     int           // of HTTP; 0: over gRPC, or none came
	Code       codes.Code    // of gRPC; OK: over REST, or it was not asked
	Message    string        // the server's, at most 1 KiB
	RetryAfter time.Duration // that the server, or the circuit, asked for; 0: it did not
	Attempts   int           // made by the call; in an Attempt, its number

	cause error
	retry bool // another attempt may help
	took  time.Duration
	at    int // the endpoint
}

// Error says what failed, where, and what the server said.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Call)
	if e.Endpoint != "" {
		b.WriteString(" at " + e.Endpoint)
	}
	b.WriteString(": " + e.Kind.Error())
	var more []string
	if e.Status != 0 {
		more = append(more, fmt.Sprintf("status %d", e.Status))
	}
	if e.Code != codes.OK {
		more = append(more, e.Code.String())
	}
	if e.RetryAfter > 0 {
		more = append(more, "retry after "+e.RetryAfter.String())
	}
	if e.Attempts > 1 {
		more = append(more, fmt.Sprintf("%d attempts", e.Attempts))
	}
	if len(more) > 0 {
		b.WriteString(" (" + strings.Join(more, ", ") + ")")
	}
	switch {
	case e.Message != "":
		b.WriteString(": " + e.Message)
	case e.cause != nil && e.cause != e.Kind:
		b.WriteString(": " + e.cause.Error())
	}
	return b.String()
}

// Is reports whether target is the error's kind.
func (e *Error) Is(target error) bool {
	return target == e.Kind || e.Kind == ErrDeadline && target == context.DeadlineExceeded
}

// Unwrap returns what the network, the circuit or the caller's function said, if anything.
func (e *Error) Unwrap() error { return e.cause }

func invalid(format string, args ...any) *Error {
	return &Error{Kind: ErrInvalid, cause: fmt.Errorf(format, args...)}
}

func malformed(format string, args ...any) *Error {
	return &Error{Kind: ErrProtocol, cause: fmt.Errorf(format, args...)}
}

// broken is an attempt that ended without an answer.
func broken(ctx context.Context, err error) *Error {
	switch ctx.Err() {
	case nil:
		return &Error{Kind: ErrUnavailable, cause: err, retry: true}
	case context.Canceled:
		return &Error{Kind: context.Canceled, cause: context.Canceled}
	}
	return &Error{Kind: ErrDeadline, cause: ctx.Err(), retry: true}
}

const maxMessage = 1 << 10

// message1K makes a server's text fit for an error.
func message1K(text string) string {
	return strings.TrimSpace(strings.ToValidUTF8(text[:min(len(text), maxMessage)], "?"))
}
