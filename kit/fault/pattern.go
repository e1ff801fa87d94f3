package fault

import "strings"

// pattern is text in which * stands for any number of any bytes.
type pattern struct {
	first string   // what it begins with; all of it if there is no *
	rest  []string // what follows, each after a *; nil: no *
}

func compile(text string) pattern {
	parts := strings.Split(text, "*")
	return pattern{first: parts[0], rest: parts[1:]}
}

func (p *pattern) matches(s string) bool {
	if len(p.rest) == 0 {
		return s == p.first
	}
	s, ok := strings.CutPrefix(s, p.first)
	if !ok {
		return false
	}
	last := len(p.rest) - 1
	for _, part := range p.rest[:last] {
		_, after, found := strings.Cut(s, part) // the leftmost leaves the most for what follows
		if !found {
			return false
		}
		s = after
	}
	return strings.HasSuffix(s, p.rest[last])
}
