package live

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// screen is a terminal with the few codes that a View uses. Like most, it breaks rows anew when its width changes.
type screen struct {
	width, height  int
	rows           []row
	x, y           int // y is an index of rows, which also hold what was scrolled out
	hidden, nowrap bool
	writes         int
}

type row struct {
	cells []rune
	hard  bool // ended by a line feed
}

func (s *screen) Write(p []byte) (int, error) {
	s.writes++
	for rest := string(p); rest != ""; {
		r, size := utf8.DecodeRuneInString(rest)
		if r == '\x1b' {
			end := strings.IndexFunc(rest[2:], func(r rune) bool { return r >= '@' }) + 2
			s.control(rest[end], rest[2:end])
			rest = rest[end+1:]
			continue
		}
		rest = rest[size:]
		s.put(r)
	}
	return len(p), nil
}

func (s *screen) put(r rune) {
	s.grow()
	switch r {
	case '\r':
		s.x = 0
	case '\n':
		s.rows[s.y].hard = true
		s.y++
		s.grow()
	default:
		if s.x >= s.width {
			if s.nowrap {
				s.x = s.width - 1
			} else {
				s.y, s.x = s.y+1, 0
				s.grow()
			}
		}
		cells := &s.rows[s.y].cells
		for len(*cells) <= s.x {
			*cells = append(*cells, ' ')
		}
		(*cells)[s.x] = r
		s.x++
	}
}

func (s *screen) grow() {
	for len(s.rows) <= s.y {
		s.rows = append(s.rows, row{})
	}
}

func (s *screen) control(code byte, arg string) {
	s.grow()
	switch {
	case code == 'A':
		n, err := strconv.Atoi(arg)
		if err != nil {
			panic(arg)
		}
		s.y = max(s.y-n, len(s.rows)-s.height, 0)
	case code == 'K':
		s.rows[s.y].cells = s.rows[s.y].cells[:min(s.x, len(s.rows[s.y].cells))]
	case code == 'J':
		s.rows[s.y].cells = s.rows[s.y].cells[:min(s.x, len(s.rows[s.y].cells))]
		s.rows = s.rows[:s.y+1]
	case code == 'm', arg == "?2026":
	case arg == "?25":
		s.hidden = code == 'l'
	case arg == "?7":
		s.nowrap = code == 'l'
	default:
		panic("unknown code " + arg + string(code))
	}
}

// resize breaks the rows anew; the cursor, at the start of a row, stays with it.
func (s *screen) resize(width int) {
	s.width = width
	var rows []row
	y := 0
	for i := 0; i < len(s.rows); {
		var whole []rune
		if i == s.y {
			y = len(rows)
		}
		hard := false
		for !hard && i < len(s.rows) {
			whole = append(whole, s.rows[i].cells...)
			hard = s.rows[i].hard
			i++
		}
		for len(whole) > width {
			rows = append(rows, row{cells: whole[:width:width]})
			whole = whole[width:]
		}
		rows = append(rows, row{cells: whole, hard: hard})
	}
	s.rows, s.y = rows, y
}

func (s *screen) text() string {
	var b strings.Builder
	for i, r := range s.rows {
		if i == len(s.rows)-1 && len(r.cells) == 0 {
			break
		}
		b.WriteString(string(r.cells))
		b.WriteByte('\n')
	}
	return b.String()
}
