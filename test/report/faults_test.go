package report_test

import (
	"bytes"
	"fmt"
	"html"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/prove/fault"
	"github.com/dougong-io/dougong/prove/report"
)

// inspect opens what is closed, turns the colours twice, and keeps in data-found what is wrong with the page as it lies there.
const inspect = `
const found = [];
addEventListener("error", (event) => found.push(event.message));
for (const d of document.querySelectorAll("details")) d.open = true;
const root = document.documentElement, theme = document.getElementById("theme"), before = root.dataset.theme;
theme.click();
if (root.dataset.theme === before) found.push("the colours do not turn");
theme.click();
if (theme.hidden) found.push("nothing turns the colours");
if (root.scrollWidth > root.clientWidth) found.push("wider than the window: " + root.scrollWidth);
const effects = document.querySelector(".effects .scroll");
if (root.clientWidth >= 1280 && effects.scrollWidth > effects.clientWidth) found.push("the table is cut: " + effects.scrollWidth + " in " + effects.clientWidth);
for (const region of document.querySelectorAll(".scroll")) {
  region.focus();
  if (document.activeElement !== region) found.push("not reachable by keyboard: " + region.getAttribute("aria-label"));
}
for (const svg of document.querySelectorAll("svg")) {
  const boxes = [...svg.querySelectorAll("text")].filter((t) => t.textContent.trim()).map((t) => [t.textContent, t.getBoundingClientRect()]);
  for (const [i, [name, a]] of boxes.entries()) for (const [other, b] of boxes.slice(i + 1)) {
    if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3) found.push(name + " lies on " + other);
  }
}
for (const row of document.querySelectorAll(".effects tbody tr")) {
  if (row.cells.length !== 12 && row.cells[0].colSpan !== 12) found.push("a row of " + row.cells.length + " cells");
}
root.dataset.found = found.join("; ");
`

func faultsPage(t *testing.T, r *fault.Result, probe string) string {
	t.Helper()
	var page bytes.Buffer
	if err := report.WriteFaultsHTML(&page, r); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(page.String(), "</body>", "<script>"+probe+"</script></body>", 1)
}

// wellLaidOut fails if inspect did not run to its end, or found anything.
func (v view) wellLaidOut(t *testing.T) {
	t.Helper()
	tag := regexp.MustCompile(`<html[^>]*>`).FindString(v.dom)
	if !strings.Contains(tag, `data-found=""`) {
		t.Errorf("the page is not as it should be: %s", html.UnescapeString(tag))
	}
}

// effects are the rows of the effect table.
func (v view) effects(t *testing.T) map[string]string {
	t.Helper()
	_, rest, _ := strings.Cut(v.dom, `<div class="card effects">`)
	_, rest, _ = strings.Cut(rest, "<tbody>")
	body, _, ok := strings.Cut(rest, "</tbody>")
	if !ok {
		t.Fatal("the page has no effect table")
	}
	rows := map[string]string{}
	for _, row := range regexp.MustCompile(`(?s)<tr>.*?</tr>`).FindAllString(body, -1) {
		rows[regexp.MustCompile(`<strong>(.*?)</strong>`).FindStringSubmatch(row)[1]] = row
	}
	return rows
}

