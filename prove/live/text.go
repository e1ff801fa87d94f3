package live

import (
	"strconv"
	"strings"
	"unicode"
)

// style is a role, not a colour: see codes.
type style uint8

const (
	normal style = iota
	faint        // labels
	strong       // what the eye should find first
	accent       // bars and charts
	good
	warn
	bad
)

// codes are colours of the 256-colour palette that can be read on black and on white alike; bold needs none.
var codes = [...]string{
	normal: "",
	faint:  "\x1b[38;5;244m",
	strong: "\x1b[1m",
	accent: "\x1b[38;5;31m",
	good:   "\x1b[38;5;34m",
	warn:   "\x1b[38;5;172m",
	bad:    "\x1b[38;5;160m",
}

const plainAgain = "\x1b[0m"

type span struct {
	style style
	text  string
}

// line is one row of a frame.
type line []span

func text(s style, t string) line { return line{{s, t}} }

func (l line) add(s style, t string) line { return append(l, span{s, t}) }

func (l line) cells() int {
	n := 0
	for _, s := range l {
		n += cells(s.text)
	}
	return n
}

// pad fills l up with spaces to width cells.
func (l line) pad(width int) line {
	if missing := width - l.cells(); missing > 0 {
		return l.add(normal, strings.Repeat(" ", missing))
	}
	return l
}

// cut shortens l to width cells; its last one tells that something is missing.
func (l line) cut(width int) line {
	if l.cells() <= width {
		return l
	}
	if width <= 0 {
		return nil
	}
	var short line
	room := width - 1
	for _, s := range l {
		for i, r := range s.text {
			if room -= runeCells(r); room < 0 {
				return short.add(s.style, s.text[:i]+"…")
			}
		}
		short = append(short, s)
	}
	return short
}

// trim leaves out spaces at the end: they would wrap when the terminal becomes narrower.
func (l line) trim() line {
	for len(l) > 0 {
		last := l[len(l)-1]
		if last.text = strings.TrimRight(last.text, " "); last.text != "" {
			return append(l[:len(l)-1:len(l)-1], last)
		}
		l = l[:len(l)-1]
	}
	return l
}

// write appends l, in colour or not.
func (l line) write(b *strings.Builder, color bool) {
	for _, s := range l {
		if code := codes[s.style]; color && code != "" && s.text != "" {
			b.WriteString(code)
			b.WriteString(s.text)
			b.WriteString(plainAgain)
		} else {
			b.WriteString(s.text)
		}
	}
}

// beside joins two columns, the left one width cells wide.
func beside(left, right []line, width int) []line {
	var all []line
	for i := range max(len(left), len(right)) {
		var l line
		if i < len(left) {
			l = left[i].cut(width)
		}
		if i < len(right) {
			l = append(l.pad(width), right[i]...)
		}
		all = append(all, l)
	}
	return all
}

// clean makes a text of someone else's safe to print: a target's message must not move the cursor.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r':
			return ' '
		case unicode.IsControl(r), r == unicode.ReplacementChar:
			return '?'
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, s)
}

func cells(s string) int {
	n := 0
	for _, r := range s {
		n += runeCells(r)
	}
	return n
}

// wide are the blocks of Unicode whose characters take two cells (Unicode Standard Annex 11: W and F), roughly.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{{0x1100, 0x115f, 1}, {0x2e80, 0xa4cf, 1}, {0xac00, 0xd7a3, 1}, {0xf900, 0xfaff, 1}, {0xfe30, 0xfe6f, 1}, {0xff00, 0xff60, 1}, {0xffe0, 0xffe6, 1}},
	R32: []unicode.Range32{{0x1f300, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f900, 0x1f9ff, 1}, {0x20000, 0x3fffd, 1}},
}

func runeCells(r rune) int {
	if r >= 0x1100 && unicode.Is(wide, r) {
		return 2
	}
	return 1
}

// right and leftward put a text into a column of width cells.
func right(s string, width int) string {
	return strings.Repeat(" ", max(width-cells(s), 0)) + s
}

func leftward(s string, width int) string {
	return s + strings.Repeat(" ", max(width-cells(s), 0))
}

// up moves the cursor to the start of the row n above.
func up(n int) string {
	if n <= 0 {
		return "\r"
	}
	return "\r\x1b[" + strconv.Itoa(n) + "A"
}

// wrapped breaks a text into lines of at most width cells, at spaces where there are any.
func wrapped(s string, width int) []string {
	width = max(width, 1)
	var lines []string
	var now strings.Builder
	used := 0
	flush := func() {
		lines = append(lines, now.String())
		now.Reset()
		used = 0
	}
	for word := range strings.FieldsSeq(s) {
		if used > 0 && used+1+cells(word) > width {
			flush()
		}
		if used > 0 {
			now.WriteByte(' ')
			used++
		}
		for _, r := range word {
			if used > 0 && used+runeCells(r) > width {
				flush()
			}
			now.WriteRune(r)
			used += runeCells(r)
		}
	}
	if used > 0 {
		flush()
	}
	return lines
}
