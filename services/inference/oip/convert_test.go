package oip

import (
	"encoding/binary"
	"math"
	"math/big"
	"testing"
)

// TestSixteenBitFloatsAreConvertedExactly tries all there are.
func TestSixteenBitFloatsAreConvertedExactly(t *testing.T) {
	for bits := range uint64(1 << 16) {
		raw := binary.LittleEndian.AppendUint16(nil, uint16(bits))
		for _, d := range []Datatype{FP16, BF16} {
			var got [1]float64
			d.convert(got[:], 1, raw)
			if want := value(d, bits); math.Float64bits(got[0]) != math.Float64bits(want) && !(math.IsNaN(got[0]) && math.IsNaN(want)) {
				t.Fatalf("%s %#04x is %v, want %v", d, bits, got[0], want)
			}
		}
	}
}

// TestNumbersInTextAreRoundedToTheNearest: between each two neighbours of a format, what is a little nearer to one goes
// there, and what is in the middle goes to the even one.
func TestNumbersInTextAreRoundedToTheNearest(t *testing.T) {
	for _, d := range []Datatype{FP16, BF16} {
		infinite := uint64(0x7C00)
		if d == BF16 {
			infinite = 0x7F80
		}
		for bits := range infinite - 1 {
			low, high := value(d, bits), value(d, bits+1)
			middle := low + (high-low)/2
			even := low
			if bits%2 == 1 {
				even = high
			}
			for x, want := range map[float64]float64{
				low: low, high: high, middle: even, math.Nextafter(middle, 0): low, math.Nextafter(middle, math.Inf(1)): high,
			} {
				values := []float64{x, -x}
				if bad := settle(values, d); bad >= 0 || values[0] != want || values[1] != -want {
					t.Fatalf("%s: %v becomes %v, want %v", d, x, values, want)
				}
			}
		}
	}
}

func TestRangesOfDatatypes(t *testing.T) {
	half := math.Nextafter(65520, 0)
	bfloat := math.Nextafter(0x1.FFp127, 0)
	for d, c := range map[Datatype]struct{ in, out []float64 }{
		BOOL:   {[]float64{0, 1}, []float64{-1, 2, 0.5}},
		UINT8:  {[]float64{0, 255}, []float64{-1, 256, 0.5}},
		INT8:   {[]float64{-128, 127}, []float64{-129, 128, 0.5}},
		UINT16: {[]float64{0, 65535}, []float64{-1, 65536}},
		INT16:  {[]float64{-32768, 32767}, []float64{-32769, 32768}},
		UINT32: {[]float64{0, 1<<32 - 1}, []float64{-1, 1 << 32}},
		INT32:  {[]float64{-1 << 31, 1<<31 - 1}, []float64{-1<<31 - 1, 1 << 31}},
		UINT64: {[]float64{0, 1 << 64}, []float64{-1, math.Nextafter(1<<64, math.Inf(1))}},
		INT64:  {[]float64{-1 << 63, 1 << 63}, []float64{math.Nextafter(-1<<63, math.Inf(-1)), math.Nextafter(1<<63, math.Inf(1))}},
		FP16:   {[]float64{half, -half}, []float64{65520, -65520}},
		BF16:   {[]float64{bfloat, -bfloat}, []float64{0x1.FFp127, -0x1.FFp127}},
		FP32:   {[]float64{math.Nextafter(beyondFloat32, 0), -math.MaxFloat32}, []float64{beyondFloat32, -beyondFloat32}},
		FP64:   {[]float64{math.MaxFloat64, -math.MaxFloat64}, nil},
	} {
		for _, x := range c.in {
			if settle([]float64{x}, d) != -1 {
				t.Errorf("%v is refused as %s", x, d)
			}
		}
		for _, x := range c.out {
			if settle([]float64{0, x}, d) != 1 {
				t.Errorf("%v is taken as %s", x, d)
			}
		}
		if missing := settle([]float64{math.NaN()}, d) == -1; missing != d.float() {
			t.Errorf("%s: null is taken: %v", d, missing)
		}
	}
}

// TestIntegersBeyond53BitsAreRoundedToNearestEven holds conversions against arithmetic without rounding.
func TestIntegersBeyond53BitsAreRoundedToNearestEven(t *testing.T) {
	for _, bits := range []uint64{1<<53 + 1, 1<<53 + 3, math.MaxInt64, math.MaxUint64, 1<<63 + 1, 1<<63 + 1024, 1<<63 + 1025, 1<<63 + 3072, uint64(1<<64 - 1<<53 - 1)} {
		raw := binary.LittleEndian.AppendUint64(nil, bits)
		for d, exact := range map[Datatype]*big.Int{UINT64: new(big.Int).SetUint64(bits), INT64: big.NewInt(int64(bits))} {
			want, _ := new(big.Float).SetInt(exact).Float64()
			var got [1]float64
			if d.convert(got[:], 1, raw); got[0] != want {
				t.Errorf("%s %v becomes %v, want %v", d, exact, got[0], want)
			}
		}
	}
}

// TestFloat32sSeesInfinities at each place of several lengths, and writes nothing else.
func TestFloat32sSeesInfinities(t *testing.T) {
	for n := range 35 {
		for at := -1; at < n; at++ {
			for bits, infinite := range map[uint32]bool{0x7F7F_FFFF: false, 0xFF7F_FFFF: false, 0x7F80_0000: true, 0xFF80_0000: true, 0x7FC0_0000: false, 0x7F80_0001: false, 0xFF80_0001: false, 0xFFFF_FFFF: false} {
				var raw []byte
				for i := range n {
					b := math.Float32bits(-1.5 * float32(i))
					if i == at {
						b = bits
					}
					raw = binary.LittleEndian.AppendUint32(raw, b)
				}
				room := make([]float64, n+8)
				for i := range room {
					room[i] = 7
				}
				if got := float32s(room[:n], raw); got != (infinite && at >= 0) {
					t.Fatalf("%#08x at %d of %d: infinite %v", bits, at, n, got)
				}
				for i, x := range room[:n] {
					if want := float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))); x != want && !(math.IsNaN(want) && math.IsNaN(x)) {
						t.Fatalf("element %d of %d is %v, want %v", i, n, x, want)
					}
				}
				for i, x := range room[n:] {
					if x != 7 {
						t.Fatalf("element %d beyond %d was written", i, n)
					}
				}
			}
		}
	}
}

func TestDatatypesHaveNamesAndSizes(t *testing.T) {
	sizes := map[string]int{"BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8, "FP16": 2, "BF16": 2, "FP32": 4, "FP64": 8, "BYTES": 0}
	for name, size := range sizes {
		d, ok := ParseDatatype([]byte(name))
		if !ok || d.String() != name || d.Size() != size {
			t.Errorf("%s: %v %v of %d bytes, want %d", name, ok, d, d.Size(), size)
		}
	}
	for _, name := range []string{"", "fp32", "FP32 ", "FLOAT"} {
		if d, ok := ParseDatatype([]byte(name)); ok {
			t.Errorf("%q is taken for %s", name, d)
		}
	}
	if d := Datatype(200); d.String() != "" || d.Size() != 0 {
		t.Errorf("%s of %d bytes is none", d, d.Size())
	}
}
