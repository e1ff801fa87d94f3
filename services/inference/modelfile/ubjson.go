package modelfile

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// ubjsonDocument reads Universal Binary JSON (https://ubjson.org, draft 12) as far as XGBoost writes
// it: numbers are big-endian, arrays may be typed and counted ("[$d#L"), objects are neither.
type ubjsonDocument struct {
	data []byte
	ends map[int]int // of long containers, by position
}

func newUBJSON(data []byte) *ubjsonDocument {
	return &ubjsonDocument{data: data, ends: map[int]int{}}
}

// isLengthMarker says whether a marker is that of an integer: what follows "{" in UBJSON is the
// length of a key, and in JSON never one of these.
func isLengthMarker(b byte) bool {
	switch b {
	case 'i', 'U', 'I', 'l', 'L':
		return true
	}
	return false
}

// width is the number of bytes of a number, 0 for another marker.
func width(marker byte) int {
	switch marker {
	case 'i', 'U':
		return 1
	case 'I':
		return 2
	case 'l', 'd':
		return 4
	case 'L', 'D':
		return 8
	}
	return 0
}

func (d *ubjsonDocument) fileSize() int { return len(d.data) }

func (d *ubjsonDocument) root() (value, error) {
	v, err := d.valueAt(0)
	if err != nil {
		return v, err
	}
	end, err := d.skip(v)
	if err != nil {
		return v, err
	}
	if end != len(d.data) {
		return v, damaged(end, "more follows after the end of the model")
	}
	return v, nil
}

func (d *ubjsonDocument) kind(v value) kind {
	switch c := v.marker; {
	case c == '{':
		return object
	case c == '[':
		return array
	case c == 'S':
		return text
	case c == 'T', c == 'F':
		return boolean
	case width(c) > 0:
		return number
	}
	return other
}

func (d *ubjsonDocument) open(v value) (cursor, error) {
	c := cursor{at: v.pos, left: -1}
	if v.marker == '{' {
		if c.at < len(d.data) && (d.data[c.at] == '$' || d.data[c.at] == '#') {
			return c, damaged(c.at, "a counted object, which XGBoost does not write")
		}
		return c, nil
	}
	if c.at < len(d.data) && d.data[c.at] == '$' {
		if c.at+1 >= len(d.data) {
			return c, damaged(len(d.data), "the file ends too early")
		}
		// Elements without a size (null, true) would let a few bytes state any count.
		if c.marker = d.data[c.at+1]; width(c.marker) == 0 {
			return c, damaged(c.at, "an array typed %q", c.marker)
		}
		c.at += 2
		if c.at >= len(d.data) || d.data[c.at] != '#' {
			return c, damaged(c.at, "a typed array without a count")
		}
	}
	if c.at < len(d.data) && d.data[c.at] == '#' {
		n, end, err := d.size(c.at+1, max(width(c.marker), 1))
		if err != nil {
			return c, err
		}
		c.at, c.left = end, n
	}
	return c, nil
}

// size reads a count or length at pos and checks that the file still holds n times unit bytes.
func (d *ubjsonDocument) size(pos, unit int) (n, end int, err error) {
	if pos >= len(d.data) || !isLengthMarker(d.data[pos]) {
		return 0, 0, damaged(pos, "a length is missing")
	}
	length, end, err := d.integer(value{pos + 1, d.data[pos]})
	if err != nil {
		return 0, 0, err
	}
	if length < 0 || length > int64((len(d.data)-end)/unit) {
		return 0, 0, damaged(pos, "a length of %d, but only %d bytes follow", length, len(d.data)-end)
	}
	return int(length), end, nil
}

func (d *ubjsonDocument) key(c *cursor) ([]byte, value, bool, error) {
	if c.at < len(d.data) && d.data[c.at] == '}' {
		c.at++
		return nil, value{}, false, nil
	}
	n, at, err := d.size(c.at, 1)
	if err != nil {
		return nil, value{}, false, err
	}
	key := d.data[at : at+n]
	if !utf8.Valid(key) {
		return nil, value{}, false, damaged(at, "a key is not UTF-8")
	}
	v, err := d.valueAt(at + n)
	return key, v, err == nil, err
}

