//go:build !noasm

package oip

import "golang.org/x/sys/cpu"

//go:noescape
func float32sAVX2(dst *float64, raw *byte, n int) (infinite int)

// float32sWide is float32s for the first elements, as many as it answers.
func float32sWide(dst []float64, raw []byte) (n int, infinite bool) {
	n = len(raw) / 4 &^ 7
	if n == 0 || !cpu.X86.HasAVX2 {
		return 0, false
	}
	dst, raw = dst[:n], raw[:4*n]
	return n, float32sAVX2(&dst[0], &raw[0], n) != 0
}
