package modelfile

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// jsonDocument reads JSON (RFC 8259) strictly, with one liberty that XGBoost's writer takes: the
// numbers NaN, Infinity and -Infinity.
type jsonDocument struct {
	data []byte
	ends map[int]int // of long containers, by position
}

func newJSON(data []byte) *jsonDocument {
	return &jsonDocument{data: data, ends: map[int]int{}}
}

func (d *jsonDocument) fileSize() int { return len(d.data) }

func (d *jsonDocument) root() (value, error) {
	v, err := d.valueAt(0)
	if err != nil {
		return v, err
	}
	end, err := d.skip(v)
	if err != nil {
		return v, err
	}
	if end = d.space(end); end != len(d.data) {
		return v, damaged(end, "more follows after the end of the model")
	}
	return v, nil
}

func (d *jsonDocument) kind(v value) kind {
	switch c := v.marker; {
	case c == '{':
		return object
	case c == '[':
		return array
	case c == '"':
		return text
	case c == 't', c == 'f':
		return boolean
	case c == '-', c >= '0' && c <= '9', c == 'N', c == 'I':
		return number
	}
	return other
}

func (d *jsonDocument) open(v value) (cursor, error) {
	return cursor{at: v.pos + 1, left: -1}, nil
}

func (d *jsonDocument) key(c *cursor) ([]byte, value, bool, error) {
	ok, err := d.next(c, '}')
	if !ok || err != nil {
		return nil, value{}, false, err
	}
	if c.at >= len(d.data) || d.data[c.at] != '"' {
		return nil, value{}, false, damaged(c.at, "a key in quotes is missing")
	}
	key, end, err := d.unquote(c.at)
	if err != nil {
		return nil, value{}, false, err
	}
	end = d.space(end)
	if end >= len(d.data) || d.data[end] != ':' {
		return nil, value{}, false, damaged(end, "a colon is missing after the key %q", excerpt(key))
	}
	v, err := d.valueAt(end + 1)
	return key, v, err == nil, err
}

func (d *jsonDocument) element(c *cursor) (value, bool, error) {
	ok, err := d.next(c, ']')
	if !ok || err != nil {
		return value{}, false, err
	}
	v, err := d.valueAt(c.at)
	return v, err == nil, err
}

// next moves the cursor to the next member, over the comma, or behind the closing bracket.
func (d *jsonDocument) next(c *cursor, closing byte) (bool, error) {
	c.at = d.space(c.at)
	if c.at >= len(d.data) {
		return false, damaged(c.at, "the file ends too early")
	}
	switch b := d.data[c.at]; {
	case b == closing:
		c.at++
		return false, nil
	case c.begun && b != ',':
		return false, damaged(c.at, "a comma or %q is missing", closing)
	case c.begun:
		c.at = d.space(c.at + 1)
	}
	c.begun = true
	return true, nil
}

func (d *jsonDocument) skip(v value) (int, error) { return d.skipNested(v, maxDepth) }

func (d *jsonDocument) skipNested(v value, depth int) (int, error) {
	switch d.kind(v) {
	case text:
		return d.stringEnd(v.pos)
	case number:
		return d.numberEnd(v.pos)
	case boolean, other:
		return d.literalEnd(v.pos)
	}
	if end, ok := d.ends[v.pos]; ok {
		return end, nil
	}
	if depth == 0 {
		return 0, damaged(v.pos, "nested more than %d deep", maxDepth)
	}
	c := cursor{at: v.pos + 1, left: -1}
	closing := v.marker + 2 // '{' + 2 is '}', '[' + 2 is ']'
	for {
		ok, err := d.next(&c, closing)
		if err != nil {
			return 0, err
		}
		if !ok {
			if c.at-v.pos >= longContainer {
				d.ends[v.pos] = c.at
			}
			return c.at, nil
		}
		if closing == '}' {
			if c.at >= len(d.data) || d.data[c.at] != '"' {
				return 0, damaged(c.at, "a key in quotes is missing")
			}
			if c.at, err = d.stringEnd(c.at); err != nil {
				return 0, err
			}
			if c.at = d.space(c.at); c.at >= len(d.data) || d.data[c.at] != ':' {
				return 0, damaged(c.at, "a colon is missing after a key")
			}
			c.at++
		}
		e, err := d.valueAt(c.at)
		if err != nil {
			return 0, err
		}
		if c.at, err = d.skipNested(e, depth-1); err != nil {
			return 0, err
		}
	}
}

