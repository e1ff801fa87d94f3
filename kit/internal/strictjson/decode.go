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

// The bounds of a document.
const (
	MaxBytes  = 1 << 20
	MaxDepth  = 32  // of objects and lists in one another
	maxFaults = 100 // what a hostile document can make us print
)

// Decode reads one JSON document into a pointer that is not nil. What the document does not have keeps its
// value, so that into may hold the defaults; a list or a map replaces the default as a whole, and is nil if it
// is empty. Only pointers, lists and maps may be null.
//
// Every fault is reported at once, joined with [errors.Join]; each begins with the path of the value, such as
// "conditions[1].above: ". A fault of the syntax is the only one. After an error, into is half filled and of
// no use. Decode keeps no state; concurrent calls are safe.
func Decode(data []byte, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return fmt.Errorf("strictjson: want a pointer, have %T", into)
	}
	if len(data) > MaxBytes {
		return fmt.Errorf("document has %d bytes; at most %d are read", len(data), MaxBytes)
	}
	if !utf8.Valid(data) {
		return errors.New("document is not UTF-8")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return syntaxFault(data, err)
	}
	d := decoder{tokens: json.NewDecoder(bytes.NewReader(data))}
	d.tokens.UseNumber()
	d.value(d.next(), v.Elem(), "", 0)
	return errors.Join(d.faults...)
}

func syntaxFault(data []byte, err error) error {
	syntax, ok := errors.AsType[*json.SyntaxError](err)
	if !ok {
		return fmt.Errorf("document is not JSON: %w", err)
	}
	before := data[:min(len(data), max(0, int(syntax.Offset)-1))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	return fmt.Errorf("line %d, column %d: document is not JSON: %w", line, column, err)
}

// decoder is one call of Decode. The syntax has been checked before, so that tokens come in order.
type decoder struct {
	tokens *json.Decoder
	faults []error
}

func (d *decoder) next() json.Token {
	token, err := d.tokens.Token()
	if err != nil {
		panic("strictjson: a checked document ends early: " + err.Error())
	}
	return token
}

func (d *decoder) fault(path, format string, args ...any) {
	if len(d.faults) > maxFaults {
		return
	}
	if len(d.faults) == maxFaults {
		d.faults = append(d.faults, errors.New("more faults are not shown"))
		return
	}
	text := fmt.Sprintf(format, args...)
	if path != "" {
		text = path + ": " + text
	}
	d.faults = append(d.faults, errors.New(text))
}

var durationType = reflect.TypeFor[time.Duration]()

// value decodes the value that begins with token, and reads to its end whatever is wrong with it.
func (d *decoder) value(token json.Token, v reflect.Value, path string, depth int) {
	if depth > MaxDepth {
		d.fault(path, "nested deeper than %d", MaxDepth)
		d.skip(token)
		return
	}
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok && v.Kind() != reflect.Pointer {
		d.text(token, text, path)
		return
	}
	if v.Type() == durationType {
		d.duration(token, v, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Pointer {
			d.unsupported(token, v, path)
			return
		}
		d.pointer(token, v, path, depth)
	case reflect.Struct:
		d.object(token, v, path, depth)
	case reflect.Map:
		d.mapping(token, v, path, depth)
	case reflect.Slice:
		d.list(token, v, path, depth)
	case reflect.Bool:
		if b, ok := token.(bool); ok {
			v.SetBool(b)
		} else {
			d.wrong("true or false", token, path)
		}
	case reflect.String:
		if s, ok := token.(string); ok {
			v.SetString(s)
		} else {
			d.wrong("text in quotes", token, path)
		}
	case reflect.Float32, reflect.Float64:
		d.float(token, v, path)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		d.integer(token, v, path)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		d.unsigned(token, v, path)
	default:
		d.unsupported(token, v, path)
	}
}

func (d *decoder) unsupported(token json.Token, v reflect.Value, path string) {
	d.fault(path, "fields of type %s are not supported", v.Type())
	d.skip(token)
}

func (d *decoder) pointer(token json.Token, v reflect.Value, path string, depth int) {
	if token == nil {
		v.SetZero()
		return
	}
	fresh := reflect.New(v.Type().Elem()) // what the default points to may be shared
	if !v.IsNil() {
		fresh.Elem().Set(v.Elem())
	}
	d.value(token, fresh.Elem(), path, depth)
	v.Set(fresh)
}

func (d *decoder) object(token json.Token, v reflect.Value, path string, depth int) {
	if token != json.Delim('{') {
		d.wrong("an object", token, path)
		return
	}
	fields, err := fieldsOf(v.Type())
	if err != nil {
		d.fault(path, "%v", err)
	}
	d.members(path, func(key, at string) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == key })
		if i < 0 {
			d.fault(at, "unknown key; %s", known(fields))
			d.skip(d.next())
			return
		}
		d.value(d.next(), v.Field(fields[i].index), at, depth+1)
	})
}

func known(fields []field) string {
	if len(fields) == 0 {
		return "there are none"
	}
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return "known are " + strings.Join(keys, ", ")
}

