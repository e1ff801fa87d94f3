package modelfile

import (
	"bytes"
	"errors"
	"math"
	"strconv"
)

// words walks the words of a line, which single spaces separate.
type words struct {
	rest   []byte
	offset int
}

func (f field) words() words { return words{f.text, f.offset} }

func (w *words) next() (word []byte, offset int, ok bool) {
	if len(w.rest) == 0 {
		return nil, w.offset, false
	}
	word, rest, _ := bytes.Cut(w.rest, []byte(" "))
	offset = w.offset
	w.offset += len(w.rest) - len(rest)
	w.rest = rest
	return word, offset, true
}

// count returns the number of words.
func (f field) count() int {
	if len(f.text) == 0 {
		return 0
	}
	n := bytes.Count(f.text, []byte(" "))
	if f.text[len(f.text)-1] != ' ' { // a trailing space ends the last word
		n++
	}
	return n
}

// integer reads a line with one integer.
func (f field) integer(least, most int) (int, error) {
	n, err := strconv.Atoi(string(f.text))
	if err != nil || n < least || n > most {
		return 0, damaged(f.offset, "%q is not an integer between %d and %d", excerpt(f.text), least, most)
	}
	return n, nil
}

// integer reads the next word as an integer.
func (w *words) integer(least, most int64) (int64, error) {
	word, offset, _ := w.next()
	n, err := strconv.ParseInt(string(word), 10, 64)
	if err != nil || n < least || n > most {
		return 0, damaged(offset, "%q is not an integer between %d and %d", excerpt(word), least, most)
	}
	return n, nil
}

// double reads the next word as a finite float64.
func (w *words) double() (float64, error) {
	word, offset, _ := w.next()
	f, err := parseDouble(word)
	if err != nil {
		return 0, damaged(offset, "%q is not a finite number", excerpt(word))
	}
	return f, nil
}

var errNumber = errors.New("not a finite decimal number")

func parseDouble(s []byte) (float64, error) {
	if bytes.ContainsAny(s, "_xXpP") { // strconv allows more than decimal numbers
		return 0, errNumber
	}
	f, err := strconv.ParseFloat(string(s), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, errNumber
	}
	return f, nil
}
