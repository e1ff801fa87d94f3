package wire

import (
	"errors"
	"fmt"
)

// ErrBreach is what every frame or body is refused with that breaks the protocol.
var ErrBreach = errors.New("breach of the worker protocol")

// BreachError says what is wrong, and where. It is an ErrBreach.
type BreachError struct {
	Part string // of the protocol: "header", "CALL", "ANSWER", …
	At   int    // byte of the part (of the body, for messages; of the frame, for its header); -1: of all of it
	What string
}

func (e *BreachError) Error() string {
	if e.At < 0 {
		return fmt.Sprintf("%v: %s: %s", ErrBreach, e.Part, e.What)
	}
	return fmt.Sprintf("%v: %s at byte %d: %s", ErrBreach, e.Part, e.At, e.What)
}

func (e *BreachError) Is(target error) bool { return target == ErrBreach }

func breach(part string, at int, format string, args ...any) error {
	return &BreachError{Part: part, At: at, What: fmt.Sprintf(format, args...)}
}

// zeros reports whether b holds nothing else. Reserved bytes are zero, or a later version could not use them.
func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
