package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/dougong-io/dougong/kit/spelling"
)

const envPrefix = "DOUGONG_"

func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// eachField visits the fields that a path without an index or a map key leads to, sections
// before their fields. A struct that holds itself is entered once.
func eachField(t reflect.Type, visit func(path string, f field, tr traits, index []int)) {
	var walk func(t reflect.Type, path string, tr traits, index []int, above []reflect.Type)
	walk = func(t reflect.Type, path string, tr traits, index []int, above []reflect.Type) {
		above = append(slices.Clip(above), t)
		for _, f := range fieldsOf(t) {
			at, below := join(path, f.name), append(slices.Clip(index), f.index)
			visit(at, f, f.below(tr), below)
			if s := plainSection(f.typ); s != nil && !slices.Contains(above, s) {
				walk(s, at, f.below(tr), below, above)
			}
		}
	}
	walk(t, "", traits{}, nil, nil)
}

// plainSection is the struct of a field that is a section or a pointer to one, or nil.
func plainSection(t reflect.Type) reflect.Type {
	if kindOf(t, traits{}) == pointer {
		t = t.Elem()
	}
	if kindOf(t, traits{}) == section {
		return t
	}
	return nil
}

type variable struct {
	path  string
	index []int
	traits
}

type variables map[string]variable

// variablesOf lists the variables of a struct. Two paths with one name, such as a.b_c and
// a_b.c, are a programming error.
func variablesOf(t reflect.Type) (variables, error) {
	vars := variables{}
	var fault error
	eachField(t, func(path string, f field, tr traits, index []int) {
		if plainSection(f.typ) != nil {
			return
		}
		name := envName(path)
		if other, ok := vars[name]; ok && fault == nil {
			fault = fmt.Errorf("config: %s: %s and %s share the variable %s; rename one", t, other.path, path, name)
		}
		vars[name] = variable{path, index, tr}
	})
	return vars, fault
}

func (l *loader) applyEnv(vars variables, environ []string, v reflect.Value) {
	values := map[string]string{}
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok && strings.HasPrefix(name, envPrefix) {
			values[name] = value
		}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		known, ok := vars[name]
		if !ok {
			if !slices.Contains(l.knownEnv, name) && !serviceLink(name, values) {
				l.add(&Error{Env: segment(name), Msg: "unknown variable" + vars.meant(name)})
			}
			continue
		}
		l.variable = name
		l.setEnv(values[name], v, known)
		l.variable = ""
		l.setBy[known.path] = name
	}
}

func (vars variables) meant(name string) string {
	short := make([]string, 0, len(vars))
	for v := range vars {
		short = append(short, strings.TrimPrefix(v, envPrefix))
	}
	slices.Sort(short)
	if s := spelling.Nearest(strings.TrimPrefix(name, envPrefix), short); s != "" {
		return `; did you mean "` + envPrefix + s + `"?`
	}
	return ""
}

// serviceLink recognises the variables that Kubernetes sets in each pod for each service of
// the namespace: a service named dougong gives DOUGONG_SERVICE_HOST, DOUGONG_PORT,
// DOUGONG_PORT_8080_TCP_ADDR and so on.
func serviceLink(name string, values map[string]string) bool {
	for _, mark := range []string{"_SERVICE_HOST", "_SERVICE_PORT", "_PORT"} {
		for at := 0; ; at++ {
			i := strings.Index(name[at:], mark)
			if i < 0 {
				break
			}
			at += i
			if _, ok := values[name[:at]+"_SERVICE_HOST"]; ok {
				return true
			}
		}
	}
	return false
}

func (l *loader) setEnv(text string, v reflect.Value, known variable) {
	for _, i := range known.index {
		if v.Kind() == reflect.Pointer {
			fresh := reflect.New(v.Type().Elem())
			if !v.IsNil() {
				fresh.Elem().Set(v.Elem())
			}
			v.Set(fresh)
			v = fresh.Elem()
		}
		v = v.Field(i)
	}
	if known.secret {
		l.hide.values = append(l.hide.values, text)
	}
	if !utf8.ValidString(text) {
		l.fault(&yaml.Node{}, known.path, "not UTF-8")
		return
	}
	n := l.envNode(text, v.Type(), known)
	if n == nil {
		return
	}
	vet(n, known.path, 1, l.fault)
	l.value(n, v, known.traits, known.path)
}

// envNode turns the text of a variable into what the file would hold: single values as they
// are, without quotes; lists with commas between or in YAML's [a, b]; maps as {a: b}.
func (l *loader) envNode(text string, t reflect.Type, known variable) *yaml.Node {
	refuse := func(msg string) *yaml.Node {
		l.fault(&yaml.Node{}, known.path, msg)
		return nil
	}
	scalar := func(text string) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	}
	trimmed := strings.TrimSpace(text)
	switch k := kindOf(t, known.traits); {
	case trimmed == "null" && (k == pointer || k == float && known.nullNaN):
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	case k == pointer:
		return l.envNode(text, t.Elem(), known)
	case k == list && strings.HasPrefix(trimmed, "["), k == mapping && strings.HasPrefix(trimmed, "{"):
		n, faults := parse([]byte(trimmed), l.maxBytes)
		if faults != nil {
			return refuse(faults[0].Msg)
		}
		return n
	case k == mapping:
		return refuse("want keys and values in braces, such as {a: 1, b: 2}")
	case k == list:
		switch kindOf(t.Elem(), known.traits) {
		case section, list, mapping:
			return refuse("want a list in brackets, such as [{a: 1}, {a: 2}]")
		}
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if trimmed == "" {
			return n
		}
		for _, part := range strings.Split(text, ",") {
			n.Content = append(n.Content, scalar(strings.TrimSpace(part)))
		}
		return n
	case k == str || k == textual:
		return scalar(text)
	default:
		return scalar(trimmed)
	}
}
