package script

import "unicode/utf8"

const hex = "0123456789abcdef"

// escaped has the ASCII bytes that a JSON string must not hold as they are.
var escaped = func() (set [256]bool) {
	for c := range 0x20 {
		set[c] = true
	}
	set['"'], set['\\'] = true, true
	return set
}()

// unreserved has the bytes that stay as they are in a URL (RFC 3986, section 2.3).
var unreserved = func() (set [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~" {
		set[c] = true
	}
	return set
}()

// appendValue appends a text of some kind by a filter.
func appendValue(dst, text []byte, k kind, f filter) []byte {
	switch f {
	case filterURL:
		return appendURL(dst, text)
	case filterJSON:
		switch k {
		case kindNull:
			return append(dst, "null"...)
		case kindLiteral:
			return append(dst, text...)
		}
		fallthrough
	case filterString:
		if k == kindPlain {
			dst = append(dst, '"')
			dst = append(dst, text...)
			return append(dst, '"')
		}
		return appendQuoted(dst, text)
	}
	return append(dst, text...)
}

// appendQuoted appends a JSON string. What is not UTF-8 becomes U+FFFD, as in encoding/json.
func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	from := 0 // of what is to be copied as it is
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf && !escaped[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, text[from:i]...), "\ufffd"...)
				from = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, text[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	dst = append(dst, text[from:]...)
	return append(dst, '"')
}

// appendURL appends text percent-encoded. A space becomes %20 and not a plus, which a path would take at its word.
func appendURL(dst, text []byte) []byte {
	for _, c := range text {
		if unreserved[c] {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

const upperHex = "0123456789ABCDEF"
