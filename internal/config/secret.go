package config

import (
	"cmp"
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// hidden stands for a secret wherever one would be printed.
const hidden = "***"

// secrets are the texts that must not leave through a message. Messages of this package do
// not hold them to begin with; those of Validate methods may.
type secrets struct {
	values []string
	keys   []string // of secret maps: they show in paths
}

// node remembers what stands in the file, also if it cannot be decoded.
func (s *secrets) node(n *yaml.Node) {
	switch n.Kind {
	case yaml.ScalarNode:
		s.values = append(s.values, n.Value)
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			s.keys = append(s.keys, n.Content[i].Value)
			s.node(n.Content[i+1])
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			s.node(c)
		}
	}
}

// collect remembers the secrets among the values, which may be defaults.
func (s *secrets) collect(v reflect.Value, tr traits) {
	switch kindOf(v.Type(), tr) {
	case section:
		for _, f := range fieldsOf(v.Type()) {
			s.collect(v.Field(f.index), f.below(tr))
		}
	case pointer:
		if !v.IsNil() {
			s.collect(v.Elem(), tr)
		}
	case list:
		if tr.secret || sectionOf(v.Type()) != nil {
			for i := range v.Len() {
				s.collect(v.Index(i), tr)
			}
		}
	case mapping:
		if tr.secret || sectionOf(v.Type()) != nil {
			for _, k := range v.MapKeys() {
				if tr.secret {
					s.keys = append(s.keys, k.String())
				}
				s.collect(v.MapIndex(k), tr)
			}
		}
	case str:
		if tr.secret {
			s.values = append(s.values, v.String())
		}
	case textual:
		if tr.secret {
			if m, ok := addressable(v).Interface().(encoding.TextMarshaler); ok {
				if text, err := m.MarshalText(); err == nil {
					s.values = append(s.values, string(text))
				}
			}
		}
	}
}

// addressable is a pointer to v, or to a copy of it if v lies in a map.
func addressable(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return v.Addr()
	}
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p
}

// redact takes the secrets out of all faults. One replacer does it: a file may hold very
// many of them.
func (s *secrets) redact(faults Errors) {
	inMessage := replacer(append(slices.Clip(s.values), s.keys...))
	inPath := replacer(s.keys)
	for _, e := range faults {
		msg, path := inMessage.Replace(e.Msg), inPath.Replace(e.Path)
		if msg != e.Msg || path != e.Path {
			e.Msg, e.Path, e.cause = msg, path, nil
		}
	}
}

func replacer(texts []string) *strings.Replacer {
	const shortest = 4 // shorter ones would blot out the message and hide nothing
	var forms []string
	for _, t := range texts {
		if len(t) >= shortest {
			quoted := strconv.Quote(t)
			forms = append(forms, t, quoted[1:len(quoted)-1], shorten(t))
		}
	}
	// The longest first: one secret may begin with another.
	slices.SortFunc(forms, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	forms = slices.Compact(forms)
	pairs := make([]string, 0, 2*len(forms))
	for _, f := range forms {
		pairs = append(pairs, f, hidden)
	}
	return strings.NewReplacer(pairs...)
}
