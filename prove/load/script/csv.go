package script

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
)

// readCSV reads a header and rows. Spaces around the names of the header do not count, or they could not be told
// from the spaces in {{ name }}.
func (t *Table) readCSV(data []byte, name string) error {
	r := csv.NewReader(bytes.NewReader(data))
	r.ReuseRecord = true
	r.FieldsPerRecord = -1 // counted below, for a message that tells the numbers
	header, err := r.Read()
	if err != nil {
		return csvError(name, err)
	}
	for i, column := range header {
		line, _ := r.FieldPos(i)
		column = strings.TrimSpace(column)
		if column == "" {
			return fmt.Errorf("%s:%d: column %d of the header has no name", name, line, i+1)
		}
		if before, ok := t.index[column]; ok {
			return fmt.Errorf("%s:%d: columns %d and %d of the header are both called %s", name, line, before+1, i+1, show(column))
		}
		t.addColumn(strings.Clone(column))
	}
	t.data = make([]byte, 0, len(data))
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return csvError(name, err)
		}
		if len(record) != len(t.columns) {
			line, _ := r.FieldPos(0)
			return fmt.Errorf("%s:%d: %d cells where the header has %d columns", name, line, len(record), len(t.columns))
		}
		for _, text := range record {
			at := span{uint32(len(t.data)), uint32(len(text))}
			t.data = append(t.data, text...)
			t.cells = append(t.cells, cell{at, untyped(t.text(at))})
		}
		t.rows++
	}
	if t.rows == 0 {
		return fmt.Errorf("%s:1: a header, but no rows", name)
	}
	return nil
}

func csvError(name string, err error) error {
	var parse *csv.ParseError
	switch {
	case !errors.As(err, &parse):
		return fmt.Errorf("%s: %w", name, err)
	case errors.Is(parse.Err, csv.ErrQuote) && parse.StartLine != parse.Line:
		return fmt.Errorf("%s:%d: a quote that is not closed, or not doubled, from here to line %d", name, parse.StartLine, parse.Line)
	case errors.Is(parse.Err, csv.ErrQuote):
		return fmt.Errorf("%s:%d: a quote that is not closed, or not doubled", name, parse.Line)
	case errors.Is(parse.Err, csv.ErrBareQuote):
		return fmt.Errorf(`%s:%d: a quote within a cell; write the cell in quotes and the quote twice: "say ""hi"""`, name, parse.Line)
	}
	return fmt.Errorf("%s:%d: %w", name, parse.Line, parse.Err)
}
