package strictjson

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Encode writes a configuration so that [Decode] reads the same from it, indented by two spaces and with a
// newline at the end. Durations are text; lists and maps that are nil are empty; keys of maps are sorted;
// fields tagged omitempty are left out if they are zero or empty. An error names the path of what cannot be
// written: NaN, an infinite number, text that is not UTF-8, or a type that Decode does not know.
func Encode(v any) ([]byte, error) {
	e := encoder{}
	if err := e.value(reflect.ValueOf(v), "", 0); err != nil {
		return nil, err
	}
	e.out.WriteByte('\n')
	return e.out.Bytes(), nil
}

type encoder struct{ out bytes.Buffer }

func (e *encoder) value(v reflect.Value, path string, depth int) error {
	if depth > MaxDepth {
		return at(path, fmt.Errorf("nested deeper than %d", MaxDepth))
	}
	if !v.IsValid() {
		return at(path, errors.New("nil cannot be written"))
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			e.out.WriteString("null")
			return nil
		}
		if v.Type().Elem().Kind() == reflect.Pointer {
			return at(path, fmt.Errorf("fields of type %s are not supported", v.Type()))
		}
		return e.value(v.Elem(), path, depth)
	}
	if text, ok := marshaler(v); ok {
		b, err := text.MarshalText()
		if err != nil {
			return at(path, err)
		}
		return e.text(string(b), path)
	}
	if v.Type() == durationType {
		return e.text(durationText(time.Duration(v.Int())), path)
	}
	switch v.Kind() {
	case reflect.Struct:
		return e.object(v, path, depth)
	case reflect.Map:
		return e.mapping(v, path, depth)
	case reflect.Slice:
		return e.list(v, path, depth)
	case reflect.String:
		return e.text(v.String(), path)
	case reflect.Bool:
		e.out.WriteString(strconv.FormatBool(v.Bool()))
	case reflect.Float32, reflect.Float64:
		b, err := json.Marshal(v.Interface()) // refuses NaN and infinity
		if err != nil {
			return at(path, err)
		}
		e.out.Write(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.out.WriteString(strconv.FormatInt(v.Int(), 10))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		e.out.WriteString(strconv.FormatUint(v.Uint(), 10))
	default:
		return at(path, fmt.Errorf("fields of type %s are not supported", v.Type()))
	}
	return nil
}

// marshaler finds MarshalText on the value or on a pointer to it.
func marshaler(v reflect.Value) (encoding.TextMarshaler, bool) {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		return m, true
	}
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	m, ok := p.Interface().(encoding.TextMarshaler)
	return m, ok
}

func (e *encoder) object(v reflect.Value, path string, depth int) error {
	fields, err := fieldsOf(v.Type())
	if err != nil {
		return at(path, err)
	}
	fields = slices.DeleteFunc(fields, func(f field) bool { return f.omitEmpty && isEmpty(v.Field(f.index)) })
	return e.wrapped('{', '}', depth, len(fields), func(i int) error {
		f := fields[i]
		return e.member(f.key, v.Field(f.index), path, depth)
	})
}

func (e *encoder) mapping(v reflect.Value, path string, depth int) error {
	if v.Type().Key().Kind() != reflect.String {
		return at(path, fmt.Errorf("a map with keys of type %s is not supported", v.Type().Key()))
	}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	return e.wrapped('{', '}', depth, len(keys), func(i int) error {
		return e.member(keys[i].String(), v.MapIndex(keys[i]), path, depth)
	})
}

func (e *encoder) list(v reflect.Value, path string, depth int) error {
	return e.wrapped('[', ']', depth, v.Len(), func(i int) error {
		return e.value(v.Index(i), path+"["+strconv.Itoa(i)+"]", depth+1)
	})
}

func (e *encoder) member(key string, v reflect.Value, path string, depth int) error {
	if err := e.text(key, path); err != nil {
		return err
	}
	e.out.WriteString(": ")
	return e.value(v, join(path, key), depth+1)
}

// wrapped writes n things on lines of their own between an opening and a closing mark.
func (e *encoder) wrapped(open, shut byte, depth, n int, write func(i int) error) error {
	e.out.WriteByte(open)
	for i := range n {
		if i > 0 {
			e.out.WriteByte(',')
		}
		e.newline(depth + 1)
		if err := write(i); err != nil {
			return err
		}
	}
	if n > 0 {
		e.newline(depth)
	}
	e.out.WriteByte(shut)
	return nil
}

func (e *encoder) newline(depth int) {
	e.out.WriteByte('\n')
	for range depth {
		e.out.WriteString("  ")
	}
}

func (e *encoder) text(s, path string) error {
	if !utf8.ValidString(s) {
		return at(path, errors.New("text is not UTF-8"))
	}
	text := json.NewEncoder(&e.out)
	text.SetEscapeHTML(false)
	if err := text.Encode(s); err != nil {
		return at(path, err)
	}
	e.out.Truncate(e.out.Len() - 1) // the newline
	return nil
}

// durationText is d.String() without the zeros that say nothing: 1m instead of 1m0s.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

func at(path string, err error) error {
	if path == "" {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}
