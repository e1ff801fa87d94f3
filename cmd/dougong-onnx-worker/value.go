//go:build cgo

package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/dougong-io/dougong/services/inference/wire"
	ort "github.com/yalue/onnxruntime_go"
)

// value is one of ONNX Runtime over memory of ours, kept as long as the same memory is asked for in the same shape.
type value struct {
	data   *byte
	shape  []int64
	tensor *ort.CustomDataTensor
}

// over gives a value over data, which has at least one byte. It is good until the memory is freed, or drop.
func (v *value) over(data []byte, shape []int64, t ort.TensorElementDataType) (ort.Value, error) {
	if v.tensor != nil && v.data == unsafe.SliceData(data) && slices.Equal(v.shape, shape) {
		return v.tensor, nil
	}
	v.drop()
	tensor, err := ort.NewCustomDataTensor(shape, data, t)
	if err != nil {
		return nil, err
	}
	v.data, v.shape, v.tensor = unsafe.SliceData(data), append(v.shape[:0], shape...), tensor
	return tensor, nil
}

// value is nil if there is none.
func (v *value) value() ort.Value {
	if v.tensor == nil {
		return nil
	}
	return v.tensor
}

func (v *value) drop() {
	if v.tensor != nil {
		_ = v.tensor.Destroy()
		v.tensor, v.data = nil, nil
	}
}

func dropAll(values []value) {
	for i := range values {
		values[i].drop()
	}
}

// stringTensor copies BYTES. ONNX Runtime takes strings as C has them, so a zero byte would end one.
func (l *lane) stringTensor(t *wire.Tensor) (ort.Value, error) {
	l.strings = l.strings[:0]
	for rest := t.Data; len(rest) > 0; { // wire has seen to the lengths
		n := binary.LittleEndian.Uint32(rest)
		s := string(rest[4 : 4+n])
		if strings.IndexByte(s, 0) >= 0 {
			return nil, invalid(l.model, "input %q: element %d of BYTES has a zero byte, which ONNX Runtime cannot be given", t.Name, len(l.strings))
		}
		l.strings = append(l.strings, s)
		rest = rest[4+n:]
	}
	tensor, err := ort.NewStringTensor(t.Shape)
	if err != nil {
		return nil, err
	}
	err = tensor.SetContents(l.strings)
	clear(l.strings)
	if err != nil {
		_ = tensor.Destroy()
		return nil, err
	}
	return tensor, nil
}

// newScalar copies a tensor without dimensions, which the binding has another type for.
func newScalar(d wire.Datatype, data []byte) (ort.Value, error) {
	switch d {
	case wire.BOOL:
		return checked(ort.NewScalar(data[0] != 0))
	case wire.UINT8:
		return scalar[uint8](data)
	case wire.UINT16:
		return scalar[uint16](data)
	case wire.UINT32:
		return scalar[uint32](data)
	case wire.UINT64:
		return scalar[uint64](data)
	case wire.INT8:
		return scalar[int8](data)
	case wire.INT16:
		return scalar[int16](data)
	case wire.INT32:
		return scalar[int32](data)
	case wire.INT64:
		return scalar[int64](data)
	case wire.FP32:
		return scalar[float32](data)
	case wire.FP64:
		return scalar[float64](data)
	}
	return nil, fmt.Errorf("a single %v cannot be given to ONNX Runtime", d)
}

func scalar[T ort.TensorData](data []byte) (ort.Value, error) {
	return checked(ort.NewScalar(*(*T)(unsafe.Pointer(unsafe.SliceData(data)))))
}

// checked keeps a nil pointer from becoming a value that is not nil.
func checked[T ort.TensorData](s *ort.Scalar[T], err error) (ort.Value, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// scalarBytes is what newScalar copied, or ONNX Runtime put there since.
func scalarBytes(v ort.Value) []byte {
	switch v := v.(type) {
	case *ort.Scalar[bool]:
		return one(v)
	case *ort.Scalar[uint8]:
		return one(v)
	case *ort.Scalar[uint16]:
		return one(v)
	case *ort.Scalar[uint32]:
		return one(v)
	case *ort.Scalar[uint64]:
		return one(v)
	case *ort.Scalar[int8]:
		return one(v)
	case *ort.Scalar[int16]:
		return one(v)
	case *ort.Scalar[int32]:
		return one(v)
	case *ort.Scalar[int64]:
		return one(v)
	case *ort.Scalar[float32]:
		return one(v)
	case *ort.Scalar[float64]:
		return one(v)
	}
	return nil
}

func one[T ort.TensorData](v *ort.Scalar[T]) []byte { return bytesOf([]T{v.GetData()}) }

// contents are the bytes and the shape of an output that ONNX Runtime allocated. They are good until it is destroyed.
func contents(v ort.Value, spec *wire.Spec) (data []byte, shape []int64, err error) {
	if v == nil {
		return nil, nil, fmt.Errorf("ONNX Runtime gave none")
	}
	switch v := v.(type) {
	case *ort.Tensor[bool]:
		data = bytesOf(v.GetData())
	case *ort.Tensor[uint8]:
		data = bytesOf(v.GetData())
	case *ort.Tensor[uint16]:
		data = bytesOf(v.GetData())
	case *ort.Tensor[uint32]:
		data = bytesOf(v.GetData())
	case *ort.Tensor[uint64]:
		data = bytesOf(v.GetData())
	case *ort.Tensor[int8]:
		data = bytesOf(v.GetData())
	case *ort.Tensor[int16]:
		data = bytesOf(v.GetData())
	case *ort.Tensor[int32]:
		data = bytesOf(v.GetData())
	case *ort.Tensor[int64]:
		data = bytesOf(v.GetData())
	case *ort.Tensor[float32]:
		data = bytesOf(v.GetData())
	case *ort.Tensor[float64]:
		data = bytesOf(v.GetData())
	case *ort.StringTensor:
		all, err := v.GetContents()
		if err != nil {
			return nil, nil, err
		}
		for _, s := range all {
			data = append(binary.LittleEndian.AppendUint32(data, uint32(len(s))), s...)
		}
	default:
		return nil, nil, fmt.Errorf("it has another shape than the model says, and as %v cannot be read then", spec.Datatype)
	}
	return data, v.GetShape(), nil
}

// bytesOf is the memory of s. The machine is little endian, as the protocol is.
func bytesOf[T any](s []T) []byte {
	var element T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(element)))
}
