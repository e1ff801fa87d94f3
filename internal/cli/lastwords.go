package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// lastWords says why the program ends, unless nobody takes it: a pipe that is full must not keep a process that
// has stopped.
func lastWords(stderr io.Writer, words string) {
	said := make(chan struct{})
	go func() {
		defer close(said)
		fmt.Fprintln(stderr, words)
	}()
	select {
	case <-said:
	case <-time.After(time.Second):
	}
}

// ours is an error in the program's name: of several that are joined each has it, since the log of others may stand
// between them.
func ours(err error) string {
	lines := apart(err)
	for i := range lines {
		lines[i] = "dougong: " + lines[i]
	}
	return strings.Join(lines, "\n")
}

// apart takes an error to pieces: one for each of those that are joined in it, each with the words around them.
func apart(err error) []string {
	text := err.Error()
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all, whole []string
		for _, e := range joined.Unwrap() {
			all, whole = append(all, apart(e)...), append(whole, e.Error())
		}
		if text == strings.Join(whole, "\n") { // or else they are in one sentence
			return all
		}
		return []string{text}
	}
	if inner := errors.Unwrap(err); inner != nil {
		if before, ok := strings.CutSuffix(text, inner.Error()); ok {
			all := apart(inner)
			for i := range all {
				all[i] = before + all[i]
			}
			return all
		}
	}
	return []string{text}
}
