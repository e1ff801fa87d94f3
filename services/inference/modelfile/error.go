package modelfile

import (
	"errors"
	"fmt"
)

// ErrUnsupported is matched by the error for a model that uses something the engine does not support.
var ErrUnsupported = errors.New("model is not supported")

// ErrDamaged is matched by the error for a file that breaks its format or contradicts itself.
var ErrDamaged = errors.New("model file is damaged")

// Error says what is wrong with a model file, and where. It matches ErrUnsupported or ErrDamaged.
type Error struct {
	File   string // the name given to Parse
	Offset int    // byte of the file, from 0, at which it was noticed
	Line   int    // line of the file, from 1; 0 in formats without lines
	Path   string // place in the model: "learner.gradient_booster.model.trees[3]"; may be ""
	Msg    string // what is wrong
	Kind   error  // ErrUnsupported or ErrDamaged
}

func (e *Error) Error() string {
	where := fmt.Sprintf("byte %d", e.Offset)
	if e.Line > 0 {
		where = fmt.Sprintf("line %d", e.Line)
	}
	if e.Path != "" {
		where += ": " + e.Path
	}
	return fmt.Sprintf("%s: %s: %s: %v", e.File, where, e.Msg, e.Kind)
}

// Unwrap returns the sentinel.
func (e *Error) Unwrap() error { return e.Kind }

func damaged(offset int, format string, args ...any) error {
	return &Error{Offset: offset, Msg: fmt.Sprintf(format, args...), Kind: ErrDamaged}
}

func unsupported(offset int, format string, args ...any) error {
	return &Error{Offset: offset, Msg: fmt.Sprintf(format, args...), Kind: ErrUnsupported}
}

// within puts a step in front of the path of an error on its way up.
func within(step string, err error) error {
	if e, ok := err.(*Error); ok {
		switch {
		case e.Path == "":
			e.Path = step
		case e.Path[0] == '[':
			e.Path = step + e.Path
		default:
			e.Path = step + "." + e.Path
		}
	}
	return err
}

// excerpt shortens what a file says to what a message can carry.
func excerpt[T string | []byte](s T) string {
	const most = 40
	if len(s) > most {
		return string(s[:most]) + "…"
	}
	return string(s)
}
