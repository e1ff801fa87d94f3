package hdr

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"slices"
)

const (
	subBits    = 8
	subBuckets = 1 << subBits // buckets a power of two
	pages      = 33           // a page is a power of two; the last ends at 2^41 ns, 36 minutes
	buckets    = pages * subBuckets

	// MaxValue is the largest value that is told apart, in nanoseconds; what is larger counts as MaxValue.
	MaxValue = 1<<40 - 1
)

// Histogram counts durations in nanoseconds. See the package comment for its resolution.
type Histogram struct {
	count, sum uint64
	min, max   int64
	pages      [pages]*[subBuckets]uint64
	packed     []byte // instead of pages: see Pack
}

// Record counts v once. A value below zero counts as zero, one above MaxValue as MaxValue.
func (h *Histogram) Record(v int64) { h.RecordN(v, 1) }

// RecordN counts v n times.
func (h *Histogram) RecordN(v int64, n uint64) {
	if n == 0 {
		return
	}
	v = min(max(v, 0), MaxValue)
	if h.count == 0 || v < h.min {
		h.min = v
	}
	h.max = max(h.max, v)
	h.count += n
	h.sum += uint64(v) * n
	h.put(index(v), n)
}

// put counts n in a bucket.
func (h *Histogram) put(i int, n uint64) {
	if h.packed != nil {
		h.unpack()
	}
	page := h.pages[i>>subBits]
	if page == nil {
		page = new([subBuckets]uint64)
		h.pages[i>>subBits] = page
	}
	page[i&(subBuckets-1)] += n
}

// Add counts in h what o counted. o may be nil and is not changed.
func (h *Histogram) Add(o *Histogram) {
	if o == nil || o.count == 0 {
		return
	}
	if h.count == 0 || o.min < h.min {
		h.min = o.min
	}
	h.max = max(h.max, o.max)
	h.count += o.count
	h.sum += o.sum
	if o.packed != nil || h.packed != nil {
		for i, n := range o.each {
			h.put(i, n)
		}
		return
	}
	for p, from := range o.pages {
		if from == nil {
			continue
		}
		if h.pages[p] == nil {
			h.pages[p] = new([subBuckets]uint64)
		}
		to := h.pages[p]
		for i, n := range from {
			to[i] += n
		}
	}
}

// Pack makes h small, for keeping: some bytes for each bucket that is not empty, where it else takes 2 KB for each power
// of two. Everything can be read as before, somewhat slower; the next value recorded unpacks it.
func (h *Histogram) Pack() {
	if h == nil || h.packed != nil {
		return
	}
	packed := make([]byte, 0, 64)
	last := 0
	for i, n := range h.each {
		packed = binary.AppendUvarint(packed, uint64(i-last))
		packed = binary.AppendUvarint(packed, n)
		last = i
	}
	h.pages = [pages]*[subBuckets]uint64{}
	h.packed = slices.Clip(packed)
}

func (h *Histogram) unpack() {
	packed := Histogram{packed: h.packed}
	h.packed = nil
	for i, n := range packed.each {
		h.put(i, n)
	}
}

// each yields the buckets that are not empty, in ascending order, with their counts.
func (h *Histogram) each(yield func(index int, count uint64) bool) {
	at := 0
	for rest := h.packed; len(rest) > 0; {
		step, read := binary.Uvarint(rest)
		n, more := binary.Uvarint(rest[read:])
		rest = rest[read+more:]
		at += int(step)
		if !yield(at, n) {
			return
		}
	}
	for p, page := range h.pages {
		if page == nil {
			continue
		}
		for i, n := range page {
			if n > 0 && !yield(p<<subBits|i, n) {
				return
			}
		}
	}
}

// Reset empties h and keeps its memory.
func (h *Histogram) Reset() {
	h.packed = nil
	kept := h.pages
	*h = Histogram{pages: kept}
	for _, page := range kept {
		if page != nil {
			clear(page[:])
		}
	}
}

// Clone returns a copy that shares nothing with h, packed if h is. The clone of nil is empty.
func (h *Histogram) Clone() *Histogram {
	c := new(Histogram)
	if h != nil && h.packed != nil {
		*c = *h
		c.packed = slices.Clone(h.packed)
		return c
	}
	c.Add(h)
	return c
}

// Count returns how many values were recorded; it is 0 for nil.
func (h *Histogram) Count() uint64 {
	if h == nil {
		return 0
	}
	return h.count
}

// Min and Max return the extremes as recorded, in nanoseconds; 0 when nothing was.
func (h *Histogram) Min() int64 {
	if h == nil {
		return 0
	}
	return h.min
}

// Max returns the largest value recorded, in nanoseconds.
func (h *Histogram) Max() int64 {
	if h == nil {
		return 0
	}
	return h.max
}

// Mean returns the arithmetic mean in nanoseconds; 0 when nothing was recorded.
func (h *Histogram) Mean() float64 {
	if h.Count() == 0 {
		return 0
	}
	return float64(h.sum) / float64(h.count)
}

// Quantile returns the value that a share q of those recorded does not exceed, by nearest rank: the
// ⌈q·n⌉-th smallest of n. q is 0 to 1; 0 is the minimum and 1 the maximum. It is 0 when nothing was recorded.
func (h *Histogram) Quantile(q float64) int64 {
	if h.Count() == 0 {
		return 0
	}
	// The small term keeps 0.99·100 from becoming 99.00000000000001 and so the 100th value.
	rank := uint64(math.Ceil(q*float64(h.count) - 1e-9*float64(h.count)))
	rank = min(max(rank, 1), h.count)
	switch {
	case q <= 0 || rank == 1:
		return h.min
	case rank == h.count:
		return h.max
	}
	var seen uint64
	for i, n := range h.each {
		if seen += n; seen >= rank {
			low, width := bounds(i)
			return min(max(low+width/2, h.min), h.max)
		}
	}
	return h.max
}

// CountAbove returns how many of the values recorded are larger than v, to the resolution of a bucket: those in
// v's own bucket count as not larger.
func (h *Histogram) CountAbove(v int64) uint64 {
	if h.Count() == 0 || v >= h.max {
		return 0
	}
	var above uint64
	first := index(min(max(v, 0), MaxValue)) + 1
	for i, n := range h.each {
		if i >= first {
			above += n
		}
	}
	return above
}

// Each calls visit for each bucket that is not empty, in ascending order, with its least value, its width (both
// in nanoseconds) and its count.
func (h *Histogram) Each(visit func(low, width int64, count uint64)) {
	if h == nil {
		return
	}
	for i, n := range h.each {
		low, width := bounds(i)
		visit(low, width, n)
	}
}

// index is the bucket of v, which is 0 to MaxValue. Values below 512 have a bucket each.
func index(v int64) int {
	shift := max(bits.Len64(uint64(v))-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

func bounds(index int) (low, width int64) {
	shift := max(index>>subBits-1, 0)
	return int64(index-shift<<subBits) << shift, 1 << shift
}

// encoded is a histogram in JSON. Buckets are pairs, flattened: the index of a bucket that is not empty, then its
// count, ascending.
// A reader refuses fields that it does not know.
type encoded struct {
	Count      uint64   `json:"count"`
	Min        int64    `json:"min_ns"`
	Max        int64    `json:"max_ns"`
	Sum        uint64   `json:"sum_ns"`
	SubBuckets int      `json:"sub_buckets"`
	Buckets    []uint64 `json:"buckets"`
}

// MarshalJSON writes h as {"count", "min_ns", "max_ns", "sum_ns", "sub_buckets": 256, "buckets": [index, count, …]}.
// Bucket i holds the values from m<<s to ((m+1)<<s)-1 nanoseconds, where s = max(i/256-1, 0) and m = i-256·s.
func (h *Histogram) MarshalJSON() ([]byte, error) {
	e := encoded{Count: h.count, Min: h.min, Max: h.max, Sum: h.sum, SubBuckets: subBuckets, Buckets: []uint64{}}
	for i, n := range h.each {
		e.Buckets = append(e.Buckets, uint64(i), n)
	}
	return json.Marshal(e)
}

// UnmarshalJSON reads what MarshalJSON writes, and refuses what contradicts itself.
func (h *Histogram) UnmarshalJSON(data []byte) error {
	var e encoded
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	if e.SubBuckets != subBuckets {
		return fmt.Errorf("histogram: sub_buckets is %d; this version reads %d", e.SubBuckets, subBuckets)
	}
	if len(e.Buckets)%2 != 0 {
		return fmt.Errorf("histogram: buckets has %d numbers; they come in pairs of index and count", len(e.Buckets))
	}
	var read Histogram
	last := -1
	for i := 0; i < len(e.Buckets); i += 2 {
		at, n := e.Buckets[i], e.Buckets[i+1]
		if at >= buckets || int(at) <= last || n == 0 {
			return fmt.Errorf("histogram: bucket %d with count %d: indices ascend, are below %d, and counts are above 0", at, n, buckets)
		}
		last = int(at)
		low, _ := bounds(last)
		if n > math.MaxUint64-read.count {
			return fmt.Errorf("histogram: counts overflow")
		}
		read.RecordN(low, n)
	}
	if read.count != e.Count {
		return fmt.Errorf("histogram: count is %d, the buckets hold %d", e.Count, read.count)
	}
	if e.Count > 0 && (e.Min < 0 || e.Min > e.Max || e.Max > MaxValue || index(e.Min) != index(read.min) || index(e.Max) != index(read.max)) {
		return fmt.Errorf("histogram: min_ns %d and max_ns %d are not in the first and last bucket", e.Min, e.Max)
	}
	read.min, read.max, read.sum = e.Min, e.Max, e.Sum
	if e.Count == 0 {
		read.min, read.max, read.sum = 0, 0, 0
	}
	read.Pack() // a page for each bucket is what a hostile file would ask for
	*h = read
	return nil
}
