package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"

	"github.com/dougong-io/dougong/prove/hdr"
	"github.com/dougong-io/dougong/prove/load"
)

// columnQuantiles are the latencies of a row. Their names hold no dot, so that they serve as identifiers.
var columnQuantiles = []struct {
	name string
	q    float64
}{{"p50_ms", 0.5}, {"p90_ms", 0.9}, {"p99_ms", 0.99}, {"p99_9_ms", 0.999}, {"max_ms", 1}}

// WriteCSV writes a header and a row an interval, in the order of time:
//
//	from_s, seconds          start of the interval since the start of the run, and its length
//	due, ok, unfinished      requests by when they were due
//	done                     answers and failures that came in the interval, whenever they were due
//	failed_refused, …        failed requests, a column for each class in the order of load.Classes
//	bytes_out, bytes_in      above TLS
//	messages, connects       received on streams; connections set up
//	p50_ms, p90_ms, p99_ms, p99_9_ms, max_ms
//	                         latency from when a request was due, in milliseconds; empty when none was measured
//	service_p50_ms, …        the same from when it was sent: uncorrected
//	late, late_max_ms        1 when the generator itself was late and the interval is not judged; by how much at most
//	in_flight                requests in flight at the end of the interval
func WriteCSV(w io.Writer, r *load.Result) error {
	out := csv.NewWriter(w)
	header := []string{"from_s", "seconds", "due", "done", "ok"}
	for _, class := range load.Classes() {
		header = append(header, "failed_"+string(class))
	}
	header = append(header, "unfinished", "bytes_out", "bytes_in", "messages", "connects")
	for _, prefix := range []string{"", "service_"} {
		for _, column := range columnQuantiles {
			header = append(header, prefix+column.name)
		}
	}
	header = append(header, "late", "late_max_ms", "in_flight")
	out.Write(header) // The writer keeps the first error for Error.

	var row []string
	count := func(n uint64) { row = append(row, strconv.FormatUint(n, 10)) }
	number := func(v float64) { row = append(row, strconv.FormatFloat(v, 'f', -1, 64)) }
	latencies := func(h *hdr.Histogram) {
		for _, column := range columnQuantiles {
			if h.Count() == 0 {
				row = append(row, "") // not 0: nothing was measured
				continue
			}
			number(float64(h.Quantile(column.q)) / 1e6)
		}
	}
	for i := range r.Intervals {
		v := &r.Intervals[i]
		row = row[:0]
		number(v.From)
		number(v.Seconds)
		count(v.Due)
		count(v.Done)
		count(v.OK)
		for _, class := range load.Classes() {
			count(v.Failed[class])
		}
		count(v.Unfinished)
		count(v.BytesOut)
		count(v.BytesIn)
		count(v.Messages)
		count(v.Connects)
		latencies(v.Latency)
		latencies(v.Service)
		if v.Late {
			count(1)
		} else {
			count(0)
		}
		number(v.LateMax)
		row = append(row, strconv.Itoa(v.InFlight))
		out.Write(row)
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write result as CSV: %w", err)
	}
	return nil
}
