package oip

import (
	"fmt"
	"math"
)

// settle makes numbers that were read from text, in float64, values of the datatype: floats are rounded to it, to
// nearest and ties to even, so that they equal what a client would have sent in binary. It answers the index of the
// first that is none, or -1.
//
// The bounds of INT64 and UINT64 are as float64 sees them: what rounds to 2⁶³ or 2⁶⁴ passes.
func settle(values []float64, d Datatype) (bad int) {
	switch d {
	case FP64:
		return -1
	case FP32:
		for i, x := range values {
			rounded := float64(float32(x))
			if rounded > math.MaxFloat32 || rounded < -math.MaxFloat32 { // NaN is neither
				return i
			}
			values[i] = rounded
		}
		return -1
	case FP16, BF16:
		format := float16
		if d == BF16 {
			format = bfloat16
		}
		for i, x := range values {
			rounded := format.round(x)
			if rounded > format.max || rounded < -format.max {
				return i
			}
			values[i] = rounded
		}
		return -1
	}
	low, high := d.bounds()
	for i, x := range values {
		if x < low || x > high || x != math.Trunc(x) { // NaN is not even itself
			return i
		}
	}
	return -1
}

// unsettled says why settle refused a value.
func unsettled(x float64, d Datatype) string {
	switch {
	case math.IsNaN(x):
		return "is null; only FP16, BF16, FP32 and FP64 have missing values"
	case !d.float() && x != math.Trunc(x):
		return fmt.Sprintf("is %v, which is no integer; its datatype is %s", x, d)
	}
	return fmt.Sprintf("is %v, which is out of the range of %s", x, d)
}

// bounds are those of an integer's datatype, BOOL included.
func (d Datatype) bounds() (low, high float64) {
	bits := 8 * d.Size()
	switch d {
	case BOOL:
		return 0, 1
	case INT8, INT16, INT32:
		return -math.Ldexp(1, bits-1), math.Ldexp(1, bits-1) - 1
	case UINT8, UINT16, UINT32:
		return 0, math.Ldexp(1, bits) - 1
	case INT64:
		return -1 << 63, 1 << 63
	}
	return 0, 1 << 64
}
