package script

import (
	"math/rand/v2"
	"strconv"
	"time"
)

// Template is a text with expressions. It is read only, and safe for concurrent use.
type Template struct {
	pieces []piece
	table  *Table
}

// Context is what expressions take their values from. It belongs to one user: it is not safe for concurrent use, and
// checks keep a buffer in it.
type Context struct {
	Row  int              // index into the table, below its Len; looked at when NeedsRow
	Seq  uint64           // number of this request in the run, from 0
	Run  string           // differs from run to run; for {{unique}}
	Rand *rand.Rand       // for {{uuid}} and {{rand}}; nil takes the generator of the process
	Vars [][]byte         // values of the saved variables, in the order of the names given to Compile, at least as many
	Now  func() time.Time // nil is time.Now

	buf []byte // what a check renders
}

// piece is a part of a template.
type piece struct {
	op     op
	filter filter
	text   []byte // opText
	from   int    // opColumn, opRange, opVar: index
	to     int    // opRange: last index
	low    int64  // opRand
	span   uint64 // opRand: high - low
}

type op uint8

const (
	opText op = iota
	opColumn
	opRange
	opVar
	opRow
	opSeq
	opUnique
	opUUID
	opRand
	opNow
	opNowMS
)

type filter uint8

const (
	filterRaw filter = iota
	filterJSON
	filterString
	filterURL
)

// Append appends the rendered text.
func (t *Template) Append(dst []byte, c *Context) []byte {
	for i := range t.pieces {
		p := &t.pieces[i]
		switch p.op {
		case opText:
			dst = append(dst, p.text...)
		case opColumn:
			dst = t.table.appendCell(dst, c.Row, p.from, p.filter)
		case opRange:
			dst = t.table.appendRange(dst, c.Row, p.from, p.to)
		case opVar:
			text := c.Vars[p.from]
			k := kindString
			if p.filter == filterJSON {
				k = untyped(text)
			}
			dst = appendValue(dst, text, k, p.filter)
		default:
			dst = t.appendBuiltIn(dst, p, c)
		}
	}
	return dst
}

// Static returns the text when nothing in it varies.
func (t *Template) Static() (text []byte, ok bool) {
	switch {
	case len(t.pieces) == 0:
		return nil, true
	case len(t.pieces) == 1 && t.pieces[0].op == opText:
		return t.pieces[0].text, true
	}
	return nil, false
}

// NeedsRow tells whether the text depends on the row.
func (t *Template) NeedsRow() bool {
	for i := range t.pieces {
		switch t.pieces[i].op {
		case opColumn, opRange, opRow:
			return true
		}
	}
	return false
}

// appendBuiltIn appends a value and then, if it has a filter, filters it in place.
func (t *Template) appendBuiltIn(dst []byte, p *piece, c *Context) []byte {
	start := len(dst)
	isJSON := true // the value is JSON as it stands
	switch p.op {
	case opRow:
		dst = t.table.appendRow(dst, c.Row)
	case opSeq:
		dst = strconv.AppendUint(dst, c.Seq, 10)
	case opRand:
		dst = strconv.AppendInt(dst, p.low+int64(c.upTo(p.span)), 10)
	case opNowMS:
		dst = strconv.AppendInt(dst, c.now().UnixMilli(), 10)
	default:
		isJSON = false
		switch p.op {
		case opUnique:
			dst = append(dst, c.Run...)
			dst = append(dst, '-')
			dst = strconv.AppendUint(dst, c.Seq, 10)
		case opUUID:
			dst = appendUUID(dst, c.random(), c.random())
		case opNow:
			dst = c.now().UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000000Z")
		}
	}
	if p.filter == filterRaw || p.filter == filterJSON && isJSON {
		return dst
	}
	end := len(dst)
	dst = appendValue(dst, dst[start:end], kindString, p.filter)
	n := copy(dst[start:], dst[end:])
	return dst[:start+n]
}

// appendUUID appends a UUID of version 4 (RFC 9562, section 5.4).
func appendUUID(dst []byte, high, low uint64) []byte {
	high = high&^0xf000 | 0x4000
	low = low&^(3<<62) | 2<<62
	for i := range 32 {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			dst = append(dst, '-')
		}
		half := high
		if i >= 16 {
			half = low
		}
		dst = append(dst, hex[half>>(60-i%16*4)&15])
	}
	return dst
}

func (c *Context) random() uint64 {
	if c.Rand == nil {
		return rand.Uint64()
	}
	return c.Rand.Uint64()
}

// upTo returns a random number from 0 to n, both included.
func (c *Context) upTo(n uint64) uint64 {
	switch {
	case n+1 == 0:
		return c.random()
	case c.Rand == nil:
		return rand.Uint64N(n + 1)
	}
	return c.Rand.Uint64N(n + 1)
}

func (c *Context) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}
