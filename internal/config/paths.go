package config

import (
	"reflect"
	"slices"
)

// Path describes one key, for documentation and shell completion.
type Path struct {
	Path    string // such as http.listen; rooms[].name below a list, tenants.*.rate below a map
	Env     string // the variable that overrides it; empty for a section and below lists and maps
	Type    string // such as duration, size, list of text, section
	Unit    string
	Default string // as in YAML, on one line; empty for a section, "***" for a secret
	Doc     string
	Secret  bool
}

// Paths lists every key of a struct that holds the defaults, sections before their keys.
func Paths(cfg any) ([]Path, error) {
	v, err := structOf(cfg)
	if err != nil {
		return nil, err
	}
	p := &printer{}
	var out []Path
	var walk func(v reflect.Value, path string, tr traits, env bool, above []reflect.Type)
	walk = func(v reflect.Value, path string, tr traits, env bool, above []reflect.Type) {
		above = append(slices.Clip(above), v.Type())
		for _, f := range fieldsOf(v.Type()) {
			fv, ftr, at := v.Field(f.index), f.below(tr), join(path, f.name)
			entry := Path{Path: at, Type: typeName(f.typ, ftr), Unit: f.unit, Doc: f.doc, Secret: ftr.secret}
			below := plainSection(f.typ)
			if below == nil {
				entry.Default = p.flow(fv, ftr, at)
				if env {
					entry.Env = envName(at)
				}
			}
			out = append(out, entry)
			if below != nil {
				if slices.Contains(above, below) {
					continue
				}
				if fv.Kind() == reflect.Pointer {
					if fv.IsNil() {
						fv = reflect.New(below)
					}
					fv = fv.Elem()
				}
				walk(fv, at, ftr, env, above)
			} else if s := sectionOf(f.typ); s != nil && !slices.Contains(above, s) {
				walk(reflect.New(s).Elem(), at+elements(f.typ), ftr, false, above)
			}
		}
	}
	walk(v, "", traits{}, true, nil)
	return out, p.err
}

// elements is what stands in a path for any element of a list or a map.
func elements(t reflect.Type) string {
	switch kindOf(t, traits{}) {
	case list:
		return "[]" + elements(t.Elem())
	case mapping:
		return ".*" + elements(t.Elem())
	case pointer:
		return elements(t.Elem())
	}
	return ""
}
