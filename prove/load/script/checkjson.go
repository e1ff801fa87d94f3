package script

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// jsonRule is about what a path leads to.
type jsonRule struct {
	path   Path
	op     string
	value  []byte    // JSON that is wanted
	varies *Template // instead of value
	typed  bool      // varies renders JSON, and not a text
	near   bool      // a number within tolerance is good
	// tolerance is in units of the value.
	tolerance float64
}

func (p *checkParser) json() (rule, error) {
	var (
		r   jsonRule
		err error
	)
	if r.path, p.rest, err = parsePath(p.rest); err != nil {
		return nil, err
	}
	tight := p.rest != "" && strings.IndexByte(" \t\r\n", p.rest[0]) < 0
	p.rest = strings.TrimSpace(p.rest)
	if r.op, err = p.operator("==", "!=", "<", "<=", ">", ">=", "exists", "not exists"); err != nil {
		if tight {
			err = fmt.Errorf("after the path %s %w; a name with other characters than letters, digits and _ is written ['so-named']", r.path, err)
		}
		return nil, err
	}
	if r.op == "exists" || r.op == "not exists" {
		if p.rest != "" {
			return nil, fmt.Errorf("nothing comes after %s", r.op)
		}
		return &r, nil
	}
	value := p.rest
	if value == "" {
		return nil, fmt.Errorf("nothing after %s; wanted JSON or a template", r.op)
	}
	if value, err = r.cutTolerance(value); err != nil {
		return nil, err
	}
	t, err := p.template(value)
	if err != nil {
		return nil, err
	}
	text, ok := t.Static()
	if !ok {
		r.varies, r.typed = t, t.rendersJSON()
		return &r, nil
	}
	if err := wholeJSON(text); err != nil {
		return nil, fmt.Errorf(`%s is no JSON; a text is written in double quotes: "…"`, show(cut(value, 40)))
	}
	r.value = trimSpace(text)
	if r.numeric() && !isNumber(r.value) {
		return nil, fmt.Errorf("wanted a number, found %s", show(cut(value, 40)))
	}
	return &r, nil
}

// numeric tells whether only numbers are compared.
func (r *jsonRule) numeric() bool { return r.near || r.op[0] == '<' || r.op[0] == '>' }

// cutTolerance takes ± N off the end of a value.
func (r *jsonRule) cutTolerance(value string) (string, error) {
	i, n := strings.LastIndex(value, "±"), len("±")
	if j := strings.LastIndex(value, "+-"); j > i {
		i, n = j, len("+-")
	}
	if i < 0 || strings.LastIndex(value[:i], "{{") > strings.LastIndex(value[:i], "}}") { // or within an expression
		return value, nil
	}
	tolerance := strings.TrimSpace(value[i+n:])
	if !isNumber([]byte(tolerance)) {
		if value[0] == '"' || value[0] == '[' || value[0] == '{' && !strings.HasPrefix(value, "{{") {
			return value, nil // within a string
		}
		return "", fmt.Errorf("after ± comes a number, such as 1e-6, not %q", show(cut(tolerance, 40)))
	}
	number, err := strconv.ParseFloat(tolerance, 64)
	switch {
	case err != nil || number < 0:
		return "", fmt.Errorf("the tolerance %s is not between 0 and 1e308", show(cut(tolerance, 40)))
	case r.op != "==":
		return "", fmt.Errorf("a tolerance goes with ==, not with %s", r.op)
	}
	r.near, r.tolerance = true, number
	value = strings.TrimSpace(value[:i])
	if value == "" {
		return "", errors.New("nothing before ±; wanted a number or a template")
	}
	return value, nil
}

// rendersJSON tells whether a template is meant to render JSON: it begins as a string, an array or an object does,
// or none of its expressions is raw text.
func (t *Template) rendersJSON() bool {
	if first := &t.pieces[0]; first.op == opText {
		if text := trimSpace(first.text); len(text) > 0 && (text[0] == '"' || text[0] == '[' || text[0] == '{') {
			return true
		}
	}
	for i := range t.pieces {
		p := &t.pieces[i]
		if p.filter == filterURL || p.filter == filterRaw && p.op != opText && p.op != opRow {
			return false
		}
	}
	return true
}

func (r *jsonRule) holds(c *Context, a *Answer) (wanted, found string, ok bool) {
	value, exists, err := r.path.Find(a.Body)
	switch {
	case err != nil:
		return "", err.Error() + " of " + excerpt(a.Body), false
	case r.op == "exists" && exists, r.op == "not exists" && !exists:
		return "", "", true
	case !exists:
		return "", "nothing there in " + excerpt(a.Body), false
	case r.op == "not exists":
		return "", shown(value), false
	}
	want := r.value
	if r.varies != nil {
		want = c.render(r.varies)
		if r.typed {
			if err := wholeJSON(want); err != nil {
				return "JSON", cut(show(string(want)), 40) + " in the check itself; use {{name}} or {{name|json}} alone", false
			}
			want = trimSpace(want)
		}
		if r.numeric() && !isNumber(want) {
			return "a number", strconv.Quote(cut(show(string(want)), 40)) + " in the check itself", false
		}
	}
	if r.compare(want, value) {
		return "", "", true
	}
	if r.varies != nil {
		wanted = shown(want)
		if len(want) == 0 {
			wanted = "null or an empty string"
		}
		switch {
		case r.near:
			wanted += " ± " + strconv.FormatFloat(r.tolerance, 'g', -1, 64)
		case r.op != "==":
			wanted = r.op + " " + wanted
		}
	}
	return wanted, shown(value), false
}

func shown(value []byte) string {
	return cut(show(string(value[:min(len(value), 80)])), 60)
}

func (r *jsonRule) compare(want, value []byte) bool {
	if r.numeric() {
		switch {
		case !isNumberStart(value[0]):
			return false
		case r.near:
			return within(want, value, r.tolerance)
		}
		order := compareNumbers(value, want)
		switch r.op {
		case "<":
			return order < 0
		case "<=":
			return order <= 0
		case ">":
			return order > 0
		}
		return order >= 0
	}
	var equal bool
	if r.varies != nil && !r.typed {
		equal = equalToText(want, value)
	} else {
		equal = equalJSON(want, value)
	}
	return equal == (r.op == "==")
}

// within tells whether two numbers are at most tolerance apart. Each is rounded when it becomes a float64, and so is
// their difference; a difference of exactly the tolerance must hold nevertheless, so that much is let pass.
func within(want, value []byte, tolerance float64) bool {
	x, err := strconv.ParseFloat(string(want), 64)
	if err != nil {
		return compareNumbers(want, value) == 0
	}
	y, err := strconv.ParseFloat(string(value), 64)
	if err != nil {
		return false
	}
	const ulp = 0x1p-52
	return math.Abs(x-y) <= tolerance+ulp*max(math.Abs(x), math.Abs(y))
}

func trimSpace(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }
