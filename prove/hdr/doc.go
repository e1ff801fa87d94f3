// Package hdr counts latencies in histograms of high dynamic range: one fixed relative resolution from a
// nanosecond to 18 minutes, so that a p99.9 read from it is as exact as a median.
//
// Buckets are log-linear, as in HdrHistogram (Gil Tene, 2012): each power of two is cut into 256 equal buckets, which
// are at most 1/256 (0.4 %) of their value wide. A quantile is the middle of its bucket, so it is within 0.2 % of
// the value recorded. Minimum, maximum, count and sum are exact.
//
//	var h hdr.Histogram
//	h.Record(1_250_000)           // 1.25 ms, in nanoseconds
//	fmt.Println(h.Quantile(0.99)) // nanoseconds
//
// The zero value is an empty histogram. A Histogram is not safe for concurrent use: give each writer one and
// join them with Add. It is for measuring; a service that exports its latencies to Prometheus wants
// adapters/prom, whose buckets are few and fixed.
package hdr
