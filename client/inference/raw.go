package inferenceclient

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The binary form of tensors, which the binary tensor extension of REST and the raw contents of gRPC share: little-endian,
// one element behind another; BYTES have each its length in four bytes before it.

// rawSize is how many bytes appendRaw appends.
func (t *Tensor) rawSize() int {
	if strings, ok := t.values.([]string); ok {
		n := 4 * len(strings)
		for _, s := range strings {
			n += len(s)
		}
		return n
	}
	return t.length() * sizeOf(t.datatype)
}

func (t *Tensor) appendRaw(b []byte) []byte {
	switch v := t.values.(type) {
	case []bool:
		for _, x := range v {
			if x {
				b = append(b, 1)
			} else {
				b = append(b, 0)
			}
		}
	case []int8:
		for _, x := range v {
			b = append(b, byte(x))
		}
	case []uint8:
		b = append(b, v...)
	case []int16:
		b = append16(b, v)
	case []uint16:
		b = append16(b, v)
	case []Float16:
		b = append16(b, v)
	case []BFloat16:
		b = append16(b, v)
	case []int32:
		b = append32(b, v)
	case []uint32:
		b = append32(b, v)
	case []int64:
		b = append64(b, v)
	case []uint64:
		b = append64(b, v)
	case []float32:
		for _, x := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
	case []float64:
		for _, x := range v {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		}
	case []string:
		for _, x := range v {
			b = binary.LittleEndian.AppendUint32(b, uint32(len(x)))
			b = append(b, x...)
		}
	}
	return b
}

func append16[T ~int16 | ~uint16](b []byte, values []T) []byte {
	for _, x := range values {
		b = binary.LittleEndian.AppendUint16(b, uint16(x))
	}
	return b
}

func append32[T int32 | uint32](b []byte, values []T) []byte {
	for _, x := range values {
		b = binary.LittleEndian.AppendUint32(b, uint32(x))
	}
	return b
}

func append64[T int64 | uint64](b []byte, values []T) []byte {
	for _, x := range values {
		b = binary.LittleEndian.AppendUint64(b, uint64(x))
	}
	return b
}

// parseRaw reads count elements, which must be all that there is.
func parseRaw(datatype string, raw []byte, count int) (any, error) {
	size := sizeOf(datatype)
	switch {
	case size < 0:
		return nil, fmt.Errorf("unknown datatype %.32q", datatype)
	case size == 0:
		return parseRawStrings(raw, count)
	case len(raw)/size != count || len(raw)%size != 0:
		return nil, fmt.Errorf("%d bytes for %d values of %s", len(raw), count, datatype)
	}
	switch datatype {
	case "BOOL":
		values := make([]bool, count)
		for i, x := range raw {
			if x > 1 {
				return nil, fmt.Errorf("byte %d for a BOOL", x)
			}
			values[i] = x == 1
		}
		return values, nil
	case "INT8":
		values := make([]int8, count)
		for i, x := range raw {
			values[i] = int8(x)
		}
		return values, nil
	case "UINT8":
		return append(make([]uint8, 0, count), raw...), nil
	case "INT16":
		return parse16[int16](raw, count), nil
	case "UINT16":
		return parse16[uint16](raw, count), nil
	case "FP16":
		return parse16[Float16](raw, count), nil
	case "BF16":
		return parse16[BFloat16](raw, count), nil
	case "INT32":
		return parse32[int32](raw, count), nil
	case "UINT32":
		return parse32[uint32](raw, count), nil
	case "INT64":
		return parse64[int64](raw, count), nil
	case "UINT64":
		return parse64[uint64](raw, count), nil
	case "FP32":
		values := make([]float32, count)
		for i := range values {
			values[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		return values, nil
	default: // FP64
		values := make([]float64, count)
		for i := range values {
			values[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
		}
		return values, nil
	}
}

func parse16[T ~int16 | ~uint16](raw []byte, count int) []T {
	values := make([]T, count)
	for i := range values {
		values[i] = T(binary.LittleEndian.Uint16(raw[2*i:]))
	}
	return values
}

func parse32[T int32 | uint32](raw []byte, count int) []T {
	values := make([]T, count)
	for i := range values {
		values[i] = T(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return values
}

func parse64[T int64 | uint64](raw []byte, count int) []T {
	values := make([]T, count)
	for i := range values {
		values[i] = T(binary.LittleEndian.Uint64(raw[8*i:]))
	}
	return values
}

func parseRawStrings(raw []byte, count int) ([]string, error) {
	if count > len(raw)/4 {
		return nil, fmt.Errorf("%d bytes for %d values of BYTES", len(raw), count)
	}
	values := make([]string, count)
	for i := range values {
		if len(raw) < 4 || uint64(binary.LittleEndian.Uint32(raw)) > uint64(len(raw)-4) {
			return nil, errors.New("a value of BYTES is longer than the tensor")
		}
		n := int(binary.LittleEndian.Uint32(raw))
		values[i], raw = string(raw[4:4+n]), raw[4+n:]
	}
	if len(raw) > 0 {
		return nil, fmt.Errorf("%d bytes after the last value of BYTES", len(raw))
	}
	return values, nil
}
