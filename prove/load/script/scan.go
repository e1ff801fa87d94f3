package script

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// maxDepth is how deep arrays and objects may nest in a value. It bounds what a hostile answer costs.
const maxDepth = 1024

// skipSpace returns the first index from i on that is no JSON whitespace.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns where the JSON value that begins at b[i] ends. It checks all of it as RFC 8259 wants it, but
// for UTF-8, about which it is as lenient as encoding/json.
func skipValue(b []byte, i int) (int, error) {
	var (
		objects [maxDepth / 64]uint64 // a bit a level: it is an object
		depth   int
		err     error
	)
	for {
		// A value begins here.
		if i >= len(b) {
			return i, malformed(b, i, "a value")
		}
		switch b[i] {
		case '"':
			i, err = skipString(b, i)
		case '{', '[':
			object := b[i] == '{'
			if depth == maxDepth {
				return i, fmt.Errorf("nested deeper than %d at byte %d", maxDepth, i)
			}
			i = skipSpace(b, i+1)
			if i < len(b) && (object && b[i] == '}' || !object && b[i] == ']') {
				i++
				break
			}
			if bit := uint64(1) << (depth % 64); object {
				objects[depth/64] |= bit
			} else {
				objects[depth/64] &^= bit
			}
			depth++
			if object {
				if i, err = skipName(b, i); err != nil {
					return i, err
				}
			}
			continue
		case 't':
			i, err = skipWord(b, i, "true")
		case 'f':
			i, err = skipWord(b, i, "false")
		case 'n':
			i, err = skipWord(b, i, "null")
		default:
			end := skipNumber(b, i)
			if end < 0 {
				return i, malformed(b, i, "a value")
			}
			i = end
		}
		if err != nil {
			return i, err
		}
		// It has ended here, and maybe others with it.
		for {
			if depth == 0 {
				return i, nil
			}
			i = skipSpace(b, i)
			object := objects[(depth-1)/64]&(1<<((depth-1)%64)) != 0
			if i < len(b) && b[i] == ',' {
				i = skipSpace(b, i+1)
				if object {
					if i, err = skipName(b, i); err != nil {
						return i, err
					}
				}
				break
			}
			switch {
			case i < len(b) && object && b[i] == '}', i < len(b) && !object && b[i] == ']':
				i++
				depth--
				continue
			case object:
				return i, malformed(b, i, "a comma or }")
			}
			return i, malformed(b, i, "a comma or ]")
		}
	}
}

// skipName passes the name at b[i] and its colon, up to where its value begins.
func skipName(b []byte, i int) (int, error) {
	if i >= len(b) || b[i] != '"' {
		return i, malformed(b, i, "a name in quotes")
	}
	i, err := skipString(b, i)
	if err != nil {
		return i, err
	}
	return skipColon(b, i)
}

func skipColon(b []byte, i int) (int, error) {
	i = skipSpace(b, i)
	if i >= len(b) || b[i] != ':' {
		return i, malformed(b, i, "a colon")
	}
	return skipSpace(b, i+1), nil
}

// skipString returns the index after the string whose opening quote is b[i].
func skipString(b []byte, i int) (int, error) {
	for i++; ; i++ {
		i = skipPlain(b, i)
		if i >= len(b) {
			break
		}
		c := b[i]
		switch {
		case c == '"':
			return i + 1, nil
		case c != '\\':
			return i, malformed(b, i, "a string without control characters")
		}
		i++
		if i >= len(b) {
			break
		}
		switch b[i] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			if _, ok := hex4(b, i+1); !ok {
				return i, malformed(b, i, `four hexadecimal digits after \u`)
			}
			i += 4
		default:
			return i, malformed(b, i, "an escape of JSON")
		}
	}
	return len(b), malformed(b, len(b), "a closing quote")
}

// skipPlain returns the first index from i on of a quote, a backslash or a control character: eight bytes at a time,
// by the test for a zero byte in a word (Warren, Hacker's Delight, 6-1). It may mark too many bytes, but only above
// one that it marks rightly, and the lowest counts.
func skipPlain(b []byte, i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for len(b)-i >= 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, backslash := w^('"'*ones), w^('\\'*ones)
		if marks := ((w-' '*ones)&^w | (quote-ones)&^quote | (backslash-ones)&^backslash) & tops; marks != 0 {
			return i + bits.TrailingZeros64(marks)/8
		}
		i += 8
	}
	for i < len(b) && !escaped[b[i]] {
		i++
	}
	return i
}

func skipWord(b []byte, i int, word string) (int, error) {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return i, malformed(b, i, word)
	}
	return i + len(word), nil
}

// skipNumber returns where the number at b[i] ends, or -1 when there is none.
func skipNumber(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i >= len(b) || b[i] < '0' || b[i] > '9':
		return -1
	case b[i] == '0':
		i++
	default:
		i = skipDigits(b, i)
	}
	if i < len(b) && b[i] == '.' {
		end := skipDigits(b, i+1)
		if end == i+1 {
			return -1
		}
		i = end
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		end := skipDigits(b, i)
		if end == i {
			return -1
		}
		i = end
	}
	return i
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i
}

// isNumber tells whether the whole text is a JSON number.
func isNumber(text []byte) bool { return len(text) > 0 && skipNumber(text, 0) == len(text) }

// wholeJSON returns an error unless b is one JSON value, with or without space around.
func wholeJSON(b []byte) error {
	i, err := skipValue(b, skipSpace(b, 0))
	if err != nil {
		return err
	}
	if i = skipSpace(b, i); i < len(b) {
		return malformed(b, i, "nothing more")
	}
	return nil
}

func malformed(b []byte, i int, wanted string) error {
	if i >= len(b) {
		return fmt.Errorf("not JSON: it ends at byte %d where %s was wanted", len(b), wanted)
	}
	if b[i] < ' ' || b[i] > '~' {
		return fmt.Errorf("not JSON: at byte %d wanted %s, found the byte %#02x", i, wanted, b[i])
	}
	return fmt.Errorf("not JSON: at byte %d wanted %s, found %q", i, wanted, b[i])
}
