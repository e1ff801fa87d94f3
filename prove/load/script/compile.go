package script

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// builtIns are the names that expressions have without rows and variables.
var builtIns = []string{"row", "seq", "unique", "uuid", "rand", "now", "now_ms"}

var opOf = map[string]op{"row": opRow, "seq": opSeq, "unique": opUnique, "uuid": opUUID, "rand": opRand, "now": opNow, "now_ms": opNowMS}

// Compile compiles a template. Its expressions may name the columns of table, of which there are none when it is
// nil, and vars, the variables that are saved by the time it is rendered; of two variables with one name the last
// counts. An error says where, as line:character, and what there is.
func Compile(text string, table *Table, vars []string) (*Template, error) {
	c := compiler{text: text, vars: vars, Template: Template{table: table}}
	if err := c.compile(); err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	return &c.Template, nil
}

type compiler struct {
	text string
	vars []string
	Template
}

func (c *compiler) compile() error {
	for _, name := range c.vars {
		if err := checkVar(name); err != nil {
			return err
		}
	}
	for i := 0; ; {
		n := strings.Index(c.text[i:], "{{")
		if n < 0 {
			c.literal(c.text[i:])
			return nil
		}
		c.literal(c.text[i : i+n])
		i += n
		switch {
		case strings.HasPrefix(c.text[i:], "{{{{"):
			c.literal("{{")
			i += 4
			continue
		case strings.HasPrefix(c.text[i:], "{{{"): // an object whose first name is an expression
			c.literal("{")
			i++
		}
		inner, _, ok := strings.Cut(c.text[i+2:], "}}")
		if !ok || strings.Contains(inner, "{{") {
			return c.fault(i, "{{ without }}; to write {{ itself, write {{{{")
		}
		p, err := c.expression(inner)
		if err != nil {
			return c.fault(i, "%s: %w", show("{{"+cut(inner, 60)+"}}"), err)
		}
		c.pieces = append(c.pieces, p)
		i += 2 + len(inner) + 2
	}
}

// checkVar refuses names that no expression could reach.
func checkVar(name string) error {
	_, isBuiltIn := opOf[name]
	switch {
	case isBuiltIn:
		return fmt.Errorf("variable %s has the name of a built-in; call it otherwise", name)
	case name == "" || name != strings.TrimSpace(name) || strings.HasPrefix(name, "row.") || strings.HasPrefix(name, "rand ") ||
		strings.Contains(name, "{{") || strings.ContainsAny(name, "|}"):
		return fmt.Errorf("variable %s cannot be named in an expression; call it by letters, digits and _", show(strconv.Quote(name)))
	}
	return nil
}

func (c *compiler) literal(text string) {
	if text == "" {
		return
	}
	if n := len(c.pieces); n > 0 && c.pieces[n-1].op == opText {
		c.pieces[n-1].text = append(c.pieces[n-1].text, text...)
		return
	}
	c.pieces = append(c.pieces, piece{text: []byte(text)})
}

// fault is an error at byte i of the text.
func (c *compiler) fault(i int, format string, args ...any) error {
	before := c.text[:i]
	line := 1 + strings.Count(before, "\n")
	column := 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	return fmt.Errorf("at %d:%d: "+format, append([]any{line, column}, args...)...)
}

// expression compiles what stands between the braces.
func (c *compiler) expression(inner string) (piece, error) {
	name := strings.TrimSpace(inner)
	var p piece
	if i := strings.LastIndexByte(name, '|'); i >= 0 {
		switch f := strings.TrimSpace(name[i+1:]); f {
		case "json":
			p.filter = filterJSON
		case "string":
			p.filter = filterString
		case "url":
			p.filter = filterURL
		default:
			return p, fmt.Errorf("there is no filter %s; there are json, string and url", show(f))
		}
		name = strings.TrimSpace(name[:i])
	}
	if name == "" {
		return p, fmt.Errorf("no name; %s", c.names())
	}
	return c.named(p, name)
}

func (c *compiler) named(p piece, name string) (piece, error) {
	if o, ok := opOf[name]; ok {
		p.op = o
		switch {
		case o == opRow && c.table == nil:
			return p, fmt.Errorf("there are no rows; give a file of rows")
		case o == opRand:
			return p, fmt.Errorf("wanted two whole numbers, as in {{rand 1 100}}; a column is named by {{row.rand}}")
		}
		return p, nil
	}
	if fields := strings.Fields(name); fields[0] == "rand" {
		return randPiece(p, fields)
	}
	if column, ok := strings.CutPrefix(name, "row."); ok {
		if c.table == nil {
			return p, fmt.Errorf("there are no rows; give a file of rows")
		}
		i, err := c.column(column)
		p.op, p.from = opColumn, i
		return p, err
	}
	for i := len(c.vars) - 1; i >= 0; i-- {
		if c.vars[i] == name {
			p.op, p.from = opVar, i
			return p, nil
		}
	}
	if c.table != nil {
		if i, ok := c.table.index[name]; ok {
			p.op, p.from = opColumn, i
			return p, nil
		}
	}
	if from, to, ok := strings.Cut(name, ".."); ok {
		return c.columns(p, strings.TrimSpace(from), strings.TrimSpace(to))
	}
	known := append(append([]string{}, c.vars...), builtIns...)
	if c.table != nil {
		known = append(known, c.table.columns...)
	}
	return p, fmt.Errorf("there is no such name%s; %s", suggest(name, known), c.names())
}

func randPiece(p piece, fields []string) (piece, error) {
	if len(fields) != 3 {
		return p, fmt.Errorf("wanted two whole numbers, as in {{rand 1 100}}")
	}
	low, err := strconv.ParseInt(fields[1], 10, 64)
	high, err2 := strconv.ParseInt(fields[2], 10, 64)
	switch {
	case err != nil || err2 != nil:
		return p, fmt.Errorf("wanted two whole numbers of 64 bits, as in {{rand 1 100}}")
	case low > high:
		return p, fmt.Errorf("%d is above %d; write the lower one first", low, high)
	}
	p.op, p.low, p.span = opRand, low, uint64(high)-uint64(low)
	return p, nil
}

// columns compiles a range.
func (c *compiler) columns(p piece, from, to string) (piece, error) {
	if c.table == nil {
		return p, fmt.Errorf("there are no rows; give a file of rows")
	}
	if from == "" || to == "" {
		return p, fmt.Errorf("a range has a column on either side, as in {{a..b|json}}")
	}
	var err error
	if p.from, err = c.column(from); err != nil {
		return p, err
	}
	if p.to, err = c.column(to); err != nil {
		return p, err
	}
	switch {
	case p.from > p.to:
		return p, fmt.Errorf("column %s comes after %s in the header; write the first one first", show(from), show(to))
	case p.filter != filterJSON:
		return p, fmt.Errorf("several columns are JSON values with commas between: write %s..%s|json", show(from), show(to))
	}
	p.op = opRange
	return p, nil
}

func (c *compiler) column(name string) (int, error) {
	if i, ok := c.table.index[name]; ok {
		return i, nil
	}
	return 0, fmt.Errorf("there is no column %s%s; %s", show(cut(name, 60)), suggest(name, c.table.columns), list("columns", c.table.columns))
}

// names lists all that an expression may name.
func (c *compiler) names() string {
	var parts []string
	if c.table == nil {
		parts = append(parts, "no rows")
	} else {
		parts = append(parts, list("columns", c.table.columns))
	}
	if len(c.vars) > 0 {
		parts = append(parts, list("variables", c.vars))
	}
	return "there are " + strings.Join(append(parts, list("built-ins", builtIns)), "; ")
}
