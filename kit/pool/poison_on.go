//go:build dougong_pooldebug

package pool

import (
	"bytes"
	"fmt"
	"reflect"
	"unsafe"
)

// poison is what memory holds that is nobody's. As a float64 it is about -1e131, as an index it is out of range.
const poison = 0xDB

// guard finds writes to what is released: to the value itself by a copy of its bytes, to the memory that it keeps by
// poison. Memory that it keeps are the slices that Reset left with length 0 and some capacity, whose elements hold no
// pointers: whoever appends to them writes there, so they are the value's own.
type guard struct{ image []byte }

// seal is called when a value begins to wait.
func (g *guard) seal(value any) {
	v := reflect.ValueOf(value).Elem()
	eachKept(v, func(_ string, kept []byte) { fill(kept) })
	g.image = bytes.Clone(memory(v))
}

// broken is called when it is got again, and says what has changed, if anything has.
func (g *guard) broken(value any) (what string) {
	v := reflect.ValueOf(value).Elem()
	if now := memory(v); !bytes.Equal(now, g.image) {
		at := firstDifference(now, g.image)
		return fmt.Sprintf("%v: %s", v.Type(), fieldAt(v.Type(), at))
	}
	eachKept(v, func(name string, kept []byte) {
		if at := unpoisoned(kept); at >= 0 && what == "" {
			what = fmt.Sprintf("byte %d of %s", at, name)
		}
	})
	return what
}

func (*guard) sealBytes(b []byte) { fill(b[:cap(b)]) }

func (*guard) brokenBytes(b []byte) string {
	if at := unpoisoned(b[:cap(b)]); at >= 0 {
		return fmt.Sprintf("byte %d of a buffer of %d", at, cap(b))
	}
	return ""
}

func fill(b []byte) {
	for i := range b {
		b[i] = poison
	}
}

func unpoisoned(b []byte) int {
	for i, x := range b {
		if x != poison {
			return i
		}
	}
	return -1
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// fieldAt names what lies at an offset of a value.
func fieldAt(t reflect.Type, at int) string {
	if t.Kind() == reflect.Struct {
		for i := t.NumField() - 1; i >= 0; i-- {
			if f := t.Field(i); int(f.Offset) <= at {
				return "field " + f.Name
			}
		}
	}
	return fmt.Sprintf("byte %d", at)
}

// memory views a value as bytes.
func memory(v reflect.Value) []byte {
	return unsafe.Slice((*byte)(v.Addr().UnsafePointer()), v.Type().Size())
}

// eachKept hands over the memory that the value v keeps, with the name of the field that has it.
func eachKept(v reflect.Value, do func(name string, kept []byte)) {
	var walk func(name string, v reflect.Value)
	walk = func(name string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				walk(name+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case reflect.Array:
			for i := range v.Len() {
				walk(fmt.Sprintf("%s[%d]", name, i), v.Index(i))
			}
		case reflect.Slice:
			size := uintptr(v.Cap()) * v.Type().Elem().Size()
			if v.Len() == 0 && size > 0 && plain(v.Type().Elem()) {
				do(name, unsafe.Slice((*byte)(v.UnsafePointer()), size))
			}
		}
	}
	walk(v.Type().String(), v)
}

// plain tells whether any bytes are a value of a type: numbers are, pointers are not.
func plain(t reflect.Type) bool {
	switch k := t.Kind(); {
	case reflect.Int <= k && k <= reflect.Complex128:
		return true
	case k == reflect.Array:
		return plain(t.Elem())
	case k == reflect.Struct:
		for i := range t.NumField() {
			if !plain(t.Field(i).Type) {
				return false
			}
		}
		return true
	}
	return false
}
