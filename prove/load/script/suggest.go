package script

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// suggest returns a question after the nearest of the known names, or nothing when none is near.
func suggest(name string, known []string) string {
	best, bestDistance := "", 1+max(1, min(len(name), 60)/3)
	if len(name) > 200 {
		return ""
	}
	for _, candidate := range known {
		if len(candidate) > 200 {
			continue
		}
		if d := distance(name, candidate); d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + show(best) + "?"
}

// distance counts the characters to insert, delete, replace or swap with their neighbour (optimal string alignment),
// where another case costs nothing.
func distance(from, to string) int {
	a, b := []rune(strings.ToLower(from)), []rune(strings.ToLower(to))
	var rows [3][]int
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	last, row, next := rows[0], rows[1], rows[2] // for i-2, i-1 and i characters of a
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			d := row[j-1]
			if a[i-1] != b[j-1] {
				d++
			}
			d = min(d, row[j]+1, next[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, last[j-2]+1)
			}
			next[j] = d
		}
		last, row, next = row, next, last
	}
	return row[len(b)]
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
