package report

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dougong-io/dougong/prove/fault"
)

// WriteFaultsMarkdown writes the effect table as Markdown, for a commit or a page.
func WriteFaultsMarkdown(w io.Writer, r *fault.Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s: %s.\n\n", escaped(subject(r)), headline(r), escaped(strings.Join(facts(r), ", ")))
	for _, caution := range cautions(r) {
		fmt.Fprintf(&b, "> %s\n\n", escaped(caution))
	}
	b.WriteString("| fault | what may be said | Δ p50 | Δ p99 | time-outs | errors | degraded | lost | detected after | recovered after | hits |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, row := range faultRows(r) {
		said := row.Verdict
		if row.Why != "" {
			said += "; " + row.Why
		}
		cells := []string{escaped(row.Name), escaped(said)}
		for _, c := range []cell{row.P50, row.P99, row.Timeouts, row.Errors, row.Degraded, row.Lost, row.Detected, row.Recovered} {
			text := escaped(c.Text)
			if c.Claimed {
				text = "**" + text + "**"
			}
			if c.Note != "" {
				text += " (" + escaped(c.Note) + ")"
			}
			cells = append(cells, text)
		}
		fmt.Fprintf(&b, "| %s | %s |\n", strings.Join(cells, " | "), row.Applied)
	}
	b.WriteString("\nBold: a change that is claimed. In brackets: the 95 % interval of the change, of shares in percentage points.\n")
	return write(w, b.String())
}

// WriteFaultsText writes the effect table for a terminal of width cells, without colours: a fault a row, its intervals
// below. Columns in which nothing happened are left out; those that do not fit stand in a further table. Without a width,
// which is 0, everything stands in one, and whole.
func WriteFaultsText(w io.Writer, r *fault.Result, width int) error {
	rows := faultRows(r)
	table := textTable(rows, width)
	var b strings.Builder
	fmt.Fprintf(&b, " %s\n %s\n %s\n\n", cleaned(subject(r)), headline(r), cleaned(strings.Join(facts(r), " · ")))
	for _, line := range table {
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	b.WriteString("\n")
	for _, row := range rows {
		said := row.Verdict
		if row.Why != "" {
			said += "; " + row.Why
		}
		fmt.Fprintf(&b, " %s %s: %s\n", row.Mark.Sign(), cleaned(row.Name), cleaned(said))
	}
	for _, caution := range cautions(r) {
		fmt.Fprintf(&b, " ! %s\n", cleaned(caution))
	}
	b.WriteString("\n * claimed; below it the 95 % interval of the change, of shares in percentage points\n")
	return write(w, b.String())
}

// column is one of the text table's: a figure and its note for each fault.
type column struct {
	name  string
	width int
	cells []cell
}

// textTable has two lines a fault. Columns that do not fit beside the others go on in a further table.
func textTable(rows []faultRow, width int) []string {
	name := 12
	for i := range rows {
		name = max(name, utf8.RuneCountInString(cleaned(rows[i].Name)))
	}
	if width > 0 {
		name = min(name, 24)
	} else {
		width = math.MaxInt
	}
	var table []string
	for columns := textColumns(rows); len(columns) > 0; {
		used, n := name+3, 0
		for n < len(columns) && (n == 0 || used+2+columns[n].width <= width) {
			used += 2 + columns[n].width
			n++
		}
		if len(table) > 0 {
			table = append(table, "")
		}
		table = append(table, tablePart(rows, columns[:n], name)...)
		columns = columns[n:]
	}
	return table
}

func tablePart(rows []faultRow, columns []column, name int) []string {
	head := "   " + padded("fault", name)
	for _, c := range columns {
		head += "  " + rightward(c.name, c.width)
	}
	lines := []string{head}
	for i := range rows {
		figures, notes := " "+rows[i].Mark.Sign()+" "+padded(cleaned(rows[i].Name), name), strings.Repeat(" ", name+3)
		for _, c := range columns {
			figures += "  " + rightward(c.cells[i].Text, c.width)
			notes += "  " + rightward(c.cells[i].Note, c.width)
		}
		lines = append(lines, figures)
		if strings.TrimSpace(notes) != "" {
			lines = append(lines, notes)
		}
	}
	return lines
}

// textColumns are those in which something happened in any row.
func textColumns(rows []faultRow) []column {
	var shown []column
	for _, of := range []struct {
		name string
		cell func(*faultRow) cell
	}{
		{"Δ p50", func(f *faultRow) cell { return f.P50 }}, {"Δ p99", func(f *faultRow) cell { return f.P99 }},
		{"time-outs", func(f *faultRow) cell { return f.Timeouts }}, {"errors", func(f *faultRow) cell { return f.Errors }},
		{"degraded", func(f *faultRow) cell { return f.Degraded }}, {"lost", func(f *faultRow) cell { return f.Lost }},
		{"detected", func(f *faultRow) cell { return brief(f.Detected) }}, {"recovered", func(f *faultRow) cell { return brief(f.Recovered) }},
		{"hits", func(f *faultRow) cell { return cell{Text: f.Applied} }},
	} {
		c := column{name: of.name, width: utf8.RuneCountInString(of.name)}
		happened := false
		for i := range rows {
			v := of.cell(&rows[i])
			happened = happened || v.Text != absent && v.Text != "0 %" && v.Text != "0"
			if v.Claimed {
				v.Text = "*" + v.Text
			}
			c.width = max(c.width, utf8.RuneCountInString(v.Text), utf8.RuneCountInString(v.Note))
			c.cells = append(c.cells, v)
		}
		if happened {
			shown = append(shown, c)
		}
	}
	return shown
}

// brief is a reaction without its worst time, which the other reports have.
func brief(c cell) cell {
	c.Note, _, _ = strings.Cut(c.Note, ",")
	if strings.HasPrefix(c.Text, "not ") && c.Text != "not known" {
		c.Text = "never"
	}
	return c
}

func rightward(text string, width int) string {
	return strings.Repeat(" ", max(width-utf8.RuneCountInString(text), 0)) + text
}

// padded is text in exactly width characters.
func padded(text string, width int) string {
	if all := []rune(text); len(all) > width {
		return string(all[:width-1]) + "…"
	}
	return text + strings.Repeat(" ", width-utf8.RuneCountInString(text))
}

// cleaned makes a text of someone else's safe to print: it must not move the cursor.
func cleaned(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) && r != '\u00a0':
			return ' '
		case unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp):
			return '?'
		}
		return r
	}, text)
}

// escaped is text that Markdown shows as it is, in a table too.
func escaped(text string) string {
	var b strings.Builder
	for _, r := range cleaned(text) {
		if strings.ContainsRune("\\|`*_[]<>&#~", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func write(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
