package jsonscan

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// MaxDepth is how deep a value that is skipped may nest.
const MaxDepth = 64

// ErrRange is wrapped by the error for a number that no finite float64 can hold.
var ErrRange = errors.New("number out of float64 range")

// Error is a fault in the document. Offset counts bytes from its start.
type Error struct {
	Offset int
	Msg    string
	cause  error
}

func (e *Error) Error() string { return fmt.Sprintf("at byte %d: %s", e.Offset, e.Msg) }

// Unwrap gives ErrRange for a number that is out of range.
func (e *Error) Unwrap() error { return e.cause }

// Scanner walks one JSON document from left to right. The zero value is not useful: call New.
// It keeps and returns slices of the document and never writes to it; it is for one goroutine.
type Scanner struct {
	data []byte
	pos  int

	// NaN has Numbers take the literal NaN for a null. JSON has none, but some writers send it.
	NaN bool
}

// New returns a scanner at the start of data.
func New(data []byte) Scanner { return Scanner{data: data} }

// Offset is the position of the next byte.
func (s *Scanner) Offset() int { return s.pos }

// At returns a scanner over the same document at an offset that Offset returned.
func (s *Scanner) At(offset int) Scanner { return Scanner{data: s.data, pos: offset, NaN: s.NaN} }

// Fault makes an error at the scanner's position.
func (s *Scanner) Fault(msg string) error { return &Error{Offset: s.pos, Msg: msg} }

// Peek skips white space and returns the next byte, or 0 at the end of the document.
func (s *Scanner) Peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// Expect consumes the byte c, or says that what was expected and what is there instead.
func (s *Scanner) Expect(c byte, what string) error {
	if got := s.Peek(); got != c || s.pos == len(s.data) {
		return s.unexpected(what)
	}
	s.pos++
	return nil
}

// Next is called after an element of an object or array that ends with end. It consumes the comma and
// returns true, or consumes the end and returns false.
func (s *Scanner) Next(end byte) (more bool, err error) {
	if s.pos < len(s.data) && s.data[s.pos] == ',' {
		s.pos++
		return true, nil
	}
	switch c := s.Peek(); {
	case c == ',':
		s.pos++
		return true, nil
	case c == end && s.pos < len(s.data):
		s.pos++
		return false, nil
	}
	if end == '}' {
		return false, s.unexpected("',' or '}'")
	}
	return false, s.unexpected("',' or ']'")
}

// End fails unless nothing but white space is left.
func (s *Scanner) End() error {
	if s.Peek(); s.pos != len(s.data) {
		return s.unexpected("the end of the document")
	}
	return nil
}

// Null consumes the literal null.
func (s *Scanner) Null() error { return s.literal("null") }

// Bool consumes true or false.
func (s *Scanner) Bool() (bool, error) {
	switch s.Peek() {
	case 't':
		return true, s.literal("true")
	case 'f':
		return false, s.literal("false")
	}
	return false, s.unexpected("true or false")
}

