package script

import "bytes"

// equalJSON tells whether two well formed JSON values, without space around, are the same: numbers by value, strings
// by what they say, objects without regard to order. Of a name that comes twice the first counts, as in Path.Find.
// It takes at most time proportional to the product of their sizes, and want is what a plan holds.
func equalJSON(want, found []byte) bool {
	switch found[0] {
	case '"':
		return want[0] == '"' && equalStrings(want, found)
	case '[':
		return want[0] == '[' && equalArrays(want, found)
	case '{':
		return want[0] == '{' && equalObjects(want, found)
	case 't', 'f', 'n':
		return want[0] == found[0]
	}
	return isNumberStart(want[0]) && compareNumbers(want, found) == 0
}

func isNumberStart(c byte) bool { return c == '-' || '0' <= c && c <= '9' }

func equalStrings(a, b []byte) bool {
	if bytes.IndexByte(a, '\\') < 0 {
		return equalText(b, a[1:len(a)-1])
	}
	if bytes.IndexByte(b, '\\') < 0 {
		return equalText(a, b[1:len(b)-1])
	}
	a, b = a[1:len(a)-1], b[1:len(b)-1]
	for len(a) > 0 && len(b) > 0 {
		r, n := nextRune(a, 0)
		s, m := nextRune(b, 0)
		if r != s {
			return false
		}
		a, b = a[n:], b[m:]
	}
	return len(a) == len(b)
}

func equalArrays(want, found []byte) bool {
	w, f := elements{b: want, i: 1}, elements{b: found, i: 1}
	for w.next() {
		if !f.next() || !equalJSON(w.value, f.value) {
			return false
		}
	}
	return !f.next()
}

func equalObjects(want, found []byte) bool {
	for w := (members{b: want, i: 1}); w.next(); {
		if first := lookup(want, w.name); &first[0] != &w.value[0] {
			continue
		}
		value := lookup(found, w.name)
		if value == nil || !equalJSON(w.value, value) {
			return false
		}
	}
	for f := (members{b: found, i: 1}); f.next(); {
		if lookup(want, f.name) == nil {
			return false
		}
	}
	return true
}

// lookup returns the value of a name, which is in quotes, or nil.
func lookup(object, name []byte) []byte {
	for m := (members{b: object, i: 1}); m.next(); {
		if equalStrings(m.name, name) {
			return m.value
		}
	}
	return nil
}

// equalToText tells whether a well formed JSON value is what an untyped text says; see the package's comment.
func equalToText(text, found []byte) bool {
	switch found[0] {
	case '"':
		return equalText(found, text)
	case '[', '{':
		if wholeJSON(text) != nil {
			return false
		}
		text = trimSpace(text)
		return equalJSON(text, found)
	case 't', 'f':
		return bytes.Equal(text, found)
	case 'n':
		return len(text) == 0 || bytes.Equal(text, found)
	}
	return isNumber(text) && compareNumbers(text, found) == 0
}
