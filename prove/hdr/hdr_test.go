package hdr

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestQuantilesAreWithinAFifthOfAPercentOfTheSortedValues(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, n := range []int{1, 2, 10, 999, 1000, 100_000} {
		var h Histogram
		values := make([]int64, n)
		sum := 0.0
		for i := range values {
			values[i] = int64(math.Exp(random.Float64() * 26)) // 1 ns to 3 minutes
			h.Record(values[i])
			sum += float64(values[i])
		}
		slices.Sort(values)
		for _, q := range []float64{0, 0.001, 0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1} {
			rank := max(int(math.Ceil(q*float64(n)-1e-9*float64(n))), 1)
			want, have := float64(values[rank-1]), float64(h.Quantile(q))
			if math.Abs(have-want) > want/512+0.5 {
				t.Errorf("n=%d q=%v: have %v, the sorted values say %v", n, q, have, want)
			}
		}
		if h.Min() != values[0] || h.Max() != values[n-1] || h.Count() != uint64(n) {
			t.Errorf("n=%d: min %d max %d count %d", n, h.Min(), h.Max(), h.Count())
		}
		if mean := sum / float64(n); math.Abs(h.Mean()-mean) > mean*1e-9 {
			t.Errorf("n=%d: mean %v, want %v", n, h.Mean(), mean)
		}
	}
}

func TestEveryBucketHoldsItsBounds(t *testing.T) {
	next := int64(0)
	for i := range buckets {
		low, width := bounds(i)
		if low != next {
			t.Fatalf("bucket %d begins at %d, the one before it ends at %d", i, low, next)
		}
		if low <= MaxValue && (index(low) != i || index(min(low+width-1, MaxValue)) != i && low+width-1 <= MaxValue) {
			t.Fatalf("bucket %d: its bounds %d and %d belong to %d and %d", i, low, low+width-1, index(low), index(low+width-1))
		}
		if low >= 256 && float64(width) > float64(low)/256 {
			t.Fatalf("bucket %d at %d is %d wide", i, low, width)
		}
		next = low + width
	}
}

func TestAddEqualsRecordingBoth(t *testing.T) {
	var a, b, both Histogram
	for i := range int64(5000) {
		a.Record(i * 977)
		both.Record(i * 977)
		b.Record(i * i * 31)
		both.Record(i * i * 31)
	}
	a.Add(&b)
	a.Add(nil)
	a.Add(new(Histogram))
	if have, want := text(t, &a), text(t, &both); have != want {
		t.Errorf("have %.200s\nwant %.200s", have, want)
	}
	if c := a.Clone(); text(t, c) != text(t, &a) {
		t.Error("the clone differs")
	}
	a.Reset()
	if a.Count() != 0 || a.Quantile(0.5) != 0 || text(t, &a) != text(t, new(Histogram)) {
		t.Error("reset left something")
	}
}

func TestExtremesAreCountedAtTheEnds(t *testing.T) {
	var h Histogram
	h.Record(-5)
	h.Record(math.MaxInt64)
	h.RecordN(7, 0)
	if h.Count() != 2 || h.Min() != 0 || h.Max() != MaxValue {
		t.Errorf("count %d min %d max %d", h.Count(), h.Min(), h.Max())
	}
}

func TestCountAbove(t *testing.T) {
	var h Histogram
	for i := range int64(200) {
		h.Record(i)
	}
	for v, want := range map[int64]uint64{-1: 199, 0: 199, 99: 100, 198: 1, 199: 0, math.MaxInt64: 0} {
		if have := h.CountAbove(v); have != want {
			t.Errorf("above %d: have %d, want %d", v, have, want)
		}
	}
}

func TestJSONKeepsEverything(t *testing.T) {
	var h Histogram
	for i := range int64(10_000) {
		h.RecordN(i*i*i, uint64(i%3))
	}
	var read Histogram
	if err := json.Unmarshal([]byte(text(t, &h)), &read); err != nil {
		t.Fatal(err)
	}
	if text(t, &read) != text(t, &h) || read.Quantile(0.99) != h.Quantile(0.99) || read.Mean() != h.Mean() {
		t.Error("what was read differs from what was written")
	}
}

func TestContradictoryJSONIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"count":1,"sub_buckets":128,"buckets":[1,1]}`:                        "sub_buckets is 128",
		`{"count":1,"sub_buckets":256,"buckets":[1]}`:                          "pairs",
		`{"count":2,"sub_buckets":256,"buckets":[5,1,4,1]}`:                    "ascend",
		`{"count":1,"sub_buckets":256,"buckets":[99999,1]}`:                    "ascend",
		`{"count":2,"sub_buckets":256,"buckets":[5,1]}`:                        "count is 2",
		`{"count":1,"min_ns":9,"max_ns":9,"sub_buckets":256,"buckets":[5,1]}`:  "first and last bucket",
		`{"count":1,"min_ns":-1,"max_ns":5,"sub_buckets":256,"buckets":[5,1]}`: "first and last bucket",
		`{"count":1,"sub_buckets":256,"buckets":[5,0]}`:                        "above 0",
		`{"count":"a"}`: "histogram",
	} {
		err := json.Unmarshal([]byte(text), new(Histogram))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: have %v, want %q", text, err, want)
		}
	}
}

func TestNilReadsAsEmpty(t *testing.T) {
	var h *Histogram
	if h.Count() != 0 || h.Min() != 0 || h.Max() != 0 || h.Mean() != 0 || h.Quantile(0.5) != 0 || h.CountAbove(3) != 0 || h.Clone().Count() != 0 {
		t.Error("nil is not empty")
	}
	h.Each(func(int64, int64, uint64) { t.Error("nil has a bucket") })
}

func TestRecordAllocatesNothingOnceItsPagesAreThere(t *testing.T) {
	var h Histogram
	for v := int64(1); v < MaxValue; v *= 2 {
		h.Record(v)
	}
	v := int64(12345)
	if n := testing.AllocsPerRun(1000, func() { v = v * 31 % MaxValue; h.Record(v) }); n != 0 {
		t.Errorf("%v allocations a value", n)
	}
}

func FuzzUnmarshal(f *testing.F) {
	var h Histogram
	for i := range int64(100) {
		h.Record(i * 1000)
	}
	data, _ := json.Marshal(&h)
	f.Add(data)
	f.Add([]byte(`{"count":1,"sub_buckets":256,"buckets":[5,1]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var h Histogram
		if json.Unmarshal(data, &h) != nil {
			return
		}
		again, err := json.Marshal(&h)
		if err != nil {
			t.Fatal(err)
		}
		var back Histogram
		if err := json.Unmarshal(again, &back); err != nil {
			t.Fatalf("what was written cannot be read: %v: %s", err, again)
		}
		if q := h.Quantile(0.5); q < h.Min() || q > h.Max() {
			t.Fatalf("median %d is not between %d and %d", q, h.Min(), h.Max())
		}
	})
}

func text(t *testing.T, h *Histogram) string {
	t.Helper()
	data, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func BenchmarkRecord(b *testing.B) {
	b.ReportAllocs()
	var h Histogram
	v := int64(1)
	for b.Loop() {
		v = (v*1103515245 + 12345) % 100_000_000
		h.Record(v)
	}
}

func TestPackedReadsAsBefore(t *testing.T) {
	var h Histogram
	h.Pack()
	h.Record(0)
	h.Record(MaxValue)
	for i := range int64(20_000) {
		h.RecordN(i*i*7, uint64(i%4))
	}
	packed := h.Clone()
	packed.Pack()
	same := func(what string, p *Histogram) {
		t.Helper()
		if text(t, p) != text(t, &h) || p.CountAbove(1e6) != h.CountAbove(1e6) || p.Mean() != h.Mean() {
			t.Errorf("%s differs", what)
		}
		for _, q := range []float64{0, 0.01, 0.5, 0.99, 0.9999, 1} {
			if p.Quantile(q) != h.Quantile(q) {
				t.Errorf("%s: q %v is %d, was %d", what, q, p.Quantile(q), h.Quantile(q))
			}
		}
	}
	same("packed", packed)
	same("a clone of packed", packed.Clone())
	joined := new(Histogram)
	joined.Add(packed)
	same("what packed was added to", joined)
	joined.Pack()
	joined.Add(&h)
	h.Add(packed)
	same("packed with values added", joined)
	joined.Record(5)
	h.Record(5)
	same("packed with one recorded", joined)
	if size := len(packed.packed); size == 0 || size > 20_000 {
		t.Errorf("%d bytes for %d buckets", size, strings.Count(text(t, packed), ",")/2)
	}
	packed.Reset()
	if packed.Count() != 0 || packed.Quantile(0.5) != 0 || text(t, packed) != text(t, new(Histogram)) {
		t.Error("reset left something")
	}
}
