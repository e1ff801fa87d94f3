//go:build !amd64 || noasm

package oip

func float32sWide([]float64, []byte) (n int, infinite bool) { return 0, false }
