// Package jsonscan walks a JSON document (RFC 8259) from left to right without building a tree of it.
// Request parsers use it to put thousands of numbers straight into rows of float64: it allocates
// nothing for numbers and unescaped strings, does not recurse, and is as strict as the RFC (no NaN, no
// leading zeros, no trailing commas, valid UTF-8 only).
//
// It is not for documents whose shape is not known: use encoding/json there. Duplicate keys are the
// caller's business, since only the caller knows which keys there may be.
//
//	s := jsonscan.New(body)
//	err := s.Expect('[', "an array")
//	for more := true; more && err == nil; {
//		v, _ := s.Number()
//		sum += v
//		more, err = s.Next(']')
//	}
package jsonscan
