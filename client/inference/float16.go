package inferenceclient

import "math"

// Float16 is a value of FP16, as its bits: IEEE 754 binary16.
type Float16 uint16

// BFloat16 is a value of BF16, as its bits: the upper half of a float32.
type BFloat16 uint16

// Float32 is the same value, exactly.
func (f Float16) Float32() float32 {
	sign, exponent, fraction := uint32(f>>15)<<31, uint32(f>>10)&0x1f, uint32(f)&0x3ff
	switch exponent {
	case 0x1f: // infinities and NaN
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	case 0: // zero and the subnormal: fraction × 2^-24
		value := float32(fraction) * 0x1p-24
		return math.Float32frombits(math.Float32bits(value) | sign)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}

// Float32 is the same value, exactly.
func (f BFloat16) Float32() float32 { return math.Float32frombits(uint32(f) << 16) }
