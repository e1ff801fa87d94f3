package oip

import "math"

// format is a float of 16 bits: IEEE 754 binary16, or bfloat16, which is the upper half of a float32.
type format struct {
	mantissa int     // bits, without the implicit one
	normal   float64 // the smallest that has the implicit one
	max      float64
}

var (
	float16  = format{mantissa: 10, normal: 0x1p-14, max: 65504}
	bfloat16 = format{mantissa: 7, normal: 0x1p-126, max: 0x1.FEp127}
)

// round answers the nearest value of the format, ties to even, as if it had no largest exponent.
func (f format) round(x float64) float64 {
	if math.Abs(x) < f.normal { // values are an even distance apart
		ulp := math.Ldexp(f.normal, -f.mantissa)
		return math.RoundToEven(x/ulp) * ulp
	}
	drop := 52 - f.mantissa
	bits := math.Float64bits(x)
	if math.IsNaN(x) {
		return x
	}
	bits += 1<<(drop-1) - 1 + bits>>drop&1 // a carry goes into the exponent, where it belongs
	return math.Float64frombits(bits &^ (1<<drop - 1))
}

// halfToFloat64 converts binary16, exactly.
func halfToFloat64(h uint16) float64 {
	magnitude := uint64(h & 0x7FFF)
	sign := uint64(h&0x8000) << 48
	if magnitude >= 0x7C00 { // infinite, or NaN
		return math.Float64frombits(sign | 0x7FF<<52 | magnitude&0x3FF<<42)
	}
	// The bits where float64 has them are the value but for the bias of the exponent, also if it is subnormal.
	return math.Float64frombits(sign|magnitude<<42) * 0x1p1008
}

// bfloatToFloat64 converts bfloat16, exactly.
func bfloatToFloat64(b uint16) float64 {
	return float64(math.Float32frombits(uint32(b) << 16))
}
