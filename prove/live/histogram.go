package live

import (
	"strings"

	"github.com/dougong-io/dougong/prove/hdr"
)

// Where buckets may end, within a power of ten: first the coarsest. The finest are the preferred numbers of
// ISO 3, as rounded there.
var series = [][]int64{
	{1000},
	{1000, 3000},
	{1000, 2000, 5000},
	{1000, 1250, 1600, 2000, 2500, 3150, 4000, 5000, 6300, 8000},
	{1000, 1120, 1250, 1400, 1600, 1800, 2000, 2240, 2500, 2800, 3150, 3550, 4000, 4500, 5000, 5600, 6300, 7100, 8000, 9000},
}

// bucket is a row of a drawn histogram: what is below Below, nanoseconds, and not in the row before it.
type bucket struct {
	below int64
	count uint64
	marks []string // percentiles that fall into it
	tail  bool     // wholly above p99
}

var marked = []struct {
	name string
	q    float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}}

// bucketed puts h into at most limit buckets, each some factor wider than the one before it: the finest that fit
// until there are a handful.
func bucketed(h *hdr.Histogram, limit int) []bucket {
	if h.Count() == 0 || limit < 1 {
		return nil
	}
	ends := endsOf(series[0], h.Min(), h.Max())
	for _, steps := range series[1:] {
		finer := endsOf(steps, h.Min(), h.Max())
		if len(finer) > limit {
			break
		}
		ends = finer
		if len(ends) >= 5 {
			break
		}
	}
	ends = ends[max(len(ends)-limit, 0):]
	buckets := make([]bucket, len(ends))
	for i, end := range ends {
		buckets[i].below = end
	}
	place := func(v int64) *bucket {
		for i := range buckets {
			if v < buckets[i].below {
				return &buckets[i]
			}
		}
		return &buckets[len(buckets)-1]
	}
	h.Each(func(low, width int64, count uint64) {
		place(min(max(low+width/2, h.Min()), h.Max())).count += count
	})
	for _, m := range marked {
		b := place(h.Quantile(m.q))
		b.marks = append(b.marks, m.name)
	}
	p99 := h.Quantile(0.99)
	for i := 1; i < len(buckets); i++ {
		buckets[i].tail = buckets[i-1].below > p99
	}
	return buckets
}

// endsOf returns the ends of the buckets that hold the values from least to largest; the first one holds all that is
// less.
func endsOf(steps []int64, least, largest int64) []int64 {
	var ends []int64
	for power := int64(1); ; power *= 10 {
		for _, step := range steps {
			end := step * power
			if end > least {
				ends = append(ends, end)
			}
			if end > largest {
				return ends
			}
		}
	}
}

// histogram draws h in at most limit rows of width cells: end, bar, count, share, percentiles.
func histogram(h *hdr.Histogram, width, limit int) []line {
	buckets := bucketed(h, limit)
	var most uint64
	for _, b := range buckets {
		most = max(most, b.count)
	}
	const label, counts, shares, marks = 10, 11, 9, 19
	room := width - label - 1 - counts - shares
	withMarks := room-marks >= 10
	if withMarks {
		room -= marks
	}
	var rows []line
	for _, b := range buckets {
		s := accent
		if b.tail {
			s = warn
		}
		drawn := bar(float64(b.count)/float64(most), room)
		l := text(faint, right("< "+edge(float64(b.below)), label)+" ").add(s, leftward(drawn, max(room, 0)))
		if b.count == 0 {
			l = l.add(faint, right("·", counts))
		} else {
			l = l.add(normal, right(count(b.count), counts)).add(faint, right(share(float64(b.count), float64(h.Count())), shares))
		}
		if withMarks && len(b.marks) > 0 {
			l = l.pad(width-marks).add(strong, " "+strings.Join(b.marks, " "))
		}
		rows = append(rows, l)
	}
	return rows
}