// Number consumes a number. JSON has no NaN and no infinity; a number beyond float64 is an ErrRange.
func (s *Scanner) Number() (float64, error) {
	s.Peek()
	data, start := s.data, s.pos
	i := start
	negative := i < len(data) && data[i] == '-'
	if negative {
		i++
	}
	if i == len(data) || data[i]-'0' > 9 {
		return 0, s.unexpected("a number")
	}
	var mantissa uint64
	digits := 0 // significant ones, counted once the first digit that is not 0 has been seen
	if data[i] == '0' {
		i++
		if i < len(data) && data[i]-'0' <= 9 {
			return 0, s.Fault("a number may not begin with 0")
		}
	} else {
		for first := i; ; i++ {
			if i == len(data) || data[i]-'0' > 9 {
				digits = i - first
				break
			}
			mantissa = mantissa*10 + uint64(data[i]-'0')
		}
	}
	exponent := 0
	if i < len(data) && data[i] == '.' {
		i++
		first := i
		for ; i < len(data) && data[i]-'0' <= 9; i++ {
			mantissa = mantissa*10 + uint64(data[i]-'0')
			// Not by the mantissa, which 20 digits can wrap around to 0.
			if digits > 0 || data[i] != '0' {
				digits++
			}
		}
		if i == first {
			s.pos = i
			return 0, s.unexpected("a digit after the decimal point")
		}
		exponent = first - i
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i++
		sign := 1
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			if data[i] == '-' {
				sign = -1
			}
			i++
		}
		first, e := i, 0
		for ; i < len(data) && data[i]-'0' <= 9; i++ {
			if e < 100_000 {
				e = e*10 + int(data[i]-'0')
			}
		}
		if i == first {
			s.pos = i
			return 0, s.unexpected("a digit in the exponent")
		}
		exponent += sign * e
	}
	s.pos = i
	// Exact when mantissa and power are both exact in float64 (Clinger 1990): one rounding.
	if digits <= 19 && mantissa <= 1<<53 && -22 <= exponent && exponent <= 22 {
		v := float64(mantissa)
		if exponent < 0 {
			v /= pow10[-exponent]
		} else if exponent > 0 {
			v *= pow10[exponent]
		}
		if negative {
			v = -v
		}
		return v, nil
	}
	v, err := strconv.ParseFloat(unsafe.String(&data[start], i-start), 64)
	if err != nil || math.IsInf(v, 0) {
		return 0, &Error{Offset: start, Msg: ErrRange.Error(), cause: ErrRange}
	}
	return v, nil
}

// Numbers consumes an array of numbers, in which null stands for NaN, and appends them to dst.
func (s *Scanner) Numbers(dst []float64) ([]float64, error) {
	if err := s.Expect('[', "an array of numbers"); err != nil {
		return dst, err
	}
	if s.Peek() == ']' {
		s.pos++
		return dst, nil
	}
	for {
		// A digit and a comma: most of a row of indicators, and cheap to look for.
		data, i := s.data, s.pos
		for i+1 < len(data) && data[i+1] == ',' && data[i]-'0' <= 9 {
			dst = append(dst, float64(data[i]-'0'))
			i += 2
		}
		s.pos = i
		v := math.NaN()
		var err error
		switch c := s.Peek(); {
		case c == 'n':
			err = s.Null()
		case c == 'N' && s.NaN:
			err = s.literal("NaN")
		default:
			v, err = s.Number()
		}
		if err != nil {
			return dst, err
		}
		dst = append(dst, v)
		if more, err := s.Next(']'); err != nil || !more {
			return dst, err
		}
	}
}

var pow10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// String consumes a string and returns its value: a slice of the document where nothing is escaped,
// else a new one. Invalid UTF-8, bare control characters and lone surrogates are refused.
func (s *Scanner) String() ([]byte, error) {
	if err := s.Expect('"', "a string"); err != nil {
		return nil, err
	}
	start, ascii := s.pos, true
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c == '"':
			raw := s.data[start:s.pos]
			if !ascii && !utf8.Valid(raw) {
				s.pos = start
				return nil, s.Fault("the string is not valid UTF-8")
			}
			s.pos++
			return raw, nil
		case c == '\\':
			return s.unescape(start)
		case c < 0x20:
			return nil, s.Fault("a control character in a string must be escaped")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, s.unexpected("the end of the string")
}

// unescape goes on from the first backslash of a string that began at start.
func (s *Scanner) unescape(start int) ([]byte, error) {
	value := append([]byte(nil), s.data[start:s.pos]...)
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		switch {
		case c == '"':
			if !utf8.Valid(value) {
				s.pos = start
				return nil, s.Fault("the string is not valid UTF-8")
			}
			s.pos++
			return value, nil
		case c < 0x20:
			return nil, s.Fault("a control character in a string must be escaped")
		case c != '\\':
			value = append(value, c)
			s.pos++
			continue
		}
		s.pos++
		if s.pos == len(s.data) {
			break
		}
		c = s.data[s.pos]
		s.pos++
		switch c {
		case '"', '\\', '/':
			value = append(value, c)
		case 'b':
			value = append(value, '\b')
		case 'f':
			value = append(value, '\f')
		case 'n':
			value = append(value, '\n')
		case 'r':
			value = append(value, '\r')
		case 't':
			value = append(value, '\t')
		case 'u':
			r, err := s.escapedRune()
			if err != nil {
				return nil, err
			}
			value = utf8.AppendRune(value, r)
		default:
			s.pos--
			return nil, s.Fault("an unknown escape in a string")
		}
	}
	return nil, s.unexpected("the end of the string")
}

