package report

import (
	"bytes"
	"encoding"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/dougong-io/dougong/prove/hdr"
	"github.com/dougong-io/dougong/prove/load"
)

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("load-result.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := compiler.Compile("load-result.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchemaHoldsWhatIsWritten(t *testing.T) {
	s := compiled(t)
	bare := sample()
	bare.Breakpoint, bare.Plan, bare.SLO, bare.Notes, bare.Version = nil, nil, nil, nil, ""
	bare.Total.Latency, bare.Total.Failed, bare.Client.Late = nil, nil, nil
	for name, r := range map[string]*load.Result{"everything": sample(), "little": bare} {
		var buf bytes.Buffer
		if err := WriteJSON(&buf, r); err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(&buf)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemaRefuses shows that the schema says something: each change makes a valid result invalid.
func TestSchemaRefuses(t *testing.T) {
	s := compiled(t)
	at := func(doc map[string]any, path ...string) map[string]any {
		for _, key := range path {
			switch next := doc[key].(type) {
			case []any:
				doc = next[0].(map[string]any)
			case map[string]any:
				doc = next
			}
		}
		return doc
	}
	for name, edit := range map[string]func(doc map[string]any){
		"another schema":          func(doc map[string]any) { doc["schema"] = "dougong.load/2" },
		"no verdict":              func(doc map[string]any) { delete(doc, "verdict") },
		"an unknown field":        func(doc map[string]any) { doc["news"] = 1 },
		"one in a window":         func(doc map[string]any) { at(doc, "judged")["news"] = 1 },
		"one in an interval":      func(doc map[string]any) { at(doc, "intervals")["news"] = 1 },
		"an interval without due": func(doc map[string]any) { delete(at(doc, "intervals"), "due") },
		"an unknown class":        func(doc map[string]any) { at(doc, "total", "failed")["bored"] = 1 },
		"a part of a request":     func(doc map[string]any) { at(doc, "total")["ok"] = 1.5 },
		"a negative count":        func(doc map[string]any) { at(doc, "trials", "breakpoint", "trials")["due"] = -1 },
		"a histogram of text":     func(doc map[string]any) { at(doc, "total", "latency")["buckets"] = "1,2" },
		"a duration in seconds":   func(doc map[string]any) { at(doc, "plan")["timeout"] = 5 },
		"a time of no format":     func(doc map[string]any) { doc["started"] = "yesterday" },
		"a unit of no kind":       func(doc map[string]any) { at(doc, "slo")["unit"] = "furlong" },
	} {
		doc := document(sample())
		edit(doc)
		if err := s.Validate(doc); err == nil {
			t.Errorf("%s is valid", name)
		}
	}
}

// TestSchemaNamesEveryField walks the types: a field that the schema lacks, or has in addition, or does not
// describe, or requires although it may be left out, is a fault.
func TestSchemaNamesEveryField(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	w := walker{t: t, root: root, seen: map[reflect.Type]bool{}}
	w.walk(reflect.TypeFor[load.Result](), root, "result")
	if len(w.seen) < 15 {
		t.Errorf("only %d types were looked at", len(w.seen))
	}
	for _, class := range load.Classes() {
		if def := root["$defs"].(map[string]any)["class"].(map[string]any); !slices.Contains(def["enum"].([]any), any(string(class))) || !strings.Contains(def["description"].(string), string(class)+":") {
			t.Errorf("class %s is not in the schema", class)
		}
	}
}

type walker struct {
	t    *testing.T
	root map[string]any
	seen map[reflect.Type]bool
}

func (w walker) walk(typ reflect.Type, node map[string]any, path string) {
	switch typ.Kind() {
	case reflect.Pointer:
		w.walk(typ.Elem(), node, path)
		return
	case reflect.Slice:
		items, _ := node["items"].(map[string]any)
		w.walk(typ.Elem(), items, path+"[]")
		return
	case reflect.Struct:
	default:
		return
	}
	if w.seen[typ] {
		return
	}
	w.seen[typ] = true
	properties, required := map[string]any{}, map[string]bool{}
	w.collect(node, properties, required)
	fields := map[string]reflect.StructField{}
	switch {
	case typ == reflect.TypeFor[hdr.Histogram]():
		for name := range document(sample())["client"].(map[string]any)["late"].(map[string]any) {
			fields[name] = reflect.StructField{Tag: reflect.StructTag(`json:"` + name + `"`), Type: reflect.TypeFor[int]()}
		}
	case typ.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return
	default:
		fieldsOf(typ, fields)
	}
	for name, field := range fields {
		property, ok := properties[name].(map[string]any)
		if !ok {
			w.t.Errorf("%s.%s is not in the schema", path, name)
			continue
		}
		if text, _ := property["description"].(string); len(text) < 8 {
			w.t.Errorf("%s.%s is not described", path, name)
		}
		if mayLack := strings.Contains(field.Tag.Get("json"), ",omit"); mayLack == required[name] {
			w.t.Errorf("%s.%s: required is %v, may be left out is %v", path, name, required[name], mayLack)
		}
		w.walk(field.Type, property, path+"."+name)
	}
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if _, ok := fields[name]; !ok {
			w.t.Errorf("the schema has %s.%s, which no field writes", path, name)
		}
	}
}

// collect gathers the properties of node and of what it refers to.
func (w walker) collect(node, properties map[string]any, required map[string]bool) {
	if ref, ok := node["$ref"].(string); ok {
		def, ok := w.root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		if !ok {
			w.t.Fatalf("%s is not defined", ref)
		}
		w.collect(def, properties, required)
	}
	for _, several := range []string{"allOf", "oneOf"} {
		parts, _ := node[several].([]any)
		for _, part := range parts {
			w.collect(part.(map[string]any), properties, required)
		}
	}
	own, _ := node["properties"].(map[string]any)
	maps.Copy(properties, own)
	names, _ := node["required"].([]any)
	for _, name := range names {
		required[name.(string)] = true
	}
}

func fieldsOf(typ reflect.Type, into map[string]reflect.StructField) {
	for i := range typ.NumField() {
		field := typ.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous && name == "":
			fieldsOf(field.Type, into)
		case name == "-" || !field.IsExported():
		case name == "":
			into[field.Name] = field
		default:
			into[name] = field
		}
	}
}

func TestSchemaIsTheCallersOwn(t *testing.T) {
	Schema()[0] = 'x'
	if Schema()[0] != '{' {
		t.Error("a caller changed the schema for all")
	}
}
