package script

import (
	"errors"
	"fmt"
	"strings"
)

// Check is something that must hold of an answer. It is read only, and safe for concurrent use; the Context given to
// Judge is not.
type Check struct {
	text string
	rule rule
	row  bool
}

// Answer is what checks look at. They keep nothing of it.
type Answer struct {
	Status     int                      // of HTTP, or a gRPC code's number
	StatusName string                   // a gRPC code's name, such as NOT_FOUND; empty for HTTP
	Header     func(name string) string // value of a header field, empty when there is none; nil is no header
	Body       []byte
}

// rule is one kind of check. When it does not hold, found says what there was, and wanted what should have been
// unless the text of the check says it. The strings are made in that case only.
type rule interface {
	holds(c *Context, a *Answer) (wanted, found string, ok bool)
}

// CompileCheck compiles a check, with the same names in its templates as Compile. The package's comment lists the
// forms.
func CompileCheck(text string, table *Table, vars []string) (*Check, error) {
	k := &Check{text: strings.TrimSpace(text)}
	n := 0
	for n < len(k.text) && 'a' <= k.text[n] && k.text[n] <= 'z' {
		n++
	}
	p := checkParser{table: table, vars: vars, rest: strings.TrimSpace(k.text[n:])}
	var err error
	switch subject := k.text[:n]; subject {
	case "status":
		k.rule, err = p.status()
	case "body":
		k.rule, err = p.body()
	case "header":
		k.rule, err = p.header()
	case "json":
		k.rule, err = p.json()
	default:
		word, _, _ := strings.Cut(k.text, " ")
		err = fmt.Errorf("a check begins with status, body, header or json, not with %q%s", show(cut(word, 40)), suggest(subject, []string{"status", "body", "header", "json"}))
	}
	if err != nil {
		return nil, fmt.Errorf("check %s: %w", show(cut(k.text, 80)), err)
	}
	k.row = p.row
	return k, nil
}

// Judge returns nil when the check holds, and else an error of at most some 200 bytes that says what was wanted and
// what was found. It allocates only for that error.
func (k *Check) Judge(c *Context, a *Answer) error {
	wanted, found, ok := k.rule.holds(c, a)
	if ok {
		return nil
	}
	message := cut(show(k.text), 70) + ": "
	if wanted != "" {
		message += "wanted " + cut(show(wanted), 40) + ", "
	}
	return errors.New(cut(message+"found "+found, 200))
}

// IsStatus tells whether the check is about the status. A step with such a check has said itself which are good.
func (k *Check) IsStatus() bool {
	_, ok := k.rule.(*statusRule)
	return ok
}

// NeedsRow tells whether the check depends on the row.
func (k *Check) NeedsRow() bool { return k.row }

// checkParser compiles what comes after the first word of a check.
type checkParser struct {
	table *Table
	vars  []string
	rest  string
	row   bool
}

// operators begins with the longer ones of those that begin alike.
var operators = []string{"==", "!=", "<=", ">=", "<", ">", "not contains", "contains", "not exists", "exists", "in"}

// operator takes the next operator, which has to be one of those that the form knows.
func (p *checkParser) operator(known ...string) (string, error) {
	for _, o := range operators {
		after, ok := cutWords(p.rest, o)
		if !ok {
			continue
		}
		for _, k := range known {
			if o == k {
				p.rest = strings.TrimSpace(after)
				return o, nil
			}
		}
	}
	word, _, _ := strings.Cut(p.rest, " ")
	hint := ""
	if strings.HasPrefix(word, "=") {
		hint = "; equality is written =="
	}
	return "", fmt.Errorf("wanted one of %s, found %q%s", strings.Join(known, "  "), show(cut(word, 40)), hint)
}

// cutWords cuts an operator off the beginning, however many spaces there are between its words.
func cutWords(text, operator string) (string, bool) {
	for _, word := range strings.Fields(operator) {
		after, ok := strings.CutPrefix(strings.TrimLeft(text, " \t"), word)
		letter := word[0] >= 'a'
		if !ok || letter && after != "" && !strings.ContainsAny(after[:1], " \t\r\n") {
			return "", false
		}
		text = after
	}
	return text, true
}

// template compiles a template of a check.
func (p *checkParser) template(text string) (*Template, error) {
	t, err := Compile(text, p.table, p.vars)
	if err != nil {
		return nil, err
	}
	for i := range t.pieces {
		switch t.pieces[i].op {
		case opUUID, opRand:
			return nil, errors.New("{{uuid}} and {{rand}} draw a new value, which no answer can hold; use {{unique}} or {{seq}} in the request and in the check")
		}
	}
	p.row = p.row || t.NeedsRow()
	return t, nil
}

// render renders into the buffer of the context, which holds until the next time.
func (c *Context) render(t *Template) []byte {
	c.buf = t.Append(c.buf[:0], c)
	return c.buf
}
