package script

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

// The tests hold the scanner against encoding/json.

// sameJSON compares decoded values.
func sameJSON(a, b any) bool { return reflect.DeepEqual(a, b) }

// object is an object of which the first of equal names counts, as in Find, and not the last.
type object map[string]any

// decode decodes a document that is valid.
func decode(body []byte) any {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return decodeNext(d)
}

func decodeNext(d *json.Decoder) any {
	token, err := d.Token()
	if err != nil {
		panic(err)
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			list = append(list, decodeNext(d))
		}
		mustEnd(d)
		return list
	case json.Delim('{'):
		o := object{}
		for d.More() {
			name := decodeNext(d).(string)
			value := decodeNext(d)
			if _, ok := o[name]; !ok {
				o[name] = value
			}
		}
		mustEnd(d)
		return o
	}
	return token
}

func mustEnd(d *json.Decoder) {
	if token, err := d.Token(); err != nil {
		panic(fmt.Sprint(token, err))
	}
}

// walk follows a path through a decoded document.
func walk(v any, p Path) (any, bool) {
	for _, s := range p.steps {
		switch node := v.(type) {
		case object:
			if s.isIndex {
				return nil, false
			}
			next, ok := node[s.name]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i := s.index
			if i < 0 {
				i += int64(len(node))
			}
			if !s.isIndex || i < 0 || i >= int64(len(node)) {
				return nil, false
			}
			v = node[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// depth is at least as deep as a document nests.
func depth(body []byte) int { return bytes.Count(body, []byte("[")) + bytes.Count(body, []byte("{")) }
