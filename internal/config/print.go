package config

import (
	"bufio"
	"encoding"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Default prints a struct as YAML, each key below its documentation. What it prints decodes
// to an equal struct; only secrets are shown as "***", which Decode refuses, and an empty
// list or map comes back as nil. An error is one of w, or tells of a value that YAML cannot
// hold.
func Default(w io.Writer, cfg any) error {
	v, err := structOf(cfg)
	if err != nil {
		return err
	}
	p := &printer{documented: true}
	lines := p.section(v, traits{}, "", 0)
	if p.err != nil {
		return p.err
	}
	out := bufio.NewWriter(w)
	for _, l := range lines {
		out.WriteString(l)
		out.WriteByte('\n')
	}
	return out.Flush()
}

const width = 90

// printer renders values to lines, which its callers indent. It keeps the first error.
type printer struct {
	documented bool
	above      []reflect.Type // of the examples being printed; stops a struct that holds itself
	err        error
}

func (p *printer) fail(path, msg string) {
	if p.err == nil {
		p.err = fmt.Errorf("config: %s: %s", path, msg)
	}
}

func (p *printer) section(v reflect.Value, tr traits, path string, indent int) (lines []string) {
	p.above = append(p.above, v.Type())
	defer func() { p.above = p.above[:len(p.above)-1] }()
	for i, f := range fieldsOf(v.Type()) {
		fv, ftr, at := v.Field(f.index), f.below(tr), join(path, f.name)
		if p.documented {
			if i > 0 && (indent == 0 || plainSection(f.typ) != nil) {
				lines = append(lines, "")
			}
			lines = append(lines, comment(f, indent)...)
		}
		lines = append(lines, p.entry(f.name, fv, ftr, at, indent)...)
		if p.documented {
			lines = append(lines, p.example(fv, ftr, at, indent)...)
		}
	}
	return lines
}

func comment(f field, indent int) (lines []string) {
	doc := f.doc
	if f.unit != "" {
		doc = strings.TrimSpace(doc + " Unit: " + f.unit + ".")
	}
	for paragraph := range strings.Lines(doc) {
		line := "#"
		for _, word := range strings.Fields(paragraph) {
			if n := utf8.RuneCountInString(line) + 1 + utf8.RuneCountInString(word); n > max(width-indent, 40) && line != "#" {
				lines = append(lines, line)
				line = "#"
			}
			line += " " + word
		}
		lines = append(lines, line)
	}
	return lines
}

// example shows, as a comment, the keys of a section that is not there.
func (p *printer) example(v reflect.Value, tr traits, path string, indent int) (lines []string) {
	t := sectionOf(v.Type())
	if t == nil || slices.Contains(p.above, t) || plainSection(v.Type()) != nil && v.Kind() != reflect.Pointer {
		return nil
	}
	intro := "# With:"
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		if v.Len() > 0 {
			return nil
		}
		intro = "# Each with:"
	case reflect.Pointer:
		if !v.IsNil() {
			return nil
		}
	}
	for _, l := range p.section(reflect.New(t).Elem(), tr, path, indent+4) {
		if l != "" {
			lines = append(lines, "#   "+l)
		}
	}
	if lines == nil {
		return nil
	}
	return append([]string{intro}, lines...)
}

// entry is "key: value", on one line or with the value below.
func (p *printer) entry(key string, v reflect.Value, tr traits, path string, indent int) []string {
	if s, ok := p.oneLine(v, tr, path, indent+len(key)+2); ok {
		return []string{key + ": " + s}
	}
	lines := []string{key + ":"}
	for _, l := range p.block(v, tr, path, indent+2) {
		if l != "" {
			l = "  " + l
		}
		lines = append(lines, l)
	}
	return lines
}

// oneLine renders a value in YAML's flow style if it has no keys of its own and fits.
func (p *printer) oneLine(v reflect.Value, tr traits, path string, used int) (string, bool) {
	k := kindOf(v.Type(), tr)
	if k == pointer && !v.IsNil() && kindOf(v.Type().Elem(), tr) == section {
		return p.oneLine(v.Elem(), tr, path, used)
	}
	many := k == list || k == mapping
	if many && (tr.secret || v.Len() == 0) {
		return p.flow(v, tr, path), true
	}
	if k == section {
		return "{}", len(fieldsOf(v.Type())) == 0
	}
	if k == mapping || k == list && sectionOf(v.Type()) != nil {
		return "", false
	}
	s := p.flow(v, tr, path)
	return s, k != list || used+len(s) <= width
}

