package fault

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrInjected is what every injected error is.
var ErrInjected = errors.New("injected fault")

// Failure has a call fail.
type Failure struct {
	// Cause is the name of what the error wraps, so that code that asks for it behaves as in earnest: one of
	// [Causes]. Empty: nothing but ErrInjected.
	Cause   string `json:"cause,omitempty"`
	Message string `json:"message,omitempty"`

	// What a boundary of HTTP or gRPC answers. Others do not look at them.
	HTTPStatus int           `json:"http_status,omitempty"` // 400 to 599; 0: what the boundary answers to a real failure
	GRPCStatus string        `json:"grpc_status,omitempty"` // such as UNAVAILABLE; empty, likewise
	RetryAfter time.Duration `json:"retry_after,omitempty"`
}

var causes = map[string]error{
	"timeout":           os.ErrDeadlineExceeded,
	"deadline_exceeded": context.DeadlineExceeded,
	"canceled":          context.Canceled,
	"refused":           syscall.ECONNREFUSED,
	"reset":             syscall.ECONNRESET,
	"broken_pipe":       syscall.EPIPE,
	"unreachable":       syscall.EHOSTUNREACH,
	"too_many_files":    syscall.EMFILE,
	"eof":               io.EOF,
	"unexpected_eof":    io.ErrUnexpectedEOF,
	"short_write":       io.ErrShortWrite,
	"no_space":          syscall.ENOSPC,
	"io":                syscall.EIO,
	"read_only":         syscall.EROFS,
	"not_exist":         fs.ErrNotExist,
	"permission":        fs.ErrPermission,
}

// Causes are the names that Failure.Cause takes, sorted.
func Causes() []string { return slices.Sorted(maps.Keys(causes)) }

// grpcCodes are the names of the status codes of gRPC; the index is the number.
var grpcCodes = []string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

func (f *Failure) validate(report func(format string, args ...any)) {
	if _, ok := causes[f.Cause]; f.Cause != "" && !ok {
		report("error.cause: %q is none of %s", shorten(f.Cause), strings.Join(Causes(), ", "))
	}
	if len(f.Message) > maxText {
		report("error.message: has %d bytes; at most %d", len(f.Message), maxText)
	}
	if f.HTTPStatus != 0 && (f.HTTPStatus < 400 || f.HTTPStatus > 599) {
		report("error.http_status: %d is not of 400 to 599", f.HTTPStatus)
	}
	if f.GRPCStatus != "" && slices.Index(grpcCodes, f.GRPCStatus) <= 0 {
		report("error.grpc_status: %q is none of %s", shorten(f.GRPCStatus), strings.Join(grpcCodes[1:], ", "))
	}
	if f.RetryAfter < 0 {
		report("error.retry_after: is negative")
	}
}

// Error is an injected error. It is [ErrInjected], and what its cause is.
type Error struct {
	Point   string
	Rule    string
	Message string
	Cause   error // nil: none

	HTTPStatus int           // 0: none was asked for
	GRPCCode   uint32        // 0: none was asked for
	RetryAfter time.Duration // 0: none
}

// Error names the point and the rule, so that nobody hunts for a failure that was ordered.
func (e *Error) Error() string {
	text := "injected fault at " + e.Point + " (rule " + e.Rule + ")"
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Is reports whether target is ErrInjected.
func (e *Error) Is(target error) bool { return target == ErrInjected }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Timeout reports whether the cause is one, as [net.Error] has it.
func (e *Error) Timeout() bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](e.Cause)
	return ok && t.Timeout()
}

// Temporary reports what the cause says of itself: a server goes on accepting after an error that is.
func (e *Error) Temporary() bool {
	t, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](e.Cause)
	return ok && t.Temporary()
}

// Panicked is what an injected panic panics with.
type Panicked struct {
	Point   string
	Rule    string
	Message string
}

// Error names the point and the rule.
func (p *Panicked) Error() string {
	text := "injected panic at " + p.Point + " (rule " + p.Rule + ")"
	if p.Message != "" {
		text += ": " + p.Message
	}
	return text
}

// Is reports whether target is ErrInjected.
func (p *Panicked) Is(target error) bool { return target == ErrInjected }

// Contain is deferred where nobody recovers: on goroutines of the runtime's or of a library's. There an injected panic
// would be the end of the process, which no rule could take back; it becomes an [*Error] instead. Other panics pass.
//
//	defer fault.Contain(&err)
func Contain(err *error) {
	switch p := recover().(type) {
	case nil:
	case *Panicked:
		*err = &Error{Point: p.Point, Rule: p.Rule, Message: strings.TrimSuffix("panic: "+p.Message, ": ")}
	default:
		panic(p)
	}
}

func (f *Failure) at(point, rule string) *Error {
	return &Error{
		Point: point, Rule: rule, Message: f.Message, Cause: causes[f.Cause],
		HTTPStatus: f.HTTPStatus, GRPCCode: uint32(max(0, slices.Index(grpcCodes, f.GRPCStatus))), RetryAfter: f.RetryAfter,
	}
}
