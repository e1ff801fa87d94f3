package live

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dougong-io/dougong/prove/hdr"
	"github.com/dougong-io/dougong/prove/load"
)

// Every so many lines the header comes again.
const headerEvery = 30

const plainHeader = "# t: since the start; asked, done: requests and answers a second; p50 to max: latency of the last second, corrected;\n" +
	"# sent_p99: the same, uncorrected; at the end what failed since the line before, and by how much the generator was late\n"

// plainLine is the line of one second. recent are the failures since the line before it.
func plainLine(p *load.Progress, recent map[load.Class]uint64) string {
	done := float64(p.Last.Done)
	if p.Last.Seconds > 0 {
		done /= p.Last.Seconds
	}
	if len(p.Done) > 0 {
		done = p.Done[len(p.Done)-1]
	}
	var b strings.Builder
	column := func(width int, key, value string) {
		b.WriteString(leftward(key+"="+value, width) + " ")
	}
	phase := strings.ReplaceAll(clean(p.Phase), " ", "_")
	if phase == "" {
		phase = none
	}
	column(8, "t", fmt.Sprintf("%ds", int64(max(p.Elapsed, 0)/time.Second)))
	column(18, "phase", phase)
	asked := none
	if p.Rate > 0 {
		asked = plainRate(p.Rate)
	}
	column(12, "asked", asked)
	column(11, "done", plainRate(done))
	h := p.Last.Latency
	column(11, "p50", plainLatency(h, h.Quantile(0.5)))
	column(11, "p90", plainLatency(h, h.Quantile(0.9)))
	column(11, "p99", plainLatency(h, h.Quantile(0.99)))
	column(13, "p99.9", plainLatency(h, h.Quantile(0.999)))
	column(11, "max", plainLatency(h, h.Max()))
	s := p.Last.Service
	column(16, "sent_p99", plainLatency(s, s.Quantile(0.99)))
	column(10, "inflight", fmt.Sprint(max(p.InFlight, 0)))
	column(9, "waiting", fmt.Sprint(p.Waiting))
	column(8, "conns", fmt.Sprint(max(p.Connected, 0)))
	for _, class := range classesOf(recent) {
		column(0, clean(string(class)), fmt.Sprint(recent[class]))
	}
	if p.Last.Late {
		by := "yes"
		if finite(p.Last.LateMax) && p.Last.LateMax > 0 {
			by = compact(latency(p.Last.LateMax * 1e6))
		}
		column(0, "generator_late", by)
	}
	return strings.TrimRight(b.String(), " ") + "\n"
}

func plainRate(v float64) string {
	if !finite(v) || v < 0 || v > 1e15 {
		return none
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

func plainLatency(h *hdr.Histogram, ns int64) string {
	if h.Count() == 0 {
		return none
	}
	return compact(latency(float64(ns)))
}
