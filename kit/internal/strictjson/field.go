package strictjson

import (
	"fmt"
	"reflect"
	"strings"
)

// field is one key of a struct.
type field struct {
	key       string
	index     int
	omitEmpty bool
}

// fieldsOf lists the keys of a struct in order. An error is a mistake in the struct, not in a document.
func fieldsOf(t reflect.Type) ([]field, error) {
	var fields []field
	seen := map[string]bool{}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			return nil, fmt.Errorf("%s embeds %s, which is not supported", t, f.Type)
		}
		if !f.IsExported() {
			continue
		}
		tag, tagged := f.Tag.Lookup("json")
		key, options, _ := strings.Cut(tag, ",")
		switch {
		case tag == "-":
			continue
		case !tagged || key == "":
			return nil, fmt.Errorf("field %s of %s has no json tag with its key", f.Name, t)
		case seen[key]:
			return nil, fmt.Errorf("%s has the key %s twice", t, key)
		}
		seen[key] = true
		fields = append(fields, field{key: key, index: i, omitEmpty: options == "omitempty"})
	}
	return fields, nil
}
