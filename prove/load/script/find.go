package script

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// Find returns the value that the path leads to in a JSON document, as it is written there, or ok false when there
// is none. It scans the document and decodes nothing; value is a part of body. Of a name that comes twice in an
// object the first counts. Where the document is not well formed up to the end of the value, or nests deeper than
// 1024 in a value that is passed, there is an error; what comes after the value is not looked at.
func (p Path) Find(body []byte) (value []byte, ok bool, err error) {
	i := skipSpace(body, 0)
	for n := range p.steps {
		s := &p.steps[n]
		switch {
		case i < len(body) && body[i] == '{' && !s.isIndex:
			i, ok, err = findName(body, i, s.name)
		case i < len(body) && body[i] == '[' && s.isIndex:
			i, ok, err = findIndex(body, i, s.index)
		default:
			_, err = skipValue(body, i)
			return nil, false, err
		}
		if err != nil || !ok {
			return nil, false, err
		}
	}
	end, err := skipValue(body, i)
	if err != nil {
		return nil, false, err
	}
	return body[i:end], true, nil
}

// Extract returns what the path leads to in a JSON document as raw text, for a saved variable: a string without its
// quotes, nothing for null, all else as it is written. The text may be a part of body; copy it to keep it.
func Extract(path Path, body []byte) ([]byte, error) {
	value, ok, err := path.Find(body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("save %s: %w", show(cut(path.String(), 80)), err)
	case !ok:
		return nil, fmt.Errorf("save %s: nothing there in %s", show(cut(path.String(), 80)), excerpt(body))
	}
	return rawText(value), nil
}

func rawText(value []byte) []byte {
	switch value[0] {
	case 'n':
		return value[:0]
	case '"':
		inner := value[1 : len(value)-1]
		if bytes.IndexByte(inner, '\\') >= 0 || !utf8.Valid(inner) {
			return appendUnquoted(nil, value)
		}
		return inner
	}
	return value
}

// findName returns where the value of a name begins in the object at body[i].
func findName(body []byte, i int, name string) (int, bool, error) {
	i = skipSpace(body, i+1)
	if i < len(body) && body[i] == '}' {
		return i, false, nil
	}
	for {
		start := i
		if start >= len(body) || body[start] != '"' {
			return i, false, malformed(body, i, "a name in quotes")
		}
		end, err := skipString(body, i)
		if err != nil {
			return i, false, err
		}
		if i, err = skipColon(body, end); err != nil {
			return i, false, err
		}
		if equalText(body[start:end], name) {
			return i, true, nil
		}
		if i, err = skipValue(body, i); err != nil {
			return i, false, err
		}
		i = skipSpace(body, i)
		switch {
		case i < len(body) && body[i] == ',':
			i = skipSpace(body, i+1)
		case i < len(body) && body[i] == '}':
			return i, false, nil
		default:
			return i, false, malformed(body, i, "a comma or }")
		}
	}
}

// findIndex returns where an element of the array at body[i] begins.
func findIndex(body []byte, i int, index int64) (int, bool, error) {
	if index < 0 {
		_, n, err := walkArray(body, i, -1)
		if err != nil || n+index < 0 {
			return i, false, err
		}
		index += n
	}
	at, n, err := walkArray(body, i, index)
	return at, err == nil && n == index, err
}

// walkArray passes n elements of the array at body[i], or all of them when n is negative, and returns where the next
// one begins. It returns how many it passed; that is n only when there is a next one, and -1 when the array ends
// right after n.
func walkArray(body []byte, i int, n int64) (at int, passed int64, err error) {
	i = skipSpace(body, i+1)
	if i < len(body) && body[i] == ']' {
		if n == 0 {
			return i, -1, nil
		}
		return i, 0, nil
	}
	for passed != n {
		if i, err = skipValue(body, i); err != nil {
			return i, 0, err
		}
		passed++
		i = skipSpace(body, i)
		switch {
		case i < len(body) && body[i] == ',':
			i = skipSpace(body, i+1)
		case i < len(body) && body[i] == ']':
			if passed == n {
				passed = -1
			}
			return i, passed, nil
		default:
			return i, 0, malformed(body, i, "a comma or ]")
		}
	}
	return i, passed, nil
}
