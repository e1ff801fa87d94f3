package script

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dougong-io/dougong/kit/spelling"
)

// suggest returns a question after the nearest of the known names, or nothing when none is near.
func suggest(name string, known []string) string {
	near := spelling.Nearest(name, known)
	if near == "" {
		return ""
	}
	return ", did you mean " + show(near) + "?"
}

// list names at most 20 things.
func list(what string, names []string) string {
	shown := make([]string, 0, 20)
	for _, name := range names[:min(len(names), 20)] {
		shown = append(shown, show(cut(name, 40)))
	}
	text := what + " " + strings.Join(shown, ", ")
	if more := len(names) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// cut cuts text to at most n bytes, an ellipsis included, between characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}

// show makes a text fit for one line of a terminal: what a target answers must not move its cursor.
func show(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return utf8.RuneError
	}, text)
}

// excerpt shows the beginning of a body in quotes.
func excerpt(body []byte) string {
	const most = 60
	if len(body) == 0 {
		return "an empty body"
	}
	if len(body) <= most {
		return `"` + show(string(body)) + `"`
	}
	return fmt.Sprintf(`"%s" (%d bytes)`, show(cut(string(body[:most+1]), most)), len(body))
}
