package config

import (
	"reflect"
	"slices"
	"strings"
)

// validate calls Validate on the struct and on each struct below it, and gives the faults
// their lines. Faults at a key that could not be decoded are dropped: the key holds its
// default, which says nothing about the file.
func (l *loader) validate(v reflect.Value) {
	undecoded := make([]string, 0, len(l.faults))
	for _, e := range l.faults {
		if e.Path != "" {
			undecoded = append(undecoded, e.Path)
		}
	}
	l.validateBelow(v, "", undecoded)
}

func (l *loader) validateBelow(v reflect.Value, path string, undecoded []string) {
	switch kindOf(v.Type(), traits{}) {
	case section:
		if s, ok := addressable(v).Interface().(interface{ Validate() error }); ok {
			for _, err := range flatten(s.Validate()) {
				l.invalid(err, v.Type(), path, undecoded)
			}
		}
		for _, f := range fieldsOf(v.Type()) {
			if sectionOf(f.typ) != nil {
				l.validateBelow(v.Field(f.index), join(path, f.name), undecoded)
			}
		}
	case pointer:
		if !v.IsNil() {
			l.validateBelow(v.Elem(), path, undecoded)
		}
	case list:
		for i := range v.Len() {
			l.validateBelow(v.Index(i), index(path, i), undecoded)
		}
	case mapping:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			l.validateBelow(v.MapIndex(k), join(path, segment(k.String())), undecoded)
		}
	}
}

// flatten takes joined errors apart, but not those that say more than their parts, as
// fmt.Errorf with two %w does.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var parts []error
	var texts []string
	for _, e := range joined.Unwrap() {
		parts = append(parts, flatten(e)...)
		texts = append(texts, e.Error())
	}
	if strings.Join(texts, "\n") != err.Error() {
		return []error{err}
	}
	return parts
}

// invalid places one error of a section's Validate. By convention its text begins with the
// key's path in that section and a colon; any other is about the section as a whole.
func (l *loader) invalid(err error, t reflect.Type, path string, undecoded []string) {
	if len(l.faults) > maxFaults {
		return // looking up ever more lines would cost the square of the file's length
	}
	e := &Error{Path: path, Msg: err.Error(), cause: err}
	if rel, msg, ok := strings.Cut(e.Msg, ": "); ok && knownKey(t, rel) {
		e.Path, e.Msg = join(path, rel), msg
	}
	if slices.ContainsFunc(undecoded, func(p string) bool { return within(p, e.Path) || within(e.Path, p) }) {
		return
	}
	for p, name := range l.setBy {
		if within(e.Path, p) {
			e.Env = name
			l.add(e)
			return
		}
	}
	e.File = l.file
	if n := locate(l.root, e.Path); n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	l.add(e)
}

func knownKey(t reflect.Type, path string) bool {
	first := path
	if i := strings.IndexAny(path, ".["); i >= 0 {
		first = path[:i]
	}
	return slices.ContainsFunc(fieldsOf(t), func(f field) bool { return f.name == first })
}
