package inferenceclient

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// unreached is an HTTP exchange without an answer. A certificate that is wrong stays so, and a port that speaks another
// protocol; one that has answered before does not.
func unreached(ctx context.Context, err error, answeredBefore bool) *Error {
	failed := broken(ctx, err)
	if advice, sure := adviceREST(err); advice != "" && ctx.Err() == nil && !answeredBefore {
		failed.cause, failed.retry = &otherProtocol{advice, err}, !sure
	}
	if _, wrong := errors.AsType[*tls.CertificateVerificationError](err); wrong {
		failed.retry = false
	}
	return failed
}

// failure is what an HTTP status other than 200 means.
func (a *answer) failure() *Error {
	return failureOfStatus(a.status, messageOf(a.body.Bytes()), parseRetryAfter(a.header.Get("Retry-After"), time.Now()))
}

func failureOfStatus(s int, text string, retryAfter time.Duration) *Error {
	e := &Error{Status: s, Message: text, RetryAfter: retryAfter}
	switch {
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		e.Kind = ErrDenied
	case s == http.StatusNotFound:
		e.Kind = ErrNotFound
	case s == http.StatusRequestTimeout:
		e.Kind = ErrDeadline
	case s == http.StatusRequestEntityTooLarge:
		e.Kind = ErrTooLarge
	case s == http.StatusTooManyRequests, s == http.StatusServiceUnavailable:
		e.Kind, e.retry = ErrOverloaded, true
	case s == http.StatusBadGateway:
		e.Kind, e.retry = ErrUnavailable, true
	case s == http.StatusGatewayTimeout:
		e.Kind, e.retry = ErrDeadline, true
	case s == http.StatusNotImplemented:
		e.Kind = ErrUnsupported
	case s >= 500:
		e.Kind = ErrInternal
	case s >= 400:
		e.Kind = ErrInvalid
	default:
		e.Kind = ErrProtocol
	}
	return e
}

// messageOf is the text of an error: the protocol's, that of a problem document, or all of what a proxy wrote.
func messageOf(body []byte) string {
	var said struct{ Error, Detail string }
	if json.Unmarshal(body, &said) == nil {
		switch {
		case said.Error != "":
			return message1K(said.Error)
		case said.Detail != "":
			return message1K(said.Detail)
		}
	}
	return message1K(string(body[:min(len(body), maxMessage)]))
}

// parseRetryAfter reads seconds or a date; 0 for what is neither.
func parseRetryAfter(header string, now time.Time) time.Duration {
	if header == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(header, 10, 63); err == nil {
		return time.Duration(min(seconds, math.MaxInt64/uint64(time.Second))) * time.Second
	}
	if date, err := http.ParseTime(header); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}

// failureOf is what the error of a gRPC call means.
func failureOf(ctx context.Context, err error, trailer metadata.MD) *Error {
	s, _ := status.FromError(err)
	code := s.Code()
	if ctx.Err() != nil && (code == codes.Canceled || code == codes.DeadlineExceeded || code == codes.Unavailable) {
		return broken(ctx, err)
	}
	e := &Error{Code: code, Message: message1K(s.Message())}
	var reason string
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.RetryInfo:
			e.RetryAfter = max(0, d.GetRetryDelay().AsDuration())
		case *errdetails.ErrorInfo:
			reason = d.GetReason()
		}
	}
	switch code {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange, codes.AlreadyExists:
		e.Kind = ErrInvalid
	case codes.Unauthenticated, codes.PermissionDenied:
		e.Kind = ErrDenied
	case codes.NotFound:
		e.Kind = ErrNotFound
	case codes.DeadlineExceeded:
		e.Kind, e.retry = ErrDeadline, true
	case codes.ResourceExhausted:
		e.Kind, e.retry = ErrOverloaded, true
		if e.RetryAfter == 0 && (strings.HasPrefix(reason, "too_many") || strings.HasSuffix(reason, "too_large") || aboutSize(s.Message())) {
			e.Kind, e.retry = ErrTooLarge, false
		}
	case codes.Unavailable:
		e.Kind, e.retry = ErrUnavailable, true
		if len(trailer) > 0 || e.RetryAfter > 0 { // a status that gRPC made up here has neither
			e.Kind = ErrOverloaded
		} else {
			e.cause, e.Message = err, ""
			e.retry = !strings.Contains(s.Message(), "failed to verify certificate") // gRPC keeps the text alone
			if advice, sure := adviceGRPC(s.Message()); advice != "" {
				e.cause, e.retry = &otherProtocol{advice, err}, !sure
			}
		}
	case codes.Unimplemented:
		e.Kind = ErrUnsupported
		if strings.HasPrefix(s.Message(), "unexpected HTTP status code") { // which gRPC made of a 404
			e.cause, e.Message = &otherProtocol{portOfOtherCalls, err}, ""
		}
	case codes.Canceled: // by the server, or on the way
		e.Kind, e.retry = ErrUnavailable, true
	default:
		e.Kind = ErrInternal
	}
	return e
}

// aboutSize recognises what gRPC says of a message that is too large: in Go, C++ and Java.
func aboutSize(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "larger than max") || strings.Contains(text, "exceeds maximum") || strings.Contains(text, "too large") ||
		strings.Contains(text, "message size")
}