func (p *printer) block(v reflect.Value, tr traits, path string, indent int) (lines []string) {
	switch kindOf(v.Type(), tr) {
	case pointer:
		return p.block(v.Elem(), tr, path, indent)
	case section:
		return p.section(v, tr, path, indent)
	case mapping:
		// The keys are documented in the first entry only.
		documented := p.documented
		for _, k := range sortedKeys(v) {
			lines = append(lines, p.entry(p.key(k.String(), path), v.MapIndex(k), tr, join(path, segment(k.String())), indent)...)
			p.documented = false
		}
		p.documented = documented
		return lines
	case list:
		documented := p.documented
		for i := range v.Len() {
			elem, at := v.Index(i), index(path, i)
			var inner []string
			if s, ok := p.oneLine(elem, tr, at, indent+2); ok {
				inner = []string{s}
			} else {
				inner = p.block(elem, tr, at, indent+2)
			}
			for j, l := range inner {
				switch {
				case j == 0:
					l = "- " + l
				case l != "":
					l = "  " + l
				}
				lines = append(lines, l)
			}
			p.documented = false
		}
		p.documented = documented
		return lines
	}
	return []string{p.flow(v, tr, path)}
}

// flow renders any value on one line.
func (p *printer) flow(v reflect.Value, tr traits, path string) string {
	k := kindOf(v.Type(), tr)
	if tr.secret && k != section && !v.IsZero() && !((k == list || k == mapping) && v.Len() == 0) {
		return `"` + hidden + `"`
	}
	switch k {
	case pointer:
		if v.IsNil() {
			return "null"
		}
		return p.flow(v.Elem(), tr, path)
	case list:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = p.flow(v.Index(i), tr, index(path, i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case mapping:
		var parts []string
		for _, key := range sortedKeys(v) {
			parts = append(parts, p.key(key.String(), path)+": "+p.flow(v.MapIndex(key), tr, join(path, segment(key.String()))))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case section:
		var parts []string
		for _, f := range fieldsOf(v.Type()) {
			parts = append(parts, f.name+": "+p.flow(v.Field(f.index), f.below(tr), join(path, f.name)))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case textual:
		text, err := addressable(v).Interface().(encoding.TextMarshaler).MarshalText()
		if err != nil {
			p.fail(path, err.Error())
		}
		return p.text(string(text), path)
	case str:
		return p.text(v.String(), path)
	case duration:
		return formatDuration(time.Duration(v.Int()))
	case byteSize:
		if v.CanUint() {
			return formatSize(v.Uint(), false)
		}
		return formatSize(uint64(max(v.Int(), -v.Int())), v.Int() < 0)
	case boolean:
		return strconv.FormatBool(v.Bool())
	case integer:
		return strconv.FormatInt(v.Int(), 10)
	case unsigned:
		return strconv.FormatUint(v.Uint(), 10)
	case float:
		return p.float(v, tr, path)
	}
	return ""
}

func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	return keys
}

func (p *printer) float(v reflect.Value, tr traits, path string) string {
	f := v.Float()
	switch {
	case math.IsNaN(f) && tr.nullNaN:
		return "null"
	case math.IsNaN(f):
		p.fail(path, `holds NaN, which needs the tag null:"nan"`)
	case math.IsInf(f, 1):
		return ".inf"
	case math.IsInf(f, -1):
		return "-.inf"
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e15) {
		format = 'e'
	}
	return strconv.FormatFloat(f, format, -1, v.Type().Bits())
}

// key quotes a key of a map. YAML ends a key of one line after 1024 characters.
func (p *printer) key(s, path string) string {
	k := p.text(s, path)
	if utf8.RuneCountInString(k) > 1000 {
		p.fail(path, "holds a key that is too long")
	}
	return k
}

// text prints without quotes what every YAML reader takes for text.
func (p *printer) text(s, path string) string {
	if !utf8.ValidString(s) {
		p.fail(path, "holds text that is not UTF-8")
	}
	if plain(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func plain(s string) bool {
	if s == "" || strings.HasSuffix(s, ":") {
		return false
	}
	for i, r := range s {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '/'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789_.-:@%+=", r)) {
			return false
		}
	}
	switch strings.ToLower(s) { // other readers, and older ones, take these for values
	case "true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf":
		return false
	}
	return true
}
