package script

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// textRule compares a text, the body or a header field.
type textRule struct {
	op     string
	text   []byte    // what is wanted
	varies *Template // instead of text
}

func (p *checkParser) text(known ...string) (r textRule, err error) {
	if r.op, err = p.operator(known...); err != nil {
		return r, err
	}
	if p.rest == "" && r.op != "==" {
		return r, fmt.Errorf("nothing after %s; wanted a text", r.op)
	}
	t, err := p.template(p.rest)
	if err != nil {
		return r, err
	}
	text, ok := t.Static()
	if !ok {
		r.varies = t
	}
	r.text = text
	return r, nil
}

// want returns the text wanted, and how it is named in an error.
func (r *textRule) want(c *Context) []byte {
	if r.varies == nil {
		return r.text
	}
	return c.render(r.varies)
}

// wanted says what was wanted when the text of the check does not say it.
func (r *textRule) wanted(text []byte) string {
	if r.varies == nil {
		return ""
	}
	return `"` + cut(string(text), 38) + `"`
}

// bodyRule is about the whole body.
type bodyRule struct{ textRule }

func (p *checkParser) body() (rule, error) {
	r, err := p.text("==", "contains", "not contains")
	return &bodyRule{r}, err
}

func (r *bodyRule) holds(c *Context, a *Answer) (wanted, found string, ok bool) {
	text := r.want(c)
	switch r.op {
	case "==":
		ok = bytes.Equal(a.Body, text)
	case "contains":
		ok = bytes.Contains(a.Body, text)
	default:
		if i := bytes.Index(a.Body, text); i >= 0 {
			return r.wanted(text), fmt.Sprintf("it at byte %d of %s", i, excerpt(a.Body)), false
		}
		ok = true
	}
	if ok {
		return "", "", true
	}
	return r.wanted(text), excerpt(a.Body), false
}

// headerRule is about a header field.
type headerRule struct {
	name string
	textRule
}

func (p *checkParser) header() (rule, error) {
	n := strings.IndexAny(p.rest, " \t=!<>")
	if n < 0 {
		n = len(p.rest)
	}
	if p.rest[n:] == "" || n == 0 {
		return nil, errors.New("wanted a name and a text, as in header Content-Type contains json")
	}
	r := &headerRule{name: p.rest[:n]}
	for _, c := range []byte(r.name) {
		if !unreserved[c] && strings.IndexByte("!#$%&'*+^`|", c) < 0 { // token of RFC 9110, section 5.6.2
			return nil, fmt.Errorf("%q is no name of a header field", show(cut(r.name, 40)))
		}
	}
	p.rest = strings.TrimSpace(p.rest[n:])
	var err error
	r.textRule, err = p.text("==", "contains")
	return r, err
}

func (r *headerRule) holds(c *Context, a *Answer) (wanted, found string, ok bool) {
	value := ""
	if a.Header != nil {
		value = a.Header(r.name)
	}
	text := r.want(c)
	if r.op == "==" {
		ok = value == string(text)
	} else {
		ok = containsText(value, text)
	}
	switch {
	case ok:
		return "", "", true
	case value == "":
		return r.wanted(text), "no such field", false
	}
	return r.wanted(text), `"` + cut(show(value), 60) + `"`, false
}

// containsText is strings.Contains for a text in bytes, which must not be copied for each answer.
func containsText(s string, text []byte) bool {
	for i := 0; len(s)-i >= len(text); i++ {
		if s[i:i+len(text)] == string(text) {
			return true
		}
	}
	return false
}