func TestFaultsReportShowsTheEffects(t *testing.T) {
	r := faultsRun()
	v := show(t, faultsPage(t, r, inspect), "light", 1280, 1700)
	v.wellLaidOut(t)
	rows := v.effects(t)
	if len(rows) != len(r.Rows) {
		t.Fatalf("%d rows for %d faults", len(rows), len(r.Rows))
	}
	for name, want := range map[string][]string{
		"control":                  {"No false alarm"},
		"slow scoring":             {"Effect on p50 and p99", "delay fixed 5ms at inference.score", "not detected", "3,200"},
		"every fifth fails":        {"Effect on errors and degraded answers", "state Degraded"},
		"hang":                     {"Effect on p50, p99, time-outs and lost requests", "≥ +99"},
		"a quarter of a processor": {"Effect on p50 and p99"},
		"nobody comes":             {"Never hit: nothing is claimed"},
		"little memory":            {"Refused", "run as root"},
		"kill":                     {"Effect on errors and lost requests"},
	} {
		for _, text := range want {
			if !strings.Contains(plain(rows[name]), text) {
				t.Errorf("the row of %s does not say %q: %s", name, text, plain(rows[name]))
			}
		}
	}
	for i := range r.Rows {
		d := &r.Rows[i].Effect.P50
		if want := fmt.Sprintf("%+.2f ms", d.Value); d.Known && !d.AtLeast && !strings.Contains(strings.ReplaceAll(plain(rows[r.Rows[i].Name]), "−", "-"), want) {
			t.Errorf("the row of %s does not say %s", r.Rows[i].Name, want)
		}
	}
	// The dots lie in the order of their values.
	at := func(name string) float64 {
		found := regexp.MustCompile(`<circle class="point" cx="([\d.]+)"`).FindStringSubmatch(rows[name])
		if found == nil {
			t.Fatalf("%s has no dot", name)
		}
		x, _ := strconv.ParseFloat(found[1], 64)
		return x
	}
	for _, pair := range [][2]string{{"control", "a quarter of a processor"}, {"a quarter of a processor", "slow scoring"}, {"slow scoring", "hang"}} {
		if at(pair[0])+1 >= at(pair[1]) {
			t.Errorf("the dot of %s is not left of that of %s", pair[0], pair[1])
		}
	}
	on := 0
	for _, row := range r.Rows {
		for _, w := range row.Windows {
			if w.On && row.Kind != fault.KindControl {
				on++
			}
		}
	}
	if n := strings.Count(v.dom, `<rect class="band"`); n != on || on != 6*8 {
		t.Errorf("%d bands for %d windows with a fault", n, on)
	}
	for _, want := range []string{"5 of 7 faults had an effect", "inference under faults", "200 requests a second, open loop", "2026-11-20 09:30:00 UTC", r.Notes[0], "slow scoring on, ", "the rule was deleted"} {
		if !strings.Contains(plain(v.dom), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestFaultsReportIsDarkWhenAsked(t *testing.T) {
	page := faultsPage(t, faultsRun(), inspect)
	for name, width := range map[string]int{"dark": 1600, "light": 400} {
		v := show(t, page, name, width, 1200)
		v.wellLaidOut(t)
		r, g, b, _ := v.picture.At(3, 3).RGBA()
		if sum := (r + g + b) >> 8; (sum < 150) != (name == "dark") || (sum > 600) != (name == "light") {
			t.Errorf("the ground of the %s page is %d, %d, %d", name, r>>8, g>>8, b>>8)
		}
	}
}

func TestOddFaultsAreShown(t *testing.T) {
	hostile := `</script></title></style>"'><img src="http://evil.test/a.png" onerror="document.documentElement.dataset.hacked=1"><script>document.documentElement.dataset.hacked=1</script><!--`
	r := faultsRun()
	r.Plan.Name, r.Reason, r.End, r.Notes, r.Run, r.Version, r.Machine.Go = hostile, hostile, fault.EndBroken, []string{hostile}, hostile, hostile, hostile
	for i := range r.Rows {
		row := &r.Rows[i]
		row.Name, row.Detail, row.Service, row.Reason, row.Status, row.Detect.By = hostile, hostile, hostile, hostile, fault.Status(hostile), []string{hostile}
		for k := range row.Windows {
			row.Windows[k].Why, row.Windows[k].Whole = hostile, false
		}
	}
	for i := range r.Events {
		r.Events[i] = fault.Event{Fault: hostile, Kind: hostile, Text: hostile}
	}
	v := show(t, faultsPage(t, r, inspect), "", 1280, 1000)
	v.wellLaidOut(t)
	if strings.Contains(v.dom, "data-hacked") || strings.Contains(v.dom, "<img") {
		t.Error("a hostile text became markup")
	}
	if n := strings.Count(html.UnescapeString(v.dom), hostile); n < 5*len(r.Rows) {
		t.Errorf("the hostile text is shown %d times", n)
	}
	show(t, faultsPage(t, &fault.Result{}, inspect), "dark", 700, 800).wellLaidOut(t)
}
