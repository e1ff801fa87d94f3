package script

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Table holds rows in memory. It is read only, and safe for concurrent use.
type Table struct {
	columns []string
	index   map[string]int // column by name
	keys    [][]byte       // of each column: its name as a JSON key with what goes before, such as ,"id":
	rows    int
	cells   []cell // row by row, len(columns) each
	lines   []span // of JSONL: the object itself; nil for CSV
	data    []byte // what cells and lines point into
}

// maxTable is the largest file, in bytes. What is decoded from a file is never longer than it, so that an offset
// into both fits 32 bits.
const maxTable = math.MaxUint32 / 2

// span is a part of Table.data.
type span struct{ off, n uint32 }

// cell is the raw text of a value, and how it becomes JSON.
type cell struct {
	span
	kind kind
}

type kind uint8

const (
	kindNull    kind = iota // also of a row that has no such column
	kindLiteral             // the text is JSON already
	kindPlain               // a string in which nothing has to be escaped
	kindString              // any other string
)

// ReadTable reads rows: CSV with a header (RFC 4180; blank lines do not count), or JSONL with one object a line. The
// extension of name tells which (.csv, .jsonl, .ndjson); with any other it is JSONL when the first byte is a brace.
// Columns of JSONL are all names of all objects, in the order in which they come up; an object without one of them
// has null there. The text is UTF-8, with or without a byte order mark. An error begins with name and line.
//
// A file above maxBytes is refused; 0, and all above 2 GiB, means 2 GiB.
func ReadTable(r io.Reader, name string, maxBytes int64) (*Table, error) {
	if maxBytes <= 0 || maxBytes > maxTable {
		maxBytes = maxTable
	}
	data, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if int64(len(data)) > maxBytes {
		return nil, fmt.Errorf("%s: larger than %d bytes; use fewer rows or raise the limit", name, maxBytes)
	}
	if err := checkText(data, name); err != nil {
		return nil, err
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	start := bytes.TrimLeft(data, " \t\r\n")
	if len(start) == 0 {
		return nil, fmt.Errorf("%s: empty; wanted CSV with a header, or JSONL", name)
	}
	t := &Table{index: map[string]int{}}
	if isJSONL(name, start[0]) {
		err = t.readJSONL(data, name, maxBytes)
	} else {
		err = t.readCSV(data, name)
	}
	if err != nil {
		return nil, err
	}
	for i, column := range t.columns {
		key := []byte{','}
		if i == 0 {
			key[0] = '{'
		}
		t.keys = append(t.keys, append(appendQuoted(key, []byte(column)), ':'))
	}
	return t, nil
}

// Columns returns the names of the columns, in order.
func (t *Table) Columns() []string { return slices.Clone(t.columns) }

// Len returns the number of rows, at least 1.
func (t *Table) Len() int { return t.rows }

func isJSONL(name string, first byte) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".jsonl", ".ndjson":
		return true
	case ".csv":
		return false
	}
	return first == '{'
}

// checkText refuses what is no UTF-8 text.
func checkText(data []byte, name string) error {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return fmt.Errorf("%s:1: this is UTF-16; save it as UTF-8", name)
	}
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return fmt.Errorf("%s:%d: a zero byte; wanted text, CSV or JSONL", name, lineAt(data, i))
	}
	if utf8.Valid(data) {
		return nil
	}
	for i := 0; ; {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return fmt.Errorf("%s:%d: byte %#x is not UTF-8; save the file as UTF-8", name, lineAt(data, i), data[i])
		}
		i += n
	}
}

func lineAt(data []byte, i int) int { return 1 + bytes.Count(data[:i], []byte{'\n'}) }

func (t *Table) addColumn(name string) int {
	i := len(t.columns)
	t.columns = append(t.columns, name)
	t.index[name] = i
	return i
}

// untyped is the kind of a text that came without a type: of CSV, or saved from an answer.
func untyped(text []byte) kind {
	switch {
	case len(text) == 0:
		return kindNull
	case isNumber(text):
		return kindLiteral
	}
	return kindOfString(text)
}

func kindOfString(text []byte) kind {
	for _, c := range text {
		if escaped[c] {
			return kindString
		}
	}
	return kindPlain
}

func (t *Table) text(s span) []byte { return t.data[s.off : s.off+s.n] }

// appendCell appends one value.
func (t *Table) appendCell(dst []byte, row, column int, f filter) []byte {
	cell := &t.cells[row*len(t.columns)+column]
	return appendValue(dst, t.text(cell.span), cell.kind, f)
}

// appendRange appends columns as JSON values with commas between.
func (t *Table) appendRange(dst []byte, row, from, to int) []byte {
	base := row * len(t.columns)
	for i, cell := range t.cells[base+from : base+to+1] {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendValue(dst, t.text(cell.span), cell.kind, filterJSON)
	}
	return dst
}

// appendRow appends a whole row as an object.
func (t *Table) appendRow(dst []byte, row int) []byte {
	if t.lines != nil {
		return append(dst, t.text(t.lines[row])...)
	}
	for i, key := range t.keys {
		dst = append(dst, key...)
		dst = t.appendCell(dst, row, i, filterJSON)
	}
	return append(dst, '}')
}
