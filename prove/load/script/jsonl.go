package script

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// readJSONL reads one object a line; blank lines do not count.
func (t *Table) readJSONL(data []byte, name string, maxCells int64) error {
	t.data = data
	var (
		starts []int // of each row: its first cell; a row has the columns that were known by then
		r      = objectReader{table: t}
	)
	for at, line := 0, 1; at < len(data); line++ {
		end := len(data)
		if n := bytes.IndexByte(data[at:], '\n'); n >= 0 {
			end = at + n
		}
		from, to := skipSpace(data[:end], at), end
		at = end + 1
		for to > from && (data[to-1] == ' ' || data[to-1] == '\t' || data[to-1] == '\r') {
			to--
		}
		if from == to {
			continue
		}
		if data[from] != '{' {
			return fmt.Errorf("%s:%d: wanted an object, found %s", name, line, show(cut(string(data[from:to]), 40)))
		}
		if err := wholeJSON(data[from:to]); err != nil {
			return fmt.Errorf("%s:%d: %w; each line has to be one whole object", name, line, err)
		}
		starts = append(starts, len(t.cells))
		t.lines = append(t.lines, span{uint32(from), uint32(to - from)})
		if err := r.read(from, to); err != nil {
			return fmt.Errorf("%s:%d: %w", name, line, err)
		}
		// A file of CSV cannot have more cells than bytes. Here every row gets a cell for each name of any row.
		if cells := int64(len(starts)) * int64(len(t.columns)); cells > maxCells {
			return fmt.Errorf("%s:%d: %d different names by here, too many for %d rows with a cell for each; name things by values, not by keys", name, line, len(t.columns), len(starts))
		}
	}
	t.rows = len(starts)
	if len(t.columns) == 0 {
		return fmt.Errorf("%s:1: no object has a name in it", name)
	}
	t.square(starts)
	return nil
}

// objectReader adds rows to a table.
type objectReader struct {
	table *Table
	row   int
	seen  []int  // of each column: the row in which it came last, from 1
	buf   []byte // a name without quotes
}

// read adds the cells of the object in data[from:to], which is well formed.
func (r *objectReader) read(from, to int) error {
	t := r.table
	r.row++
	base := len(t.cells)
	t.cells = append(t.cells, make([]cell, len(t.columns))...)
	next := 0 // objects mostly repeat the order of the one before
	for m := (members{b: t.data[from:to], i: 1}); m.next(); {
		column := next
		if column >= len(t.columns) || !equalText(m.name, t.columns[column]) {
			column = r.column(m.name)
		}
		if r.seen[column] == r.row {
			return fmt.Errorf("the name %s comes twice in one object", show(cut(t.columns[column], 60)))
		}
		r.seen[column] = r.row
		next = column + 1
		t.cells[base+column] = t.newCell(from+m.at, m.value)
	}
	return nil
}

// column finds the column of a quoted name, or adds it.
func (r *objectReader) column(quoted []byte) int {
	r.buf = appendUnquoted(r.buf[:0], quoted)
	if known, ok := r.table.index[string(r.buf)]; ok {
		return known
	}
	r.table.cells = append(r.table.cells, cell{})
	r.seen = append(r.seen, 0)
	return r.table.addColumn(string(r.buf))
}

// newCell makes the cell of a JSON value, which is at data[at:].
func (t *Table) newCell(at int, value []byte) cell {
	here := span{uint32(at), uint32(len(value))}
	switch value[0] {
	case 'n':
		return cell{}
	case '"':
		inner := value[1 : len(value)-1]
		if bytes.IndexByte(inner, '\\') < 0 {
			return cell{span{here.off + 1, here.n - 2}, kindOfString(inner)}
		}
		start := len(t.data)
		t.data = appendUnquoted(t.data, value)
		return cell{span{uint32(start), uint32(len(t.data) - start)}, kindOfString(t.data[start:])}
	case '{', '[':
		var b bytes.Buffer
		if err := json.Compact(&b, value); err == nil && b.Len() < len(value) {
			start := len(t.data)
			t.data = append(t.data, b.Bytes()...)
			return cell{span{uint32(start), uint32(b.Len())}, kindLiteral}
		}
	}
	return cell{here, kindLiteral}
}

// square gives every row all columns.
func (t *Table) square(starts []int) {
	if len(t.cells) == len(starts)*len(t.columns) {
		return
	}
	cells := make([]cell, len(starts)*len(t.columns))
	for row, start := range starts {
		end := len(t.cells)
		if row+1 < len(starts) {
			end = starts[row+1]
		}
		copy(cells[row*len(t.columns):], t.cells[start:end])
	}
	t.cells = cells
}
