package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFaults bounds what a hostile file can make us print.
const maxFaults = 500

// Option changes the limits of Decode and Load.
type Option func(*loader)

// MaxBytes sets how long the file may be; it is 1 MiB otherwise.
func MaxBytes(n int) Option { return func(l *loader) { l.maxBytes = n } }

// KnownEnv names DOUGONG_ variables that Load leaves alone because something else reads
// them, such as the one that names the configuration file.
func KnownEnv(names ...string) Option {
	return func(l *loader) { l.knownEnv = append(l.knownEnv, names...) }
}

// Decode reads one YAML document into a pointer to a struct that already holds the
// defaults, then validates it. Keys that the file does not have keep their value; a list or
// a map that the file has replaces the default as a whole. file is used in messages only.
//
// Every fault is reported at once, as Errors. After an error, into is half filled and of no
// use. Any other type of error is a programming error in the struct. Decode keeps no state;
// concurrent calls are safe.
func Decode(file string, data []byte, into any, opts ...Option) error {
	return load(file, data, nil, into, opts)
}

// Load is Decode, with environment variables (as from os.Environ) applied after the file
// and before validation. A variable that begins with DOUGONG_ and is not known is a fault;
// those that Kubernetes sets for services are passed over.
func Load(file string, data []byte, environ []string, into any, opts ...Option) error {
	if environ == nil {
		environ = []string{}
	}
	return load(file, data, environ, into, opts)
}

func load(file string, data []byte, environ []string, into any, opts []Option) error {
	if v := reflect.ValueOf(into); v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("config: want a pointer to a struct, have %T", into)
	}
	v, err := structOf(into)
	if err != nil {
		return err
	}
	var vars variables
	if environ != nil {
		if vars, err = variablesOf(v.Type()); err != nil {
			return err
		}
	}
	l := &loader{file: file, into: v.Type(), maxBytes: defaultMaxBytes, setBy: map[string]string{}}
	for _, o := range opts {
		o(l)
	}
	root, faults := parse(data, l.maxBytes)
	for _, f := range faults {
		f.File = file
	}
	l.faults = faults
	// What is not YAML at all says nothing about its keys.
	readable := root != nil || faults == nil
	if root != nil {
		l.root = root
		vet(root, "", 1, l.fault)
		l.value(root, v, traits{}, "")
	}
	l.applyEnv(vars, environ, v)
	if readable {
		l.validate(v)
	}
	return l.result(v)
}

// loader is one call of Decode or Load.
type loader struct {
	file     string
	into     reflect.Type
	maxBytes int
	knownEnv []string

	root     *yaml.Node
	variable string            // the environment variable that is being decoded
	setBy    map[string]string // path → the environment variable that set it
	faults   Errors
	hide     secrets
}

func (l *loader) fault(n *yaml.Node, path, msg string) {
	e := &Error{Path: path, Msg: msg}
	if l.variable != "" {
		e.Env = l.variable
	} else {
		e.File, e.Line, e.Column = l.file, n.Line, n.Column
	}
	l.add(e)
}

func (l *loader) add(e *Error) {
	if len(l.faults) <= maxFaults { // one more than is shown tells that some are not
		e.Msg = strings.ReplaceAll(e.Msg, "\n", "; ")
		l.faults = append(l.faults, e)
	}
}

func (l *loader) result(v reflect.Value) error {
	if len(l.faults) == 0 {
		return nil
	}
	l.hide.collect(v, traits{})
	l.hide.redact(l.faults)
	cut := len(l.faults) > maxFaults
	faults := l.faults.order()
	if cut {
		faults = append(faults[:min(len(faults), maxFaults)], &Error{File: l.file, Msg: "more faults are not shown"})
	}
	return faults
}

// value decodes a node of any kind. path is where it is, for messages.
func (l *loader) value(n *yaml.Node, v reflect.Value, tr traits, path string) {
	if refused(n) {
		return
	}
	if tr.secret {
		l.hide.node(n)
		if n.Kind == yaml.ScalarNode && n.Value == hidden {
			l.fault(n, path, `"***" is how a secret is printed, not the secret; put the secret here or remove the line`)
			return
		}
	}
	switch k := kindOf(v.Type(), tr); k {
	case section:
		l.section(n, v, tr, path)
	case list:
		l.list(n, v, tr, path)
	case mapping:
		l.mapping(n, v, tr, path)
	case pointer:
		if isNull(n) {
			v.SetZero()
			return
		}
		// A fresh value: the default behind the pointer may be shared.
		fresh := reflect.New(v.Type().Elem())
		if !v.IsNil() {
			fresh.Elem().Set(v.Elem())
		}
		l.value(n, fresh.Elem(), tr, path)
		v.Set(fresh)
	default:
		if msg := setScalar(n, v, k, tr); msg != "" {
			l.fault(n, path, msg)
		}
	}
}

func (l *loader) section(n *yaml.Node, v reflect.Value, tr traits, path string) {
	if isNull(n) {
		return // a section whose keys are all commented out is the default
	}
	if n.Kind != yaml.MappingNode {
		l.fault(n, path, "want a section (keys with values below), have "+have(n, tr))
		return
	}
	fields := fieldsOf(v.Type())
	entries(n, func(key, val *yaml.Node) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == key.Value })
		if i < 0 {
			l.fault(key, join(path, segment(key.Value)), "unknown key"+l.meant(key.Value, fields))
			return
		}
		f := fields[i]
		l.value(val, v.Field(f.index), f.below(tr), join(path, f.name))
	})
}

// meant suggests a key of the same section, or else the only place of the whole file where
// this key is known: wrong indentation is the common fault.
func (l *loader) meant(key string, fields []field) string {
	if len(l.faults) > maxFaults {
		return "" // it is not shown
	}
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	if s := didYouMean(key, names); s != "" {
		return s
	}
	var places []string
	eachField(l.into, func(path string, f field, _ traits, _ []int) {
		if f.name == key {
			places = append(places, path)
		}
	})
	if len(places) == 1 {
		return `; did you mean "` + places[0] + `"? check the indentation`
	}
	return ""
}

func (l *loader) list(n *yaml.Node, v reflect.Value, tr traits, path string) {
	if n.Kind != yaml.SequenceNode {
		msg := "want a list ([a, b] or lines that begin with -), have " + have(n, tr)
		if isNull(n) {
			msg = "has no value; write [] for none or remove the line"
		}
		l.fault(n, path, msg)
		return
	}
	if len(n.Content) == 0 {
		v.SetZero()
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		l.value(c, out.Index(i), tr, index(path, i))
	}
	v.Set(out)
}

func (l *loader) mapping(n *yaml.Node, v reflect.Value, tr traits, path string) {
	if n.Kind != yaml.MappingNode {
		msg := "want keys with values below, have " + have(n, tr)
		if isNull(n) {
			msg = "has no value; write {} for none or remove the line"
		}
		l.fault(n, path, msg)
		return
	}
	if len(n.Content) == 0 {
		v.SetZero()
		return
	}
	out := reflect.MakeMap(v.Type())
	entries(n, func(key, val *yaml.Node) {
		elem := reflect.New(v.Type().Elem()).Elem()
		l.value(val, elem, tr, join(path, segment(key.Value)))
		out.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), elem)
	})
	v.Set(out)
}
