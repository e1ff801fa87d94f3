//go:build linux

package soak

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dougong-io/dougong/prove/load"
)

// run carries out a plan against the process and judges what holds of every load: all requests are answered, none
// wrongly, and no failure is the server's but the refusals that it documents.
func (p *process) run(name string, plan load.Plan) *load.Result {
	t := p.t
	t.Helper()
	plan.Target = p.http
	result, err := load.Run(p.ctx, plan, load.Options{})
	p.alive()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	total := &result.Total
	for class, n := range total.Failed {
		switch class {
		case load.ClassStatus: // by their statuses below
		case load.ClassLocal: // the generator's
		case load.ClassTimeout:
			// A caller's time-out counts against the process, unless the generator itself was late in that second.
			if n := result.Judged.Failed[class]; n > 0 {
				t.Errorf("%s: %d requests were not answered in time", name, n)
			}
		default:
			t.Errorf("%s: %d requests failed as %s", name, n, class)
		}
	}
	_, stated := plan.Scenarios[0].Steps[0].Headers["X-Request-Timeout"]
	for status, n := range total.Status {
		if status != "200" && status != "503" && !(status == "504" && stated) {
			t.Errorf("%s: %d answers with status %s", name, n, status)
		}
	}
	if total.OK == 0 || total.Unfinished > 0 {
		t.Errorf("%s: %d of %d right, %d never answered", name, total.OK, total.Due, total.Unfinished)
	}
	if t.Failed() {
		for _, e := range result.Errors {
			t.Logf("%s: %s at %.1f s: %s", name, e.Class, e.At, e.Message)
		}
	}
	return result
}

// refused is how many answers were refusals.
func refused(w *load.Window) uint64 { return w.Status["503"] }

// predictStep is one request.
func predictStep(body string, checks ...string) load.Step {
	return load.Step{Method: "POST", Path: "/v1/predict", Body: body, Checks: checks}
}

// users is a plan of a closed loop.
func users(n int, think, length, timeout time.Duration) load.Plan {
	plan := load.DefaultPlan()
	plan.Connections = n
	plan.Closed = &load.Closed{Users: n, Think: load.Duration(think), Duration: load.Duration(length)}
	plan.Timeout, plan.Drain = load.Duration(timeout), load.Duration(timeout)
	return plan
}

// table is what a person reads at the end.
type table struct {
	text strings.Builder
	tab  *tabwriter.Writer
}

func newTable() *table {
	tb := new(table)
	tb.tab = tabwriter.NewWriter(&tb.text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tb.tab, "load\tseconds\tdue/s\tright/s\tp50 ms\tp99 ms\tshed\tshed p50 ms\tshed p99 ms\tlate s\t")
	return tb
}

// add writes a line. Latencies run from when a request was due; late are the seconds in which the generator itself was.
func (tb *table) add(name string, w *load.Window, late float64) {
	ms := func(ns int64) string { return fmt.Sprintf("%.1f", float64(ns)/1e6) }
	line := []string{name, fmt.Sprintf("%.1f", w.Seconds), fmt.Sprintf("%.0f", float64(w.Due)/w.Seconds), fmt.Sprintf("%.0f", float64(w.OK)/w.Seconds),
		ms(w.Latency.Quantile(0.5)), ms(w.Latency.Quantile(0.99)), fmt.Sprint(refused(w)), "", "", fmt.Sprintf("%.0f", late)}
	if w.Rejected != nil && w.Rejected.Count() > 0 {
		line[7], line[8] = ms(w.Rejected.Quantile(0.5)), ms(w.Rejected.Quantile(0.99))
	}
	fmt.Fprintln(tb.tab, strings.Join(line, "\t")+"\t")
}

func (tb *table) String() string {
	tb.tab.Flush()
	return tb.text.String()
}

// summary is the line below the table.
func summary(w watched, b bounds) string {
	return fmt.Sprintf("at most %d threads (bound %d), %d goroutines (bound %d), RSS %s; the slowest of %d probes took %v (bound %v)",
		w.threads, b.threads, w.goroutines, b.goroutines, mib(w.rss), w.probes, w.slowest.Round(time.Millisecond), probeWithin)
}
