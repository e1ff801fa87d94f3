package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"time"
)

// field is one key of a section.
type field struct {
	name  string
	doc   string
	index int
	typ   reflect.Type
	traits
}

// traits are the tags that reach through lists, maps and pointers to the values below.
type traits struct {
	unit    string
	secret  bool
	nullNaN bool
}

// below are the traits of a field in a section: a secret section holds secrets only.
func (f field) below(section traits) traits {
	t := f.traits
	t.secret = t.secret || section.secret
	return t
}

type kind int

const (
	unsupported kind = iota
	textual          // encoding.TextUnmarshaler
	duration
	byteSize
	str
	boolean
	integer
	unsigned
	float
	list
	mapping
	pointer
	section
)

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	durationType    = reflect.TypeFor[time.Duration]()
)

func kindOf(t reflect.Type, tr traits) kind {
	if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(textUnmarshaler) {
		return textual
	}
	switch k := t.Kind(); {
	case t == durationType:
		return duration
	case tr.unit == "bytes" && t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		return byteSize
	case k == reflect.String:
		return str
	case k == reflect.Bool:
		return boolean
	case k >= reflect.Int && k <= reflect.Int64:
		return integer
	case k >= reflect.Uint && k <= reflect.Uint64:
		return unsigned
	case k == reflect.Float32, k == reflect.Float64:
		return float
	case k == reflect.Slice:
		return list
	case k == reflect.Map:
		return mapping
	case k == reflect.Pointer:
		return pointer
	case k == reflect.Struct:
		return section
	}
	return unsupported
}

// typeName is what messages and documentation call a type.
func typeName(t reflect.Type, tr traits) string {
	switch kindOf(t, tr) {
	case textual, str:
		return "text"
	case duration:
		return "duration"
	case byteSize:
		return "size"
	case boolean:
		return "true or false"
	case integer, unsigned:
		return "whole number"
	case float:
		return "number"
	case list:
		return "list of " + typeName(t.Elem(), tr)
	case mapping:
		return "map of " + typeName(t.Elem(), tr)
	case pointer:
		return typeName(t.Elem(), tr)
	case section:
		return "section"
	}
	return t.String()
}

// sectionOf is the struct behind pointers, lists and maps, or nil.
func sectionOf(t reflect.Type) reflect.Type {
	for {
		switch kindOf(t, traits{}) {
		case list, mapping, pointer:
			t = t.Elem()
		case section:
			return t
		default:
			return nil
		}
	}
}

var (
	fieldCache sync.Map // reflect.Type → []field
	keyName    = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
)

// fieldsOf reads the tags of a struct. Its faults are programming errors and are reported
// by checkType; the fields that are right are returned all the same.
func fieldsOf(t reflect.Type) []field {
	if cached, ok := fieldCache.Load(t); ok {
		return cached.([]field)
	}
	fields, _ := readFields(t)
	fieldCache.Store(t, fields)
	return fields
}

func readFields(t reflect.Type) (fields []field, faults error) {
	fault := func(f reflect.StructField, format string, args ...any) {
		faults = errors.Join(faults, fmt.Errorf("config: %s.%s: %s", t, f.Name, fmt.Sprintf(format, args...)))
	}
	names := map[string]bool{}
	for i := range t.NumField() {
		sf := t.Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		switch {
		case name == "-" || (!sf.IsExported() && !sf.Anonymous):
			continue
		case sf.Anonymous:
			// Its Validate would be promoted, and be taken for the one of this struct.
			fault(sf, "an embedded struct is refused; give the section a name")
			continue
		case name == "":
			fault(sf, `no json tag; give the key a name, or json:"-" to leave it out`)
			continue
		case !keyName.MatchString(name):
			fault(sf, "json name %q is not in lower case with underscores", name)
			continue
		case names[name]:
			fault(sf, "json name %q is used twice", name)
			continue
		}
		names[name] = true
		f := field{name: name, doc: sf.Tag.Get("doc"), index: i, typ: sf.Type}
		f.unit = sf.Tag.Get("unit")
		if err := checkShape(f.typ, f.traits, true, 1); err != nil {
			fault(sf, "%v", err)
			continue
		}
		leaf := leafKind(f.typ, f.traits)
		if f.unit == "bytes" && leaf != byteSize {
			fault(sf, `unit:"bytes" is for integers`)
		}
		switch null := sf.Tag.Get("null"); {
		case null == "nan" && leaf == float:
			f.nullNaN = true
		case null != "":
			fault(sf, `null:"nan" on float fields is the only null tag`)
		}
		switch secret := sf.Tag.Get("secret"); secret {
		case "":
		case "true":
			f.secret = true
		default:
			fault(sf, `secret is "true" or absent`)
		}
		fields = append(fields, f)
	}
	return fields, faults
}

// checkShape refuses types that YAML cannot hold or that would be read in two ways.
func checkShape(t reflect.Type, tr traits, pointerAllowed bool, depth int) error {
	if depth > 8 { // type T []T has no end
		return fmt.Errorf("type %s is nested too deep", t)
	}
	switch kindOf(t, tr) {
	case unsupported:
		return fmt.Errorf("type %s is not supported", t)
	case textual:
		if !reflect.PointerTo(t).Implements(textMarshaler) {
			return fmt.Errorf("type %s has UnmarshalText but no MarshalText, and cannot be printed", t)
		}
	case mapping:
		if t.Key().Kind() != reflect.String || reflect.PointerTo(t.Key()).Implements(textUnmarshaler) {
			return fmt.Errorf("type %s: keys of a map are plain strings", t)
		}
		return checkShape(t.Elem(), tr, true, depth+1)
	case list:
		return checkShape(t.Elem(), tr, true, depth+1)
	case pointer:
		if k := kindOf(t.Elem(), tr); !pointerAllowed || k == list || k == mapping || k == pointer {
			return fmt.Errorf("type %s: a pointer leads to a section or a single value", t)
		}
		return checkShape(t.Elem(), tr, false, depth+1)
	}
	return nil
}

func leafKind(t reflect.Type, tr traits) kind {
	for {
		switch k := kindOf(t, tr); k {
		case list, mapping, pointer:
			t = t.Elem()
		default:
			return k
		}
	}
}

var checkedTypes sync.Map // reflect.Type → error or nil

// checkType reports the programming errors of a struct and of all structs below it.
func checkType(root reflect.Type) error {
	if done, ok := checkedTypes.Load(root); ok {
		err, _ := done.(error)
		return err
	}
	var faults error
	seen := map[reflect.Type]bool{}
	var visit func(t reflect.Type)
	visit = func(t reflect.Type) {
		if t == nil || seen[t] {
			return
		}
		seen[t] = true
		fields, err := readFields(t)
		faults = errors.Join(faults, err)
		for _, f := range fields {
			visit(sectionOf(f.typ))
		}
	}
	visit(root)
	checkedTypes.Store(root, faults)
	return faults
}

// structOf is the struct that a caller handed in, by pointer or by value, with its type
// checked.
func structOf(cfg any) (reflect.Value, error) {
	v := reflect.ValueOf(cfg)
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return v, fmt.Errorf("config: want a struct or a pointer to one, have %T", cfg)
	}
	return v, checkType(v.Type())
}
