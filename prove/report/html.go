package report

import (
	_ "embed"
	"fmt"
	"html"
	"io"
	"strings"

	"github.com/dougong-io/dougong/prove/load"
)

var (
	//go:embed page.html
	page string
	//go:embed report.css
	style string
	//go:embed report.js
	script string
)

// WriteHTML writes the report as one HTML file of its own: the result as JSON, and the script that draws the report
// from it in a browser. It loads nothing, and its content security policy keeps it from doing so. The address
// followed by #dark or #light chooses the colours; without it they follow the reader's system.
func WriteHTML(w io.Writer, r *load.Result) error {
	data, err := marshal(r)
	if err != nil {
		return err
	}
	title := "Load report"
	if r.Target != "" {
		title += ": " + r.Target
	}
	// A part is written after the text before its mark, so a result that holds a mark stays as it is.
	rest := page
	for _, part := range []struct{ mark, text string }{
		{"{{title}}", html.EscapeString(title)},
		{"{{style}}", style},
		{"{{result}}", string(data)},
		{"{{script}}", script},
	} {
		before, after, _ := strings.Cut(rest, part.mark)
		if _, err := io.WriteString(w, before+part.text); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
		rest = after
	}
	if _, err := io.WriteString(w, rest); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
