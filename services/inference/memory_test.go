//go:build !dougong_pooldebug

package inference

import (
	"runtime"
	"strings"
	"testing"
)

// TestGarbageDoesNotGrowTheProcess: refused requests leave no memory behind.
func TestGarbageDoesNotGrowTheProcess(t *testing.T) {
	_, h, _ := demo(t)
	bodies := []string{
		strings.Repeat("[", 100_000), `{"input":[` + strings.Repeat("0,", 300_000) + `0]}`, `{"model":"` + strings.Repeat("x", 500_000) + `","input":[]}`,
		`{"features":{` + strings.Repeat(`"a":1,`, 50_000) + `"a":1}}`,
	}
	round := func() {
		for _, body := range bodies {
			if w := post(h, body); w.Code/100 != 4 {
				t.Fatalf("%.40s: %d", body, w.Code)
			}
		}
	}
	live := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for range 3 {
		round()
	}
	before := live()
	for range 50 {
		round()
	}
	if after := live(); after > before+4<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
}
