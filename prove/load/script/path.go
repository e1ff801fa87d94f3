package script

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Path leads to one value of a JSON document. It is a singular query as of RFC 9535, section 2.3.5.1. The zero value
// is the whole document. It is read only, and safe for concurrent use.
type Path struct {
	text  string
	steps []step
}

// step is a name or an index.
type step struct {
	name    string
	index   int64
	isIndex bool
}

// maxIndex is the largest index, 2^53-1 (RFC 9535, section 2.1).
const maxIndex = 1<<53 - 1

// ParsePath compiles a path.
func ParsePath(text string) (Path, error) {
	text = strings.Trim(text, " \t\r\n")
	p, rest, err := parsePath(text)
	if err == nil && rest != "" {
		err = pathError(text, len(text)-len(rest), "after a value comes .name, ['name'] or [0]; a name with other characters than letters, digits and _ is written ['so-named']")
	}
	return p, err
}

// String returns the path as it was given.
func (p Path) String() string {
	if p.text == "" {
		return "$"
	}
	return p.text
}

// parsePath compiles the path that text begins with, and returns what comes after it.
func parsePath(text string) (p Path, rest string, err error) {
	if !strings.HasPrefix(text, "$") {
		return Path{}, "", pathError(text, 0, "a path begins with $, as in $.prob")
	}
	end := 1
	for {
		i := end
		for i < len(text) && strings.IndexByte(" \t\r\n", text[i]) >= 0 {
			i++
		}
		if i >= len(text) || text[i] != '.' && text[i] != '[' {
			p.text = text[:end]
			return p, text[end:], nil
		}
		var s step
		if text[i] == '.' {
			s, end, err = parseShorthand(text, i+1)
		} else {
			s, end, err = parseBracket(text, i+1)
		}
		if err != nil {
			return Path{}, "", err
		}
		p.steps = append(p.steps, s)
	}
}

func parseShorthand(text string, i int) (step, int, error) {
	end := i
	for end < len(text) {
		c, n := utf8.DecodeRuneInString(text[end:])
		if c == utf8.RuneError && n == 1 {
			return step{}, 0, pathError(text, end, "this is not UTF-8")
		}
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= utf8.RuneSelf
		if !letter && (end == i || c < '0' || c > '9') {
			break
		}
		end += n
	}
	if end > i {
		return step{name: text[i:end]}, end, nil
	}
	if i < len(text) && (text[i] == '*' || text[i] == '.') {
		return step{}, 0, pathError(text, i, "a path leads to one value, so there are no wildcards and no descendants; use names and indexes")
	}
	return step{}, 0, pathError(text, i, "wanted a name; one that does not begin with a letter or _ is written ['so-named']")
}

func parseBracket(text string, i int) (s step, end int, err error) {
	space := func() {
		for i < len(text) && strings.IndexByte(" \t\r\n", text[i]) >= 0 {
			i++
		}
	}
	space()
	start := i
	if i < len(text) && (text[i] == '\'' || text[i] == '"') {
		if s.name, i, err = parseName(text, i); err != nil {
			return step{}, 0, err
		}
	} else {
		for i < len(text) && (text[i] == '-' || '0' <= text[i] && text[i] <= '9') {
			i++
		}
		s.isIndex = true
		number := text[start:i]
		s.index, err = strconv.ParseInt(number, 10, 64)
		switch {
		case number == "":
			return step{}, 0, pathError(text, i, "wanted a whole number or a name in quotes; a path leads to one value, so there are no wildcards, slices and filters")
		case errors.Is(err, strconv.ErrRange) || err == nil && (s.index > maxIndex || s.index < -maxIndex):
			return step{}, 0, pathError(text, start, "an index lies within ±(2^53-1)")
		case err != nil || strings.TrimLeft(number, "-") != strconv.FormatInt(max(s.index, -s.index), 10) || number == "-0":
			return step{}, 0, pathError(text, start, "an index is a whole number without leading zeros, such as 0 or -1")
		}
	}
	space()
	if i >= len(text) || text[i] != ']' {
		return step{}, 0, pathError(text, i, "wanted ]; a path leads to one value, so a bracket holds one name or one index")
	}
	return s, i + 1, nil
}

// parseName reads a name in either kind of quotes, of which the first is text[i].
func parseName(text string, i int) (string, int, error) {
	quote := text[i]
	var name []byte
	for i++; i < len(text); i++ {
		c := text[i]
		switch {
		case c == quote:
			if !utf8.Valid(name) {
				return "", 0, pathError(text, i, "this name is not UTF-8")
			}
			return string(name), i + 1, nil
		case c < 0x20:
			return "", 0, pathError(text, i, "a control character in a name is written as an escape")
		case c != '\\':
			name = append(name, c)
			continue
		}
		if i+1 >= len(text) {
			break
		}
		switch e := text[i+1]; {
		case e == quote || e == '\\' || e == '/':
			name = append(name, e)
			i++
		case strings.IndexByte("bfnrt", e) >= 0:
			r, _ := nextRune([]byte(text[i:i+2]), 0)
			name = append(name, byte(r))
			i++
		case e == 'u':
			escape := []byte(text[i:min(i+12, len(text))])
			if _, ok := hex4(escape, 2); !ok {
				return "", 0, pathError(text, i, `wanted four hexadecimal digits after \u`)
			}
			r, n := nextRune(escape, 0)
			if r == utf8.RuneError && !strings.EqualFold(string(escape[2:6]), "fffd") {
				return "", 0, pathError(text, i, "half a surrogate pair is no character")
			}
			name = utf8.AppendRune(name, r)
			i += n - 1
		default:
			return "", 0, pathError(text, i, `there is no such escape; there are \b \f \n \r \t \/ \\ \uXXXX and the quote`)
		}
	}
	return "", 0, pathError(text, len(text), "the name has no closing quote")
}

func pathError(text string, i int, why string) error {
	return fmt.Errorf("path %s: at character %d: %s", show(cut(text, 80)), 1+utf8.RuneCountInString(text[:min(i, len(text))]), why)
}