func (d *decoder) mapping(token json.Token, v reflect.Value, path string, depth int) {
	if token == nil {
		v.SetZero()
		return
	}
	if v.Type().Key().Kind() != reflect.String {
		d.fault(path, "a map with keys of type %s is not supported", v.Type().Key())
		d.skip(token)
		return
	}
	if token != json.Delim('{') {
		d.wrong("an object", token, path)
		return
	}
	out := reflect.MakeMap(v.Type())
	d.members(path, func(key, at string) {
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(d.next(), value, at, depth+1)
		out.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), value)
	})
	if out.Len() == 0 {
		out = reflect.Zero(v.Type())
	}
	v.Set(out)
}

// members calls visit after each key that was not there before; visit reads the value.
func (d *decoder) members(path string, visit func(key, at string)) {
	seen := map[string]bool{}
	for d.tokens.More() {
		key := d.next().(string)
		at := join(path, key)
		if seen[key] {
			d.fault(at, "key is here twice")
			d.skip(d.next())
			continue
		}
		seen[key] = true
		visit(key, at)
	}
	d.next() // the closing brace
}

func (d *decoder) list(token json.Token, v reflect.Value, path string, depth int) {
	if token == nil {
		v.SetZero()
		return
	}
	if token != json.Delim('[') {
		d.wrong("a list", token, path)
		return
	}
	out := reflect.Zero(v.Type())
	for i := 0; d.tokens.More(); i++ {
		element := reflect.New(v.Type().Elem()).Elem()
		d.value(d.next(), element, path+"["+strconv.Itoa(i)+"]", depth+1)
		out = reflect.Append(out, element)
	}
	d.next() // the closing bracket
	v.Set(out)
}

func (d *decoder) text(token json.Token, into encoding.TextUnmarshaler, path string) {
	s, ok := token.(string)
	if !ok {
		d.wrong("text in quotes", token, path)
		return
	}
	if err := into.UnmarshalText([]byte(s)); err != nil {
		d.fault(path, "%v", err)
	}
}

func (d *decoder) duration(token json.Token, v reflect.Value, path string) {
	const want = `a duration in quotes with its unit, such as "30s"`
	s, ok := token.(string)
	if !ok {
		d.wrong(want, token, path)
		return
	}
	parsed, err := time.ParseDuration(s)
	if err != nil {
		d.wrong(want, token, path)
		return
	}
	v.SetInt(int64(parsed))
}

func (d *decoder) float(token json.Token, v reflect.Value, path string) {
	number, ok := token.(json.Number)
	if !ok {
		d.wrong("a number", token, path)
		return
	}
	f, err := strconv.ParseFloat(string(number), v.Type().Bits())
	if err != nil {
		d.fault(path, "%s is out of range", short(string(number)))
		return
	}
	v.SetFloat(f)
}

func (d *decoder) integer(token json.Token, v reflect.Value, path string) {
	number, ok := token.(json.Number)
	if !ok {
		d.wrong("a whole number", token, path)
		return
	}
	n, err := strconv.ParseInt(string(number), 10, v.Type().Bits())
	switch {
	case errors.Is(err, strconv.ErrRange):
		d.fault(path, "%s is out of range", short(string(number)))
	case err != nil:
		d.wrong("a whole number", token, path)
	default:
		v.SetInt(n)
	}
}

func (d *decoder) unsigned(token json.Token, v reflect.Value, path string) {
	number, ok := token.(json.Number)
	if !ok {
		d.wrong("a whole number", token, path)
		return
	}
	n, err := strconv.ParseUint(string(number), 10, v.Type().Bits())
	switch {
	case errors.Is(err, strconv.ErrRange):
		d.fault(path, "%s is out of range", short(string(number)))
	case err != nil:
		d.wrong("a whole number that is not negative", token, path)
	default:
		v.SetUint(n)
	}
}

// wrong reports a value of the wrong type and reads to its end.
func (d *decoder) wrong(want string, token json.Token, path string) {
	have := "null"
	switch t := token.(type) {
	case json.Delim:
		have = "an object"
		if t == '[' {
			have = "a list"
		}
	case string:
		have = strconv.Quote(short(t))
	case json.Number:
		have = short(t.String())
	case bool:
		have = strconv.FormatBool(t)
	}
	d.fault(path, "want %s, have %s", want, have)
	d.skip(token)
}

// skip reads to the end of the value that begins with token.
func (d *decoder) skip(token json.Token) {
	for depth := 0; ; token = d.next() {
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return
		}
	}
}

func short(text string) string {
	if len(text) <= 40 {
		return text
	}
	cut := 40
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

func join(path, key string) string {
	if !plain(key) {
		return path + "[" + strconv.Quote(short(key)) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// plain reports whether a key can stand in a path without quotes.
func plain(key string) bool {
	for _, c := range key {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '_' && c != '-' && c != '/' {
			return false
		}
	}
	return key != "" && len(key) <= 100
}
