//go:build cgo

package main

import (
	"github.com/dougong-io/dougong/services/inference/wire"
	ort "github.com/yalue/onnxruntime_go"
)

// ortTypes are the protocol's datatypes as ONNX Runtime has them.
var ortTypes = [...]ort.TensorElementDataType{
	wire.BOOL:   ort.TensorElementDataTypeBool,
	wire.UINT8:  ort.TensorElementDataTypeUint8,
	wire.UINT16: ort.TensorElementDataTypeUint16,
	wire.UINT32: ort.TensorElementDataTypeUint32,
	wire.UINT64: ort.TensorElementDataTypeUint64,
	wire.INT8:   ort.TensorElementDataTypeInt8,
	wire.INT16:  ort.TensorElementDataTypeInt16,
	wire.INT32:  ort.TensorElementDataTypeInt32,
	wire.INT64:  ort.TensorElementDataTypeInt64,
	wire.FP16:   ort.TensorElementDataTypeFloat16,
	wire.FP32:   ort.TensorElementDataTypeFloat,
	wire.FP64:   ort.TensorElementDataTypeDouble,
	wire.BYTES:  ort.TensorElementDataTypeString,
	wire.BF16:   ort.TensorElementDataTypeBFloat16,
}

// datatypeOf is not ok for types that the protocol has no word for: complex numbers, floats of 8 bits.
func datatypeOf(t ort.TensorElementDataType) (wire.Datatype, bool) {
	for d, known := range ortTypes {
		if d > 0 && known == t {
			return wire.Datatype(d), true
		}
	}
	return 0, false
}

// half are the datatypes that the binding has no type of Go for.
func half(d wire.Datatype) bool { return d == wire.FP16 || d == wire.BF16 }
