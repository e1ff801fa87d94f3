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

// float32s is convert for FP32 and a stride of 1, which is most of what comes in binary: four at a time. finite is false
// if there may be a NaN or an infinity among them.
func float32s(dst []float64, raw []byte) (finite bool) {
	const (
		exponent = 0x7F80_0000
		lowest   = 0x0080_0000 // of its bits: added to one that is all ones, it carries into the sign
	)
	little := binary.LittleEndian
	var carry uint32
	for ; len(raw) >= 16 && len(dst) >= 4; raw, dst = raw[16:], dst[4:] {
		a, b, c, d := little.Uint32(raw), little.Uint32(raw[4:]), little.Uint32(raw[8:]), little.Uint32(raw[12:])
		carry |= (a&exponent + lowest) | (b&exponent + lowest) | (c&exponent + lowest) | (d&exponent + lowest)
		dst[0] = float64(math.Float32frombits(a))
		dst[1] = float64(math.Float32frombits(b))
		dst[2] = float64(math.Float32frombits(c))
		dst[3] = float64(math.Float32frombits(d))
	}
	for i := range len(raw) / 4 {
		a := little.Uint32(raw[4*i:])
		carry |= a&exponent + lowest
		dst[i] = float64(math.Float32frombits(a))
	}
	return carry>>31 == 0
}
