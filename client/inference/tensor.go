package inferenceclient

import (
	"fmt"
	"math"
)

// Element is what tensors are made of: a Go type for each datatype of the protocol, string for BYTES.
type Element interface {
	bool | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | Float16 | BFloat16 | float32 | float64 | string
}

// Tensor is a named array of one datatype, row-major. It is made by [NewTensor].
type Tensor struct {
	name     string
	datatype string
	shape    []int
	values   any // a slice of an Element; nil in the zero Tensor
}

// NewTensor returns a tensor of values, whose datatype is that of T: FP32 for float32, INT64 for int64, BYTES for
// string. Without a shape it has one dimension. Values and shape are not copied: they must not change until Infer
// returns. Whether the shape fits is for Infer to say.
//
// NaN is a missing value to a tree model. Over JSON it is sent as null, which is an extension of Dougong's.
func NewTensor[T Element](name string, values []T, shape ...int) Tensor {
	if len(shape) == 0 {
		shape = []int{len(values)}
	}
	if values == nil {
		values = []T{}
	}
	return Tensor{name: name, datatype: datatypeOf(values), shape: shape, values: values}
}

// Name is that by which the model knows the tensor.
func (t Tensor) Name() string { return t.name }

// Datatype is the protocol's name of what the tensor is made of, such as FP32.
func (t Tensor) Datatype() string { return t.datatype }

// Shape is the size of each dimension, the outermost first. It must not be changed.
func (t Tensor) Shape() []int { return t.shape }

// datatypeOf is the name of the datatype whose elements are in values; "" if there is none.
func datatypeOf(values any) string {
	switch values.(type) {
	case []bool:
		return "BOOL"
	case []int8:
		return "INT8"
	case []int16:
		return "INT16"
	case []int32:
		return "INT32"
	case []int64:
		return "INT64"
	case []uint8:
		return "UINT8"
	case []uint16:
		return "UINT16"
	case []uint32:
		return "UINT32"
	case []uint64:
		return "UINT64"
	case []Float16:
		return "FP16"
	case []BFloat16:
		return "BF16"
	case []float32:
		return "FP32"
	case []float64:
		return "FP64"
	case []string:
		return "BYTES"
	}
	return ""
}

// sizeOf is how many bytes an element of a datatype takes; 0 for BYTES, -1 if there is no such datatype.
func sizeOf(datatype string) int {
	switch datatype {
	case "BOOL", "INT8", "UINT8":
		return 1
	case "INT16", "UINT16", "FP16", "BF16":
		return 2
	case "INT32", "UINT32", "FP32":
		return 4
	case "INT64", "UINT64", "FP64":
		return 8
	case "BYTES":
		return 0
	}
	return -1
}

// elements multiplies a shape out.
func elements(shape []int) (int, error) {
	n := 1
	for _, size := range shape {
		switch {
		case size < 0:
			return 0, fmt.Errorf("shape %v has a negative size", shape)
		case size > 0 && n > math.MaxInt32/size: // beyond 2 GiB of anything, nobody takes it
			return 0, fmt.Errorf("shape %v is too large", shape)
		}
		n *= size
	}
	return n, nil
}

// length is how many elements there are, whatever the shape says.
func (t *Tensor) length() int {
	switch v := t.values.(type) {
	case []bool:
		return len(v)
	case []int8:
		return len(v)
	case []int16:
		return len(v)
	case []int32:
		return len(v)
	case []int64:
		return len(v)
	case []uint8:
		return len(v)
	case []uint16:
		return len(v)
	case []uint32:
		return len(v)
	case []uint64:
		return len(v)
	case []Float16:
		return len(v)
	case []BFloat16:
		return len(v)
	case []float32:
		return len(v)
	case []float64:
		return len(v)
	case []string:
		return len(v)
	}
	return 0
}

// check reports what makes a tensor unfit to be sent.
func (t *Tensor) check() error {
	if t.values == nil {
		return fmt.Errorf("input %q has no values: make it with NewTensor", t.name)
	}
	if t.name == "" {
		return fmt.Errorf("an input has no name")
	}
	n, err := elements(t.shape)
	if err != nil {
		return fmt.Errorf("input %q: %w", t.name, err)
	}
	if have := t.length(); n != have {
		return fmt.Errorf("input %q: shape %v takes %d values, and there are %d", t.name, t.shape, n, have)
	}
	return nil
}
