package live

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestNumbersAreReadable(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{latency(0), "0.00 µs"}, {latency(845), "0.84 µs"}, {latency(999_400), "999 µs"}, {latency(999_600), "1.00 ms"}, {latency(9_994_000), "9.99 ms"},
		{latency(9_996_000), "10.0 ms"}, {latency(99_960_000), "100 ms"}, {latency(1.25e9), "1.25 s"}, {latency(600e9), "600 s"}, {latency(1e15), ">27 h"}, {latency(-5), "0.00 µs"}, {latency(math.NaN()), none},
		{latencyCell(1.25e9), " 1.25 s "}, {latencyCell(1.25e6), " 1.25 ms"},
		{edge(2e6), "2 ms"}, {edge(1.25e6), "1.25 ms"}, {edge(500e3), "500 µs"}, {edge(10e9), "10 s"},
		{count(0), "0"}, {count(999), "999"}, {count(1000), "1,000"}, {count(9_999_999), "9,999,999"}, {count(12_345_678), "12.3 M"}, {count(math.MaxUint64), "18.4 E"},
		{perSecond(0), "0/s"}, {perSecond(9.5), "9.5/s"}, {perSecond(99.96), "100/s"}, {perSecond(2400), "2,400/s"}, {perSecond(1.5e7), "15.0 M/s"}, {perSecond(1e300), ">1 E/s"}, {perSecond(-1), none}, {perSecond(math.Inf(1)), none},
		{byteCount(0), "0 B"}, {byteCount(999), "999 B"}, {byteCount(999.9), "1.00 kB"}, {byteCount(1.2e6), "1.20 MB"}, {byteCount(math.NaN()), none},
		{share(0, 10), "0 %"}, {share(10, 10), "100 %"}, {share(999_999, 1_000_000), ">99.99 %"}, {share(1, 1_000_000), "<0.01 %"}, {share(1, 8), "12.5 %"}, {share(1, 0), none}, {share(9_999, 10_000), "99.99 %"},
		{clock(62 * time.Second), "1:02"}, {clock(-time.Second), "0:00"}, {clock(3723 * time.Second), "1:02:03"},
		{duration(20), "20 s"}, {duration(4800), "1:20:00"}, {duration(math.NaN()), none},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestChartsAreToAnEighth(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{strings.Join(chart([]float64{0, 0.001, 0.5, 1, 2, math.NaN(), math.Inf(1), -1}, 8, 1), "|"), " ▁▄██   "},
		{strings.Join(chart([]float64{0.25, 0.75, 1}, 3, 2), "|"), " ▄█|▄██"},
		{strings.Join(chart([]float64{1, 0.5, 1}, 2, 1), "|"), "▄█"},
		{bar(1, 3), "███"}, {bar(0.5, 3), "█▌"}, {bar(1e-9, 3), "▏"}, {bar(0, 3), ""}, {bar(7, 3), "███"}, {bar(math.NaN(), 3), ""},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	heights, least, largest := logarithmic([]float64{1, 8, 64, 0, math.NaN()})
	if least != 1 || largest != 64 || heights[0] != 0.125 || math.Abs(heights[1]-0.5625) > 1e-9 || math.Abs(heights[2]-1) > 1e-9 || !math.IsNaN(heights[3]) || !math.IsNaN(heights[4]) {
		t.Errorf("%v from %v to %v", heights, least, largest)
	}
}

func TestBucketsHoldEveryValue(t *testing.T) {
	for _, limit := range []int{1, 2, 5, 12, 40} {
		for _, median := range []time.Duration{0, 300, time.Microsecond, time.Millisecond, time.Second, 15 * time.Minute} {
			h := spread(1000, median)
			h.Record(int64(median) / 1000)
			buckets := bucketed(h, limit)
			var n uint64
			marks := 0
			for _, b := range buckets {
				n += b.count
				marks += len(b.marks)
			}
			if n != h.Count() || marks != len(marked) || len(buckets) > limit || h.Max() >= buckets[len(buckets)-1].below {
				t.Errorf("%v in %d rows: %d of %d values, %d marks, %d rows", median, limit, n, h.Count(), marks, len(buckets))
			}
		}
	}
	if bucketed(nil, 5) != nil {
		t.Error("no values have buckets")
	}
}

func TestTextsOfOthersCannotSteerTheTerminal(t *testing.T) {
	if got := clean("a\x1b[2J\u009b\nb\t\u202ec\xff\x00"); got != "a?[2J? b c??" {
		t.Errorf("%q", got)
	}
	if got := cells("目a…"); got != 4 {
		t.Errorf("%d cells", got)
	}
	if got := rendered([]line{text(bad, "目的地").add(normal, "x").cut(5)}, false); got != "目的…\n" {
		t.Errorf("%q", got)
	}
}

func FuzzNumbers(f *testing.F) {
	for _, v := range []float64{0, 1, -1, 999.5, 999_500, 9.995e6, 1e9, 1e18, 1e300, math.NaN(), math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat64, math.MaxFloat64} {
		f.Add(v, uint64(math.Abs(v)))
	}
	f.Fuzz(func(t *testing.T, v float64, n uint64) {
		for name, got := range map[string]string{"latency": latency(v), "cell": latencyCell(v), "count": count(n), "rate": perSecond(v), "bytes": byteCount(v),
			"share": share(v, float64(n)), "other share": share(float64(n), v), "duration": duration(v), "clock": clock(time.Duration(n))} {
			if strings.Contains(got, "NaN") || strings.Contains(got, "Inf") || got == "" || cells(got) > 13 || !utf8.ValidString(got) {
				t.Errorf("%s of %v, %d is %q", name, v, n, got)
			}
			if name == "cell" && cells(got) != 8 {
				t.Errorf("cell of %v is %q", v, got)
			}
		}
		heights, _, _ := logarithmic([]float64{v, float64(n), 1})
		for _, row := range append(chart(heights, 3, 2), chart(linear([]float64{v, 1, 2}, float64(n)), 3, 2)...) {
			if cells(row) != 3 {
				t.Errorf("chart of %v, %d: %q", v, n, row)
			}
		}
		if got := bar(v, int(n%300)); cells(got) > int(n%300) {
			t.Errorf("bar of %v in %d cells has %d", v, n%300, cells(got))
		}
	})
}
