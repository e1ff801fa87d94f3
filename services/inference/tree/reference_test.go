package tree

import (
	"math"
	"testing"
)

func TestCategoriesTruncateAsLightGBM(t *testing.T) {
	set := []uint32{1<<0 | 1<<5, 1 << 3} // 0, 5 and 35
	for x, want := range map[float64]bool{
		0: true, 5: true, 35: true, 5.9: true, -0.5: true, 0.5: true,
		1: false, 4.9: false, 34: false, 64: false, 67: false, -1: false, -5: false, -1.5: false,
		1e10: false, math.MaxInt32: false, 1e300: false, math.Inf(1): false, math.Inf(-1): false, math.NaN(): false,
	} {
		if got := inCategories(set, x); got != want {
			t.Errorf("%v: %t", x, got)
		}
	}
	if inCategories(nil, 0) {
		t.Error("0 is in the empty set")
	}
}
