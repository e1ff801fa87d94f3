package script

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// appendUnquoted appends the text of a well formed JSON string. Half a surrogate pair becomes U+FFFD, as in
// encoding/json, and so does what is not UTF-8.
func appendUnquoted(dst, quoted []byte) []byte {
	b := quoted[1 : len(quoted)-1]
	for i := 0; i < len(b); {
		if c := b[i]; c < utf8.RuneSelf && c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		r, n := nextRune(b, i)
		dst = utf8.AppendRune(dst, r)
		i += n
	}
	return dst
}

// equalText tells whether a well formed JSON string has that text.
func equalText[T string | []byte](quoted []byte, text T) bool {
	b := quoted[1 : len(quoted)-1]
	if string(b) == string(text) && bytes.IndexByte(b, '\\') < 0 {
		return true
	}
	at := 0
	for i := 0; i < len(b); {
		if c := b[i]; c < utf8.RuneSelf && c != '\\' {
			if at >= len(text) || text[at] != c {
				return false
			}
			i, at = i+1, at+1
			continue
		}
		var buf [utf8.UTFMax]byte
		r, n := nextRune(b, i)
		size := utf8.EncodeRune(buf[:], r)
		if len(text)-at < size || string(text[at:at+size]) != string(buf[:size]) {
			return false
		}
		i, at = i+n, at+size
	}
	return at == len(text)
}

// nextRune decodes one character, escaped or not, of a well formed string.
func nextRune(b []byte, i int) (rune, int) {
	if b[i] != '\\' {
		return utf8.DecodeRune(b[i:])
	}
	switch b[i+1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r, _ := hex4(b, i+2)
		if !utf16.IsSurrogate(r) {
			return r, 6
		}
		if i+7 < len(b) && b[i+6] == '\\' && b[i+7] == 'u' {
			low, _ := hex4(b, i+8)
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, 12
			}
		}
		return utf8.RuneError, 6
	}
	return rune(b[i+1]), 2
}

// hex4 reads four hexadecimal digits.
func hex4(b []byte, i int) (r rune, ok bool) {
	if len(b)-i < 4 {
		return 0, false
	}
	for _, c := range b[i : i+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
