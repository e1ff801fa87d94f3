package httpserver

import (
	"cmp"
	"net/http"
	"path"
	"slices"
	"strings"
)

// paths finds the route of most requests at a fraction of what the mux costs, which is as much as the rest of the
// middleware: of those whose path is plain and whose pattern has a method and no wildcard but for whole segments. It finds
// what the mux would, and knows nothing of the rest.
type paths struct {
	literal  map[literalPath]*route
	patterns map[shape][]pathPattern // the more specific one first
	escaped  map[string]bool         // methods of patterns that have escapes, which may be more specific than any
}

// literalPath is a request that a pattern without wildcards names: no other pattern can be more specific.
type literalPath struct{ method, path string }

// shape is what patterns must have in common for a path to match both.
type shape struct {
	method   string
	segments int
}

// pathPattern is a pattern with wildcards.
type pathPattern struct {
	route    *route
	segments []segment
}

// segment is a text, or any where name is that of a wildcard.
type segment struct{ text, name string }

// maxSegments is how many a path may have; longer ones are left to the mux.
const maxSegments = 8

func newPaths() paths {
	return paths{literal: make(map[literalPath]*route), patterns: make(map[shape][]pathPattern), escaped: make(map[string]bool)}
}

// add notes a route that the mux has accepted: its pattern conflicts with none before it.
func (ps *paths) add(rt *route) {
	method, p := splitPattern(rt.Pattern)
	if strings.ContainsRune(p, '%') {
		ps.escaped[method] = true
		return
	}
	if method == "" || method == http.MethodConnect || path.Clean(p) != p || p == "/" {
		return
	}
	if !strings.ContainsAny(p, "{}") {
		ps.literal[literalPath{method, p}] = rt
		return
	}
	pattern := pathPattern{route: rt}
	for text := range strings.SplitSeq(p[1:], "/") {
		s := segment{text: text}
		if inner, ok := strings.CutPrefix(text, "{"); ok {
			s = segment{name: strings.TrimSuffix(inner, "}")}
		}
		if s.name == "$" || strings.HasSuffix(s.name, "...") {
			return
		}
		pattern.segments = append(pattern.segments, s)
	}
	if len(pattern.segments) > maxSegments {
		return
	}
	of := shape{method, len(pattern.segments)}
	// Of two patterns that match one path, the more specific one has fewer wildcards.
	ps.patterns[of] = append(ps.patterns[of], pattern)
	slices.SortStableFunc(ps.patterns[of], func(a, b pathPattern) int { return cmp.Compare(a.wildcards(), b.wildcards()) })
}

// find returns the route of a request and sets its path values, or nil if the mux must be asked.
func (ps *paths) find(r *http.Request) *route {
	p := r.URL.Path
	if r.URL.RawPath != "" || len(ps.escaped) > 0 && ps.escaped[r.Method] {
		return nil
	}
	if rt := ps.literal[literalPath{r.Method, p}]; rt != nil {
		return rt
	}
	rest, more := strings.CutPrefix(p, "/")
	var segments [maxSegments]string
	n := 0
	for ; more; n++ {
		if n == maxSegments {
			return nil
		}
		segments[n], rest, more = strings.Cut(rest, "/")
		if s := segments[n]; s == "" || s == "." || s == ".." {
			return nil
		}
	}
	for _, pattern := range ps.patterns[shape{r.Method, n}] {
		if pattern.matches(segments[:n]) {
			for i, s := range pattern.segments {
				if s.name != "" {
					r.SetPathValue(s.name, segments[i])
				}
			}
			return pattern.route
		}
	}
	return nil
}

func (p *pathPattern) matches(segments []string) bool {
	for i, s := range p.segments {
		if s.name == "" && s.text != segments[i] {
			return false
		}
	}
	return true
}

func (p *pathPattern) wildcards() (n int) {
	for _, s := range p.segments {
		if s.name != "" {
			n++
		}
	}
	return n
}

// splitPattern cuts a pattern of http.ServeMux into its method, "" for all, and the rest.
func splitPattern(pattern string) (method, rest string) {
	if i := strings.IndexAny(pattern, " \t"); i >= 0 {
		return pattern[:i], strings.TrimLeft(pattern[i:], " \t")
	}
	return "", pattern
}
