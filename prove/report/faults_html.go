package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"

	"github.com/dougong-io/dougong/prove/fault"
	"github.com/dougong-io/dougong/prove/fault/effect"
)

var (
	//go:embed faults.html
	faultsPage string
	//go:embed faults.css
	faultsStyle string
	//go:embed faults.js
	faultsScript string
)

// WriteFaultsHTML writes the report of a run with faults as one HTML file of its own: the effect table with its intervals
// drawn, the run over time, what was done and when, and the result as JSON. It is whole without its script, which only
// turns the colours; it loads nothing. #dark and #light work as in WriteHTML.
func WriteFaultsHTML(w io.Writer, r *fault.Result) error {
	data, err := marshal(r)
	if err != nil {
		return err
	}
	plan, err := json.MarshalIndent(r.Plan, "", "  ")
	if err != nil {
		return fmt.Errorf("write plan as JSON: %w", err)
	}
	rows := faultRows(r)
	view := map[string]any{
		"Title": headline(r) + ": " + subject(r), "Headline": headline(r), "Subject": subject(r), "Facts": facts(r), "Cautions": cautions(r),
		"Rows": rows, "Intervals": drawIntervals(rows), "Timeline": drawTimeline(r), "Result": r,
		"Machine": fmt.Sprintf("%s/%s, %d CPUs, %s", r.Machine.OS, r.Machine.Arch, r.Machine.CPUs, r.Machine.Go),
		"Plan":    string(plan),
		// The page's own parts, and JSON in which marshal has escaped <, > and &.
		"Style": template.CSS(style + faultsStyle), "Script": template.JS(faultsScript), "Data": template.JS(data),
	}
	// Parsed here, not when the program starts: most runs of it write no report.
	page, err := template.New("faults").Funcs(template.FuncMap{
		"clock": clock, "ms": milliseconds, "whole": whole, "percent": percent, "part": part, "quantile": func(w effect.Window, q float64) float64 { return float64(w.Latency.Quantile(q)) / 1e6 },
		"inc": func(i int) int { return i + 1 },
	}).Parse(faultsPage)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	var out bytes.Buffer // so that an error leaves no half page
	if err := page.Execute(&out, view); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if _, err := w.Write(out.Bytes()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// clock is seconds since the start.
func clock(v float64) string { return grouped(v, 1) + " s" }

func milliseconds(v float64) string {
	switch {
	case v <= 0:
		return absent
	case v < 9.995:
		return grouped(v, 2) + " ms"
	case v < 99.95:
		return grouped(v, 1) + " ms"
	}
	return grouped(v, 0) + " ms"
}

// part is a count as a share of another.
func part(n, of uint64) string {
	if of == 0 {
		return absent
	}
	return percent(float64(n)/float64(of)) + " %"
}
