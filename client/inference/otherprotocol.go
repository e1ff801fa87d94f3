package inferenceclient

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
)

// otherProtocol is what came of a connection to a port that speaks another protocol than the URL says. It says what to
// do, and wraps what the library said, which is about bytes.
type otherProtocol struct {
	advice string
	cause  error
}

func (e *otherProtocol) Error() string { return e.advice }
func (e *otherProtocol) Unwrap() error { return e.cause }

const (
	portOfGRPC       = "what answers there speaks HTTP/2, as a port of gRPC does: use grpc:// or another port"
	portThatBegins   = "what answers there speaks before it is asked, as a port of gRPC does: use grpc:// or another port"
	portOfSecureGRPC = "what answers there speaks TLS, but not HTTP/1.1, as a port of gRPC does: use grpcs:// or another port"
	portOfREST       = "what answers there speaks HTTP/1.1, as a port of REST does: use http:// or another port"
	portOfSecureREST = "what answers there speaks TLS, but not HTTP/2, as a port of REST does: use https:// or another port"
	portOfOtherCalls = "what answers there speaks HTTP/2, but not gRPC, as a port of REST may: use https:// or another port"
	portWithTLS      = "what answers there speaks TLS: use https:// (grpcs:// if it is a port of gRPC)"
	portWithoutHTTP2 = "what answers there does not speak HTTP/2: use grpcs:// if it speaks TLS, or another port"
	portWithoutTLS   = "what answers there does not speak TLS: use http:// (grpc:// if it is a port of gRPC)"
	portThatCloses   = "the connection was closed without an answer: a port of the other protocol does so, and one with TLS to callers without it"
)

// adviceREST recognises by an error of net/http that the port speaks another protocol; "" if it does not. It is sure if
// another attempt would end the same.
func adviceREST(err error) (advice string, sure bool) {
	if errors.Is(err, http.ErrSchemeMismatch) {
		return portWithoutTLS, true
	}
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		if isSettings(string(record.RecordHeader[:])) {
			return portOfGRPC, true
		}
		return portWithoutTLS, true
	}
	text := err.Error()
	if strings.Contains(text, "tls: no application protocol") { // an alert of TLS, which has no type of its own
		return portOfSecureGRPC, true
	}
	if _, after, ok := strings.Cut(text, "malformed HTTP response "); ok {
		quoted, err := strconv.QuotedPrefix(after)
		if err != nil {
			return "", false
		}
		switch said, _ := strconv.Unquote(quoted); {
		case isSettings(said):
			return portOfGRPC, true
		case strings.HasPrefix(said, "\x15\x03"): // an alert (RFC 8446, section 5.1)
			return portWithTLS, true
		}
	}
	// The first is what net/http makes of bytes that come before the request is sent, the second of an end that does.
	if strings.Contains(text, "readLoopPeekFailLocked: %!w(<nil>)") {
		return portThatBegins, true
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || strings.Contains(text, "server closed idle connection") {
		return portThatCloses, false
	}
	return "", false
}

// isSettings recognises the frame that begins each connection of HTTP/2 (RFC 9113, section 3.4): a length of less than
// 64 KiB, the type 4 and no flags.
func isSettings(begin string) bool {
	return len(begin) >= 5 && begin[0] == 0 && begin[3] == 4 && begin[4] == 0
}

// adviceGRPC is the same for what gRPC says, which is text alone.
func adviceGRPC(text string) (advice string, sure bool) {
	has := func(part string) bool { return strings.Contains(text, part) }
	switch {
	case has("first record does not look like a TLS handshake"):
		return portWithoutTLS, true
	case has("missing selected ALPN property"), has("tls: no application protocol"):
		return portOfSecureREST, true
	case has("looked like an HTTP/1.1 header"):
		return portOfREST, true
	case has("error reading server preface") && has("frame too large"):
		return portWithoutHTTP2, true
	case has("error reading server preface") && (has(": EOF") || has("connection reset") || has("broken pipe")):
		return portThatCloses, false
	}
	return "", false
}
