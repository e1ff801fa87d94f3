package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one fault: where it is, at which key, and what to do about it.
type Error struct {
	File   string // as given to Decode; empty if the fault came from the environment
	Line   int    // from 1; 0 if the key is not in the file
	Column int    // from 1, in characters; 0 if Line is 0
	Env    string // the environment variable that set the value, if one did
	Path   string // the key with its sections, such as http.tls.cert_file or rooms[2].name
	Msg    string

	cause error
}

// Error is "file:line:column: path: message"; what is not known is left out.
func (e *Error) Error() string {
	parts := make([]string, 0, 3)
	switch {
	case e.Env != "":
		parts = append(parts, e.Env)
	case e.Line > 0:
		parts = append(parts, strings.TrimPrefix(fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column), ":"))
	case e.File != "":
		parts = append(parts, e.File)
	}
	if e.Path != "" {
		parts = append(parts, e.Path)
	}
	return strings.Join(append(parts, e.Msg), ": ")
}

// Unwrap gives the error of a Validate or UnmarshalText method, if one reported the fault.
func (e *Error) Unwrap() error { return e.cause }

// Errors is every fault that Decode or Load found, in file order: first those with a line,
// then those of keys the file does not set, then those of the environment.
type Errors []*Error

// Error is one fault a line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap makes each fault reachable for errors.Is and errors.As.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// order sorts into file order and drops repetitions, which come from a parent that
// validates a section which is validated by itself as well.
func (es Errors) order() Errors {
	class := func(e *Error) int {
		switch {
		case e.Env != "":
			return 2
		case e.Line == 0:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(class(a), class(b)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	type place struct{ env, path, msg string }
	seen := make(map[place]bool, len(es))
	return slices.DeleteFunc(es, func(e *Error) bool {
		p := place{e.Env, e.Path, e.Msg}
		if e.Path == "" { // a syntax fault may repeat on another line
			return false
		}
		again := seen[p]
		seen[p] = true
		return again
	})
}
