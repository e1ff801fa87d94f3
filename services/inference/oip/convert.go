package oip

import (
	"encoding/binary"
	"math"
)

// convert writes the elements of raw to dst[0], dst[stride], …
func (d Datatype) convert(dst []float64, stride int, raw []byte) {
	little := binary.LittleEndian
	j := 0
	switch d {
	case BOOL, UINT8:
		for _, b := range raw {
			dst[j] = float64(b)
			j += stride
		}
	case INT8:
		for _, b := range raw {
			dst[j] = float64(int8(b))
			j += stride
		}
	case UINT16:
		for ; len(raw) >= 2; raw = raw[2:] {
			dst[j] = float64(little.Uint16(raw))
			j += stride
		}
	case INT16:
		for ; len(raw) >= 2; raw = raw[2:] {
			dst[j] = float64(int16(little.Uint16(raw)))
			j += stride
		}
	case FP16:
		for ; len(raw) >= 2; raw = raw[2:] {
			dst[j] = halfToFloat64(little.Uint16(raw))
			j += stride
		}
	case BF16:
		for ; len(raw) >= 2; raw = raw[2:] {
			dst[j] = bfloatToFloat64(little.Uint16(raw))
			j += stride
		}
	case UINT32:
		for ; len(raw) >= 4; raw = raw[4:] {
			dst[j] = float64(little.Uint32(raw))
			j += stride
		}
	case INT32:
		for ; len(raw) >= 4; raw = raw[4:] {
			dst[j] = float64(int32(little.Uint32(raw)))
			j += stride
		}
	case FP32:
		for ; len(raw) >= 4; raw = raw[4:] {
			dst[j] = float64(math.Float32frombits(little.Uint32(raw)))
			j += stride
		}
	case UINT64:
		for ; len(raw) >= 8; raw = raw[8:] {
			dst[j] = float64(little.Uint64(raw))
			j += stride
		}
	case INT64:
		for ; len(raw) >= 8; raw = raw[8:] {
			dst[j] = float64(int64(little.Uint64(raw)))
			j += stride
		}
	case FP64:
		for ; len(raw) >= 8; raw = raw[8:] {
			dst[j] = math.Float64frombits(little.Uint64(raw))
			j += stride
		}
	}
}

// float32s is convert for FP32 and a stride of 1, which is most of what comes in binary. It tells whether an infinity is
// among them.
func float32s(dst []float64, raw []byte) (infinite bool) {
	n, infinite := float32sWide(dst, raw)
	for dst, raw = dst[n:], raw[4*n:]; len(raw) >= 4; dst, raw = dst[1:], raw[4:] {
		x := math.Float32frombits(binary.LittleEndian.Uint32(raw))
		dst[0] = float64(x)
		infinite = infinite || math.Abs(float64(x)) > math.MaxFloat32
	}
	return infinite
}
