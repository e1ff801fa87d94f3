package wire

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	failureBytes = 8 // before the message
	maxMessage   = 4096
)

// Code says whose fault a FAILURE is. As an error it is what errors.Is finds in a *Failure.
type Code uint16

// The codes of failures.
const (
	Invalid     Code = 1 // the input's fault: a wrong name, shape or datatype
	Expired     Code = 2 // its time was up
	Cancelled   Code = 3 // by a CANCEL
	Failed      Code = 4 // the engine's fault
	Unsupported Code = 5 // no version that both speak
	Refused     Code = 6 // the model, or an option of LOAD
	Exhausted   Code = 7 // memory, or the device
)

var codeNames = [...]string{Invalid: "invalid", Expired: "expired", Cancelled: "cancelled", Failed: "failed", Unsupported: "unsupported version", Refused: "refused", Exhausted: "exhausted"}

func (c Code) known() bool { return c >= Invalid && c <= Exhausted }

func (c Code) Error() string {
	if c.known() {
		return codeNames[c]
	}
	return fmt.Sprintf("failure %d", uint16(c))
}

// Failure is what a worker answers instead of an answer. errors.Is(err, wire.Expired) asks for its code.
type Failure struct {
	Code    Code
	Message string
}

// Failf makes a failure with a message as fmt.Sprintf does.
func Failf(code Code, format string, args ...any) *Failure {
	return &Failure{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (f *Failure) Error() string {
	if f.Message == "" {
		return f.Code.Error()
	}
	return f.Code.Error() + ": " + f.Message
}

func (f *Failure) Is(target error) bool { return target == f.Code }

// Append appends the whole frame. A message that is too long is cut, and what is not UTF-8 in it replaced.
func (f *Failure) Append(b []byte, id uint64) []byte {
	message := strings.ToValidUTF8(f.Message, "\uFFFD")
	if len(message) > maxMessage {
		message = message[:maxMessage]
		for !utf8.ValidString(message) { // within a letter: at most three bytes are cut
			message = message[:len(message)-1]
		}
	}
	b = AppendHeader(b, Header{Type: TypeFailure, ID: id, Length: uint32(failureBytes + len(message))})
	b = binary.LittleEndian.AppendUint64(b, uint64(f.Code))
	return append(b, message...)
}

// Parse reads the body of a FAILURE.
func (f *Failure) Parse(body []byte) error {
	const part = "FAILURE"
	if len(body) < failureBytes {
		return breach(part, len(body), "ends before its message")
	}
	code, message := Code(binary.LittleEndian.Uint16(body)), body[failureBytes:]
	switch {
	case !code.known():
		return breach(part, 0, "code %d is none of version %d", uint16(code), Version)
	case !zeros(body[2:failureBytes]):
		return breach(part, 2, "reserved bytes are not zero")
	case len(message) > maxMessage:
		return breach(part, failureBytes, "a message of %d bytes; at most %d are allowed", len(message), maxMessage)
	case !utf8.Valid(message):
		return breach(part, failureBytes, "the message is not UTF-8")
	}
	*f = Failure{Code: code, Message: string(message)}
	return nil
}