func (d *jsonDocument) integer(v value) (int64, int, error) {
	end, err := d.numberEnd(v.pos)
	if err != nil {
		return 0, 0, err
	}
	n, err := strconv.ParseInt(string(d.data[v.pos:end]), 10, 64)
	if err != nil {
		return 0, 0, damaged(v.pos, "%q is not an integer", excerpt(d.data[v.pos:end]))
	}
	return n, end, nil
}

func (d *jsonDocument) float(v value) (float32, int, error) {
	end, err := d.numberEnd(v.pos)
	if err != nil {
		return 0, 0, err
	}
	f, err := strconv.ParseFloat(string(d.data[v.pos:end]), 32)
	if err != nil {
		return 0, 0, damaged(v.pos, "%q is not a float32", excerpt(d.data[v.pos:end]))
	}
	return float32(f), end, nil
}

func (d *jsonDocument) text(v value) (string, int, error) {
	s, end, err := d.unquote(v.pos)
	return string(s), end, err
}

// unquote returns the string at pos, in place unless it holds an escape.
func (d *jsonDocument) unquote(pos int) ([]byte, int, error) {
	end, err := d.stringEnd(pos)
	if err != nil {
		return nil, 0, err
	}
	raw := d.data[pos+1 : end-1]
	if !utf8.Valid(raw) {
		return nil, 0, damaged(pos, "a string is not UTF-8")
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw, end, nil
	}
	var s string
	if err := json.Unmarshal(d.data[pos:end], &s); err != nil {
		return nil, 0, damaged(pos, "a string with a bad escape")
	}
	return []byte(s), end, nil
}

func (d *jsonDocument) valueAt(pos int) (value, error) {
	pos = d.space(pos)
	if pos >= len(d.data) {
		return value{}, damaged(pos, "the file ends too early")
	}
	v := value{pos, d.data[pos]}
	if d.kind(v) == other && v.marker != 'n' {
		return value{}, damaged(pos, "%q does not begin a value", v.marker)
	}
	return v, nil
}

func (d *jsonDocument) space(pos int) int {
	for pos < len(d.data) {
		switch d.data[pos] {
		case ' ', '\t', '\n', '\r':
			pos++
		default:
			return pos
		}
	}
	return pos
}

// stringEnd returns the end of the string that begins at pos; text checks its escapes.
func (d *jsonDocument) stringEnd(pos int) (int, error) {
	for i := pos + 1; i < len(d.data); i++ {
		switch c := d.data[i]; {
		case c == '"':
			return i + 1, nil
		case c == '\\':
			i++
		case c < ' ':
			return 0, damaged(i, "a control character in a string")
		}
	}
	return 0, damaged(len(d.data), "the file ends in a string")
}

// numberEnd checks the grammar of a number: strconv accepts more (hexadecimal, underscores).
func (d *jsonDocument) numberEnd(pos int) (int, error) {
	for _, word := range [...]string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(d.data[pos:], []byte(word)) {
			return pos + len(word), nil
		}
	}
	i := pos
	if i < len(d.data) && d.data[i] == '-' {
		i++
	}
	whole := d.digits(i)
	if whole == i || d.data[i] == '0' && whole > i+1 {
		return 0, damaged(pos, "not a number")
	}
	i = whole
	if i < len(d.data) && d.data[i] == '.' {
		fraction := d.digits(i + 1)
		if fraction == i+1 {
			return 0, damaged(pos, "a number without digits after the point")
		}
		i = fraction
	}
	if i < len(d.data) && (d.data[i] == 'e' || d.data[i] == 'E') {
		i++
		if i < len(d.data) && (d.data[i] == '+' || d.data[i] == '-') {
			i++
		}
		exponent := d.digits(i)
		if exponent == i {
			return 0, damaged(pos, "a number without digits in its exponent")
		}
		i = exponent
	}
	return i, nil
}

func (d *jsonDocument) digits(i int) int {
	for i < len(d.data) && d.data[i] >= '0' && d.data[i] <= '9' {
		i++
	}
	return i
}

func (d *jsonDocument) literalEnd(pos int) (int, error) {
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(d.data[pos:], []byte(word)) {
			return pos + len(word), nil
		}
	}
	return 0, damaged(pos, "not a value")
}