// escapedRune reads what follows \u, and the second half of a surrogate pair.
func (s *Scanner) escapedRune() (rune, error) {
	high, err := s.hex4()
	if err != nil {
		return 0, err
	}
	if high < 0xD800 || high > 0xDFFF {
		return high, nil
	}
	if high < 0xDC00 && s.pos+1 < len(s.data) && s.data[s.pos] == '\\' && s.data[s.pos+1] == 'u' {
		s.pos += 2
		low, err := s.hex4()
		if err != nil {
			return 0, err
		}
		if 0xDC00 <= low && low <= 0xDFFF {
			return (high-0xD800)<<10 + (low - 0xDC00) + 0x10000, nil
		}
	}
	return 0, s.Fault("half a surrogate pair in a string")
}

func (s *Scanner) hex4() (rune, error) {
	if len(s.data)-s.pos < 4 {
		return 0, s.Fault("four hexadecimal digits expected after \\u")
	}
	var r rune
	for range 4 {
		c := s.data[s.pos]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, s.Fault("four hexadecimal digits expected after \\u")
		}
		r = r<<4 | rune(c)
		s.pos++
	}
	return r, nil
}

// Skip consumes any value, checking that it is one. It does not recurse.
func (s *Scanner) Skip() error {
	var closers [MaxDepth]byte
	depth := 0
	for {
		switch c := s.Peek(); c {
		case '{', '[':
			if depth == MaxDepth {
				return s.Fault(fmt.Sprintf("nested deeper than %d", MaxDepth))
			}
			s.pos++
			closers[depth] = c + 2 // '}' and ']' follow their openers by two
			depth++
			if s.Peek() == c+2 {
				s.pos++
				depth--
				break
			}
			if c == '{' {
				if err := s.key(); err != nil {
					return err
				}
			}
			continue
		case '"':
			if _, err := s.String(); err != nil {
				return err
			}
		case 't':
			if err := s.literal("true"); err != nil {
				return err
			}
		case 'f':
			if err := s.literal("false"); err != nil {
				return err
			}
		case 'n':
			if err := s.literal("null"); err != nil {
				return err
			}
		default:
			if c != '-' && c-'0' > 9 {
				return s.unexpected("a value")
			}
			if _, err := s.Number(); err != nil {
				return err
			}
		}
		for {
			if depth == 0 {
				return nil
			}
			more, err := s.Next(closers[depth-1])
			if err != nil {
				return err
			}
			if more {
				break
			}
			depth--
		}
		if closers[depth-1] == '}' {
			if err := s.key(); err != nil {
				return err
			}
		}
	}
}

func (s *Scanner) key() error {
	if _, err := s.String(); err != nil {
		return err
	}
	return s.Expect(':', "':' after the key")
}

func (s *Scanner) literal(word string) error {
	s.Peek()
	if len(s.data)-s.pos < len(word) || string(s.data[s.pos:s.pos+len(word)]) != word {
		return s.unexpected("a value")
	}
	s.pos += len(word)
	return nil
}

// unexpected says what was expected at the position and what is there.
func (s *Scanner) unexpected(expected string) error {
	if s.pos >= len(s.data) {
		return s.Fault(expected + " expected, the document ends here")
	}
	r, size := utf8.DecodeRune(s.data[s.pos:])
	if r == utf8.RuneError && size <= 1 {
		return s.Fault(fmt.Sprintf("%s expected, not byte %#02x", expected, s.data[s.pos]))
	}
	if word := s.word(); word == "NaN" || word == "Infinity" || word == "nan" || word == "inf" {
		return s.Fault(expected + " expected; JSON has no " + word + ", a missing value is null")
	}
	return s.Fault(fmt.Sprintf("%s expected, not %q", expected, r))
}

func (s *Scanner) word() string {
	end := s.pos
	for end < len(s.data) && end-s.pos < 10 && (s.data[end]|0x20)-'a' < 26 {
		end++
	}
	return string(s.data[s.pos:end])
}