func (d *ubjsonDocument) element(c *cursor) (value, bool, error) {
	switch {
	case c.left == 0:
		return value{}, false, nil
	case c.left > 0:
		c.left--
	case c.at < len(d.data) && d.data[c.at] == ']':
		c.at++
		return value{}, false, nil
	}
	if c.marker != 0 {
		return value{c.at, c.marker}, true, nil
	}
	v, err := d.valueAt(c.at)
	return v, err == nil, err
}

func (d *ubjsonDocument) skip(v value) (int, error) { return d.skipNested(v, maxDepth) }

func (d *ubjsonDocument) skipNested(v value, depth int) (int, error) {
	switch d.kind(v) {
	case number:
		if v.pos+width(v.marker) > len(d.data) {
			return 0, damaged(len(d.data), "the file ends in a number")
		}
		return v.pos + width(v.marker), nil
	case text:
		n, at, err := d.size(v.pos, 1)
		return at + n, err
	case boolean, other:
		return v.pos, nil
	}
	if end, ok := d.ends[v.pos]; ok {
		return end, nil
	}
	if depth == 0 {
		return 0, damaged(v.pos, "nested more than %d deep", maxDepth)
	}
	c, err := d.open(v)
	if err != nil {
		return 0, err
	}
	if c.marker != 0 {
		return c.at + c.left*width(c.marker), nil
	}
	for {
		var e value
		var ok bool
		if v.marker == '{' {
			_, e, ok, err = d.key(&c)
		} else {
			e, ok, err = d.element(&c)
		}
		if err != nil {
			return 0, err
		}
		if !ok {
			if c.at-v.pos >= longContainer {
				d.ends[v.pos] = c.at
			}
			return c.at, nil
		}
		if c.at, err = d.skipNested(e, depth-1); err != nil {
			return 0, err
		}
	}
}

func (d *ubjsonDocument) integer(v value) (int64, int, error) {
	end := v.pos + width(v.marker)
	if end > len(d.data) {
		return 0, 0, damaged(len(d.data), "the file ends in a number")
	}
	b := d.data[v.pos:end]
	switch v.marker {
	case 'i':
		return int64(int8(b[0])), end, nil
	case 'U':
		return int64(b[0]), end, nil
	case 'I':
		return int64(int16(binary.BigEndian.Uint16(b))), end, nil
	case 'l':
		return int64(int32(binary.BigEndian.Uint32(b))), end, nil
	case 'L':
		return int64(binary.BigEndian.Uint64(b)), end, nil
	}
	return 0, 0, damaged(v.pos, "a value typed %q where an integer belongs", v.marker)
}

// float refuses what is not exactly a float32: XGBoost writes nothing else, and a rounded
// threshold is another threshold.
func (d *ubjsonDocument) float(v value) (float32, int, error) {
	end := v.pos + width(v.marker)
	if end > len(d.data) {
		return 0, 0, damaged(len(d.data), "the file ends in a number")
	}
	if v.marker == 'd' {
		return math.Float32frombits(binary.BigEndian.Uint32(d.data[v.pos:])), end, nil
	}
	return 0, 0, damaged(v.pos, "a value typed %q where a float32 belongs", v.marker)
}

func (d *ubjsonDocument) text(v value) (string, int, error) {
	n, at, err := d.size(v.pos, 1)
	if err != nil {
		return "", 0, err
	}
	s := d.data[at : at+n]
	if !utf8.Valid(s) {
		return "", 0, damaged(at, "a string is not UTF-8")
	}
	return string(s), at + n, nil
}

func (d *ubjsonDocument) valueAt(pos int) (value, error) {
	if pos >= len(d.data) {
		return value{}, damaged(pos, "the file ends too early")
	}
	v := value{pos + 1, d.data[pos]}
	if d.kind(v) == other && v.marker != 'Z' {
		return value{}, damaged(pos, "%q does not begin a value", v.marker)
	}
	return v, nil
}
