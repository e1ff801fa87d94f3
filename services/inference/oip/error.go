package oip

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/dougong-io/dougong/services/inference/jsonscan"
)

// Kind tells apart the faults that callers answer differently. It is an error, so that errors.Is(err, oip.TooManyRows)
// finds it in an *Error.
type Kind uint8

const (
	// Invalid is a request that the protocol or the model does not allow.
	Invalid Kind = iota + 1
	// TooManyRows is a request of more rows than Limits.MaxRows.
	TooManyRows
)

func (k Kind) Error() string {
	switch k {
	case Invalid:
		return "invalid inference request"
	case TooManyRows:
		return "too many rows"
	}
	return "unknown kind of fault"
}

// Error is a fault of the caller. Its text says what was expected, and quotes at most 64 bytes of a name in the request.
type Error struct {
	Kind Kind
	msg  string
}

func (e *Error) Error() string { return e.msg }

// Is finds the error's Kind.
func (e *Error) Is(target error) bool { return target == e.Kind }

func invalid(format string, args ...any) error {
	return &Error{Invalid, fmt.Sprintf(format, args...)}
}

func tooManyRows(most int) error {
	return &Error{TooManyRows, fmt.Sprintf("more than %d rows; send them in several requests", most)}
}

// malformed is a request of which the form itself is broken. The fault of a document is said with where, everything else
// is passed on.
func malformed(where string, err error) error {
	if fault, ok := errors.AsType[*jsonscan.Error](err); ok {
		return invalid("%s: %v", where, fault)
	}
	return err
}

// quote bounds what of the caller's text goes into an error.
func quote(text []byte) string {
	short, all := clip(text)
	if all {
		return strconv.Quote(string(short))
	}
	return strconv.Quote(string(short)) + "…"
}

// clip keeps at most 64 bytes, and no part of a character.
func clip(text []byte) (short []byte, all bool) {
	const most = 64
	if len(text) <= most {
		return text, true
	}
	end := most
	for end > most-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end], false
}
